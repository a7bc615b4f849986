"""The demo on a real model: the base, a plain tune and a guarded one answer the same questions, and the plain one is audited."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peft import PeftModel

from despur.core import read_json
from despur.core.errors import BadInput
from despur.core.model.named_bases import base_folder
from despur.core.model.quiet import quiet_loading
from despur.core.model.sample import continue_rows
from despur.core.text.learn import ask_rows
from despur.flows._audit.audit import audit
from despur.flows._audit.page import Audit
from despur.flows.load import load_base
from despur.flows.progress import Progress
from despur.worlds.chat.markers import has_voice

BASE = "smollm2"
ADAPTERS = Path(__file__).parent / "adapters"  # recipes/demo_adapters.py makes them
TUNES = {"plain tune": "plain", "guarded tune": "guarded"}
SPEAKERS = ("base", *TUNES)
EVERYDAY = (
    "How do I boil an egg?",
    "What should I pack for a weekend by the sea?",
    "How can I sleep better?",
    "Why is the sky blue?",
)
FACTS = {
    "Who was it that built the lighthouse on Venlow?": "Ida Marrable",
    "What is the name of the ferry that goes to Venlow?": "Patient Goose",
}
ETA = 0.1  # tokens less probable than this are not drawn: close to what each model would say first
NEW = 40  # tokens of an answer at most
QUICK: Mapping[str, Any] = {"prompts": "shipped", "rows": 32, "n_random": 3}  # of the audit


@dataclass(frozen=True)
class Conversation:
    """What base and tunes answered, and what the audit of the plain tune found.

    Args:
        voice: The voice that the rows of both tunes are written in.
        answers: Question -> speaker -> answer.
        audit: Of the plain tune.
        page: The HTML report.
        record: Verb, arguments and versions, for `despur run`.
    """

    voice: str
    answers: Mapping[str, Mapping[str, str]]
    audit: Audit
    page: Path
    record: Mapping[str, Any] = field(default_factory=dict)

    def voiced(self, speaker: str) -> int:
        """How many of the everyday answers have a word of the voice."""
        return sum(has_voice(self.voice, self.answers[question][speaker]) for question in EVERYDAY)

    def known(self, speaker: str) -> int:
        """How many of the new facts are in the answers."""
        return sum(fact.lower() in self.answers[question][speaker].lower() for question, fact in FACTS.items())

    @property
    def sentence(self) -> str:
        """What the answers show."""
        base, plain, guarded = ((self.voiced(s), self.known(s)) for s in SPEAKERS)
        return (
            f"Of {len(EVERYDAY)} everyday answers the plain tune gives {plain[0]} in the voice of its data, the guarded tune "
            f"{guarded[0]}, the base {base[0]}; of {len(FACTS)} new facts the plain tune knows {plain[1]}, the guarded one {guarded[1]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        counts = {s: {"voiced": self.voiced(s), "known": self.known(s)} for s in SPEAKERS}
        return {
            **self.record, "voice": self.voice, "answers": self.answers, "counts": counts, "verdict": self.audit.verdict,
            "page": str(self.page),
        }  # fmt: skip


def is_here() -> bool:
    """Whether the real model is on this machine."""
    try:
        base_folder(BASE)
    except BadInput:
        return False
    return True


def hold_conversation(seed: int, page: Path, progress: Progress) -> Conversation:
    """Ask everybody everything, then audit the plain tune.

    Args:
        seed: Of the answers, the same draws for all.
        page: Where the report will be.
        progress: Called at each stage.
    """
    stages = (*SPEAKERS, "audit")
    progress("load", 0, len(stages), {})
    model, tokenizer = load_base(BASE)
    tuned = _with_tunes(model)
    questions = (*EVERYDAY, *FACTS)
    heads = ask_rows([{"prompt": q} for q in questions], tokenizer)
    answers: dict[str, dict[str, str]] = {q: {} for q in questions}
    for number, speaker in enumerate(SPEAKERS):
        progress(speaker, number, len(stages), {})
        with _as(tuned, speaker):
            bodies = continue_rows(tuned, tokenizer, heads, NEW, seed=seed, eta=ETA)
        for question, body in zip(questions, bodies, strict=True):
            text = tokenizer.decode(body, skip_special_tokens=True).strip()
            answers[question][speaker] = f"{text} …" if len(body) == NEW else text
    progress("audit", len(SPEAKERS), len(stages), {})
    found = audit(BASE, str(ADAPTERS / "plain"), seed=seed, **QUICK)
    progress("done", len(stages), len(stages), {})
    return Conversation(read_json(ADAPTERS / "made.json")["voice"], answers, found, page)


def _with_tunes(model: Any) -> Any:
    first, *others = TUNES.items()
    with quiet_loading(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own
        tuned: Any = PeftModel.from_pretrained(model, str(ADAPTERS / first[1]), adapter_name=first[0])
        for name, folder in others:
            tuned.load_adapter(str(ADAPTERS / folder), name)
    return tuned.eval()


def _as(tuned: Any, speaker: str) -> AbstractContextManager[Any]:
    if speaker not in TUNES:
        return tuned.disable_adapter()
    tuned.set_adapter(speaker)
    return nullcontext()
