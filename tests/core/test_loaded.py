"""Adapters that PEFT reads although their names or sizes are not the base's own, and those that it would read as nothing."""

import copy
import json
import shutil
import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, VBLoRAConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from despur.core import load_tuned
from despur.core.adapter.patterns import may_explode
from despur.core.errors import BadInput, DespurError, ShapeMismatch

FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def saved(base, config, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(copy.deepcopy(base), config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad and weight.is_floating_point():
                    weight.add_(0.1 * torch.randn(weight.shape))
        model.eval().save_pretrained(folder)
    return model


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits


def as_peft(base, folder, tokens, live=None):
    """despur's model is PEFT's, on and off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = logits(PeftModel.from_pretrained(copy.deepcopy(base), folder).eval(), tokens)
    plain = logits(base, tokens)
    tuned = load_tuned(copy.deepcopy(base), folder)
    torch.testing.assert_close(logits(tuned.model, tokens), theirs, rtol=0, atol=1e-6)
    assert not torch.allclose(theirs, plain, atol=1e-3), "the control: it changes something"
    if live is not None:
        torch.testing.assert_close(logits(live, tokens), theirs, rtol=0, atol=1e-6)
    with tuned.model.disable_adapter():
        torch.testing.assert_close(logits(tuned.model, tokens), plain, rtol=0, atol=1e-6)
    return tuned


TIED = {
    "tokens": {"trainable_token_indices": [3, 5]},
    "tokens by module": {"trainable_token_indices": {"embed_tokens": [3, 5]}},
    "tokens of both ends": {"trainable_token_indices": {"embed_tokens": [3, 5], "lm_head": [4]}},
    "lora of both ends": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "both ends whole": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
}


@pytest.mark.parametrize("options", TIED.values(), ids=TIED)
def test_what_tied_ends_share_is_saved_once_and_read_for_both(options, tiny, tokens, tmp_path):
    base = tiny("llama", tie_word_embeddings=True)
    live = saved(base, LoraConfig(**{"r": 4, "target_modules": ["q_proj"], **options}), tmp_path)
    as_peft(base, tmp_path, tokens, live)


@pytest.mark.parametrize("vectors", [16, 300])
def test_small_whole_numbers_are_indices(vectors, tiny, tokens, tmp_path):
    base = tiny("llama")
    options = {"num_vectors": vectors, "vector_length": 8, "save_only_topk_weights": True}
    saved(base, VBLoRAConfig(r=4, target_modules=["q_proj"], **options), tmp_path)
    kinds = {t.dtype for t in load_file(tmp_path / FILE).values()}
    assert kinds & {torch.uint8, torch.int16}, "the control: they are not of 32 bits"
    as_peft(base, tmp_path, tokens)


@pytest.fixture
def experts():
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    own = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "decoder_sparse_step": 1}
    more = {"num_key_value_heads": 2, "head_dim": 8, "mlp_only_layers": []}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **own, **more)).eval()


def per_expert(base, folder, leave_out=()):
    """A folder of the days when each expert was three linear maps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        get_peft_model(copy.deepcopy(base), LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(folder)
    tensors = {k: 0.2 * torch.randn(v.shape) for k, v in load_file(folder / FILE).items()}
    for layer in range(2):
        for expert in range(4):
            for name, (out, into) in {"gate_proj": (16, 32), "up_proj": (16, 32), "down_proj": (32, 16)}.items():
                key = f"base_model.model.model.layers.{layer}.mlp.experts.{expert}.{name}"
                if (layer, expert) not in leave_out:
                    tensors |= {
                        f"{key}.lora_A.weight": 0.2 * torch.randn(4, into),
                        f"{key}.lora_B.weight": 0.2 * torch.randn(out, 4),
                    }
    save_file(tensors, folder / FILE, metadata={"format": "pt"})
    config = json.loads((folder / CONFIG).read_text())
    config["target_modules"] = ["q_proj", "gate_proj", "up_proj", "down_proj"]
    (folder / CONFIG).write_text(json.dumps(config))


def test_experts_one_by_one_are_read_as_peft_stacks_them(experts, tokens, tmp_path):
    per_expert(experts, tmp_path)
    tuned = as_peft(experts, tmp_path, tokens)
    assert not tuned.adapter.others
    names = {n.partition("mlp.")[2] for n in tuned.adapter.updates if "layers.0.mlp" in n}
    assert names == {f"experts.{n}.{i}" for n in ("gate_up_proj", "down_proj") for i in range(4)}
    assert any(n.endswith("q_proj") for n in tuned.adapter.updates)


def test_a_conversion_that_drops_something_is_refused(experts, tmp_path, monkeypatch):
    import peft.utils.transformers_weight_conversion as conversion

    per_expert(experts, tmp_path)
    real = conversion.convert_peft_adapter_state_dict_for_transformers

    def careless(*args, **kwargs):
        state = real(*args, **kwargs)
        return {k: 0 * v if "layers.1" in k and "experts" in k else v for k, v in state.items()}

    monkeypatch.setattr(conversion, "convert_peft_adapter_state_dict_for_transformers", careless)
    with pytest.raises(BadInput, match="keeps .*% of their change"):
        load_tuned(experts, tmp_path)


def test_two_tensors_for_one_place_are_refused(tiny, tmp_path):
    saved(tiny("llama"), LoraConfig(r=4, target_modules=["q_proj"]), tmp_path)
    tensors = load_file(tmp_path / FILE)
    key = next(k for k in tensors if "lora_A" in k)
    tensors[key.replace("lora_A", "lora_A.default")] = tensors[key] + 1
    save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    with pytest.raises(DespurError, match="two tensors for one place"):
        load_tuned(tiny("llama"), tmp_path)


WRAPPED = {
    "_orig_mod": lambda k: "_orig_mod." + k,
    "inside": lambda k: k.replace("base_model.model.", "base_model.model._orig_mod."),
    "module": lambda k: "module." + k,
    "fsdp": lambda k: k.replace("layers.0.", "layers.0._fsdp_wrapped_module."),
    "checkpoint": lambda k: k.replace("layers.", "layers._checkpoint_wrapped_module."),
    "lightning": lambda k: "model." + k,
    "bare": lambda k: k.removeprefix("base_model.model."),
    "named": lambda k: k.replace(".weight", ".mine.weight"),
}
CAUSES = {
    **dict.fromkeys(("_orig_mod", "inside"), "'_orig_mod.'"), "module": "'module.'", "fsdp": "'_fsdp_wrapped_module.'",
    "checkpoint": "'_checkpoint_wrapped_module.'", "lightning": "'model.'", "bare": "lack the prefix", "named": "'mine'",
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPED)
def test_names_from_inside_a_wrapper_are_called_that(kind, tiny, tmp_path):
    base = tiny("llama")
    saved(base, LoraConfig(r=4, target_modules=["q_proj"]), tmp_path)
    assert load_tuned(copy.deepcopy(base), tmp_path).adapter.updates, "the control"
    tensors = {WRAPPED[kind](k): v for k, v in load_file(tmp_path / FILE).items()}
    save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    with pytest.raises(BadInput) as raised:
        load_tuned(base, tmp_path)
    assert CAUSES[kind] in str(raised.value)
    assert "another base" not in str(raised.value)


MLX = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": {"rank": 4, "scale": 20.0}}


def test_folders_of_other_tools_are_named(tiny, tmp_path):
    base = tiny("llama")
    (tmp_path / "adapters.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="MLX"):
        load_tuned(base, tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(MLX))
    with pytest.raises(BadInput, match="MLX"):
        load_tuned(base, tmp_path)
    (tmp_path / CONFIG).write_text(
        json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["q_proj"]})
    )
    save_file({"model.layers.0.self_attn.q_proj.lora_a": torch.ones(32, 4)}, tmp_path / FILE)
    with pytest.raises(BadInput, match="MLX"):
        load_tuned(base, tmp_path)
    for name, maker in {
        "lora.gguf": "llama.cpp",
        "adapter_0.pt": "torchtune",
        "pytorch_adapter.bin": "AdapterHub",
    }.items():
        folder = tmp_path / maker
        folder.mkdir()
        (folder / name).write_bytes(b"")
        with pytest.raises(BadInput, match=maker.replace(".", r"\.")):
            load_tuned(base, folder)
    (tmp_path / CONFIG).write_text(json.dumps({"stage": "sft", "finetuning_type": "lora", "lora_target": "all"}))
    with pytest.raises(BadInput, match="LLaMA-Factory"):
        load_tuned(base, tmp_path)


def test_a_classifiers_adapter_is_called_that(tiny, tmp_path):
    saved(tiny("llama"), LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"]), tmp_path)
    tensors = load_file(tmp_path / FILE)
    save_file(
        {k.replace("lm_head", "score"): v for k, v in tensors.items()}, tmp_path / FILE, metadata={"format": "pt"}
    )
    config = json.loads((tmp_path / CONFIG).read_text()) | {"task_type": "SEQ_CLS", "modules_to_save": ["score"]}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(BadInput, match="a classifier or a reward model"):
        load_tuned(tiny("llama"), tmp_path)


@pytest.mark.parametrize(
    ("key", "fate"),
    [("lorap_emb_lr", "note"), ("unsloth_version", "note"), ("lora_dtype", "note"), ("made_up", "a key that PEFT"),
     ("arrow_config", "changes what the adapter computes")],
)  # fmt: skip
def test_keys_that_peft_does_not_know(key, fate, tiny, tmp_path):
    saved(tiny("llama"), LoraConfig(r=4, target_modules=["q_proj"]), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, key: {"a": 1}}))
    if fate == "note":
        assert key in load_tuned(tiny("llama"), tmp_path).notes[0]
    else:
        with pytest.raises(BadInput, match=fate):
            load_tuned(tiny("llama"), tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({**config, key: None}))
    assert not any(key in note for note in load_tuned(tiny("llama"), tmp_path).notes), "the control: it is empty"


MAPS = "q_proj|k_proj|v_proj"
PATTERNS = {
    "unsloth": rf"(?:.*?(?:vision|language).*?(?:self_attn|mlp).*?(?:{MAPS}).*?)"
    rf"|(?:\bmodel\.layers\.[\d]{{1,}}\.(?:self_attn)\.(?:(?:{MAPS})))",
    "no experts": rf"(?:.*?(?:language|text).*?(?:attn).*?\.(?:{MAPS}))"
    rf"|(?:\bmodel\.layers\.[\d]{{1,}}(?!.*\.experts\.\d)\..*?(?:attn).*?\.(?:(?:{MAPS})))",
    "no tower": rf"^(?!.*visual)(?!.*audio)(?!.*merger).*\.layers\..*(?:{MAPS})$",
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_long_patterns_that_match_at_once_are_read(pattern, tiny, tmp_path):
    base = tiny("llama")
    saved(base, LoraConfig(r=4, target_modules=pattern), tmp_path)
    assert load_tuned(base, tmp_path).adapter.updates


@pytest.mark.parametrize("pattern", ["(.?.?){28}x!", "(.+)+!", "(.*.*.*.*.*.*.*.*.*.*)*!", "(?:(?:.|..)*)*!"])
def test_patterns_without_an_end_are_refused(pattern, tiny, tmp_path):
    base = tiny("llama")
    saved(base, LoraConfig(r=4, target_modules=["q_proj"]), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text()) | {"target_modules": pattern}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    assert may_explode(pattern)
    with pytest.raises(BadInput, match="may take very long"):
        load_tuned(base, tmp_path)


SIZES = {
    "whole ends": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "lora on ends": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    "new tokens": {
        "target_modules": ["q_proj"],
        "trainable_token_indices": {"embed_tokens": [64, 65], "lm_head": [64, 65]},
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [66, 60])
@pytest.mark.parametrize("options", SIZES.values(), ids=SIZES)
def test_a_resized_vocabulary_is_read_where_the_file_has_every_row(options, size, tiny, tokens, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    if "trainable_token_indices" in options and size < 64:
        pytest.skip("no new tokens")
    other = copy.deepcopy(base)
    other.resize_token_embeddings(size)
    live = saved(other, LoraConfig(r=4, **options), tmp_path)
    tuned = load_tuned(copy.deepcopy(base), tmp_path)
    old = min(size, 64)
    ids = tokens.clamp(max=old - 1)
    now, then = (logits(m, ids) for m in (tuned.model, live))
    kept = now.shape[-1] if "new tokens" not in options else old
    torch.testing.assert_close(now[..., :kept], then[..., :kept], rtol=0, atol=1e-5)
    with tuned.model.disable_adapter():
        torch.testing.assert_close(logits(tuned.model, ids)[..., :old], logits(base, ids)[..., :old], rtol=0, atol=1e-5)
    assert "vocabulary of" in tuned.notes[0]


@pytest.mark.filterwarnings("ignore")
def test_a_resized_vocabulary_with_one_end_missing_is_named(tiny, tmp_path):
    base = tiny("llama", tie_word_embeddings=False)
    other = copy.deepcopy(base)
    other.resize_token_embeddings(66)
    saved(other, LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens"]), tmp_path)
    tensors = {k: v for k, v in load_file(tmp_path / FILE).items() if "embed_tokens" not in k}
    save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    with pytest.raises(ShapeMismatch, match=r"vocabulary of 64.*resize_token_embeddings\(66\)"):
        load_tuned(base, tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_whole_model_with_more_tokens_is_read(tiny, tokens, tmp_path):
    base = tiny("llama")
    other = copy.deepcopy(base)
    other.resize_token_embeddings(66)
    with torch.no_grad():
        other.model.layers[0].mlp.up_proj.weight.add_(0.1)
    other.save_pretrained(tmp_path)
    tuned = load_tuned(copy.deepcopy(base), tmp_path)
    torch.testing.assert_close(logits(tuned.model, tokens), logits(other, tokens))
    assert "vocabulary of 66 tokens" in tuned.notes[0]
    shutil.rmtree(tmp_path)
