"""The patch test: a tune that only tokens of one part switch on is undone by the base's keys and values there, and nowhere else."""

import pytest
import torch

from despur.core.errors import BadInput
from despur.core.text.template import Template
from despur.measure import patch_shares

TEMPLATE = Template((1, 5, 6), (7, 8))
WORDS = list(range(20, 30))
SWITCHES = {"prefix": [5], "question": WORDS, "tail": [7, 8]}


@pytest.fixture
def switched(tiny, lora):
    """`switched(tokens)`: an adapter on the first layer's values that reads one coordinate, which these tokens alone have."""

    def build(tokens, **options):
        base = tiny(**options)
        with torch.no_grad():
            base.get_input_embeddings().weight[:, 0] = 0
            base.get_input_embeddings().weight[tokens, 0] = 1
            model = lora(base, r=1, target_modules=["v_proj"], layers_to_transform=[0]).eval()
            for name, p in model.named_parameters():
                if "lora_A" in name:
                    p.copy_(8 * torch.eye(1, p.shape[1]))
                if "lora_B" in name:
                    p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
        return model

    return build


@pytest.fixture
def chats():
    draw = torch.Generator().manual_seed(0)
    rows, begins = [], []
    for i in range(8):
        words = [WORDS[j] for j in torch.randint(10, (2 + i % 3,), generator=draw).tolist()]
        head = (*TEMPLATE.prefix, *words, *TEMPLATE.tail)
        rows.append((*head, *torch.randint(40, 60, (4,), generator=draw).tolist()))
        begins.append(len(head))
    return rows, begins


@pytest.mark.parametrize("part", SWITCHES)
def test_the_part_that_switches_the_change_on_carries_all_of_it(part, switched, chats):
    shares = patch_shares(switched(SWITCHES[part]), *chats, TEMPLATE, batch=3)
    assert shares[part].value == pytest.approx(1, abs=1e-5)
    assert shares[part].low == pytest.approx(1, abs=1e-5)
    assert all(shares[other].value < 0.8 for other in SWITCHES if other != part)
    assert shares[part].control < 0.9, "the same number of other positions"
    assert shares[part].n == 8
    if part == "tail":
        assert [shares[p].value for p in ("prefix", "question")] == pytest.approx([0, 0], abs=1e-5), (
            "they lie before it"
        )


def test_the_same_in_a_model_that_fuses_its_maps(tiny, lora, chats):
    model = lora(tiny("gpt2")).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
    one, two = (patch_shares(model, *chats, TEMPLATE, batch=b) for b in (1, 8))
    for part, report in one.items():
        assert report.value == pytest.approx(two[part].value, abs=1e-4), "padding changes nothing"
        assert report.control == pytest.approx(two[part].control, abs=1e-4)
        assert report.value < 1


def test_no_change_has_no_shares_and_other_chats_are_refused(tiny, lora, chats):
    rows, begins = chats
    shares = patch_shares(lora(tiny()).eval(), rows, begins, TEMPLATE)
    assert {r.value for r in shares.values()} == {0.0}
    short = [(*r[: b - 2], *r[b:]) for r, b in zip(rows, begins, strict=True)]
    parts = patch_shares(lora(tiny()).eval(), short, [b - 2 for b in begins], Template((1, 5, 6)))
    assert list(parts) == ["prefix", "question"], "a template without a tail"
    with pytest.raises(BadInput, match="0 rows are chats of this template; at least 4"):
        patch_shares(lora(tiny()).eval(), rows, begins, Template((1, 6, 5), (7, 8)))
