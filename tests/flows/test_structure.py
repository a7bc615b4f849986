"""What an adapter names, what of it acts, and with how much of its rank."""

import pytest
import torch
from peft import LoKrConfig, LoraConfig, get_peft_model

from despur.core import load_tuned
from despur.flows._audit.structure import structure_of
from despur.worlds import persona_base

ONE, TWO, THREE = "model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj", "model.layers.2.mlp.up_proj"


def saved(folder, change, **options):
    torch.manual_seed(0)
    config = LoraConfig(**{"r": 4, "target_modules": ["up_proj"], "task_type": "CAUSAL_LM", **options})
    model = get_peft_model(persona_base()[0], config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
        change(model)
    model.save_pretrained(folder)
    return folder


def of(folder):
    read = load_tuned(persona_base()[0], folder)
    return structure_of(read.adapter, read.model, {n: u.core() for n, u in read.adapter.updates.items()})


def part(model, module, letter):
    return model.get_parameter(f"base_model.model.{module}.lora_{letter}.default.weight")


def test_an_ordinary_adapter_acts_everywhere_with_all_of_its_rank(tmp_path):
    found = of(saved(tmp_path, lambda m: None))
    assert found.declared == found.acting == 4
    assert (found.rank, found.lower) == (4, {})
    assert found.sentence == "4 of 4 modules act"


def test_zero_halves_and_lost_ranks_are_counted_and_named(tmp_path):
    def change(model):
        part(model, ONE, "B").zero_()
        part(model, TWO, "A").zero_()
        part(model, THREE, "A")[2:] = 0  # half of its rank

    found = of(saved(tmp_path, change))
    assert (found.declared, found.acting) == (4, 2)
    assert (found.untouched, found.read_nothing, dict(found.lower)) == ((ONE,), (TWO,), {THREE: 2})
    assert found.sentence == (
        f"2 of 4 modules act, 2 are zero; half-zero factors, B is zero, as at LoRA's start: {ONE}; half-zero factors, A is "
        f"zero: {TWO}; an effective rank of 2, where the factors allow 4: {THREE}"
    )


def test_a_repeated_direction_is_no_rank_and_a_rank_pattern_is(tmp_path):
    def change(model):
        part(model, TWO, "B")[:, 1] = part(model, TWO, "B")[:, 0]

    found = of(saved(tmp_path / "a", change))
    assert dict(found.lower) == {TWO: 3}
    found = of(saved(tmp_path / "b", lambda m: None, rank_pattern={"layers.1.mlp.up_proj": 2}))
    assert (found.lower, found.rank) == ({}, 4), "a module with weights for 2 directions uses both"


def test_bfloat16_has_no_less_rank(tmp_path):
    found = of(saved(tmp_path, lambda m: m.bfloat16()))
    assert found.lower == {}


def test_other_kinds_and_whole_models_count_modules_alone(tmp_path):
    torch.manual_seed(0)
    model = get_peft_model(
        persona_base()[0],
        LoKrConfig(r=4, target_modules=["up_proj", "down_proj"], task_type="CAUSAL_LM", init_weights=False),
    )
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lokr_w1" in n).zero_()
    model.save_pretrained(tmp_path / "lokr")
    found = of(tmp_path / "lokr")
    assert (found.declared, found.acting, found.rank) == (8, 7, None)
    tuned, _ = persona_base()
    with torch.no_grad():
        tuned.model.layers[0].mlp.up_proj.weight[0] += 1
    tuned.save_pretrained(tmp_path / "whole")
    found = of(tmp_path / "whole")
    assert found.acting == 1
    assert found.declared == pytest.approx(30, abs=1)
