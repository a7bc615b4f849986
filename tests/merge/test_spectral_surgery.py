"""spectral_surgery: sensitivities against autograd on the matrix itself, and drift that falls by them alone."""

import pytest
import torch

from despur.core import Adapter
from despur.core.errors import CannotAttach
from despur.core.model.capture import log_probs
from despur.core.model.states import as_base
from despur.merge import spectral_surgery
from despur.merge.spectral_surgery import sensitivity

NAME = "model.layers.1.mlp.up_proj"


@pytest.fixture
def moved(tiny, lora):
    model = lora(tiny(initializer_range=0.3)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
    return model


def drift(model, text) -> torch.Tensor:
    """KL(base || model) a token."""
    total = torch.zeros(())
    for row in text.rows:
        ids = torch.tensor([row])
        with as_base(model), torch.no_grad():
            base = log_probs(model, ids, torch.ones_like(ids))
        total = total + (base.exp() * (base - log_probs(model, ids, torch.ones_like(ids)))).sum()
    return total / sum(map(len, text.rows))


def put(model, adapter: Adapter) -> None:
    with torch.no_grad():
        for name, update in adapter.updates.items():
            layer = model.base_model.model.get_submodule(name)
            layer.lora_A["default"].weight.copy_(update.down)
            layer.lora_B["default"].weight.copy_(update.scale * update.up / layer.scaling["default"])


def test_sensitivity_is_u_gradient_v(moved, own_text):
    adapter = Adapter.of(moved)
    flags = {n: p.requires_grad for n, p in moved.named_parameters()}
    got = sensitivity(moved, adapter, own_text, drift=True)[NAME]
    assert flags == {n: p.requires_grad for n, p in moved.named_parameters()}
    weight = moved.base_model.model.get_submodule(NAME).base_layer.weight
    before = weight.detach().clone()
    u, s, vh = adapter.updates[NAME].svd()
    for i in range(4):  # by hand: the component grown and shrunk by a thousandth, the base left as it is
        values = []
        for sign in (1, -1):
            bases = []
            for row in own_text.rows:
                ids = torch.tensor([row])
                with as_base(moved), torch.no_grad():
                    bases.append(log_probs(moved, ids, torch.ones_like(ids)))
            with torch.no_grad():
                weight.copy_(before + sign * 1e-2 * s[i] * torch.outer(u[:, i], vh[i]))
                kl = [(b.exp() * (b - log_probs(moved, torch.tensor([r]), torch.ones(1, len(r), dtype=torch.long)))).sum()
                      for b, r in zip(bases, own_text.rows, strict=True)]  # fmt: skip
                weight.copy_(before)
            values.append(sum(kl).item() / sum(map(len, own_text.rows)))
        assert got[i].item() == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.05, abs=1e-5)
    assert got.abs().max() > 1e-4


@pytest.mark.parametrize("keep_norm", [True, False])
def test_drift_falls_and_with_the_sign_turned_it_rises(keep_norm, moved, own_text):
    start, before = drift(moved, own_text).item(), Adapter.of(moved)
    kept = Adapter(
        {n: type(u)(u.down.clone(), u.up.clone(), u.scale) for n, u in before.updates.items()}, before.config
    )
    done, turned = (spectral_surgery(moved, own_text, strength=k, keep_norm=keep_norm) for k in (0.5, -0.5))
    same = spectral_surgery(moved, own_text, strength=0.0, keep_norm=keep_norm)
    for made, low, high in ((done, 0, 0.98), (turned, 1.02, 9), (same, 0.999, 1.001)):
        put(moved, made)
        assert low < drift(moved, own_text).item() / start < high
        put(moved, kept)
    sizes = [a.updates[NAME].norm() for a in (done, kept)]
    assert (sizes[0] == pytest.approx(sizes[1], rel=1e-4)) is keep_norm


def test_what_is_no_linear_map_is_refused(tiny, lora, own_text):
    with pytest.raises(CannotAttach, match="embed_tokens"):
        spectral_surgery(lora(tiny(), target_modules=["embed_tokens"]), own_text)
