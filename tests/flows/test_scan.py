"""What an adapter's file shows without its base, each finding beside the ordinary adapter that lacks it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from despur.core.errors import BadInput
from despur.flows import scan
from despur.flows.findings import RULES


@pytest.fixture
def folder(tiny, lora, tmp_path):
    """An ordinary adapter's folder."""
    model = lora(tiny(), r=4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def changed(folder, change, **config):
    """A copy of it with other tensors, or another configuration."""
    copy = folder.with_name("changed")
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, copy / "adapter_model.safetensors")
    written = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps({**written, **config}))
    return copy


def rules(found):
    return {f.rule for f in found.findings}


def test_an_ordinary_adapter_has_nothing_unusual_and_what_cannot_be_known_is_named(folder, tmp_path):
    result = scan(str(folder), out=tmp_path / "out")
    assert (result.verdict, rules(result)) == ("nothing unusual", set())
    assert "without its base nobody can know" in result.notes[0]
    said = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert said["modules"] == len(result.modules) > 3
    assert said["largest"][0]["used"] == 4


def first(tensors, letter):
    return next(n for n in sorted(tensors) if f"lora_{letter}" in n)


CHANGES = {
    "whole-head": lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(64, 32)}),
    "whole-router": lambda t: t.update({"base_model.model.model.layers.0.mlp.router.weight": torch.ones(4, 32)}),
    "whole-module": lambda t: t.update({"base_model.model.model.layers.0.mlp.up_proj.weight": torch.ones(64, 32)}),
    "not-finite": lambda t: t[first(t, "A")].fill_(float("nan")),
    "idle": lambda t: t[first(t, "B")].zero_(),
    "half-idle": lambda t: t[first(t, "A")].zero_(),
    "low-rank": lambda t: t[first(t, "A")][1:].zero_(),
    "one-module": lambda t: t[first(t, "B")].mul_(100),
}


@pytest.mark.parametrize("rule", CHANGES)
def test_a_finding_names_its_rule(rule, folder):
    assert rule in rules(scan(str(changed(folder, CHANGES[rule]))))


def test_rank_scale_pickles_and_code(folder):
    assert {"rank"} <= rules(scan(str(changed(folder, lambda t: None, r=2))))
    shutil.rmtree(folder.with_name("changed"))
    assert rules(scan(str(changed(folder, lambda t: None, lora_alpha=4000)))) == {"scale"}
    (folder / "extra.pkl").write_bytes(b"")
    (folder / "modeling.py").write_text("")
    (folder / "training_args.bin").write_bytes(b"")
    found = {f.file: f for f in scan(str(folder)).findings}
    assert {f.rule for f in found.values()} == {"pickle", "code"}
    assert found["training_args.bin"].level == "note", "the Trainer leaves it there"
    assert all(f.rule in RULES for f in found.values())


def test_what_cannot_be_read_is_one_sentence(folder, tmp_path):
    with pytest.raises(BadInput, match=r"no adapter_config\.json"):
        scan(str(tmp_path))
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(BadInput, match="cannot read"):
        scan(str(folder))
    weights.rename(folder / "adapter_model.bin")
    with pytest.raises(BadInput, match="pickled"):
        scan(str(folder))
