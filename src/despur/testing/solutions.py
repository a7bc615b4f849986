"""What every solver promises: a whole `Solution` that says honestly how far from the best it may be."""

import math
from typing import Any

import numpy as np
import torch

from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.materials import Materials
from despur.testing.require import at_hand, fingerprints, require

FIELDS = ("x", "value", "iterations", "error", "certificate")
ROUNDS = ("max_iter", "iterations", "steps", "rounds")  # what a solver calls the option that bounds its iterations
LONGER = 10  # times as many iterations, to look for something better


def check_gives_a_whole_solution(method: Method, given: Materials, **options: Any) -> None:
    """A frozen `Solution` of five fields: a finite point, its value, iterations, error, and a certificate or why there is none."""
    found: Any = build(method.name, at_hand(method, given), **options)
    kind, name = vars(type(found)), type(found).__name__
    require("__dataclass_params__" in kind and name == "Solution", f"it gives a {name}, no Solution")
    names = tuple(kind["__dataclass_fields__"])
    require(names == FIELDS, f"its Solution has {', '.join(names)}; the five are {', '.join(FIELDS)}")
    require(kind["__dataclass_params__"].frozen, "its Solution can be changed")
    require(_finite(found.x), "its point has NaN or Inf")
    require(math.isfinite(found.value), f"its value is {found.value}")
    require(isinstance(found.iterations, int) and found.iterations >= 0, f"it counts {found.iterations!r} iterations")
    require(math.isfinite(found.error) and found.error >= 0, f"its error is {found.error}: a size is needed")
    gap = found.certificate
    require(
        gap.value >= -1e-9 or (gap.value != gap.value and gap.reason),
        f"its certificate is {gap}: neither bound nor reason",
    )


def check_leaves_its_problem_alone(method: Method, given: Materials, **options: Any) -> None:
    """What it is given and the global draws stay as they are, and solved again it is the same, bit for bit."""
    problem = at_hand(method, given)
    before, drawn, also = fingerprints(problem), torch.get_rng_state(), np.random.get_state()[1]  # type: ignore[index]
    one = build(method.name, problem, **options)
    require(torch.equal(drawn, torch.get_rng_state()), "it draws from torch's global generator")
    require(np.array_equal(also, np.random.get_state()[1]), "it draws from numpy's global generator")  # type: ignore[index]
    require(fingerprints(problem) == before, "it changes what it is given")
    two = build(method.name, problem, **options)
    require(np.array_equal(_plain(one.x), _plain(two.x)) and one.value == two.value, "solved again it differs")


def check_says_when_it_was_stopped(method: Method, given: Materials, **options: Any) -> None:
    """After one iteration it raises nothing, and its error is no smaller than at the end."""
    name = _rounds(method)
    if name is None:
        return
    problem = at_hand(method, given)
    short, whole = (_solved(method, problem, {**options, **more}) for more in ({name: 1}, {}))
    require(short.iterations <= 1, f"asked for one iteration it did {short.iterations}")
    if whole.iterations > 1:
        require(
            short.error > whole.error,
            f"stopped after one iteration its error is {short.error:.3g}, at the end {whole.error:.3g}",
        )


def check_its_certificate_holds(method: Method, given: Materials, **options: Any) -> None:
    """No better value is found by going on than the certificate allows, stopped early or not."""
    name = _rounds(method)
    if name is None:
        return
    problem = at_hand(method, given)
    default = {**method.options, **options}[name]
    best = _solved(method, problem, {**options, name: LONGER * int(default)}).value
    for more in ({name: 1}, {}):
        found = _solved(method, problem, {**options, **more})
        gap = found.certificate.value
        slack = 1e-6 * max(1.0, abs(best))
        require(gap != gap or found.value - best <= gap + slack,
                f"its certificate is {gap:.3g}, and a value lower by {found.value - best:.3g} was found")  # fmt: skip


def check_gives_the_kind_that_it_got(method: Method, given: Materials, **options: Any) -> None:
    """Of numpy arrays it makes a numpy array, of torch tensors a tensor where it takes those."""
    problem = at_hand(method, given)
    kinds = {type(value) for value in problem.values.values() if isinstance(value, np.ndarray | torch.Tensor)}
    if len(kinds) == 1:
        found = build(method.name, problem, **options)
        require(isinstance(found.x, kinds.pop()), f"its point is a {type(found.x).__name__}, its problem was not")


SUITE = (
    check_gives_a_whole_solution,
    check_leaves_its_problem_alone,
    check_says_when_it_was_stopped,
    check_its_certificate_holds,
    check_gives_the_kind_that_it_got,
)


def _solved(method: Method, problem: Materials, options: dict[str, Any]) -> Any:
    return build(method.name, problem, **options)


def _rounds(method: Method) -> str | None:
    return next((name for name in ROUNDS if name in method.options), None)


def _plain(x: Any) -> np.ndarray:
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _finite(x: Any) -> bool:
    return bool(np.isfinite(_plain(x)).all())
