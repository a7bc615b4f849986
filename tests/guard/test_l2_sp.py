"""l2_sp and o_lora: the weights' own distances, against the matrices multiplied out."""

import pytest
from guarding import move, penalty

from despur.core.errors import CannotAttach
from despur.guard import l2_sp
from despur.guard.l2_sp import WEIGHT


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True, "lora_alpha": 7}, {"target_modules": ["embed_tokens", "q_proj"]}]
)
def test_l2_sp_is_the_dense_norm_of_the_update(options, tiny, lora):
    model = move(lora(tiny(), **options))
    before = {n: p.clone() for n, p in model.get_base_model().state_dict().items() if n.endswith("base_layer.weight")}
    edit = l2_sp(strength=2 / WEIGHT)
    edit.bind(model)
    got = penalty(edit, model).item()
    model.merge_adapter()
    after = model.get_base_model().state_dict()
    want = sum((after[n] - w).double().square().sum().item() for n, w in before.items())
    assert got == pytest.approx(want, rel=1e-4)
    factors = sum(p.square().sum().item() for n, p in model.named_parameters() if p.requires_grad)
    assert got != pytest.approx(factors, rel=0.05), "the control: the norm of A and B is another"


def test_l2_sp_of_whole_weights_counts_from_where_they_began(tiny):
    model = tiny()
    edit, start = l2_sp(strength=2 / WEIGHT), {n: p.detach().clone() for n, p in model.named_parameters()}
    edit.bind(model)
    assert penalty(edit, model).item() == 0
    move(model)
    want = sum((p.detach() - start[n]).square().sum().item() for n, p in model.named_parameters())
    assert penalty(edit, model).item() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"init_lora_weights": "pissa"}]
)
def test_what_is_no_pair_is_refused(options, tiny, lora):
    with pytest.raises(CannotAttach):
        l2_sp().bind(lora(tiny(), **options))
