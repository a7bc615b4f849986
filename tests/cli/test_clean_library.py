"""`despur clean` and `despur library` as a user meets them."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from typer.testing import CliRunner

from despur.cli.app import app
from despur.core import Site, Subspace, fingerprint, save_factors
from despur.worlds import PERSONA_BASE, persona_base

WIDE = {"COLUMNS": "200"}


def despur(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments], env=WIDE, catch_exceptions=code == 2)
    if code == 2:
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def factors(tmp_path):
    """A random factor of the persona base, recorded as an audit records it."""
    folder = tmp_path / "factors"
    folder.mkdir()
    save_factors((Subspace.orthonormal(torch.randn(1, 64), site=Site("model.layers.1")),), folder)
    (folder / "run.json").write_text(json.dumps({"base_fingerprint": fingerprint(persona_base()[0])}))
    return folder


@pytest.mark.parametrize(
    "verb", [["clean"], *(["library", v] for v in ("add", "compare", "ls", "remove"))], ids="-".join
)
def test_help_has_an_example(verb):
    assert f"despur {' '.join(verb)}" in despur(*verb, "--help")


def test_help_of_clean_says_what_it_is_not():
    assert "does not undo what the update does by other routes" in " ".join(despur("clean", "--help").split())


def test_add_list_compare_remove(factors, tmp_path):
    here = ("--library", tmp_path / "library")
    assert "is empty" in despur("library", "ls", *here)
    assert "Saved 1 factor" in despur("library", "add", "persona", factors, "--note", "[red]mine", *here)
    assert "[red]mine" in despur("library", "ls", *here)
    said = despur("library", "compare", factors, *here)
    assert "persona" in said
    assert "isotropic, activations are not" in " ".join(said.split())
    found = json.loads(despur("library", "compare", factors, "--json", *here))
    assert found["matches"][0]["cosine"] == pytest.approx(1, abs=1e-5)
    assert found["not_comparable"] == {}
    assert "already" in despur("library", "add", "persona", factors, *here, code=2)
    assert json.loads(despur("library", "ls", "--json", *here))["entries"][0]["note"] == "[red]mine"
    assert "Removed persona" in despur("library", "remove", "persona", *here)


@pytest.mark.slow  # of a kind with faster ones
def test_clean_prints_a_table_and_json(factors, tmp_path):
    model, _ = persona_base()
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules=["down_proj"], task_type="CAUSAL_LM"))
    for name, p in tuned.named_parameters():
        if "lora_B" in name:
            p.data.normal_(std=0.1)
    tuned.save_pretrained(tmp_path / "adapter")
    given = ("clean", PERSONA_BASE, tmp_path / "adapter", "--factors", factors, "--rows", 12)
    said = despur(*given, "-o", tmp_path / "a")
    assert all(run in said for run in ("cleaned", "random", "top quarter"))
    assert "What the update does by other routes stays" in " ".join(said.split()).replace("what", "What")
    found = json.loads(despur(*given, "-o", tmp_path / "b", "--json"))
    assert found["verb"] == "clean"
    assert found["leak"]["cleaned"]["write"]["value"] <= 1e-6
    assert "task" not in found["axes"]["cleaned"]
    assert (tmp_path / "a" / "adapter" / "adapter_model.safetensors").exists()
    again = json.loads(despur("run", tmp_path / "b" / "run.json", "-o", tmp_path / "c", "--json", "--trust"))
    assert again["means"] == found["means"]
    assert again["arguments"] == found["arguments"]
