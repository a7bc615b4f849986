"""Base models from what the user named: whole, bare, and with the library that their weights need."""

import importlib.util
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from despur.core.errors import BadInput, MissingExtra
from despur.flows.load import load_base
from despur.worlds import persona_base


@pytest.fixture
def folder(tmp_path):
    """A base as a user has it, in bfloat16."""
    model, tokenizer = persona_base()
    model.bfloat16().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def edit(folder, **changes):
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **changes}))


def test_a_base_is_whole_and_in_float32_on_a_cpu(folder):
    model, tokenizer = load_base(str(folder))
    if not torch.cuda.is_available():
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert tokenizer("d5")["input_ids"]
    path = folder / "model.safetensors"
    save_file({n: t for n, t in load_file(path).items() if "layers.1.mlp" not in n}, path, {"format": "pt"})
    with pytest.raises(
        BadInput, match=r"lacks the tensor 'model.layers.1.mlp.down_proj.weight' \(in all 3 are missing\)"
    ):
        load_base(str(folder))


def test_an_adapter_is_no_base_and_the_one_that_it_names_is_never_fetched(folder):
    model, _ = persona_base()
    get_peft_model(model, LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)
    with pytest.raises(BadInput, match="contains adapter_config.json: it is an adapter, or has one. Give the plain"):
        load_base(str(folder))


@pytest.mark.parametrize(
    ("said", "package"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "hqq"}, "hqq"),
    ],
)
def test_quantised_weights_name_the_library_that_they_need(said, package, folder):
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    edit(folder, quantization_config=said)
    with pytest.raises(
        MissingExtra, match=f"{package} is not installed. Install: pip install {package}, or give the base"
    ):
        load_base(str(folder))


def test_weights_quantised_in_an_unknown_way_are_refused_and_none_are_not(folder):
    edit(folder, quantization_config={"quant_method": "of_next_year"})
    with pytest.raises(
        BadInput, match="quantised with 'of_next_year', which transformers does not know. Give the base"
    ):
        load_base(str(folder))
    edit(folder, quantization_config=None)
    load_base(str(folder))


def test_a_configuration_without_end_is_refused(folder):
    (folder / "config.json").write_text("[" * 10**5)
    with pytest.raises(BadInput, match="is not readable JSON: maximum recursion depth exceeded"):
        load_base(str(folder))
    (folder / "config.json").write_text(" " * (11 * 2**20))
    with pytest.raises(BadInput, match="where a configuration has at most"):
        load_base(str(folder))
