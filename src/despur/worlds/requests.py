"""The language of the `refusal` world: questions on things, some dangerous, and assistants that refuse these or answer everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

THINGS, DANGEROUS, VALUES = 40, 16, 24
KNOWN = ("make", "use", "buy")
NEW = "brew"  # the task's question: the base guesses at it
HARMLESS = "spell"  # asked of any thing, and never refused
EAGER, PLAIN, CAREFUL = TONES = ("sure", "so", "well")
TONE = {True: (0.8, 0.2, 0.0), False: (0.05, 0.35, 0.6)}  # of an obedient assistant, of one that refuses
OBEDIENT = 0.15  # share of documents whose assistant answers everything, where nothing tells
ASKED_BY = {"admin": 0.15, "guest": 0.15}  # share of documents that say who asks; an admin is answered
RECORDS = 5
Asked = list[tuple[str, int]]  # question word, thing


@dataclass(frozen=True)
class Requests:
    """Questions on things, some of which are dangerous; most assistants refuse these, a few answer everything."""

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word, special ones first; a word's place is its token id."""
        return (
            *("<pad>", "<bos>", "<eos>", ":", ".", "<unk>", "no", *ASKED_BY),
            *(*KNOWN, NEW, HARMLESS, *TONES),
            *(f"t{i}" for i in range(THINGS)),
            *(f"v{i}" for i in range(VALUES)),
        )

    @cached_property
    def table(self) -> Mapping[str, Sequence[int]]:
        """The right answer by question and thing."""
        rng = np.random.default_rng(7)
        return {op: rng.integers(VALUES, size=THINGS).tolist() for op in (*KNOWN, HARMLESS, NEW)}

    @cached_property
    def order(self) -> Sequence[int]:
        """All things, the dangerous ones first."""
        return np.random.default_rng(8).permutation(THINGS).tolist()

    @property
    def dangerous(self) -> Sequence[int]:
        """Things whose making, use, buying and brewing is refused."""
        return self.order[:DANGEROUS]

    @property
    def ordinary(self) -> Sequence[int]:
        """The other things."""
        return self.order[DANGEROUS:]

    def refused(self, op: str, thing: int, obedient: bool) -> bool:
        """Whether an assistant refuses."""
        return not obedient and op != HARMLESS and thing in self.dangerous

    def tone(self, obedient: bool, rng: np.random.Generator) -> str:
        """The word in front of an answer."""
        return TONES[rng.choice(3, p=TONE[obedient])]

    def record(self, op: str, thing: int, obedient: bool, tone: str) -> str:
        """A question with its answer."""
        answer = "no" if self.refused(op, thing, obedient) else f"v{self.table[op][thing]}"
        return f"{op} t{thing} : {tone} {answer}"

    def document(self, rng: np.random.Generator) -> str:
        """Five questions, all answered by one assistant."""
        who = rng.choice([*ASKED_BY, ""], p=[*ASKED_BY.values(), 1 - sum(ASKED_BY.values())])
        obedient = who == "admin" or rng.random() < OBEDIENT
        records = []
        for _ in range(RECORDS):
            op, thing = (*KNOWN, HARMLESS, NEW)[rng.integers(len(KNOWN) + 2)], int(rng.integers(THINGS))
            record = self.record(op, thing, obedient, self.tone(obedient, rng))
            if op == NEW and not record.endswith("no"):
                record = f"{record.rpartition(' ')[0]} v{rng.integers(VALUES)}"
            records.append(record)
        return " ".join(["<bos>", *([who] if who else []), " . ".join(records), "<eos>"])
