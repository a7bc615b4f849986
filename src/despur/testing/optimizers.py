"""What every optimiser promises: torch's contract, so that trainers, schedules and checkpoints work with it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.materials import Given, Materials
from despur.testing.require import require

STEPS, RATE = 200, 0.01


def check_descends(method: Method, given: Materials, **options: Any) -> None:
    """From random weights it takes a least-squares loss below half, and its first argument is torch's list of parameters."""
    net, rows, aims = _problem()
    optimizer = _made(method, net.parameters(), options)
    require(
        isinstance(optimizer, torch.optim.Optimizer), f"it gives a {type(optimizer).__name__}, no Optimizer of torch"
    )
    first = _loss(net, rows, aims).item()
    for _ in range(STEPS):
        _step(optimizer, net, rows, aims)
    last = _loss(net, rows, aims).item()
    require(last < 0.5 * first, f"after {STEPS} steps at a rate of {RATE} the loss is {last:.3g}, it was {first:.3g}")


def check_the_rate_is_read_at_every_step(method: Method, given: Materials, **options: Any) -> None:
    """A group whose rate a schedule sets to 0 stays bit for bit; another group goes on."""
    net, rows, aims = _problem()
    groups = [{"params": [net[0].weight, net[0].bias]}, {"params": [net[2].weight, net[2].bias]}]
    optimizer = _made(method, groups, options)
    require(all("lr" in group for group in optimizer.param_groups), "its groups have no 'lr' for a schedule to set")
    _step(optimizer, net, rows, aims)
    optimizer.param_groups[0]["lr"] = 0.0
    before = _state(net)
    _step(optimizer, net, rows, aims)
    after = _state(net)
    require(torch.equal(before["0.weight"], after["0.weight"]), "at a rate of 0 it moves weights")
    require(
        not torch.equal(before["2.weight"], after["2.weight"]), "with the rate of another group at 0 it stands still"
    )


def check_weights_without_a_gradient_stay(method: Method, given: Materials, **options: Any) -> None:
    """Parameters whose gradient is None are bit for bit what they were."""
    net, rows, aims = _problem()
    net[0].weight.requires_grad_(False)
    before = _state(net)
    optimizer = _made(method, net.parameters(), options)
    for _ in range(3):
        _step(optimizer, net, rows, aims)
    require(torch.equal(before["0.weight"], net[0].weight), "it moves weights that have no gradient")
    require(not torch.equal(before["2.weight"], net[2].weight), "it moves nothing")


def check_goes_on_from_its_state(method: Method, given: Materials, **options: Any) -> None:
    """Stopped, written as `state_dict` and gone on, it ends bit for bit where it would have without the stop."""
    net, rows, aims = _problem()
    optimizer = _made(method, net.parameters(), options)
    for _ in range(4):
        _step(optimizer, net, rows, aims)
    weights, state = _state(net), _copied(optimizer.state_dict())
    for _ in range(4):
        _step(optimizer, net, rows, aims)
    straight = _state(net)
    net.load_state_dict(weights)
    again = _made(method, net.parameters(), options)
    again.load_state_dict(state)
    for _ in range(4):
        _step(again, net, rows, aims)
    require(_equal(straight, _state(net)), "gone on from its state it ends elsewhere")


def check_same_draws_give_the_same(method: Method, given: Materials, **options: Any) -> None:
    """The same start gives the same end, and the global draws stay as they are."""
    ends: list[dict[str, Tensor]] = []
    for _ in range(2):
        net, rows, aims = _problem()
        optimizer = _made(method, net.parameters(), options)
        drawn = torch.get_rng_state()
        for _ in range(3):
            _step(optimizer, net, rows, aims)
        require(torch.equal(drawn, torch.get_rng_state()), "it draws from the global generator")
        ends.append(_state(net))
    require(_equal(*ends), "from the same start it ends elsewhere")


def check_takes_a_closure(method: Method, given: Materials, **options: Any) -> None:
    """`step(closure)` computes the loss with gradients, and gives it back."""
    net, rows, aims = _problem()
    optimizer = _made(method, net.parameters(), options)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _loss(net, rows, aims)
        loss.backward()
        return loss

    here, before = _loss(net, rows, aims).item(), _state(net)
    told: Any = optimizer.step(closure)
    require(
        told is not None and abs(float(torch.as_tensor(told).detach()) - here) < 1e-6,
        "step(closure) does not give the closure's loss back",
    )
    require(not _equal(before, _state(net)), "step(closure) moves nothing")


def check_low_precision_stays_finite(method: Method, given: Materials, **options: Any) -> None:
    """In bfloat16 weights keep their dtype and stay finite."""
    net, rows, aims = _problem()
    net, rows, aims = net.to(torch.bfloat16), rows.to(torch.bfloat16), aims.to(torch.bfloat16)
    optimizer = _made(method, net.parameters(), options)
    for _ in range(5):
        _step(optimizer, net, rows, aims)
    for name, weight in _state(net).items():
        require(weight.dtype == torch.bfloat16, f"{name} came in bfloat16 and is {weight.dtype}")
        require(torch.isfinite(weight).all(), f"{name} contains NaN or Inf in bfloat16")


SUITE = (
    check_descends,
    check_the_rate_is_read_at_every_step,
    check_weights_without_a_gradient_stay,
    check_goes_on_from_its_state,
    check_same_draws_give_the_same,
    check_takes_a_closure,
    check_low_precision_stays_finite,
)


def _made(method: Method, params: Any, options: Mapping[str, Any]) -> Any:
    """The optimiser of some parameters, at a rate that tiny weights bear."""
    rate = {"lr": RATE} if "lr" in method.options and "lr" not in options else {}
    params = params if isinstance(params, list) else list(params)
    return build(method.name, Given({next(iter(method.takes.values()), "params"): params}), **rate, **options)


def _problem() -> tuple[Any, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=draw))
    rows = torch.randn(32, 6, generator=draw)
    return net, rows, torch.tanh(rows @ torch.randn(6, 4, generator=draw))


def _loss(net: Any, rows: Tensor, aims: Tensor) -> Tensor:
    return ((net(rows) - aims) ** 2).mean()


def _step(optimizer: Any, net: Any, rows: Tensor, aims: Tensor) -> None:
    optimizer.zero_grad()
    _loss(net, rows, aims).backward()
    optimizer.step()


def _state(net: Any) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in net.named_parameters()}


def _equal(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(weight, two[name]) for name, weight in one.items())


def _copied(value: Any) -> Any:
    """As a checkpoint would have it: tensors by value."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value
