"""orthogonal_gradients: exact under plain SGD from a projected start, and nowhere else."""

import pytest
from guarding import ENERGY, learn

from despur.core.errors import BadInput
from despur.guard import OwnText, orthogonal_gradients


@pytest.mark.parametrize(("optimizer", "exact"), [("SGD", True), ("AdamW", False)])
def test_gradients_are_enough_for_plain_sgd_on_whole_weights(optimizer, exact, tiny, tokens, own_text, bases):
    model = tiny().requires_grad_(False)
    for name in bases:
        model.get_submodule(name).weight.requires_grad_(True)
    start = {n: model.get_submodule(n).weight.detach().clone() for n in bases}
    learn(model, tokens, orthogonal_gradients(own_text, energy=ENERGY), optimizer=optimizer)
    off = max(
        ((w := model.get_submodule(n).weight.detach() - start[n]) @ b.T).norm().item() / w.norm().item()
        for n, b in bases.items()
    )
    assert (off < 1e-4) is exact


def test_energy_lies_between_nothing_and_all():
    with pytest.raises(BadInput, match="between 0 and 1"):
        orthogonal_gradients(OwnText(((1, 2, 3),)), energy=1.0)
