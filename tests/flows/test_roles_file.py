import json

import pytest
from peft import LoraConfig, get_peft_model

from despur.core import Adapter, Anatomy
from despur.core.errors import BadInput
from despur.flows._train.fit import lora_targets
from despur.flows.maker import Maker
from despur.flows.roles_file import read_roles
from despur.flows.scout_factors import layer_sites, scout_directions
from despur.flows.sources import Sources
from despur.guard import grasp
from despur.measure import leakage, module_shares, promoted

ROLES = {
    "model.layers.*.self_attn.q_proj": "read:model.layers.*.input_layernorm",
    "model.layers.*.mlp.down_proj": "write",
    "lm_head": "read:model.norm",
}


@pytest.fixture
def unknown(tiny):
    """A model of an architecture that the table lacks."""
    model = tiny("llama")
    model.config.model_type = "of_next_year"
    return model


@pytest.mark.parametrize("form", [json.dumps, lambda roles: "".join(f"'{k}': {v!r}\n" for k, v in roles.items())])
def test_json_and_yaml_say_the_same(form, tmp_path):
    (tmp_path / "roles").write_text(form(ROLES))
    assert read_roles(tmp_path / "roles") == ROLES


WRONG = {
    "absent": (None, "cannot read the roles in .*No such file"),
    "no yaml": ("'a", "cannot read the roles in .*found unexpected end"),
    "empty": ("", "is empty; roles are a mapping"),
    "a list": ("[read]", "is a list; roles are a mapping"),
    "a side": ("{'*.up': reads}", r"says '\*.up': 'reads'; a role is 'read', 'read:NORM'"),
    "no norm": ("{'*.up': 'read:'}", r"says '\*.up': 'read:'; a role is"),
    "no text": ("{'*.up': 3}", r"says '\*.up': 3; a role is"),
    "no name": ("{3: read}", "says 3: 'read'; a role is"),
    "twice": ("{'a': read, 'a': write}", "'a' is there twice"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_what_says_no_roles_is_refused(text, says, tmp_path):
    if text is not None:
        (tmp_path / "roles").write_text(text)
    with pytest.raises(BadInput, match=says):
        read_roles(tmp_path / "roles")


def test_stated_roles_reach_whatever_needs_them(unknown, quiet_lora, chat_tokenizer, tmp_path):
    assert "q_proj" in lora_targets(unknown, "readers", roles=ROLES)
    turned = {name: "write" for name in ROLES}
    assert "q_proj" not in lora_targets(unknown, "readers", roles=turned), "what is stated comes before what is seen"
    assert [s.module for s in layer_sites(unknown)] == ["model.layers.0", "model.layers.1"]
    model = quiet_lora(unknown)
    adapter = Adapter.of(model)
    factors = scout_directions(adapter, unknown, rank=2, roles=ROLES)
    assert [f.site for f in scout_directions(adapter, unknown, rank=2)] == [f.site for f in factors], "as seen, unasked"
    assert {f.site.module for f in factors} == {f"model.layers.{i}.input_layernorm" for i in range(2)} | {
        f"model.layers.{i}" for i in range(2)
    }
    sources = Sources(lambda: unknown, lambda folder: model, list, lambda: None, lambda number: tmp_path)
    maker = Maker(sources, lambda name, spec, make: tmp_path, seed=0, weight_rank=2, roles=ROLES)
    assert [f.site for f in maker.directions(adapter)] == [f.site for f in factors]
    model.save_pretrained(tmp_path)
    assert maker.get("write-stream weight_factor")[0].rank == 2
    grasp(factors, roles=ROLES).bind(model)
    assert set(leakage(adapter, unknown, factors, roles=ROLES)) == {"read", "write"}
    assert len(module_shares(adapter, unknown, factors[0], roles=ROLES)) == 4
    assert Anatomy.of(model, ROLES).final_norm == "model.norm"
    assert len(promoted(model, chat_tokenizer, factors[0].read[0], roles=ROLES)["promoted"]) == 12


@pytest.fixture
def quiet_lora():
    """An adapter on the maps whose roles are stated, which changes something."""

    def wrap(model):
        wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.data.normal_()
        return wrapped

    return wrap
