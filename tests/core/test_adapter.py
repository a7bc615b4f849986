"""Adapters as PEFT itself writes them, held against PEFT's own merge."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoHaConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from despur.core import Adapter, LowRank, fingerprint
from despur.core.errors import BadInput, ShapeMismatch

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KINDS = {
    "plain": ("llama", {"target_modules": ["q_proj", "down_proj"], "lora_alpha": 5}),
    "rslora": ("llama", {"target_modules": "all-linear", "use_rslora": True, "lora_alpha": 5}),
    "regex": ("llama", {"target_modules": r".*layers\.1\..*up_proj"}),
    "patterns": (
        "llama",
        {
            "target_modules": ["q_proj", "v_proj", "down_proj"],
            "rank_pattern": {"q_proj": 4, r"layers\.1\.mlp\.down_proj": 1},
            "alpha_pattern": {"v_proj": 7, "model.layers.0.self_attn.q_proj": 3},
        },
    ),
    "rslora, patterns": (
        "llama",
        {"target_modules": ["q_proj", "o_proj"], "use_rslora": True, "rank_pattern": {"q_proj": 6}},
    ),
    "some layers": ("llama", {"target_modules": ["q_proj"], "layers_to_transform": [1]}),
    "embedding and head": ("llama", {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}),
    "gaussian": ("qwen2", {"target_modules": ["gate_proj"], "init_lora_weights": "gaussian"}),
    "conv1d": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "conv1d, embedding": ("gpt2", {"target_modules": ["wte", "wpe", "c_fc"], "fan_in_fan_out": True}),
    "fused qkv": ("gpt_neox", {"target_modules": ["query_key_value", "dense"]}),
}


@pytest.fixture
def saved(trained, tmp_path, quiet):
    """`saved("llama", ...)` -> base, folder written by PEFT."""

    def save(kind: str = "llama", **lora: object) -> tuple[nn.Module, Path]:
        base, model = trained(kind, **lora)
        with quiet():
            model.save_pretrained(tmp_path / "adapter")
        return base, tmp_path / "adapter"

    return save


@pytest.mark.parametrize(("kind", "lora"), KINDS.values(), ids=KINDS)
def test_read_and_of_are_the_difference_that_peft_merges(kind, lora, trained, tmp_path, quiet):
    base, model = trained(kind, **lora)
    with quiet():
        model.save_pretrained(tmp_path)
    live, read = Adapter.of(model), Adapter.read(tmp_path)
    with quiet():
        merged = dict(PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).merge_and_unload().named_modules())
    changed = set()
    for name, module in base.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or torch.equal(merged[name].weight, weight):
            continue
        changed.add(name)
        want = (merged[name].weight - weight).detach()
        if isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D":
            want = want.T
        for adapter in (live, read):
            update = adapter.updates[name]
            torch.testing.assert_close(update.scale * update.up @ update.down, want, atol=1e-5, rtol=1e-4)
    assert set(live.updates) == set(read.updates) == changed
    assert live.norm() == pytest.approx(read.norm())
    assert live.config.keys() == read.config.keys()
    for key in ("peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "fan_in_fan_out"):
        assert live.config[key] == read.config[key]
    assert read.folder == tmp_path
    assert set(read.roles(base)) == changed
    assert len(read.check(base, "models/x")) == 1


def test_of_shares_the_live_tensors(trained):
    _, model = trained()
    adapter = Adapter.of(model)
    before = adapter.norm()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight *= 2
    assert adapter.norm() == pytest.approx(2 * before)
    assert Adapter.of(model.get_base_model()).updates.keys() == adapter.updates.keys()


def test_a_named_adapter_is_told_from_its_neighbours(trained, tmp_path, quiet):
    _, model = trained(adapter_name="first")
    with quiet():
        model.add_adapter("second", LoraConfig(r=3, target_modules=["up_proj"]))
        model.save_pretrained(tmp_path)
    assert len(Adapter.of(model, "first").updates) == 4
    assert {u.down.shape[0] for u in Adapter.of(model, "second").updates.values()} == {3}
    assert Adapter.read(tmp_path / "first").updates.keys() == Adapter.of(model, "first").updates.keys()
    with pytest.raises(BadInput) as raised:
        Adapter.of(model)
    assert str(raised.value) == (
        "the model has no adapter 'default' (it has: 'first', 'second'). Wrap it with peft.get_peft_model first"
    )
    with pytest.raises(BadInput) as raised:
        Adapter.read(tmp_path)
    assert str(raised.value) == (
        f"no adapter_config.json in {str(tmp_path)!r}; it holds the adapters {str(tmp_path / 'first')!r}, "
        f"{str(tmp_path / 'second')!r}. Give the folder that PEFT's save_pretrained wrote"
    )


def test_of_refuses_what_it_could_not_see_whole(tiny, quiet):
    with pytest.raises(BadInput, match=r"^the model has no adapter 'default' \(it has: none\)\. Wrap it with peft"):
        Adapter.of(tiny("llama"))
    with quiet():
        dora = get_peft_model(tiny("llama"), LoraConfig(target_modules=["q_proj"], use_dora=True))
        loha = get_peft_model(tiny("llama"), LoHaConfig(target_modules=["q_proj"]))
    with pytest.raises(
        BadInput, match="^adapter 'default' has use_dora=True, so its change cannot be computed without its base. Read"
    ):
        Adapter.of(dora)
    with pytest.raises(BadInput, match="^adapter 'default' has peft_type='LOHA', so its change cannot be computed"):
        Adapter.of(loha)


# Bad input: one sentence that names the file, the value and the next step


def edit_config(**changes: object):
    def damage(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | changes))

    return damage


def edit_tensors(change):
    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        save_file(change(tensors) or tensors, folder / WEIGHTS)

    return damage


def first(tensors: dict[str, torch.Tensor], letter: str) -> str:
    return next(name for name in sorted(tensors) if f"lora_{letter}" in name)


def set_value(value: float):
    return edit_tensors(lambda t: t[first(t, "A")].view(-1)[3:4].fill_(value) and None)


def all_zero(letter: str):
    return edit_tensors(lambda t: {n: 0 * x if f"lora_{letter}" in n else x for n, x in t.items()})


def without(letter: str):
    return edit_tensors(lambda t: {n: x for n, x in t.items() if n != first(t, letter)})


def replaced(letter: str, new: torch.Tensor):
    return edit_tensors(lambda t: {**t, first(t, letter): new})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    (folder / "training_args.bin").write_bytes(b"")  # beside every Trainer's adapter


def added(name: str):
    return edit_tensors(lambda t: {**t, f"base_model.model.{name}": torch.ones(2)})


def truncated(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9])


MODULE = "'model.layers.0.mlp.down_proj'"
# {f} the folder, {C} its config, {W} its weights, {A} the first lora_A, {M} its module
BAD = {
    "no config": (lambda f: (f / CONFIG).unlink(), "no adapter_config.json in {f}. Give the folder that PEFT's save"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "no adapter_model.safetensors in {f}: the folder is incomplete"),
    "pickled": (
        pickled,
        "'{adapter_model.bin}' is pickled, and loading a pickle can run code. If you trust it, convert",
    ),
    "truncated": (truncated, "cannot read {W}: Error while deserializing header: incomplete metadata, file not fully"),
    "empty": (
        lambda f: (f / WEIGHTS).write_bytes(b""),
        "cannot read {W}: Error while deserializing header: header too",
    ),
    "no tensors": (edit_tensors(lambda t: t.clear()), "{W} contains no tensors. Save the adapter again"),
    "garbage": (
        lambda f: (f / CONFIG).write_text("{'r': 8"),
        "{C} is not readable JSON: Expecting property name enclo",
    ),
    "not text": (
        lambda f: (f / CONFIG).write_bytes(b"\xff\x00"),
        "{C} is not readable JSON: 'utf-8' codec can't decode",
    ),
    "a list": (
        lambda f: (f / CONFIG).write_text("[1, 2]"),
        "{C} contains [1, 2], where a JSON object is needed. Save it again",
    ),
    "other kind": (
        edit_config(peft_type="IA3"),
        "{C} has peft_type='IA3', so its change cannot be computed without its bas",
    ),
    "prompts": (
        edit_config(peft_type="PROMPT_TUNING"),
        "{C} is of peft_type='PROMPT_TUNING', which is not read: only w",
    ),
    "no kind": (edit_config(peft_type=[1]), "{C} is of peft_type=[1], which is not read: only what can be merged into"),
    "dora": (
        edit_config(use_dora=True),
        "{C} has use_dora=True, so its change cannot be computed without its base. Read b",
    ),
    "modules": (
        edit_config(modules_to_save=["lm_head"]),
        "{C} has modules_to_save=['lm_head'], so its change cannot be",
    ),
    "biases": (
        edit_config(bias="all"),
        "{C} has bias='all', so its change cannot be computed without its base. Read both",
    ),
    "replicated": (
        edit_config(layer_replication=[[0, 1]]),
        "{C} has layer_replication=[[0, 1]], which changes what the adapter",
    ),
    "not named": (
        edit_config(target_modules=["q_proj"]),
        "{W} changes {M}, which target_modules in adapter_config.json",
    ),
    "not named, regex": (
        edit_config(target_modules=".*q_proj"),
        "{W} changes {M}, which target_modules in adapter_conf",
    ),
    "endless": (
        edit_config(target_modules="(.+)+q_proj"),
        "{C} has the pattern '(.+)+q_proj', which may take very long t",
    ),
    "endless, ranks": (
        edit_config(rank_pattern={"(.|..)*q!": 2}),
        "{C} has the pattern '(.|..)*q!', which may take very ",
    ),
    "nested": (
        lambda f: (f / CONFIG).write_text('{"a":' * 70 + "1" + "}" * 70),
        "{C} is nested more than 64 deep. Save it again",
    ),
    "very nested": (
        lambda f: (f / CONFIG).write_text("[" * 10**6),
        "{C} is not readable JSON: maximum recursion depth",
    ),
    "huge": (
        lambda f: (f / CONFIG).write_text(" " * (10 * 2**20 + 1)),
        "{C} has 10485761 bytes, where a configuration h",
    ),
    "a fifo": (
        lambda f: [(f / CONFIG).unlink(), os.mkfifo(f / CONFIG)],
        "{C} is not a regular file. Copy or save the fold",
    ),
    "weights a fifo": (
        lambda f: [(f / WEIGHTS).unlink(), os.mkfifo(f / WEIGHTS)],
        "{W} is not a regular file. Copy or sav",
    ),
    "half a rank": (
        edit_config(r=2.5),
        "{C} has r=2.5 for {M}, where a whole number is needed. Save the adapter again",
    ),
    "a huge rank": (edit_config(r=10**400), "{C} has r=1000"),
    "integers": (
        replaced("A", torch.ones(2, 64, dtype=torch.int32)),
        "{A} in {W} is of torch.int32, where floating poi",
    ),
    "truths": (
        replaced("A", torch.ones(2, 64, dtype=torch.bool)),
        "{A} in {W} is of torch.bool, which is not a type for",
    ),
    "a long name": (added("x" * 600), "{W} contains a tensor whose name has 617 letters. Save it again"),
    "a later option": (edit_config(use_new=1), "{C} has use_new=1, a key that PEFT's configurations up to version"),
    "pissa": (edit_config(init_lora_weights="pissa"), "{C} has init_lora_weights='pissa', so its change cannot be c"),
    "corda": (edit_config(init_lora_weights="corda"), "{C} has init_lora_weights='corda', which changes the base's we"),
    "zero B": (all_zero("B"), "every lora_B in {f} is zero: the adapter was never trained, or its training did not re"),
    "zero A": (all_zero("A"), "every lora_A in {f} is zero: the adapter was never trained, or its training did not re"),
    "nan": (set_value(float("nan")), "{A} in {W} contains NaN or Inf: the training run diverged. Train it again"),
    "inf": (set_value(float("-inf")), "{A} in {W} contains NaN or Inf: the training run diverged. Train it again"),
    "A alone": (without("B"), "{M} in {W} has lora_A but no lora_B. Copy or save the adapter again"),
    "B alone": (without("A"), "{M} in {W} has lora_B but no lora_A. Copy or save the adapter again"),
    "ranks": (replaced("A", torch.ones(3, 64)), "{M} in {W} has lora_A (3, 64) and lora_B (32, 2), where adapter_conf"),
    "rank said": (
        edit_config(r=4),
        "{M} in {W} has lora_A (2, 64) and lora_B (32, 2), where adapter_config.json has rank 4",
    ),
    "shards": (replaced("A", torch.ones(0)), "{A} in {W} has shape (0,), where a matrix is needed: another kind of"),
    "convolution": (replaced("A", torch.ones(2, 3, 1, 1)), "{A} in {W} has shape (2, 3, 1, 1), where a matrix is nee"),
    "a stranger": (
        added("x.lora_magnitude_vector"),
        "'base_model.model.x.lora_magnitude_vector' in {W} is not a LoRA mat",
    ),
    "a bias": (
        added("x.lora_B.bias"),
        "'base_model.model.x.lora_B.bias' in {W} is not a LoRA matrix: its change would be",
    ),
    "only copies": (
        edit_tensors(lambda t: {"base_model.model.x.weight": torch.ones(2)}),
        "{W} contains no LoRA matrices.",
    ),
    "alpha": (edit_config(lora_alpha=None), "{C} has lora_alpha=None for {M}, where a positive number is needed. Save"),
    "alphas": (
        edit_config(alpha_pattern=[3]),
        "{C} has alpha_pattern=[3], where a table is needed. Save the adapter ag",
    ),
    "a rank of text": (edit_config(r="8"), "{C} has r='8', where a number is needed. Save the adapter again with PEFT"),
    "a rank of truth": (
        edit_config(r=True),
        "{C} has r=True, where a number is needed. Save the adapter again with PEF",
    ),
    "names": (
        edit_config(target_modules=["a", 1]),
        "{C} has target_modules=['a', 1], where a name or a list of names is",
    ),
    "bad pattern": (edit_config(rank_pattern={"(": 2}), "{C} has r={'(': 2} for {M}, where a positive number is"),
}


@pytest.mark.parametrize(("damage", "says"), BAD.values(), ids=BAD)
def test_bad_folders_are_one_sentence(damage, says, saved):
    _, folder = saved()
    damage(folder)
    with pytest.raises(BadInput) as raised:
        Adapter.read(folder)
    text = str(raised.value)
    for path, short in ((folder / CONFIG, "{C}"), (folder / WEIGHTS, "{W}"), (folder, "{f}")):
        text = text.replace(repr(str(path)), short)
    text = text.replace(f"{folder}/adapter_model.bin", "{adapter_model.bin}", 1)
    text = text.replace(f"'base_model.model.{MODULE[1:-1]}.lora_A.weight'", "{A}").replace(MODULE, "{M}")
    assert text.startswith(says)
    assert "\n" not in text
    assert "Traceback" not in text


def test_a_folder_of_another_kind_says_what_it_is(tiny, tmp_path, quiet):
    with quiet():
        tiny("llama").save_pretrained(tmp_path)
    with pytest.raises(
        BadInput, match="^no adapter_config.json in .*; it holds a whole model. Give the folder that PEFT's"
    ):
        Adapter.read(tmp_path)
    with pytest.raises(BadInput, match="^no adapter_config.json in '/no/where'. Give"):
        Adapter.read("/no/where")


def test_the_conversion_that_the_pickle_message_gives_works(saved):
    _, folder = saved()
    before = Adapter.read(folder)
    pickled(folder)
    with pytest.raises(BadInput) as raised:
        Adapter.read(folder)
    command = str(raised.value).split("convert it: ")[1]
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, check=True)
    assert Adapter.read(folder).norm() == before.norm()


def test_names_and_shapes_are_compared_and_what_could_not_be_is_said(saved, tiny):
    base, folder = saved()
    adapter = Adapter.read(folder)
    assert adapter.check(base, "models/x") == [
        "the adapter records no base fingerprint, so only names and shapes were compared; "
        "it names its base None, you gave 'models/x'"
    ]
    adapter.config["base_model_name_or_path"] = "models/x"
    assert adapter.check(base, "models/x")[0].endswith("it names its base 'models/x', as you do")
    adapter.config["base_model_name_or_path"] = str(folder)
    assert adapter.check(base, folder / ".." / folder.name)[0].endswith(", as you do"), "by another way"
    own = "it was trained on another base. Give the base that it was trained on"
    with pytest.raises(ShapeMismatch) as raised:
        adapter.check(tiny("llama", hidden_size=64))
    assert str(raised.value) == f"{str(folder)!r} changes {MODULE} with shape (32, 64), this base has (64, 64): {own}"
    with pytest.raises(ShapeMismatch) as raised:
        adapter.check(tiny("llama", num_hidden_layers=1))
    assert str(raised.value) == (
        f"{str(folder)!r} adapts 'model.layers.1.mlp.down_proj', which this base does not have; nearest: "
        f"'model.layers.0.mlp.down_proj', 'model.layers.0.mlp.up_proj': {own}"
    )
    with pytest.raises(ShapeMismatch) as raised:
        adapter.check(tiny("llama", num_hidden_layers=3))
    assert str(raised.value) == (
        f"{str(folder)!r} lacks 2 modules of this base that its target_modules name, such as "
        f"'model.layers.2.self_attn.q_proj': the file is incomplete, or {own}"
    )


def test_the_recorded_fingerprint_tells_a_base_from_its_double(saved, trained, tiny):
    base, folder = saved()
    (folder / "despur.json").write_text(json.dumps({"base_fingerprint": fingerprint(base)}))
    adapter = Adapter.read(folder)
    assert adapter.check(base) == adapter.check(trained(base=base)[1]) == []
    double = tiny("llama", seed=1)
    with pytest.raises(ShapeMismatch) as raised:
        adapter.check(double)
    assert str(raised.value) == (
        f"{str(folder)!r} records the base fingerprint {fingerprint(base)!r}, this base has {fingerprint(double)!r}: "
        "same shapes, other weights; it was trained on another base. Give the base that it was trained on"
    )
    with pytest.raises(ShapeMismatch, match=r"other weights; load the base in bfloat16 or float32 to be sure, since"):
        adapter.check(double.half())
    (folder / "despur.json").write_text("[]")
    assert len(Adapter.read(folder).check(double)) == 1


def test_copies_of_the_embeddings_are_held_against_the_base(saved, tiny):
    base, folder = saved(target_modules=["embed_tokens", "lm_head"])
    adapter = Adapter.read(folder)
    assert set(adapter.copies) == {"model.embed_tokens", "lm_head"}
    assert "only names, shapes and its copy of the embeddings were compared" in adapter.check(base.bfloat16())[0]
    with pytest.raises(
        ShapeMismatch, match=r"carries its own 'lm_head', whose values are not this base's: it was trained"
    ):
        adapter.check(tiny("llama", seed=1, tie_word_embeddings=False))


def test_a_resized_vocabulary_is_named(tiny, trained, tmp_path, quiet):
    grown = tiny("llama", tie_word_embeddings=False)
    with quiet():
        grown.resize_token_embeddings(66)
        _, model = trained(base=grown)
        model.save_pretrained(tmp_path, save_embedding_layers=True)
    adapter = Adapter.read(tmp_path)
    assert len(adapter.check(grown)) == 1
    with pytest.raises(ShapeMismatch) as raised:
        adapter.check(tiny("llama"))
    assert re.match(
        r".*carries its own '.*' of shape \(66, 32\), this base has \(64, 32\): its vocabulary was", str(raised.value)
    )


def test_the_norm_of_an_adapter_is_that_of_all_its_updates():
    one = LowRank(torch.ones(1, 3), torch.ones(2, 1), 2.0)
    assert Adapter({"a": one, "b": one}).norm() == pytest.approx((2 * 4 * 6) ** 0.5)
