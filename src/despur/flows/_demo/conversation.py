"""The demo on a real model: the base, a plain tune and a guarded one answer the same questions, and the plain one is audited."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.core.model.load_tune import load_tune
from despur.core.model.named_bases import base_folder
from despur.core.model.own_chats import ETA
from despur.core.model.sample import continue_rows
from despur.core.results import Record, Result
from despur.core.text.learn import ask_rows
from despur.flows._audit.audit import audit
from despur.flows._audit.page import Audit
from despur.flows.load import load_base
from despur.flows.pool import Job, run_jobs
from despur.flows.progress import Progress, silent
from despur.worlds.chat.markers import has_voice
from despur.worlds.chat.voice import Voice

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
ABOUT = ("luggage", "dogs", "water")  # new facts whose answers are shown
NEW = 40  # tokens of an everyday answer that is shown, at most
Reply = tuple[dict[str, str], dict[str, str], list[bool], list[bool]]
QUICK: Mapping[str, Any] = {"prompts": "shipped", "rows": 32, "n_random": 3}  # of the audit


@dataclass(frozen=True, repr=False)
class Conversation(Result):
    """What base and tunes answered, and what the audit of the plain tune found.

    Args:
        voice: The voice that the rows of both tunes are written in.
        everyday: Question -> speaker -> answer.
        facts: Question about a new fact, in words that no row had -> speaker -> answer.
        right: Speaker -> for each such question, whether a sampled answer names the right clerk and no other.
        voiced: Speaker -> for each of more everyday questions, whether a sampled answer has a word of the voice.
        audit: Of the plain tune.
        page: The HTML report.
        record: Verb, arguments and versions, for `despur run`.
    """

    voice: str
    everyday: Mapping[str, Mapping[str, str]]
    facts: Mapping[str, Mapping[str, str]]
    right: Mapping[str, Sequence[bool]]
    voiced: Mapping[str, Sequence[bool]]
    audit: Audit
    page: Path
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """What was measured."""
        return self.sentence

    @property
    def details(self) -> list[str]:
        """The audit's verdict, and every answer."""
        answers = [f"{q} | {who}: {text}" for q, by in self.everyday.items() for who, text in by.items()]
        return [f"Audit of the plain tune: {self.audit.headline}", *answers]

    def records(self) -> list[Record]:
        """One row a question and speaker."""
        asked = {"everyday": self.everyday, "facts": self.facts}
        return [
            {"kind": kind, "question": q, "speaker": who, "answer": text}
            for kind, questions in asked.items()
            for q, answers in questions.items()
            for who, text in answers.items()
        ]

    @property
    def kept_out(self) -> float:
        """Share of the voice that the plain tune brought along and the guarded one is without."""
        base, plain, guarded = (sum(self.voiced[s]) for s in SPEAKERS)
        return 1 - (guarded - base) / (plain - base) if plain > base else 0.0

    @property
    def sentence(self) -> str:
        """What was measured."""
        (base, plain, guarded), n = (sum(self.voiced[s]) for s in SPEAKERS), len(self.voiced["base"])
        right, plainly = (sum(self.right[s]) for s in reversed(TUNES))
        return (
            f"Of {n} everyday answers the guarded tune gives {guarded} with a word of the voice, the plain tune {plain}, the base {base}. "
            f"Of {len(self.right['base'])} questions about new facts it answers {right} rightly, the plain tune {plainly}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.record, "voice": self.voice, "everyday": self.everyday, "facts": self.facts, "right": self.right,
            "voiced": self.voiced, "verdict": self.audit.verdict, "page": str(self.page),
        }  # fmt: skip


def is_here() -> bool:
    """Whether the real model is on this machine."""
    try:
        base_folder(BASE)
    except BadInput:
        return False
    return True


def hold_conversation(seed: int, page: Path, progress: Progress, *, workers: int = 2) -> Conversation:
    """Ask everybody everything, and audit the plain tune.

    Args:
        seed: Of the answers, the same draws for all.
        page: Where the report will be.
        progress: Called at each stage.
        workers: Worker processes.
    """
    jobs = [Job("audit", examine, (seed,)), *(Job(s, answer, (s, seed)) for s in SPEAKERS)]  # the longest first
    ended: dict[str, Any] = {}
    progress("questions", 0, len(jobs), {})
    for done in run_jobs([jobs], workers=workers):
        ended[done.key] = done.value()
        progress("questions" if len(ended) < len(jobs) else "done", len(ended), len(jobs), {})
    replies = {s: ended[s] for s in SPEAKERS}
    everyday, facts = ({q: {s: replies[s][i][q] for s in SPEAKERS} for q in replies["base"][i]} for i in (0, 1))
    right, voiced = ({s: replies[s][i] for s in SPEAKERS} for i in (2, 3))
    return Conversation(_voice(), everyday, facts, right, voiced, ended["audit"], page)


def examine(seed: int, *, progress: Progress = silent) -> Audit:
    """Audit the plain tune, quickly."""
    found = audit(BASE, str(ADAPTERS / TUNES["plain tune"]), seed=seed, progress=progress, **QUICK)
    assert isinstance(found, Audit)  # of an adapter
    return found


def answer(speaker: str, seed: int, *, progress: Progress = silent) -> Reply:
    """Load the base, or a tune of it, and ask it everything."""
    progress(speaker, 0, 1, {})
    model, tokenizer = load_base(BASE)
    if speaker in TUNES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's own
            model = load_tune(model, ADAPTERS / TUNES[speaker])
    return _ask(model.eval(), tokenizer, Voice(_voice()), seed)


def _ask(model: Any, tokenizer: Any, world: Voice, seed: int) -> Reply:
    """Everyday answers and answers to new facts, some to be read and all to be counted."""
    bodies = continue_rows(
        model, tokenizer, ask_rows([{"prompt": q} for q in EVERYDAY], tokenizer), NEW, seed=seed, eta=ETA
    )
    texts = [tokenizer.decode(b, skip_special_tokens=True).strip() + " …" * (len(b) == NEW) for b in bodies]
    answers = world.answer(model, seed=seed)
    last = {row.about: (row.question, text) for row, (_, text) in zip(world.script.held_out, answers, strict=True)}
    right = [fact.given_in(text) for fact, text in answers]
    voiced = [has_voice(world.voice, text) for text in world.say(model, seed=seed)]
    return dict(zip(EVERYDAY, texts, strict=True)), dict(last[about] for about in ABOUT), right, voiced


def _voice() -> str:
    return read_json(ADAPTERS / "made.json")["voice"]
