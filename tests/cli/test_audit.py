"""`despur audit` in a pipeline: verdicts, exit status, JSON in every case."""

import json

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from despur.cli.app import app
from despur.flows._audit.json_form import AuditJson
from despur.worlds import PERSONA_BASE

QUICK = ("--rows", "16", "--n-random", "2")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A LoRA adapter of random weights: no training, a verdict all the same."""
    import torch
    from peft import LoraConfig, get_peft_model

    from despur.worlds import persona_base

    torch.manual_seed(0)
    model = get_peft_model(persona_base()[0], LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
    folder = tmp_path_factory.mktemp("adapter") / "random"
    model.save_pretrained(folder)
    return str(folder)


def test_the_verdict_decides_the_exit_status_and_json_is_whole(adapter):
    every = ("clean", "factors found", "diffuse change", "inert adapter")
    failing = CliRunner().invoke(
        app, ["audit", str(PERSONA_BASE), adapter, "--json", "--fail-on", ",".join(every), *QUICK]
    )
    assert failing.exit_code == 3, failing.output
    said = json.loads(failing.stdout)
    TypeAdapter(AuditJson).validate_python(said)
    others = ",".join(word for word in every if word != said["verdict"])
    shown = CliRunner().invoke(app, ["audit", str(PERSONA_BASE), adapter, "--fail-on", others, *QUICK])
    assert shown.exit_code == 0, "it is this verdict that failed"
    assert shown.stdout.startswith(said["verdict"])


def test_an_unknown_verdict_is_refused(despur):
    done = despur("audit", str(PERSONA_BASE), "nowhere", "--fail-on", "harmful")
    assert done.returncode == 2
    assert "--fail-on got 'harmful'. There are: clean, factors found" in done.stderr


def test_what_cannot_be_read_is_exit_2_and_still_json(despur, tmp_path):
    done = despur("audit", str(PERSONA_BASE), str(tmp_path), "--json")
    assert done.returncode == 2
    said = json.loads(done.stdout)
    TypeAdapter(AuditJson).validate_python(said)
    assert said["verdict"] == "unreadable"
    assert str(tmp_path) in said["sentence"]
    assert done.stderr.count("\n") == 1
