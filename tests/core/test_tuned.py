"""Fine-tunes of every kind that people have, held against PEFT's own merge and against both models' logits."""

import copy
import json
import re
import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

from despur.core import Adapter, TwoStates, attach, find_module, fingerprint, layer_path, load_tuned, stream_roles
from despur.core.adapter.dense import factored
from despur.core.adapter.peft_config import KINDS
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.model.base_modules import base_modules
from despur.core.model.fingerprint import base_weights

TARGETS = {"target_modules": ["q_proj", "down_proj"]}
OPTIONS = {
    "ADALORA": {"total_step": 100, "init_r": 4, "target_r": 2},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 16},
    "FOURIERFT": {"n_frequency": 20},
    "GRALORA": {"r": 4, "gralora_k": 2},
    "HRA": {"r": 4},
    "IA3": {"feedforward_modules": ["down_proj"]},
    "LN_TUNING": {"target_modules": ["input_layernorm", "norm"]},
    "MISS": {"r": 4},
    "OFT": {"oft_block_size": 4, "r": 0},
    "RANDLORA": {"r": 4},
    "ROAD": {"group_size": 8},
    "SHIRA": {"r": 2},
    "TRAINABLE_TOKENS": {"target_modules": ["embed_tokens"], "token_indices": [3, 5, 9]},
    "VBLORA": {"num_vectors": 8, "vector_length": 8},
    "WAVEFT": {"n_frequency": 20},
}
GPT2 = {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}
LORAS = {
    "plain": ("llama", {}),
    "dora": ("llama", {"use_dora": True}),
    "dora, conv1d": ("gpt2", {**GPT2, "use_dora": True}),
    "dora, embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"], "use_dora": True}),
    "modules to save": ("llama", {"modules_to_save": ["lm_head", "norm"]}),
    "modules to save, embeddings": ("qwen2", {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "modules to save, a block": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["mlp"]}),
    "biases": ("qwen2", {"bias": "all"}),
    "biases of the adapted": ("gpt2", {**GPT2, "bias": "lora_only"}),
    "LoRA's own bias": ("qwen2", {"target_modules": ["q_proj"], "lora_bias": True}),
    "tokens": ("llama", {"trainable_token_indices": [3, 5, 9]}),
    "tokens, dict": ("llama", {"trainable_token_indices": {"embed_tokens": [3, 9]}}),
    "pissa": ("llama", {"init_lora_weights": "pissa"}),
    "olora": ("qwen2", {"init_lora_weights": "olora"}),
    "parameters": ("llama", {"target_modules": [], "target_parameters": ["mlp.gate_proj.weight"]}),
}


def nudge(model: nn.Module, by: float = 0.1, seed: int = 1) -> nn.Module:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += by * torch.randn(weight.shape, generator=rng)
    return model


def saved(base: nn.Module, config, folder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        nudge(get_peft_model(copy.deepcopy(base), config)).save_pretrained(folder)


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits


def hold(base, folder, tokens, rank=64):
    """What must be true of any fine-tune; returns it."""
    untouched = copy.deepcopy(base)
    plain, print_, names = logits(base, tokens), fingerprint(base), set(base_weights(base, tied=True))
    tuned = load_tuned(base, folder, name="models/x", rank=rank)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if (folder / "adapter_config.json").exists():
            theirs = PeftModel.from_pretrained(copy.deepcopy(untouched), folder)
            moved = logits(theirs, tokens)
            merged = theirs.merge_and_unload()
        else:
            merged = AutoModelForCausalLM.from_pretrained(folder)
            moved = logits(merged, tokens)
    assert torch.equal(logits(tuned.model, tokens), moved)
    assert not torch.equal(moved, plain)
    with tuned.model.disable_adapter():
        assert torch.equal(logits(tuned.model, tokens), plain)
    assert torch.equal(logits(tuned.model, tokens), moved)
    assert fingerprint(tuned.model) == print_
    assert set(base_weights(tuned.model, tied=True)) == names
    assert layer_path(tuned.model) == layer_path(untouched)
    assert stream_roles(tuned.model) == stream_roles(untouched)
    assert set(base_modules(untouched)) == set(base_modules(tuned.model))
    assert find_module(tuned.model, layer_path(untouched).replace("#", "1"))
    assert len(tuned.notes) == 1
    check_updates(untouched, merged, tuned.adapter)
    return tuned


@torch.no_grad()
def check_updates(base, merged, adapter):
    before, after = (dict(m.named_parameters(remove_duplicate=False)) for m in (base, merged))
    told = {f"{n}.weight" for n in adapter.updates} | set(adapter.others)
    for name, old in before.items():
        new, owner = after[name], name.rpartition(".")[0]
        delta = (new - old).detach()
        if name not in told:
            assert delta.norm() <= 1e-5 * old.norm(), name
            continue
        if name in adapter.others:
            assert adapter.others[name] == pytest.approx(float(delta.norm() / max(old.norm(), new.norm())), rel=1e-3)
            continue
        update = adapter.updates[owner]
        if not isinstance(base.get_submodule(owner), nn.Linear):
            delta = delta.T
        lost = (update.scale * update.up @ update.down - delta).square().sum() / delta.square().sum()
        assert float(lost) == pytest.approx(1 - adapter.kept.get(owner, 1.0), abs=1e-5)


@pytest.mark.parametrize(("kind", "options"), LORAS.values(), ids=LORAS)
def test_lora_with_all_that_it_may_bring(kind, options, tiny, tokens, tmp_path):
    base = tiny(kind, tie_word_embeddings=False)
    saved(base, LoraConfig(**{"r": 3, **TARGETS, **options}), tmp_path)
    tuned = hold(base, tmp_path, tokens)
    assert tuned.adapter.kind == "LORA"
    assert not tuned.adapter.kept


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_kind(kind, tiny, tokens, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    tokens[0, 1] = 3  # one of the trainable tokens
    saved(base, CONFIGS[kind](**{**TARGETS, **OPTIONS.get(kind, {})}), tmp_path)
    tuned = hold(base, tmp_path, tokens)
    assert tuned.adapter.kind == kind
    with pytest.raises(BadInput, match=f"peft_type='{kind}', so its change cannot be computed without its base"):
        Adapter.read(tmp_path)


def test_what_is_not_of_low_rank_says_how_much_was_kept(tiny, tokens, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    saved(base, CONFIGS["OFT"](**TARGETS, oft_block_size=4, r=0), tmp_path)
    adapter = hold(base, tmp_path, tokens, rank=5).adapter
    assert set(adapter.kept) == set(adapter.updates)
    assert all(0.2 < kept < 0.99 for kept in adapter.kept.values())
    assert all(update.down.shape[0] == 5 for update in adapter.updates.values())


def test_wide_changes_are_factored_by_their_leading_directions():
    rng = torch.Generator().manual_seed(0)
    delta = torch.randn(300, 10, generator=rng) @ torch.randn(10, 400, generator=rng)
    update, kept = factored(delta)
    assert tuple(update.down.shape) == (10, 400)
    assert kept == 1
    torch.testing.assert_close(update.up @ update.down, delta, atol=1e-4, rtol=1e-4)
    delta += torch.randn(300, 400, generator=rng)
    update, kept = factored(delta, 10)
    best = torch.linalg.svdvals(delta.double()).square()
    assert kept == pytest.approx(float(best[:10].sum() / best.sum()), abs=1e-3)
    assert float((update.up @ update.down - delta).square().sum() / best.sum()) == pytest.approx(1 - kept, abs=1e-5)
    assert factored(torch.zeros(3, 4))[1] == 1


def test_of_a_whole_model_experts_are_taken_one_by_one(tiny, tokens, tmp_path):
    base = tiny("mixtral", intermediate_size=16, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
    tuned = copy.deepcopy(base)
    delta = 0.1 * torch.randn(32, 16)
    with torch.no_grad():
        tuned.model.layers[1].mlp.experts.down_proj[2] += delta
        tuned.model.norm.weight += 0.1
    tuned.save_pretrained(tmp_path)
    whole = load_tuned(base, tmp_path)
    assert torch.equal(logits(whole.model, tokens), logits(AutoModelForCausalLM.from_pretrained(tmp_path), tokens))
    assert set(whole.adapter.others) == {"model.norm.weight"}
    ((name, update),) = whole.adapter.updates.items()
    assert name == "model.layers.1.mlp.experts.down_proj.2"
    torch.testing.assert_close(update.up @ update.down, delta, atol=1e-6, rtol=1e-5, check_dtype=False)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_a_whole_model_is_a_fine_tune_too(kind, tied, tiny, tokens, tmp_path):
    base = tiny(kind, tie_word_embeddings=tied)
    nudge(copy.deepcopy(base), 0.01).save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    tuned = hold(base, tmp_path, tokens)
    assert tuned.adapter.kind == "model"
    assert tuned.notes == (
        "a whole model names no base, so only names, shapes and configuration were compared, you gave 'models/x'",
    )
    embeddings = [n for n in tuned.adapter.updates if n.endswith(("embed_tokens", "wte", "lm_head"))]
    assert len(embeddings) == 2
    head, table = (
        tuned.model.get_base_model().get_output_embeddings(),
        tuned.model.get_base_model().get_input_embeddings(),
    )
    assert (head.weight is table.weight) is tied


@pytest.mark.parametrize(("tied", "then"), [(True, False), (False, True)])
def test_a_whole_model_may_tie_otherwise_than_its_base(tied, then, tiny, tokens, tmp_path):
    base, other = tiny("llama", tie_word_embeddings=tied), tiny("llama", tie_word_embeddings=then)
    with torch.no_grad():
        other.model.load_state_dict(base.model.state_dict())
        if not then:
            other.lm_head.weight.copy_(base.lm_head.weight)
    nudge(other, 0.01).save_pretrained(tmp_path)
    hold(base, tmp_path, tokens)


def test_what_did_not_change_is_held_once_and_a_shorter_float_is_no_change(tiny, tokens, tmp_path):
    base = tiny("llama")
    other = copy.deepcopy(base)
    with torch.no_grad():
        other.model.layers[0].mlp.up_proj.weight += 0.01
        other.model.norm.weight += 0.5
    other.bfloat16().save_pretrained(tmp_path)
    tuned = load_tuned(base, tmp_path)
    assert set(tuned.adapter.updates) == {"model.layers.0.mlp.up_proj"}
    assert set(tuned.adapter.others) == {"model.norm.weight"}
    assert len(list(tuned.model.parameters())) == len(list(base.parameters()))


def test_two_states_come_back_whatever_happens(tiny, tokens, tmp_path):
    base = tiny("llama")
    nudge(copy.deepcopy(base), 0.01).save_pretrained(tmp_path)
    plain = logits(base, tokens)
    model = load_tuned(base, tmp_path).model
    tuned = logits(model, tokens)
    with pytest.raises(KeyboardInterrupt), model.disable_adapter(), model.disable_adapter():
        raise KeyboardInterrupt
    assert torch.equal(logits(model, tokens), tuned)
    with model.disable_adapter():
        with model.disable_adapter():
            assert torch.equal(logits(model, tokens), plain)
        assert torch.equal(logits(model, tokens), plain)
        assert model.generate(input_ids=tokens, max_new_tokens=2, do_sample=False).shape == (2, 10)
    assert torch.equal(logits(model, tokens), tuned)
    assert model.config is model.get_base_model().config
    double = model.double()
    with double.disable_adapter():
        torch.testing.assert_close(logits(double, tokens).float(), plain)
        assert {p.dtype for p in double.parameters()} == {torch.float64}
    torch.testing.assert_close(logits(double, tokens).float(), tuned)
    with pytest.raises(BadInput, match="has no tensor 'gain'"):
        TwoStates(tiny("llama"), {"model.norm.gain": torch.ones(1)})
    with pytest.raises(BadInput, match="no module 'model.nrm'"):
        TwoStates(tiny("llama"), {"model.nrm.weight": torch.ones(1)})


def test_embeddings_trained_by_hand_beside_plain_lora(tiny, tokens, tmp_path, quiet):
    base = tiny("llama", tie_word_embeddings=False)
    saved(base, LoraConfig(r=2, **TARGETS), tmp_path)
    own = {
        f"base_model.model.{n}.weight": base.get_submodule(n).weight.detach() + 0.002
        for n in ("model.embed_tokens", "model.norm")
    }
    save_file({**load_file(tmp_path / "adapter_model.safetensors"), **own}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ShapeMismatch, match="whose values are not this base's"):
        Adapter.read(tmp_path).check(base)
    tuned = hold(base, tmp_path, tokens)
    assert isinstance(tuned.model, TwoStates)
    assert "model.embed_tokens" in tuned.adapter.updates
    assert set(tuned.adapter.others) == {"model.norm.weight"}


def test_a_base_in_bfloat16_is_merged_in_float64(tiny, tokens, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    saved(base, LoraConfig(r=2, use_dora=True, modules_to_save=["norm"], **TARGETS), tmp_path)
    whole, half = load_tuned(copy.deepcopy(base), tmp_path), load_tuned(base.bfloat16(), tmp_path)
    assert half.adapter.updates.keys() == whole.adapter.updates.keys()
    for name, update in half.adapter.updates.items():
        torch.testing.assert_close(
            update.up @ update.down,
            whole.adapter.updates[name].up @ whole.adapter.updates[name].down,
            atol=0.02,
            rtol=0.02,
        )
    assert {p.dtype for n, p in half.model.named_parameters() if n.endswith("base_layer.weight")} == {torch.bfloat16}


def test_a_head_saved_beside_the_adapter_of_a_tied_base(tiny, tokens, tmp_path):
    base = tiny("llama", tie_word_embeddings=True)
    saved(base, LoraConfig(r=2, modules_to_save=["lm_head"], **TARGETS), tmp_path)
    adapter = hold(base, tmp_path, tokens).adapter
    assert "lm_head" in adapter.updates
    assert "model.embed_tokens" not in adapter.updates


def test_edits_attach_to_either_state(tiny, tokens, tmp_path):
    base = tiny("llama")
    saved(base, LoraConfig(r=2, modules_to_save=["mlp"], target_modules=["q_proj"]), tmp_path)
    from despur.core import AddVector, Site

    model = load_tuned(base, tmp_path).model
    for site in ("model.layers.0", "model.layers.0.mlp"):
        with attach(model, {Site(site): AddVector(torch.ones(32))}):
            inside = logits(model, tokens)
        assert not torch.equal(inside, logits(model, tokens))


# What cannot be read, and what is damaged: one sentence each


def model_folder(base, folder, change=None, **config):
    other = nudge(copy.deepcopy(base), 0.01)
    other.save_pretrained(folder, max_shard_size="40KB")
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **config}))
    if change:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        change(folder, index["weight_map"])
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def shard_gone(folder, table):
    (folder / min(table.values())).unlink()


def tensor_gone(folder, table):
    path = folder / table["model.norm.weight"]
    save_file({n: t for n, t in load_file(path).items() if n != "model.norm.weight"}, path)


def tensor_gone_from_both(folder, table):
    tensor_gone(folder, table)
    del table["model.norm.weight"]


def tensor_more(folder, table):
    path = folder / table["model.norm.weight"]
    save_file({**load_file(path), "model.nrm.weight": torch.ones(2)}, path)


def shortened(folder, table):
    path = folder / table["model.norm.weight"]
    path.write_bytes(path.read_bytes()[:-5])


def not_a_number(folder, table):
    path = folder / table["model.norm.weight"]
    save_file({**load_file(path), "model.norm.weight": torch.full((32,), float("nan"))}, path)


def elsewhere(folder, table):
    table["model.norm.weight"] = "../other.safetensors"


def no_table(folder, table):
    table.clear()


BAD = {
    "shard gone": ({"change": shard_gone}, "names the shard 'model-00001-of-.*', which is not there"),
    "tensor gone": ({"change": tensor_gone}, "lists 'model.norm.weight' in '.*', which does not contain it"),
    "tensor gone from both": (
        {"change": tensor_gone_from_both},
        "lacks the tensor 'model.norm.weight', which this base",
    ),
    "tensor more": (
        {"change": tensor_more},
        "has the tensor 'model.nrm.weight', which this base does not have; near",
    ),
    "shortened": ({"change": shortened}, "cannot read '.*': .*. Copy or save the model again"),
    "nan": ({"change": not_a_number}, "'model.norm.weight' in '.*' contains NaN or Inf"),
    "elsewhere": ({"change": elsewhere}, "names the shard '../other.safetensors', which is not a file of this folder"),
    "no table": ({"change": no_table}, "has weight_map={}, where a table of shards"),
    "another kind": ({"model_type": "qwen2"}, "has model_type='qwen2', this base 'llama': it was tuned from another"),
    "computes otherwise": (
        {"rms_norm_eps": 0.5},
        "has rms_norm_eps=0.5, this base 1e-06: it was tuned from another base",
    ),
    "quantised": (
        {"quantization_config": {"quant_method": "gptq"}},
        "has a quantization_config, and quantised weights cannot be compared",
    ),
    "garbage": ({"rope_parameters": 5}, "is refused by transformers: "),
}


@pytest.mark.parametrize(("damage", "says"), BAD.values(), ids=BAD)
def test_bad_model_folders_are_one_sentence(damage, says, tiny, tmp_path):
    base = tiny("llama")
    model_folder(base, tmp_path, **damage)
    with pytest.raises((BadInput, ShapeMismatch), match=says) as raised:
        load_tuned(base, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_model_of_another_vocabulary_or_none_at_all(tiny, tmp_path):
    base = tiny("llama")
    tiny("llama", vocab_size=66).save_pretrained(tmp_path / "more")
    assert "vocabulary of 66 tokens" in load_tuned(copy.deepcopy(base), tmp_path / "more").notes[0]
    base.save_pretrained(tmp_path / "same")
    with pytest.raises(BadInput, match="is the base's own: nothing was tuned"):
        load_tuned(base, tmp_path / "same")
    with pytest.raises(BadInput, match="no adapter_config.json in '/no/where'. Give the folder"):
        load_tuned(base, "/no/where")
    with pytest.raises(BadInput, match="it holds the models '.*more', '.*same'. Give the folder"):
        load_tuned(base, tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "config.json").write_text((tmp_path / "same" / "config.json").read_text())
    with pytest.raises(BadInput, match="no model.safetensors and no model.safetensors.index.json in .*pickled"):
        load_tuned(base, tmp_path / "bin")
    saved(base, LoraConfig(**TARGETS), tmp_path / "same")
    with pytest.raises(BadInput, match="contains an adapter and a whole model"):
        load_tuned(base, tmp_path / "same")


@pytest.mark.parametrize(
    ("kind", "options", "change", "says"),
    [
        ("LORA", {"use_dora": True}, "drop q_proj.lora_magnitude", "lacks '.*lora_magnitude.*', which adapter_config.json asks"),
        ("LORA", {"use_dora": True}, "add x.weight", "contains 'x.weight', which adapter_config.json does not name on this"),
        ("LORA", {"modules_to_save": ["norm"]}, "drop norm", "lacks '.*norm.weight', which adapter_config.json asks for"),
        ("LORA", {}, "drop layers.1.self_attn", "lacks 1 modules of this base that its target_modules name"),
        ("LOHA", {}, "drop layers.1.self_attn", "lacks '.*hada_.*', which adapter_config.json asks for on this base"),
        ("LOHA", {"r": 4}, "r=5", "PEFT cannot put '.*' on this base: .*size mismatch for"),
        ("LOHA", {}, "r=9999999", "has r=9999999, more than the file has numbers"),
        ("LOHA", {}, "alpha=x", "has alpha='x', where a number is needed"),
        ("LOHA", {}, "new=1", "has new=1, a key that PEFT.s configurations up to version .* do not have"),
        ("LOHA", {}, "zero", "changes nothing: the adapter was never trained"),
        ("LOHA", {}, "target_modules=1", "has target_modules=1, where a name or a list of names is needed"),
    ],
)  # fmt: skip
def test_files_that_do_not_belong_together(kind, options, change, says, tiny, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    saved(base, CONFIGS[kind](**{**TARGETS, **options}), tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    what, _, where = change.partition(" ")
    if what == "drop":
        tensors = {n: t for n, t in tensors.items() if where not in n}
    elif what == "add":
        tensors[where] = torch.ones(2)
    elif what == "zero":
        tensors = {n: 0 * t for n, t in tensors.items()}
    else:
        key, _, value = change.partition("=")
        said = json.loads((tmp_path / "adapter_config.json").read_text())
        said[key] = int(value) if value.isdigit() else value
        (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises((BadInput, ShapeMismatch), match=says) as raised:
        load_tuned(base, tmp_path)
    assert "\n" not in str(raised.value)


def test_only_plain_lora_goes_on_a_quantised_base(tiny, tmp_path):
    base = tiny("llama")
    saved(base, LoraConfig(**TARGETS, use_dora=True), tmp_path / "dora")
    saved(base, LoraConfig(**TARGETS), tmp_path / "plain")
    nudge(copy.deepcopy(base)).save_pretrained(tmp_path / "model")
    base.hf_quantizer = object()
    for folder in ("dora", "model"):
        with pytest.raises(BadInput, match="quantised base.* Give the base in bfloat16 or float32"):
            load_tuned(base, tmp_path / folder)
    assert load_tuned(base, tmp_path / "plain").adapter.updates


@pytest.mark.slow  # of a kind with faster ones
def test_reading_plain_lora_brings_neither_peft_nor_transformers(tiny, tmp_path):
    import subprocess
    import sys

    saved(tiny("llama"), LoraConfig(**TARGETS), tmp_path)
    code = f"import sys; from despur.core import Adapter; Adapter.read({str(tmp_path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"peft", "transformers"} & set(done.stdout.split())
    assert re.search(r"\bsafetensors\b", done.stdout)
