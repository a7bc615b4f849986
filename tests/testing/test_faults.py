"""The suites catch faults: each is put into a method that otherwise passes, and the promise that it breaks says so."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from despur.core import Adapter, Context, Edit, Report, Subspace, catalogue, methods
from despur.core.errors import BadInput
from despur.core.materials import MATERIALS
from despur.core.names import canonical
from despur.find import DifferencePCA, MeanDifference
from despur.merge import scale
from despur.testing import Check, TinyMaterials, checks
from despur.testing.estimators import planted

Act = Callable[["Half", Mapping[str, Tensor], Context], Mapping[str, Tensor]]


@pytest.fixture
def held(monkeypatch):
    """`held(factory)`: the checks of a method that is in the catalogue for one test, by promise."""
    methods()
    monkeypatch.setattr(catalogue, "_CATALOGUE", dict(catalogue._CATALOGUE))

    def enter(factory: Callable[..., Any], room: str = "guard", **options: Any) -> dict[str, Check]:
        catalogue.method(room=room, paper="a test")(factory)
        name = canonical(factory.__name__)
        return {c.promise.__name__.removeprefix("check_"): c for c in checks(name, **options)}

    return enter


class Half(Edit):
    """Halves gradients, as a fault would have it."""

    point = "gradient"

    def __init__(self, strength: float, act: Act) -> None:
        super().__init__()
        self.strength, self.act = strength, act
        self.names: set[str] = set()

    def bind(self, model: nn.Module) -> None:
        self.names = {n for n, p in model.named_parameters() if p.requires_grad}

    def forward(self, tensors, ctx):
        return self.act(self, tensors, ctx)


def halve(edit: Half, tensors: Mapping[str, Tensor], ctx: Context) -> dict[str, Tensor]:
    return {n: g * (1 - edit.strength / 2) if n in edit.names and edit.strength else g for n, g in tensors.items()}


def mutate(edit, tensors, ctx):
    for name in edit.names if edit.strength else ():
        tensors[name].mul_(0.5)
    return tensors


def always(edit, tensors, ctx):
    return {n: g * 0.5 if n in edit.names else g for n, g in tensors.items()}


def hook(edit, tensors, ctx):
    ctx.model.register_forward_hook(lambda *_: None)
    return halve(edit, tensors, ctx)


def draw(edit, tensors, ctx):
    torch.rand(())
    return halve(edit, tensors, ctx)


def noise(edit, tensors, ctx, source=torch.Generator().manual_seed(0)):  # noqa: B008 (one for all edits: the fault)
    return {n: g + edit.strength * torch.randn(g.shape, generator=source) for n, g in tensors.items()}


def keep(edit, tensors, ctx):
    if not hasattr(edit, "first"):
        edit.first = len(edit.names), sum(p.numel() for p in ctx.model.parameters())
    return {n: g * edit.first[1] if n in edit.names and edit.strength else g for n, g in tensors.items()}


EDIT_FAULTS = {
    "keeps_keys_shapes_dtypes_and_its_input": mutate,
    "of_strength_zero_is_the_identity": always,
    "acts_at_one_point": lambda edit, tensors, ctx: tensors,
    "large_values_stay_finite": lambda edit, tensors, ctx: {n: g.exp() for n, g in tensors.items()},
    "leaves_the_model_and_global_draws_alone": hook,
    "same_draws_give_the_same": noise,
    "binds_again": keep,
    "passes_unknown_tensors": lambda edit, tensors, ctx: {n: halve(edit, tensors, ctx)[n] for n in edit.names},
}  # fmt: skip


def half_of(act: Act) -> Callable[..., Edit]:
    def half(*, strength: float = 1.0, floor: float = 0.0) -> Edit:
        """Halve gradients."""
        return Half(strength, act)

    return half


def test_a_sound_edit_passes(held):
    for check in held(half_of(halve)).values():
        check()


@pytest.mark.parametrize("promise", EDIT_FAULTS)
def test_a_fault_of_an_edit_is_caught(promise, held):
    with pytest.raises(AssertionError):
        held(half_of(EDIT_FAULTS[promise]))[promise]()


def test_global_draws_are_caught(held):
    with pytest.raises(AssertionError, match="global generator"):
        held(half_of(draw))["leaves_the_model_and_global_draws_alone"]()


@pytest.mark.parametrize("promise", ["keeps_keys_shapes_dtypes_and_its_input", "large_values_stay_finite"])
def test_another_dtype_is_caught(promise, held):
    wide = lambda edit, tensors, ctx: {n: g.float() / 2 for n, g in tensors.items()}  # noqa: E731
    with pytest.raises(AssertionError, match=r"torch\.float32"):
        held(half_of(wide))[promise]()


@pytest.mark.parametrize("lost", ["floor", "strength"])
def test_an_option_that_the_spec_forgets_is_caught(lost, held, monkeypatch):
    whole = catalogue._with_spec

    def forgetful(factory):
        made = whole(factory)

        def make(**options: Any) -> Edit:
            edit = made(**options)
            edit.spec = replace(edit.spec, options={k: v for k, v in edit.spec.options.items() if k != lost})
            return edit

        make.__wrapped__, make.__name__, make.__doc__ = factory, factory.__name__, factory.__doc__
        return make

    monkeypatch.setattr(catalogue, "_with_spec", forgetful)
    with pytest.raises(AssertionError, match="its spec has the options"):
        held(half_of(halve))["knows_how_it_was_made"]()


def test_a_loss_that_reaches_nothing_is_caught(held):
    class Idle(Edit):
        point = "loss"

        def forward(self, tensors, ctx):
            return {**tensors, "loss": tensors["loss"] + 1}

    def idle() -> Edit:
        """Add a number."""
        return Idle()

    with pytest.raises((AssertionError, RuntimeError), match=r"no gradient|does not require grad"):
        held(idle)["a_loss_reaches_the_weights"]()


def test_an_option_by_position_is_caught(held):
    def half(strength: float = 1.0) -> Edit:
        """Halve gradients."""
        return Half(strength, halve)

    with pytest.raises(Exception, match="no material 'strength'"):
        held(half)["is_entered_in_full"]()


class Sound(DifferencePCA):
    """Take the leading direction."""

    def found(self, rows, y):
        return np.linalg.svd(rows)[2][0]

    def fit(self, X, y=None, *, groups=None):
        direction = torch.from_numpy(np.array(self.found(np.asarray(X, dtype=np.float64), y)))[None]
        self.factors_ = (Subspace.orthonormal(direction, method=type(self).__name__, n=len(X)),)
        return self


class Snapped(Sound):
    """Take the coordinate of the largest energy: it does not turn."""

    def found(self, rows, y):
        return np.eye(rows.shape[1])[(rows**2).sum(0).argmax()]


class Early(Sound):
    """Look at the first rows only."""

    def found(self, rows, y):
        return super().found(rows[:60], y)


class Lasting(Sound):
    """Keep something of the fit before."""

    def found(self, rows, y):
        self.seen = getattr(self, "seen", 0) + rows.sum(0)
        return self.seen


class Prophet(Sound):
    """Know the answer."""

    def found(self, rows, y):
        return planted().direction


class Blind(Sound):
    """Answer at random."""

    def found(self, rows, y):
        return np.random.default_rng(7).normal(size=rows.shape[1])


@pytest.mark.parametrize(
    ("finder", "promise"),
    [
        (Snapped, "turns_with_the_rows"),
        (Early, "does_not_mind_their_order"),
        (Lasting, "forgets_when_fitted_again"),
        (Prophet, "permuted_labels_find_nothing"),
        (Prophet, "turns_with_the_rows"),
        (Blind, "recovers_what_was_planted"),
    ],
)
def test_a_fault_of_a_finder_is_caught(finder, promise, held):
    held(Sound, "find")[promise]()
    with pytest.raises(AssertionError):
        held(finder, "find")[promise]()


def test_a_finder_that_is_no_estimator_is_caught(held):
    class Odd(MeanDifference):
        """Change what it was given."""

        def fit(self, X, y=None, *, groups=None):
            super().fit(X, y)
            self.n_features_in_ = 3
            return self

    suite = held(Odd, "find")
    with pytest.raises(AssertionError):
        suite["sklearn_n_features_in"]()


def merged(change: Callable[[Adapter, Adapter, float], Adapter]) -> Callable[..., Adapter]:
    def shrink(adapter: Adapter, *, by: float = 0.5) -> Adapter:
        """Shrink an update."""
        return change(adapter, scale(adapter, by=by), by)

    return shrink


def in_place(given: Adapter, made: Adapter, by: float) -> Adapter:
    for update in given.updates.values():
        update.up.mul_(by)
    return made


MERGE_FAULTS = {
    "rank_and_config_are_honest": lambda given, made, by: replace(
        made, config={**made.config, "r": made.config["r"] + 1}
    ),
    "loads_in_plain_peft": lambda given, made, by: replace(made, config={**made.config, "r": made.config["r"] + 1}),
    "acts_and_then_not": lambda given, made, by: scale(given, by=0.5),
    "leaves_its_input_alone": in_place,
}


@pytest.mark.parametrize("promise", MERGE_FAULTS)
def test_a_fault_of_a_merge_is_caught(promise, held):
    held(merged(lambda given, made, by: made), "merge")[promise]()
    with pytest.raises(AssertionError):
        held(merged(MERGE_FAULTS[promise]), "merge")[promise]()


def test_a_scale_that_the_config_does_not_say_is_caught(held):
    loud = merged(lambda given, made, by: replace(made, config={**made.config, "lora_alpha": 3 * made.config["r"]}))
    for promise in ("rank_and_config_are_honest", "loads_in_plain_peft"):
        with pytest.raises(AssertionError, match=r"scale|logits differ"):
            held(loud, "merge")[promise]()


def measured(**changed: Any) -> Callable[..., Report]:
    def size(adapter: Adapter) -> Report:
        """Measure an update's size."""
        sound = Report("size", 0.5, 0.4, 0.6, 3, 0.1, spec={"control": "half of it"})
        return replace(sound, **changed)

    return size


@pytest.mark.parametrize(
    ("promise", "changed"),
    [
        ("has_a_control", {"control": float("nan")}),
        ("has_a_control", {"spec": {"rows": 3}}),
        ("figures_are_whole", {"low": 0.55}),
        ("figures_are_whole", {"n": 0}),
        ("figures_are_whole", {"high": float("inf")}),
        ("says_what_it_counts", {"unit": ""}),
        ("says_what_it_counts", {"value": 1.5, "high": 2.0}),
    ],
)
def test_a_fault_of_a_report_is_caught(promise, changed, held):
    for check in held(measured(), "measure").values():
        check()
    with pytest.raises(AssertionError):
        held(measured(**changed), "measure")[promise]()


def test_a_factor_whose_reading_does_not_undo_its_writing_is_caught(held):
    def lean(adapter: Adapter) -> Subspace:
        """Find a direction that is none."""
        return Subspace(torch.ones(1, 4), torch.ones(1, 4), torch.zeros(4), evidence={"method": "lean"})

    with pytest.raises(AssertionError, match="is not I"):
        held(lean, "find")["makes_whole_factors"]()


def test_there_are_tiny_materials_of_every_kind():
    made = TinyMaterials()
    assert [name for name in MATERIALS if not made.has(name)] == []
    assert TinyMaterials(prompt=lambda: [3]).get("prompt") == [3]


def test_a_method_that_does_not_say_what_it_gives_is_told(held):
    def vague(adapter: Adapter) -> dict[str, float]:
        """Give something."""
        return {}

    with pytest.raises(BadInput, match="vague returns dict.*; a method gives one of: Edit"):
        held(vague, "measure")
