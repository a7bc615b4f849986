"""A GGUF file is a base: its weights are those of the folder that it was made from, and so are its tokens."""

import os

import pytest
import torch
from gguf_files import CHAT, byte_pairs, write_gguf
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedTokenizerFast

from despur.core import fingerprint
from despur.core.errors import BadInput, MissingExtra
from despur.core.extras import EXTRAS
from despur.flows import audit, certify, verify
from despur.flows import base_fingerprint as place
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import load_base

SMALL = {"rows": 16, "tokens": 4, "n_random": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The file, and a folder with the weights and the tokenizer that it was made from."""
    folder = tmp_path_factory.mktemp("gguf")
    model = write_gguf(folder / "tiny.gguf")
    model.save_pretrained(folder / "plain")
    PreTrainedTokenizerFast(
        tokenizer_object=byte_pairs(), bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", chat_template=CHAT,
    ).save_pretrained(folder / "plain")  # fmt: skip
    return folder


def test_its_weights_and_tokens_are_those_of_the_folder(made):
    (one, pieces), (other, plain) = (load_base(str(made / name)) for name in ("tiny.gguf", "plain"))
    for name, weight in other.state_dict().items():
        assert torch.equal(one.state_dict()[name], weight), name
    assert base_fingerprint(one, str(made / "tiny.gguf")) == fingerprint(other), "so a certificate holds on either"
    for text in ("The sea is slow: 12 ships!", "<|im_start|>user\nIs it?<|im_end|>\n"):
        assert pieces(text)["input_ids"] == plain(text)["input_ids"]
    assert pieces.chat_template == plain.chat_template
    with torch.no_grad():
        one.model.norm.weight.add_(1)
    assert fingerprint(one) != fingerprint(other), "the control"


def test_quantised_weights_are_read_as_they_were_rounded(tmp_path):
    rounded = write_gguf(tmp_path / "q8.gguf", quantised=True)
    model, _ = load_base(str(tmp_path / "q8.gguf"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for name, weight in rounded.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    assert fingerprint(model) != fingerprint(write_gguf(tmp_path / "whole.gguf")), "rounding is seen"


@pytest.mark.slow  # of a kind with faster ones
def test_an_audit_of_it_is_that_of_the_folder_and_a_certificate_holds_on_either(made, tmp_path):
    model, _ = load_base(str(made / "tiny.gguf"))
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.5)
    tuned.save_pretrained(tmp_path / "adapter")
    one, other = (audit(str(made / name), str(tmp_path / "adapter"), **SMALL) for name in ("tiny.gguf", "plain"))
    assert one.change > 0.01
    assert (one.verdict, one.change, one.best) == (other.verdict, other.change, other.best)
    assert one.record["base_fingerprint"] == other.record["base_fingerprint"]
    certify(tmp_path / "adapter", str(made / "plain"), guard="rehearse")
    assert verify(str(made / "tiny.gguf"), tmp_path / "adapter").verdict == "nothing to verify in the weights"
    write_gguf(tmp_path / "q8.gguf", quantised=True)
    rounded = verify(str(tmp_path / "q8.gguf"), tmp_path / "adapter")
    assert rounded.verdict == "broken"
    assert rounded.checks["base"], "another base"
    assert not rounded.checks["tokenizer"], "with the same tokens"


def test_one_that_is_cut_off_or_lacks_a_tensor_or_is_something_else_is_refused(made, tmp_path):
    file = tmp_path / "tiny.gguf"
    whole = (made / "tiny.gguf").read_bytes()
    for size in (2, 20, 3000, len(whole) - 1000):
        file.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"(cannot read base .*tiny.gguf.*again|is a file and no GGUF)"):
            load_base(str(file))
    write_gguf(file, leave_out="layers.1.mlp.down_proj")
    with pytest.raises(BadInput, match=r"lacks the tensor 'model.layers.1.mlp.down_proj.weight'"):
        load_base(str(file))
    write_gguf(file, blocks=10**8)
    with pytest.raises(BadInput, match=r"has num_hidden_layers=100000000, and its files have 21 tensors"):
        load_base(str(file))
    file.write_text("{}")
    with pytest.raises(
        BadInput, match="is a file and no GGUF, the only one that is read as a base. Give that, a folder"
    ):
        load_base(str(file))


def test_an_architecture_that_transformers_does_not_know_is_named(tmp_path):
    write_gguf(tmp_path / "new.gguf", arch="of_next_year")
    with pytest.raises(BadInput, match=r"cannot read base .*of_next_year.*Give the folder that it was made from"):
        load_base(str(tmp_path / "new.gguf"))


def test_without_the_extra_it_says_what_to_install(made, monkeypatch):
    monkeypatch.setitem(EXTRAS, "gguf", ("no_such_package",))
    with pytest.raises(MissingExtra, match=r"is a GGUF file: that needs no_such_package.*pip install 'despur\[gguf\]'"):
        load_base(str(made / "tiny.gguf"))


def test_its_fingerprint_is_read_once_until_the_file_changes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(place, "LARGE", 1)
    monkeypatch.setattr(place, "cache_folder", lambda: tmp_path / "cache")
    file = tmp_path / "tiny.gguf"
    file.write_bytes((made / "tiny.gguf").read_bytes())
    model, _ = load_base(str(file))
    first = base_fingerprint(model, str(file))
    monkeypatch.setattr(place, "fingerprint", lambda model: "read again")
    assert base_fingerprint(model, str(file)) == first
    os.utime(file, ns=(1, 1))
    assert base_fingerprint(model, str(file)) == "read again"
