"""state: algebra against the same in plain tensors, shards one tensor at a time, and mismatches refused by name."""

import json
import weakref
from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode

from despur.core.adapter.model_folder import open_state, write_state
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.state.algebra import add, difference, inner, permute, project_off, scale
from despur.core.state.mean import weighted_mean
from despur.core.state.tensors import Form, State


def draw(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    floats = {"up": (6, 4), "down": (4, 6), "bias": (6,)}
    return {
        **{n: torch.randn(s, generator=rng).to(dtype) for n, s in floats.items()},
        "count": torch.tensor(7),
    }


def same(got, want, names=("up", "down", "bias"), **close) -> bool:
    return all(torch.allclose(got[n], want[n], **close) for n in names)


def test_what_is_added_back_is_what_was_there():
    one, two = draw(0), draw(1)
    change = difference(two, one)
    assert same(add(one, change), two, atol=1e-6)
    assert not same(add(one, change, 0.5), two, atol=1e-6), "the control: half of it is not"
    assert same(add(one, scale(change, 0.5)), add(one, change, 0.5))
    by = {"up": 0.0, "down": 1.0, "bias": 0.5}
    for got in (add(one, change, by), add(one, scale(change, by))):
        assert torch.equal(got["up"], one["up"])
        assert same(got, {"down": two["down"], "bias": (one["bias"] + two["bias"]) / 2}, ("down", "bias"), atol=1e-6)
    assert "count" not in change
    assert add(one, change)["count"] == 7


def test_a_difference_of_short_floats_loses_nothing():
    one, two = draw(0, torch.bfloat16), draw(1, torch.bfloat16)
    exact = {n: two[n].double() - one[n].double() for n in ("up", "down", "bias")}
    assert difference(two, one)["up"].dtype == torch.float32
    assert same({n: t.double() for n, t in difference(two, one).items()}, exact, rtol=1e-6)
    assert not same({n: (two[n] - one[n]).double() for n in exact}, exact, rtol=1e-6), "the control: rounded"
    assert add(one, difference(two, one))["up"].dtype == torch.bfloat16


def test_weights_of_a_mean_may_be_one_a_state_a_tensor_or_a_number():
    states = [draw(i) for i in range(3)]
    plain = {n: sum(s[n] for s in states) / 3 for n in ("up", "down", "bias")}
    assert same(weighted_mean(states), plain, atol=1e-6)
    alike = {n: torch.full_like(t, 0.25) for n, t in draw(5).items() if n != "count"}
    assert same(weighted_mean(states, [alike] * 3), plain, atol=1e-6), "equal importances are the plain mean"
    only = {n: torch.zeros_like(t) for n, t in alike.items()}
    mixed = weighted_mean(states, [alike, only, only])
    assert same(mixed, states[0], atol=1e-6)
    assert not same(mixed, plain, atol=1e-2), "the control: they count"
    by_layer = dict.fromkeys(("up", "bias"), 1.0)
    got = weighted_mean(states[:2], [{**by_layer, "down": 0.0}, {**by_layer, "down": 2.0}])
    assert torch.allclose(got["down"], states[1]["down"])
    assert got["count"] == 7


def test_permuting_hidden_units_leaves_the_function_unchanged():
    weights, x = draw(0), torch.randn(5, 4, generator=torch.Generator().manual_seed(9))

    def run(w):
        return torch.relu(x @ w["up"].T + w["bias"]) @ w["down"].T

    order = {"hidden": torch.tensor([3, 1, 0, 5, 4, 2])}
    axes = {"up": ("hidden", None), "bias": ("hidden",), "down": (None, "hidden")}
    moved = permute(weights, axes, order)
    assert torch.allclose(run(moved), run(weights), atol=1e-6)
    assert not torch.equal(moved["up"], weights["up"])
    partly = permute(weights, {n: axes[n] for n in ("up", "bias")}, order)
    assert not torch.allclose(run(partly), run(weights), atol=0.1), "the control: one axis forgotten"
    back = permute(moved, axes, {"hidden": order["hidden"].argsort()})
    assert torch.equal(back["down"], weights["down"])


def test_what_is_left_is_orthogonal_by_tensor_or_in_all():
    change, other = ({n: t for n, t in draw(i).items() if n != "count"} for i in (0, 1))
    apart, joined = project_off(change, other), project_off(change, other, together=True)
    for name in change:
        assert abs(inner({name: apart[name]}, {name: other[name]})) < 1e-5
    assert abs(inner(joined, other)) < 1e-5
    assert max(abs(inner({n: joined[n]}, {n: other[n]})) for n in change) > 0.1, "the control: not each by itself"
    assert abs(inner(change, other)) > 0.1
    half = project_off(change, other, together=True, strength=0.5)
    assert inner(half, other) == pytest.approx(inner(change, other) / 2, rel=1e-4)
    zero = {n: torch.zeros_like(t) for n, t in other.items()}
    assert same(project_off(change, zero), change)


class Live(TorchFunctionMode):
    """Bytes of memory behind the tensors that are alive at once, of all that torch functions give."""

    def __init__(self) -> None:
        super().__init__()
        self.users: Counter[int] = Counter()
        self.now = self.most = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        got = func(*args, **(kwargs or {}))
        return self.watch(got) if isinstance(got, torch.Tensor) else got

    def watch(self, tensor: torch.Tensor) -> torch.Tensor:
        where, size = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        self.now += size if not self.users[where] else 0
        self.users[where] += 1
        self.most = max(self.most, self.now)
        weakref.finalize(tensor, self.drop, where, size)
        return tensor

    def drop(self, where: int, size: int) -> None:
        self.users[where] -= 1
        self.now -= size if not self.users[where] else 0


def test_a_folder_is_worked_through_one_tensor_at_a_time(tmp_path):
    names, size = [f"layers.{i}.weight" for i in range(24)], 64 * 64 * 4
    one, two = ({n: torch.randn(64, 64, generator=torch.Generator().manual_seed(i + s)) for i, n in enumerate(names)}
                for s in (0, 100))  # fmt: skip
    for folder, state in (("one", one), ("two", two)):
        write_state(state, tmp_path / folder, room=3 * size)
    index = json.loads((tmp_path / "one/model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == 8
    assert index["metadata"]["total_size"] == 24 * size

    with open_state(tmp_path / "one") as a, open_state(tmp_path / "two") as b, Live() as live:
        first, second = (State(s.forms, lambda n, s=s: live.watch(s[n])) for s in (a, b))
        change = difference(second, first)
        write_state(add(first, change, 0.5), tmp_path / "half", like=first, room=size)
        bounded = live.most
        live.most = live.now
        together = dict(change)
        assert live.most >= 24 * size, "the control: all of it at once is seen by the count"
        del together
    assert bounded <= 6 * size
    with open_state(tmp_path / "half") as half:
        assert sorted(half) == sorted(names)
        assert same(half, {n: (one[n] + two[n]) / 2 for n in names}, names, atol=1e-6)


def test_a_folder_is_what_transformers_reads(tmp_path, tiny):
    model = tiny()
    write_state(scale(model.state_dict(), 0.5), tmp_path / "model", room=2**14)
    model.config.save_pretrained(tmp_path / "model")
    read = type(model).from_pretrained(tmp_path / "model", dtype=torch.float32)
    for name, value in read.state_dict().items():
        assert torch.equal(value, 0.5 * model.state_dict()[name])
    write_state(model.state_dict(), tmp_path / "one", like=State(
        {n: Form(tuple(t.shape), torch.bfloat16) for n, t in model.state_dict().items()}, lambda n: torch.empty(0)
    ))  # fmt: skip
    assert sorted(f.name for f in (tmp_path / "one").iterdir()) == ["despur.json", "model.safetensors"]
    with open_state(tmp_path / "one") as state:
        assert {form.dtype for form in state.forms.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("bias"), "lacks|has 'bias'"),
        (lambda s: s.update(baas=s.pop("bias")), "nearest: 'baas'|nearest: 'bias'"),
        (lambda s: s.update(up=s["up"][:5]), r"'up' has shape \(6, 4\).*\(5, 4\)"),
        (lambda s: s.update(up=s["up"].long()), "'up' is of torch.float32.*torch.int64"),
    ],
)
@pytest.mark.parametrize("verb", [difference, inner, project_off, lambda a, b: weighted_mean([a, b])])
def test_a_mismatch_is_refused_by_name(change, words, verb):
    one, two = draw(0), draw(1)
    change(two)
    with pytest.raises(ShapeMismatch, match=words):
        verb(one, two)


def test_what_makes_no_sense_is_refused(tmp_path):
    one, two = draw(0), draw(1)
    with pytest.raises(ShapeMismatch, match="'mp', which state 1 .* lacks"):
        add(one, {"mp": torch.ones(2)})
    with pytest.raises(ShapeMismatch, match="the tensors have 'bias', which the table of numbers lacks"):
        scale(one, {"up": 1.0, "down": 2.0})
    with pytest.raises(BadInput, match="0 states"):
        weighted_mean([])
    for weights in ([0, 0], [-1, 2], [float("nan"), 1]):
        with pytest.raises(BadInput, match="weights are 0 and above"):
            weighted_mean([one, two], weights)
    with pytest.raises(BadInput, match="'down' add up to zero.*floor"):
        dict(weighted_mean([one], [{**one, "up": one["up"].abs(), "down": 0.0}]))
    with pytest.raises(BadInput, match="'down' is negative"):
        dict(weighted_mean([one], [{**one, "up": one["up"].abs(), "down": -1.0}]))
    with pytest.raises(BadInput, match="'count' contains no floats and differs"):
        dict(weighted_mean([one, {**two, "count": torch.tensor(8)}]))
    with pytest.raises(ShapeMismatch, match=r"weight of 'down' has shape \(4, 4\)"):
        dict(weighted_mean([one], [{**one, "up": 1.0, "down": torch.ones(4, 4)}]))
    with pytest.raises(BadInput, match="'h' is no permutation"):
        permute(one, {"bias": ("h",)}, {"h": torch.tensor([0, 0, 1, 2, 3, 4])})
    with pytest.raises(ShapeMismatch, match="'bias' has 6 places along 'h', its order 2"):
        permute(one, {"bias": ("h",)}, {"h": torch.tensor([1, 0])})
    with pytest.raises(ShapeMismatch, match="axis 'hiden'.*nearest: 'hidden'"):
        permute(one, {"bias": ("hiden",)}, {"hidden": torch.tensor([1, 0])})
    with pytest.raises(BadInput, match="no tensors to write"):
        write_state({}, tmp_path / "none")
    with pytest.raises(BadInput, match="no model.safetensors"), open_state(tmp_path):
        pass
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(BadInput, match="cannot read"), open_state(tmp_path):
        pass
    assert not (tmp_path / "none").exists()
