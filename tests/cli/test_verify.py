"""`despur verify` as a pipeline meets it: one line, JSON, and the exit status."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from typer.testing import CliRunner

from despur import certify
from despur.cli.app import app
from despur.core import Context, Subspace, save_factors
from despur.core.errors import BadInput
from despur.guard import grasp
from despur.worlds import PERSONA_BASE, persona_base


def despur(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)], env={"COLUMNS": "80"})


@pytest.fixture
def adapter(tmp_path):
    """A random adapter, projected once by grasp, certified."""
    factor = Subspace.orthonormal(torch.randn(2, 64))
    base, tokenizer = persona_base()
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["up_proj", "down_proj"]))
    guard = grasp(factor)
    guard.bind(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_()
        for name, new in guard(dict(model.named_parameters()), Context(model)).items():
            model.get_parameter(name).copy_(new)
    model.save_pretrained(tmp_path)
    certify(tmp_path, model, factor, tokenizer=tokenizer)
    return tmp_path


def test_holds_is_one_line_and_exit_0(adapter):
    done = despur(PERSONA_BASE, adapter)
    assert done.exit_code == 0
    assert done.output.startswith("holds: 8 modules leak at most")
    assert done.output.count("\n") == 1


def test_broken_is_one_line_and_exit_3(adapter):
    save_factors((Subspace.orthonormal(torch.eye(2, 64)),), adapter)
    done = despur(PERSONA_BASE, adapter)
    assert done.exit_code == 3
    assert done.output.startswith("broken: the factors next to the adapter have the digest")
    assert done.output.count("\n") == 1
    said = json.loads(despur(PERSONA_BASE, adapter, "--json").output)
    assert said["verdict"] == "broken"
    assert said["checks"]["weights"] == ""
    assert said["certificate"]["schema"] == "despur.guard/1"


@pytest.mark.parametrize("missing", ["guard.json", "adapter_model.safetensors", "factors.json"])
def test_what_cannot_be_read_is_a_fault_of_the_user(missing, adapter):
    (adapter / missing).unlink()
    done = despur(PERSONA_BASE, adapter, "--json")
    assert isinstance(done.exception, BadInput), "exit 2 by main"
    assert json.loads(done.output)["verdict"] == "unreadable"
