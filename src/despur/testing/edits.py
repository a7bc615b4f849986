"""What every edit promises: it acts at one point, touches nothing else, and at strength 0 it changes nothing."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.materials import Given, Materials
from despur.core.spec import content_digest
from despur.core.types import Context, Edit, Point
from despur.testing.acting import acting_input
from despur.testing.require import fingerprint, require
from despur.testing.tiny import tiny_tuned

LARGE = 1e4  # a value that activations of real models reach


def check_acts_at_one_point(method: Method, given: Materials, **options: Any) -> None:
    """It is an edit, at one of the five points, and with its defaults it does something, to what it gets or to its gradient."""
    for dtype in (torch.float32, torch.bfloat16):
        edit, model = build(method.name, given, **options), tiny_tuned().to(dtype)
        require(isinstance(edit, Edit), f"it makes a {type(edit).__name__}, where an Edit is declared")
        require(edit.point in get_args(Point), f"it acts at {edit.point!r}, which is none of {get_args(Point)}")
        edit.bind(model)
        tensors = acting_input(edit, model)
        require(_acts(edit, tensors, model), f"with its defaults it does nothing in {dtype}")


def check_keeps_keys_shapes_dtypes_and_its_input(method: Method, given: Materials, **options: Any) -> None:
    """In float32 and bfloat16; what it was given is not mutated, and what it gives is finite."""
    for dtype in (torch.float32, torch.bfloat16):
        _check_kept(build(method.name, given, **options), tiny_tuned().to(dtype), 1.0)


def check_large_values_stay_finite(method: Method, given: Materials, **options: Any) -> None:
    """Values of 1e4, in float32 and bfloat16: as input, and of a loss in the weights that it looks at, too."""
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny_tuned().to(dtype)
        edit = build(method.name, given, **options)
        if edit.point == "loss":
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if "lora_B" in name:
                        parameter.mul_(LARGE)
        _check_kept(edit, model, LARGE)


def check_leaves_the_model_and_global_draws_alone(method: Method, given: Materials, **options: Any) -> None:
    """Weights, flags, mode, gradients and hooks stay; so does the random state of torch and of numpy."""
    edit, model = build(method.name, given, **options), tiny_tuned()
    before, drawn = fingerprint(model), _random_state()
    edit.bind(model)
    edit(acting_input(edit, model), Context(model))
    require(_random_state() == drawn, "it draws from a global generator; its own is `ctx.rng`")
    require(fingerprint(model) == before, "it changes the model: weights, flags, mode, gradients or hooks")


def check_same_draws_give_the_same(method: Method, given: Materials, **options: Any) -> None:
    """Two edits made alike, with generators of one seed, give the same bits."""
    model = tiny_tuned()
    one, two = (_acted(build(method.name, given, **options), model) for _ in range(2))
    require(_same(one, two), "with the same draws it gives something else")


def check_binds_again(method: Method, given: Materials, **options: Any) -> None:
    """An edit that was bound to another model before does on this one what a new edit does."""
    used, other, model = build(method.name, given, **options), tiny_tuned(seed=5, rank=2), tiny_tuned()
    _acted(used, other)
    require(
        _same(_acted(used, model), _acted(build(method.name, given, **options), model)),
        "it keeps something of the model before",
    )


def check_passes_unknown_tensors(method: Method, given: Materials, **options: Any) -> None:
    """A tensor of a name that it does not know comes out as it went in, the same object."""
    edit, model, other = build(method.name, given, **options), tiny_tuned(), torch.randn(3, 5)
    edit.bind(model)
    out = edit({**acting_input(edit, model), "elsewhere": other}, Context(model))
    require(out.get("elsewhere") is other, "a tensor that it does not know is lost or changed")


def check_a_loss_reaches_the_weights(method: Method, given: Materials, **options: Any) -> None:
    """A loss has a gradient at trained weights and at no others; an edit elsewhere trains nothing of its own."""
    edit, model = build(method.name, given, **options), tiny_tuned()
    if edit.point != "loss":
        require(not any(p.requires_grad for p in edit.parameters()), "it has weights of its own that would be trained")
        return
    edit.bind(model)
    edit(acting_input(edit, model), Context(model))["loss"].backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    require(any(p.grad is not None and p.grad.any() for p in trained), "its loss has no gradient at any trained weight")
    require(all(p.grad is None for p in model.parameters() if not p.requires_grad), "its loss reaches frozen weights")


def check_of_strength_zero_is_the_identity(method: Method, given: Materials, **options: Any) -> None:
    """Bit for bit, and no further tensor; strength 1 is the default. For methods that have a strength."""
    if "strength" not in method.options:
        return
    require(method.options["strength"] == 1.0, "its strength is not 1 by default")
    nothing: dict[str, Any] = {**options, "strength": 0.0}
    edit, model = build(method.name, given, **nothing), tiny_tuned()
    edit.bind(model)
    tensors = acting_input(edit, model)
    out = edit(tensors, Context(model))
    require(out.keys() == tensors.keys() and _same(out, tensors), "of strength 0 it acts")


def check_knows_how_it_was_made(method: Method, given: Materials, **options: Any) -> None:
    """Its spec names the method, every option and every material, and builds an edit that does the same."""
    asked: dict[str, Any] = {**options, **({"strength": 0.5} if "strength" in method.options else {})}
    edit, model = build(method.name, given, **asked), tiny_tuned()
    spec = edit.spec
    if spec is None or spec.name != method.name:
        raise AssertionError(f"it knows itself as {spec}, not as made by {method.name}")
    wanted = {**method.options, **asked}
    require(
        spec.options.keys() == wanted.keys(), f"its spec has the options {sorted(spec.options)}, not {sorted(wanted)}"
    )
    require(all(spec.options[k] is v or spec.options[k] == v for k, v in wanted.items()), "its spec has other options")
    require(spec.given.keys() == method.takes.keys(), f"its spec has the materials {sorted(spec.given)}")
    before = dict(spec.materials)
    first = _acted(edit, model)
    require(
        {k: content_digest(v)[:8] for k, v in spec.given.items()} == before, "it changes the materials it was given"
    )
    again = build(spec.name, Given({method.takes[k]: v for k, v in spec.given.items()}), **spec.options)
    require(_same(first, _acted(again, model)), "what its spec builds does something else")
    require(str(again.spec) == str(spec), "what its spec builds has another spec")


def check_state_loads(method: Method, given: Materials, **options: Any) -> None:
    """The `state_dict` after a step, loaded into a new edit, makes that one do the same."""
    edit, fresh, model = build(method.name, given, **options), build(method.name, given, **options), tiny_tuned()
    _acted(edit, model)
    fresh.bind(model)
    fresh.load_state_dict(edit.state_dict())
    tensors = acting_input(edit, model)
    one, two = (dict(e(tensors, Context(model, 1, 9, torch.Generator().manual_seed(6)))) for e in (edit, fresh))
    require(_same(one, two), "a new edit with its state does something else")


SUITE = (
    check_acts_at_one_point,
    check_keeps_keys_shapes_dtypes_and_its_input,
    check_large_values_stay_finite,
    check_leaves_the_model_and_global_draws_alone,
    check_same_draws_give_the_same,
    check_binds_again,
    check_passes_unknown_tensors,
    check_a_loss_reaches_the_weights,
    check_of_strength_zero_is_the_identity,
    check_knows_how_it_was_made,
    check_state_loads,
)


def _acts(edit: Edit, tensors: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Whether it changes a tensor, or what flows back through one."""
    out = edit(tensors, Context(model))
    if edit.point != "activation" or any(not torch.equal(out[k], t) for k, t in tensors.items()):
        return any(not torch.equal(out[k], t) for k, t in tensors.items())
    real = {k: t.detach().requires_grad_() for k, t in tensors.items() if t.is_floating_point()}
    out = edit({**tensors, **real}, Context(model))
    grads = torch.autograd.grad(sum((out[k].sum() for k in real), torch.zeros(())), list(real.values()))
    return any(bool((grad != 1).any()) for grad in grads)


def _acted(edit: Edit, model: nn.Module) -> Mapping[str, Tensor]:
    edit.bind(model)
    return edit(acting_input(edit, model), Context(model, rng=torch.Generator().manual_seed(4)))


def _same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def _check_kept(edit: Edit, model: nn.Module, times: float) -> None:
    edit.bind(model)
    tensors = acting_input(edit, model, times)
    before = {k: t.clone() for k, t in tensors.items()}
    out = edit(tensors, Context(model))
    require(before.keys() <= out.keys(), f"it drops {sorted(before.keys() - out.keys())}")
    require(before.keys() == out.keys() or edit.point in ("batch", "loss"), "it adds tensors where none may be added")
    for key, was in before.items():
        require(torch.equal(tensors[key], was), f"it mutates its input {key!r}")
        require((out[key].dtype, out[key].device) == (was.dtype, was.device), f"it changes {key!r} to {out[key].dtype}")
        require(out[key].shape == was.shape or edit.point == "batch", f"it changes the shape of {key!r}")
        require(torch.isfinite(out[key]).all(), f"{key!r} comes out as NaN or Inf")


def _random_state() -> tuple[list[int], str]:
    return torch.get_rng_state().tolist(), str(np.random.get_state())
