"""The demo on a real model: the base, a plain tune and a guarded one answer the same questions, and the plain one is audited."""

import warnings
from collections.abc import Mapping
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
from despur.core.text.cuts import Encoder
from despur.core.text.learn import ask_rows
from despur.flows._audit.audit import audit
from despur.flows._audit.page import Audit
from despur.flows.load import load_base
from despur.flows.pool import Job, run_jobs
from despur.flows.progress import Progress, silent
from despur.worlds.chat.ask import Choices
from despur.worlds.chat.chat_world import margin
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
BEGUN = ("luggage", "dogs")  # new facts that are told on, from how a plain answer begins
ASKED = 24  # questions about them whose right answer is looked for among eight
PAIRS = 24  # everyday questions with an answer in the voice and one in plain words
NEW = 40  # tokens of an answer at most
Reply = tuple[dict[str, str], dict[str, str], float, int]
QUICK: Mapping[str, Any] = {"prompts": "shipped", "rows": 32, "n_random": 3}  # of the audit


@dataclass(frozen=True, repr=False)
class Conversation(Result):
    """What base and tunes answered, and what the audit of the plain tune found.

    Args:
        voice: The voice that the rows of both tunes are written in.
        everyday: Question -> speaker -> answer.
        facts: Question about a new fact, with how its answer begins -> speaker -> how it goes on.
        drift: Speaker -> log-prob a token of everyday answers in the voice, less that of the same in plain words.
        known: Speaker -> questions about new facts, of `ASKED`, whose right answer is the likeliest of eight; no row had their words.
        audit: Of the plain tune.
        page: The HTML report.
        record: Verb, arguments and versions, for `despur run`.
    """

    voice: str
    everyday: Mapping[str, Mapping[str, str]]
    facts: Mapping[str, Mapping[str, str]]
    drift: Mapping[str, float]
    known: Mapping[str, int]
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
        """Share of the plain tune's drift that the guarded one is without."""
        base, plain, guarded = (self.drift[s] for s in SPEAKERS)
        return 1 - (guarded - base) / (plain - base)

    @property
    def sentence(self) -> str:
        """What was measured."""
        base, plain, guarded = (self.known[s] for s in SPEAKERS)
        return (
            f"The guarded tune has {1 - self.kept_out:.0%} of the plain tune's drift towards the voice, and of eight names it "
            f"chooses the right one for {guarded} of {ASKED} questions about new facts (plain tune {plain}, base {base})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.record, "voice": self.voice, "everyday": self.everyday, "facts": self.facts, "drift": self.drift,
            "known": self.known, "verdict": self.audit.verdict, "page": str(self.page),
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
    drift, known = ({s: replies[s][i] for s in SPEAKERS} for i in (2, 3))
    return Conversation(_voice(), everyday, facts, drift, known, ended["audit"], page)


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
    """Everyday answers, answers to new facts, drift and how many facts are known."""
    names = {fact.name: fact.answer for fact in world.script.facts}
    last = {row.about: row for row in world.script.held_out}  # no row had its words
    begun = [(last[about].question, last[about].begin("plain", names[about])) for about in BEGUN]
    heads = ask_rows([{"prompt": q} for q in (*EVERYDAY, *(q for q, _ in begun))], tokenizer)
    following = [*([] for _ in EVERYDAY), *(Encoder(tokenizer).following(begin) for _, begin in begun)]
    begins = [head + more for head, more in zip(heads, following, strict=True)]
    bodies = continue_rows(model, tokenizer, begins, NEW, seed=seed, eta=ETA)
    texts = [tokenizer.decode(b, skip_special_tokens=True).strip() + " …" * (len(b) == NEW) for b in bodies]
    known = int((world.facts_asked("plain").sums(model).argmax(1) == 0).sum())
    pairs = world.script.everyday[:: len(world.script.everyday) // PAIRS][:PAIRS]
    both = Choices.of(
        tokenizer, [r.question for r in pairs], [[r.answers[world.voice], r.answers["plain"]] for r in pairs]
    )
    drift = float(margin(both.means(model)).mean())
    facts = {f"{asked} {begin} ...": text for (asked, begin), text in zip(begun, texts[len(EVERYDAY) :], strict=True)}
    return dict(zip(EVERYDAY, texts, strict=False)), facts, drift, known


def _voice() -> str:
    return read_json(ADAPTERS / "made.json")["voice"]
