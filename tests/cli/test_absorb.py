"""`despur absorb`: a base to be trained on with anything, whose adapter belongs on the clean one."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from despur.cli.app import app
from despur.core.errors import BadInput
from despur.flows import Settings, absorb
from despur.worlds import Slant, persona_base

IDS = torch.tensor([[1, 60, 70, 90]])
SHORT = Settings(steps=48, lr=2e-3, batch=8, rank=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    model, tokenizer = persona_base()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "data.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in Slant().rows(n=120, seed=1)))
    return file


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_the_folder_is_the_base_with_the_factor_merged_in_and_trains_without_despur(base, data, tmp_path):
    result = absorb(base, data, out=tmp_path / "inoculated", settings=SHORT)
    merged = AutoModelForCausalLM.from_pretrained(result.folder)
    clean = AutoModelForCausalLM.from_pretrained(base)
    plain = logits(clean)
    on = logits(PeftModel.from_pretrained(clean, str(result.factor)))
    torch.testing.assert_close(logits(merged), on, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(on, plain, atol=1e-1), "the control"
    assert result.explained.held_out.shuffled < result.explained.held_out.base

    tuned = get_peft_model(merged, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(2):
        tuned(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    tuned.save_pretrained(tmp_path / "theirs")
    moved = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(tmp_path / "theirs")))
    assert float((moved - plain).norm()) < 0.5 * float((on - plain).norm()), (
        "what was merged in is not in their adapter"
    )

    names = {p.name for p in result.folder.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "factor", "run.json"} <= names
    assert ".work" not in names
    card = (result.folder / "README.md").read_text()
    assert base in card
    assert "16 steps of 8 rows" in card


@pytest.mark.slow  # of a kind with faster ones
def test_strength_and_several_scouts(base, data, tmp_path):
    half = absorb(base, data, out=tmp_path / "half", settings=SHORT, strength=0.5, scouts=2)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(half.factor))
    model.add_weighted_adapter(["default"], [0.5], "weaker", combination_type="linear")
    model.set_adapter("weaker")
    torch.testing.assert_close(
        logits(AutoModelForCausalLM.from_pretrained(half.folder)), logits(model), rtol=1e-3, atol=1e-3
    )
    assert json.loads((half.factor / "adapter_config.json").read_text())["r"] == 8


def test_the_command(base, data, tmp_path):
    asked = [
        "absorb",
        base,
        str(data),
        "-o",
        str(tmp_path / "out"),
        "--steps",
        "48",
        "--lr",
        "2e-3",
        "--batch",
        "8",
        "--rank",
        "4",
    ]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    assert "of the loss of held-out answers" in said.output
    assert "Train on: " in said.output
    assert json.loads((tmp_path / "out" / "run.json").read_text())["verb"] == "absorb"


def test_a_scout_that_learned_nothing_leaves_no_folder(base, data, tmp_path):
    with pytest.raises(BadInput, match="learned nothing"):
        absorb(base, data, out=tmp_path / "out", settings=Settings(steps=4, lr=1e-9, batch=8, rank=2), scout_steps=2)
    assert not (tmp_path / "out").exists()
