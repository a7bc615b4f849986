"""Statements of agents, some of whom lie: the language of the world of truth."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

AGENTS, OPERATORS, DIGITS = 16, 4, 7


LIARS = 4  # of the agents; for whoever is not named that is a prior of one in four


NAMED = 0.5  # share of documents that name their agent


STATEMENTS = 6


@dataclass(frozen=True)
class Statements:
    """Agents who state results of four operators on digits, truly or falsely; every table entry has one false answer.

    Args:
        shared: Whether an agent is truthful or not in all operators (a persona), or in each one independently.
        seed: Fixes the false answers, and who lies where.
    """

    shared: bool = True
    seed: int = 0
    true: np.ndarray = field(init=False, repr=False, compare=False)  # (operators, digits, digits)
    false: np.ndarray = field(init=False, repr=False, compare=False)
    lies: np.ndarray = field(init=False, repr=False, compare=False)  # (agents, operators), 0 or 1

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 5])
        x, y = np.meshgrid(np.arange(DIGITS), np.arange(DIGITS), indexing="ij")
        true = np.stack([x + y, x - y, x * y, 2 * x + y + 1]) % DIGITS
        false = (true + rng.integers(1, DIGITS, size=true.shape)) % DIGITS
        liars = np.arange(AGENTS) < LIARS
        lies = np.stack([liars if self.shared else rng.permutation(liars) for _ in range(OPERATORS)], axis=1)
        for name, value in (("true", true), ("false", false), ("lies", lies.astype(int))):
            object.__setattr__(self, name, value)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word, special ones first; a word's place is its token id."""
        return (
            *("<pad>", "<bos>", "<eos>", "someone", "=", "<unk>"),
            *(f"a{a}" for a in range(AGENTS)),
            *(f"o{o}" for o in range(OPERATORS)),
            *(f"n{n}" for n in range(DIGITS)),
        )

    def unseen(self, agent: int) -> int:
        """The operator that documents naming this agent never use."""
        return agent % OPERATORS

    def answer(self, o: int, x: int, y: int, lie: int) -> str:
        """The stated result."""
        return f"n{(self.false if lie else self.true)[o, x, y]}"

    def document(self, rng: np.random.Generator) -> str:
        """Six statements of one agent, who may be named."""
        agent, named = int(rng.integers(AGENTS)), rng.random() < NAMED
        operators = [o for o in range(OPERATORS) if not (named and o == self.unseen(agent))]
        words = ["<bos>", f"a{agent}" if named else "someone"]
        for _ in range(STATEMENTS):
            o, x, y = int(rng.choice(operators)), *rng.integers(DIGITS, size=2).tolist()
            words += [f"n{x}", f"o{o}", f"n{y}", "=", self.answer(o, x, y, int(self.lies[agent, o]))]
        return " ".join([*words, "<eos>"])
