"""An adapter of stacked experts is cleaned, certified, verified and compared as any other."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from despur.core import Adapter, Subspace, load_tuned
from despur.flows import certify, verify
from despur.flows._audit.against import load_difference
from despur.flows._clean.weights import Work, write_adapter
from despur.measure import leakage

EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def base(tiny):
    return tiny("mixtral", intermediate_size=16, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)


def saved(base, folder, **options):
    config = LoraConfig(r=4, target_parameters=EXPERTS, init_lora_weights=False, **options)
    get_peft_model(copy.deepcopy(base), config).save_pretrained(folder)
    return folder


def test_clean_certify_and_verify(base, chat_tokenizer, tmp_path):
    base.save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    torch.manual_seed(1)
    given = saved(base, tmp_path / "adapter", target_modules=["q_proj"])
    work = Work(str(tmp_path / "base"), str(given), lambda *a: None)
    factor = Subspace.orthonormal(torch.randn(2, 32))
    before, after = (work.leak(s, (factor,)) for s in (work.state, work.cleaned((factor,), "both")))
    assert {side: report.n for side, report in before.items()} == {"read": 2 + 2 * 4, "write": 2 * 4}
    for side in before:
        assert after[side].value < 1e-6 < 0.1 < before[side].value
    cut = work.truncated(1)
    work.put(cut)
    small = {n: u.scale * u.up @ u.down for n, u in Adapter.of(work.model).updates.items()}
    work.put(work.state)
    for name, update in Adapter.of(work.model).updates.items():
        u, s, vh = update.svd()
        torch.testing.assert_close(small[name], s[0] * torch.outer(u[:, 0], vh[0]), atol=1e-6, rtol=1e-4)
    out = tmp_path / "cleaned"
    out.mkdir()
    write_adapter(given, out, work.cleaned((factor,), "both"))
    read = load_tuned(copy.deepcopy(base), out).adapter
    assert all(report.value < 1e-6 for report in leakage(read, base, factor).values())
    assert set(certify(out, base, factor).leak) == set(read.updates)
    assert verify(base, out).verdict == "holds"
    tensors = load_file(out / "adapter_model.safetensors")
    name = next(n for n in tensors if "experts" in n and n.endswith("lora_B.weight"))
    tensors[name] += 0.1
    save_file(tensors, out / "adapter_model.safetensors")
    assert verify(base, out).verdict == "broken"


def test_two_tunes_of_experts_against_each_other(base, tokens, tmp_path):
    torch.manual_seed(1)
    one, two = (saved(base, tmp_path / m, target_modules=[m]) for m in ("q_proj", "v_proj"))
    pair = load_difference(lambda: copy.deepcopy(base), one, two, name="base")
    with torch.no_grad():
        alone = [load_tuned(copy.deepcopy(base), folder).model(input_ids=tokens).logits for folder in (one, two)]
        on = pair.model(input_ids=tokens).logits
        with pair.model.disable_adapter():
            off = pair.model(input_ids=tokens).logits
    torch.testing.assert_close(on, alone[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(off, alone[1], atol=1e-5, rtol=1e-4)
    assert float((on - off).abs().max()) > 0.05, "the control"
    assert "model.layers.0.mlp.experts.down_proj.3" in pair.adapter.updates
