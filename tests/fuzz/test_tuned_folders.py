"""Whatever stands in an adapter's or a model's folder: a result or a DespurError, in time, and nothing written."""

import contextlib
import copy
import json
import os
import shutil
import struct
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from in_time import in_time, listing
from peft import IA3Config, LoHaConfig, LoraConfig, OFTConfig, get_peft_model
from safetensors.torch import load, save

from despur.core import Adapter, load_tuned
from despur.core.errors import DespurError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TARGETS = {"target_modules": ["q_proj", "down_proj"]}
KINDS = {
    "plain": LoraConfig(r=2, **TARGETS),
    "patterns": LoraConfig(r=2, rank_pattern={"q_proj": 3}, alpha_pattern={r"layers\.1\..*": 4}, **TARGETS),
    "embedding": LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"]),
    "dora": LoraConfig(r=2, use_dora=True, **TARGETS),
    "modules to save": LoraConfig(r=2, modules_to_save=["lm_head", "norm"], **TARGETS),
    "tokens": LoraConfig(r=2, trainable_token_indices=[3, 4], **TARGETS),
    "pissa": LoraConfig(r=2, init_lora_weights="pissa", **TARGETS),
    "loha": LoHaConfig(r=2, **TARGETS),
    "oft": OFTConfig(r=0, oft_block_size=4, **TARGETS),
    "ia3": IA3Config(feedforward_modules=["down_proj"], **TARGETS),
    "model": None,
}

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def sound(tiny, tmp_path_factory) -> tuple[torch.nn.Module, dict[str, Files]]:
    """A base, and the files of one sound folder a kind."""
    base = tiny("llama", tie_word_embeddings=False)
    folders: dict[str, Files] = {}
    for kind, config in KINDS.items():
        folder = tmp_path_factory.mktemp(kind.replace(" ", "_"))
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            model = (
                copy.deepcopy(base) if config is None else get_peft_model(copy.deepcopy(base), copy.deepcopy(config))
            )
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.requires_grad:
                        weight += 0.01 * torch.randn_like(weight)
            model.save_pretrained(folder, **({"max_shard_size": "40KB"} if config is None else {}))
        folders[kind] = {f.name: f.read_bytes() for f in folder.iterdir() if f.suffix != ".md"}
    return base, folders


NUMBERS = st.one_of(
    st.integers(-3, 70), st.sampled_from([10**5, 10**12, 10**400, -(2**70)]), st.floats(), st.booleans()
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["q_proj", "all-linear", ".*q_proj", "(", "(.+)+$", "(a|a)*b", ".*.*.*.*.*.*.*x", "../x", "/", "lm_head", "norm",
         "LORA", "LOHA", "OFT", "PROMPT_TUNING", "XLORA", "pissa", "pissa_niter_2", "olora", "eva", "loftq", "all", "lora_only",
         "model.layers.0.self_attn.q_proj", "\ud800", "\x00", "a" * 3000, "mlp.gate_proj.weight", "SEQ_CLS"]
    ),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["r", "lora_alpha", "alpha", "target_modules", "rank_pattern", "alpha_pattern", "peft_type", "bias", "use_dora", "use_rslora",
     "modules_to_save", "target_parameters", "trainable_token_indices", "layers_to_transform", "layers_pattern", "init_lora_weights",
     "init_weights", "exclude_modules", "fan_in_fan_out", "task_type", "base_model_name_or_path", "layer_replication", "lora_bias",
     "megatron_config", "oft_block_size", "coft", "eps", "module_dropout", "feedforward_modules", "runtime_config", "auto_mapping",
     "ensure_weight_tying", "inference_mode", "model_type", "hidden_size", "vocab_size", "rope_parameters", "tie_word_embeddings",
     "quantization_config", "num_hidden_layers", "weight_map", "metadata", "dtype", "architectures", "layer_types", ""]
)  # fmt: skip
NAMES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["base_model.model.model.norm.weight", "base_model.model.lm_head.weight", "model.norm.weight", "x" * 600, "",
         "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "base_model.model..lora_B.weight",
         "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight", "base_model.model.model.embed_tokens.weight",
         "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight", "lm_head.weight", "base_model.model.x.lora_A.bias",
         "base_model.model.model.layers.0.self_attn.q_proj.lora_embedding_A"]
    ),
)  # fmt: skip
DTYPES = [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.bool, torch.uint8, torch.complex64,
          torch.float8_e4m3fn]  # fmt: skip
SHAPES = [(), (0,), (3,), (2, 0), (2, 64), (64, 2), (32, 32), (2, 2, 2), (64, 32), (1, 1, 1, 1, 1)]
FILLS = [0.0, float("nan"), float("inf"), -1e38, 1e38, 1e-45]


def change_config(draw, files: Files, name: str) -> None:
    what = draw(st.sampled_from(["set"] * 6 + ["drop", "drop", "raw"]))
    if what == "raw":
        files[name] = draw(
            st.one_of(
                st.binary(max_size=20),
                st.sampled_from([b"", b"[" * 50000, b'{"a":' * 500 + b"1" + b"}" * 500, b"null", b"[]", b"\xff\xfe"]),
                st.integers(0, len(files[name])).map(lambda n: files[name][:n]),
            )
        )
        return
    key, value, at = draw(KEYS), draw(VALUES), draw(st.integers(0, 30))
    try:
        said = json.loads(files[name])
        if what == "set":
            said[key] = value
        else:
            del said[sorted(said)[at % len(said)]]
        files[name] = json.dumps(said).encode()
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        pass  # an earlier change made it no JSON object


def change_bytes(draw, files: Files, name: str) -> None:
    raw = bytearray(files[name])
    what = draw(st.sampled_from(["cut", "flip", "flip header", "more", "length"]))
    if what == "cut":
        raw = raw[: draw(st.integers(0, len(raw)))]
    elif what == "more":
        raw += draw(st.binary(min_size=1, max_size=9))
    elif what == "length":
        raw[:8] = struct.pack("<Q", draw(st.sampled_from([0, 1, 7, 10**6, 2**63, 2**64 - 1])))
    elif raw:
        at = draw(st.integers(0, min(len(raw), 400 if what == "flip header" else len(raw)) - 1))
        raw[at] ^= draw(st.integers(1, 255))
    files[name] = bytes(raw)


def change_tensors(draw, files: Files, name: str) -> None:
    try:
        tensors = load(files[name])
    except Exception:  # an earlier change made it unreadable
        return
    chosen = draw(st.sampled_from(sorted(tensors))) if tensors else None
    what = draw(st.sampled_from(["drop", "rename", "dtype", "shape", "fill", "add", "cast all"]))
    if what == "add" or chosen is None:
        tensors[draw(NAMES)] = torch.ones(draw(st.sampled_from(SHAPES)))
    elif what == "drop":
        del tensors[chosen]
    elif what == "rename":
        tensors[draw(NAMES)] = tensors.pop(chosen)
    elif what == "dtype":
        tensors[chosen] = tensors[chosen].to(draw(st.sampled_from(DTYPES)))
    elif what == "cast all":
        dtype = draw(st.sampled_from(DTYPES))
        tensors = {n: t.to(dtype) for n, t in tensors.items()}
    elif what == "shape":
        tensors[chosen] = torch.ones(draw(st.sampled_from(SHAPES)))
    else:
        few, value = draw(st.sampled_from([1, None])), draw(st.sampled_from(FILLS))
        tensors[chosen] = tensors[chosen].clone()
        if tensors[chosen].is_floating_point():
            tensors[chosen].view(-1)[:few] = value
    with contextlib.suppress(UnicodeError):
        files[name] = save(tensors)


def change_place(draw, folder: Path) -> None:
    path = draw(st.sampled_from(sorted(folder.iterdir())))
    what = draw(
        st.sampled_from(["gone", "loop", "zero", "null", "fifo", "folder", "dangling", "away", "secret", "more"])
    )
    if what == "more":
        (
            folder
            / draw(st.sampled_from(["x.bin", "adapter_model.bin", "despur.json", "config.json", "model.safetensors"]))
        ).write_bytes(draw(st.sampled_from([b"", b"{}", b"[1]", b'{"base_fingerprint": 3}', b"\x80\x04."])))
        return
    if path.is_dir():
        return
    if what == "secret":
        path.chmod(0)
        return
    raw = path.read_bytes() if path.is_file() else b""
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "away":  # as the hub's cache does it
        away = folder.parent / "blob"
        away.write_bytes(raw)
        path.symlink_to(away)
    elif what != "gone":
        path.symlink_to({"loop": path, "zero": "/dev/zero", "null": "/dev/null", "dangling": "/no/where"}[what])


def one_case(data: st.DataObject, sound, seconds: float = 10.0) -> None:
    draw = data.draw
    base, folders = sound
    kind = draw(st.sampled_from(sorted(folders)))
    files = dict(folders[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # casts that lose something
        for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
            name = draw(st.sampled_from(sorted(files)))
            if name.endswith(".json"):
                change_config(draw, files, name)
            else:
                draw(st.sampled_from([change_bytes] + [change_tensors] * 5))(draw, files, name)
    root = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        folder = root / "inside" / "adapter"
        folder.mkdir(parents=True)
        for name, raw in files.items():
            (folder / name).write_bytes(raw)
        if draw(st.integers(0, 4)) == 0:
            change_place(draw, folder)
        before, here = listing(root), sorted(os.listdir())
        said = "read"
        with in_time(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                Adapter.read(folder).check(base)
            except DespurError as error:
                one_sentence(error)
            try:
                tuned = load_tuned(copy.deepcopy(base), folder, rank=4)
                with torch.no_grad(), tuned.model.disable_adapter():
                    tuned.model(input_ids=torch.tensor([[3, 4, 5]]))
                assert tuned.adapter.norm() >= 0
            except DespurError as error:
                one_sentence(error)
                said = type(error).__name__
        assert listing(root) == before
        assert sorted(os.listdir()) == here
        event(f"{kind}: {said}")
    finally:
        for path in root.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(root)


def one_sentence(error: DespurError) -> None:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 3000
    text.encode("utf-8")


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_mutated_folders_give_a_result_or_one_sentence(data, sound):
    one_case(data, sound)


@pytest.mark.slow
@settings(max_examples=2500, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_many_mutated_folders_give_a_result_or_one_sentence(data, sound):
    one_case(data, sound)


def test_sound_folders_are_read(sound, tmp_path):
    base, folders = sound
    for kind, files in folders.items():
        folder = tmp_path / kind
        folder.mkdir()
        for name, raw in files.items():
            (folder / name).write_bytes(raw)
        assert load_tuned(copy.deepcopy(base), folder).adapter.updates, kind
