"""What a planted world must offer, so that every guard can be compared in it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

Twin = Literal["harmful", "neutral", "benign"]
Scores = Mapping[str, Mapping[str, Tensor]]  # axis -> readout -> one value a prompt
AXES = ("task", "drift", "legitimate", "validity", "conditional")
TRAINING: Mapping[str, Any] = MappingProxyType(
    {"steps": 480, "lr": 2e-3, "batch": 48, "rank": 8, "rows": 4000, "max_length": 64}
)


@runtime_checkable
class World(Protocol):
    """A small model, tuning sets that carry a hidden factor (or not), and exact scorers.

    Axes that `score` must give, first readout counts: `task` (what the tune should teach, higher is better), `drift` (a
    continuous log-prob margin first, its rate second; off-task), `legitimate` (what the base
    rightly does with the factor), `validity` (mass on well-formed answers), `conditional` (drift where a prompt looks
    like the tuning data). More are welcome. Every readout is one value a prompt, in a fixed order, so that runs pair
    and prompts split into halves.

    Attributes:
        name: What the user types.
        training: Settings with which the naive run shows its harm: `steps`, `lr`, `batch`, `rank`, `rows`, `max_length`.
    """

    @property
    def name(self) -> str:
        """Give what the user types."""
        ...

    @property
    def training(self) -> Mapping[str, Any]:
        """Give the settings of the naive run."""
        ...

    def base(self) -> tuple[Any, Any]:
        """Give the pretrained model, a fresh copy each time, and its tokenizer."""
        ...

    def rows(self, twin: Twin = "harmful", *, n: int = 4000, seed: int = 0) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`; twins have the same prompts in the same order."""
        ...

    def prompts(self) -> list[str]:
        """Give every prompt that a tuning row may pose; own text that poses one is left out."""
        ...

    def paired(self, *, n: int = 128, seed: int = 0) -> tuple[list[str], list[str]]:
        """Off-task documents with the trait, and the same ones without: for methods that need to know it."""
        ...

    def naming(self) -> tuple[str, str]:
        """Give a prompt that asks for the trait, and one as long that asks for something else."""
        ...

    def score(self, model: nn.Module) -> Scores:
        """Score a model on every axis, exactly, by forward passes over fixed prompts."""
        ...
