import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from despur.core import Site, Subspace, load_factors, save_factors, write_json
from despur.core.errors import BadInput


def some_factors() -> tuple[Subspace, ...]:
    one = Subspace.orthonormal(torch.randn(2, 6), site=Site("model.layers.2", "in"), score=0.5, rank=7, site_of="x")
    return one, Subspace(torch.randn(1, 6), torch.randn(1, 6), torch.randn(6))


def test_factors_come_back_as_they_went(tmp_path):
    factors = some_factors()
    save_factors(factors, tmp_path)
    back = load_factors(tmp_path)
    assert len(back) == 2
    for a, b in zip(factors, back, strict=True):
        assert a.site == b.site
        assert dict(a.evidence) == dict(b.evidence)
        for part in ("read", "write", "center"):
            assert torch.equal(getattr(a, part), getattr(b, part))
    assert json.loads((tmp_path / "factors.json").read_text())[0]["width"] == 6
    save_factors((), tmp_path)
    assert load_factors(tmp_path) == (), "none found is an answer"


@pytest.mark.parametrize("tokens", ["all", "last", "answer"])
def test_files_that_still_say_which_tokens_are_read(tmp_path, tokens):
    save_factors(some_factors(), tmp_path)
    about = tmp_path / "factors.json"
    write_json(about, [{**m, "tokens": tokens} for m in json.loads(about.read_text())])
    assert [f.site for f in load_factors(tmp_path)] == [Site("model.layers.2", "in"), Site()]


def damaged_tensors(**changes: torch.Tensor) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "factors.safetensors"
        save_file({**load_file(path), **{name.replace("_", "."): t for name, t in changes.items()}}, path)

    return damage


DAMAGE = {
    "no json": (lambda f: (f / "factors.json").unlink(), "no file '{f}/factors.json'. Write the folder again"),
    "no tensors": (
        lambda f: (f / "factors.safetensors").unlink(),
        "cannot read '{f}/factors.safetensors': No such file",
    ),
    "truncated": (
        lambda f: (f / "factors.safetensors").write_bytes((f / "factors.safetensors").read_bytes()[:-1]),
        "cannot read '{f}/factors.safetensors': Error while deserializing header: incomplete metadata",
    ),
    "nan": (
        damaged_tensors(**{"0_read": torch.full((2, 6), torch.nan)}),
        "'{f}/factors.safetensors' contains NaN or Inf. Find",
    ),
    "more tensors": (
        damaged_tensors(**{"2_read": torch.ones(1)}),
        "'{f}/factors.json' describes 2 factors, 'factors.safet",
    ),
    "other shape": (
        damaged_tensors(**{"0_write": torch.ones(1, 6)}),
        "'{f}/factors.json' does not fit 'factors.safetensors': factor 0 has the shapes [(2, 6), (1, 6), (6,)]",
    ),
    "no list": (
        lambda f: write_json(f / "factors.json", {"a": 1}),
        "'{f}/factors.json' does not fit 'factors.safetensors'",
    ),
    "a number": (lambda f: write_json(f / "factors.json", 3), "'{f}/factors.json' does not fit 'factors.safetensors'"),
    "no site": (
        lambda f: write_json(f / "factors.json", [{}, {}]),
        "'{f}/factors.json' does not fit 'factors.safetensors'",
    ),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_factors_are_named(damage, says, tmp_path):
    save_factors(some_factors(), tmp_path)
    damage(tmp_path)
    with pytest.raises(BadInput) as raised:
        load_factors(tmp_path)
    assert str(raised.value).startswith(says.replace("{f}", str(tmp_path)))
    assert "\n" not in str(raised.value)
