"""LoRA on stacked experts is read expert by expert: what PEFT merges, what a planted direction is, and what cannot be done."""

import copy
import importlib.util
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from despur.core import Adapter, Anatomy, Context, Subspace, load_tuned, match_role
from despur.core.adapter.save import save_adapter
from despur.core.errors import BadInput, CannotAttach, SiteNotFound
from despur.core.model.stacks import stack_of, stacks
from despur.find import from_adapter
from despur.guard import grasp, l2_sp
from despur.measure import leakage

_PAGE = importlib.util.spec_from_file_location("architectures", Path(__file__).parents[2] / "docs" / "architectures.py")
PAGE = importlib.util.module_from_spec(_PAGE)
_PAGE.loader.exec_module(PAGE)
BLOCK = {
    "mixtral": "mlp",
    "qwen3_moe": "mlp",
    "gpt_oss": "mlp",
    "llama4_text": "feed_forward",
}  # the last two: (d_in, d_out)
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.parametrize("kind", BLOCK)]


@pytest.fixture
def base(kind):
    torch.manual_seed(0)
    return PAGE.built(kind)


@pytest.fixture
def tuned(base, kind):
    """Rank 2 on every expert, the routers of Mixtral, and queries."""
    parameters = [f"{BLOCK[kind]}.experts.{n}" for n in ("gate_up_proj", "down_proj")]
    parameters += ["mlp.gate.weight"] if kind == "mixtral" else []
    config = LoraConfig(
        r=2, target_modules=["q_proj"], target_parameters=parameters, rank_pattern={r".*\.gate_up_proj": 3}
    )
    model = get_peft_model(copy.deepcopy(base), config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(0.2 * torch.randn(weight.shape))
    return model


def changes(tuned, base):
    """What PEFT's merge changes, map by map as (d_out, d_in)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        after = dict(copy.deepcopy(tuned).merge_and_unload().named_parameters())
    known, dense = stacks(Anatomy.of(base).modules), {}
    for name, old in base.named_parameters():
        delta = (after[name] - old).detach()
        if not delta.any():
            continue
        stack = known.get(name)
        parts = delta if delta.ndim == 3 else delta[None]
        names = stack.names(name) if stack else [name.removesuffix(".weight")]
        dense |= {n: d.T if stack and stack.transposed else d for n, d in zip(names, parts, strict=True)}
    return dense


def test_updates_are_what_peft_merges_and_a_file_says_the_same(base, tuned, tmp_path):
    dense, adapter = changes(tuned, base), Adapter.of(tuned)
    assert adapter.updates.keys() == dense.keys()
    for name, update in adapter.updates.items():
        torch.testing.assert_close(update.scale * update.up @ update.down, dense[name], atol=1e-6, rtol=1e-5)
    assert {len(u.down) for n, u in adapter.updates.items() if "gate_up_proj" in n} == {3}
    tuned.save_pretrained(tmp_path)
    for read in (Adapter.read(tmp_path, base), load_tuned(copy.deepcopy(base), tmp_path).adapter):
        assert not read.others
        assert read.updates.keys() == adapter.updates.keys()
        for name, update in read.updates.items():
            assert torch.equal(update.up, adapter.updates[name].up)
            assert torch.equal(update.down, adapter.updates[name].down)
    with pytest.raises(BadInput, match="cannot be computed without its base"):
        Adapter.read(tmp_path)


def test_grasp_leaves_the_factor_alone_in_every_expert(base, tuned, kind):
    factor, other = (Subspace.orthonormal(torch.randn(2, 32)) for _ in range(2))
    edit = grasp(factor)
    edit.bind(tuned)
    out = edit(dict(tuned.named_parameters()), Context(tuned))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            weight.copy_(out[name])
    for side, report in leakage(Adapter.of(tuned), base, factor).items():
        assert report.value < 1e-6, side
        assert report.control > 0.1, side
    gain = Anatomy.of(base).modules["model.layers.0.post_attention_layernorm"].weight.detach()
    writes, reads = 0, 0
    for name, delta in changes(tuned, base).items():  # from the merged weights, by no algebra of ours
        if "layers.0" in name and "down_proj" in name:
            writes += 1
            assert float((factor.read @ delta).norm() / delta.norm()) < 1e-6
            assert float((other.read @ delta).norm() / delta.norm()) > 0.05, "the control"
        if "layers.0" in name and "gate_up_proj" in name:
            reads += 1
            assert float((delta @ (factor.write * gain).T).norm() / delta.norm()) < 1e-6
            assert float((delta @ (other.write * gain).T).norm() / delta.norm()) > 0.05, "the control"
    assert writes == reads == 4


@pytest.mark.parametrize(("side", "end"), [("write", "down_proj"), ("read", "gate_up_proj")])
def test_a_direction_planted_in_the_experts_is_found(base, tuned, side, end):
    planted = torch.nn.functional.normalize(torch.randn(32), dim=0)
    with torch.no_grad():
        for name, update in Adapter.of(tuned).updates.items():
            if end in name:  # views of the model's own tensors
                update.up[:, 0].copy_(2 * planted) if side == "write" else update.down[0].copy_(2 * planted)
    cosine = {}
    for level in (0.05, None):
        found = from_adapter(Adapter.of(tuned), base, side=side, rank=1, level=level, nulls=40)
        cosine[level] = [float((f.read[0] @ planted).abs()) for f in found]
    assert cosine[0.05]
    assert cosine[0.05][0] > 0.9
    drawn = torch.nn.functional.normalize(torch.randn(32), dim=0)
    assert float((found[0].read[0] @ drawn).abs()) < 0.6, "the control"


def test_what_cannot_be_done_is_refused(base, tuned, kind, tmp_path):
    with pytest.raises(CannotAttach, match="has all experts in one tensor"):
        l2_sp().bind(tuned)
    with pytest.raises(BadInput, match="cannot be written as plain LoRA"):
        save_adapter(Adapter.of(tuned), tmp_path / "saved")
    tuned.get_base_model().get_parameter(
        f"model.layers.0.{BLOCK[kind]}.experts.base_layer.base_layer.down_proj"
    ).requires_grad_(True)
    with pytest.raises(CannotAttach, match=r"could bypass this guard, first .*down_proj"):
        grasp(Subspace.orthonormal(torch.eye(1, 32))).bind(tuned)


def test_an_expert_has_the_role_of_its_stack(base, kind):
    anatomy = Anatomy.of(base)
    for name in stacks(anatomy.modules):
        side = "write" if "down_proj" in name else "read"
        assert anatomy.roles[name].side == side
    assert stack_of(name + ".3") == name
    stated = Anatomy.of(base, {"*.experts.down_proj": "read"}).roles
    role = match_role(f"model.layers.1.{BLOCK[kind]}.experts.down_proj.3", stated)
    assert (role.side, role.layer) == ("read", 1)
    with pytest.raises(SiteNotFound, match=r"State it: roles=\{'model.layers.\*.x.down_proj': "):
        match_role("model.layers.1.x.down_proj.3", stated)
