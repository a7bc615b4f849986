"""The claim of `dft`."""

import torch
from torch import Tensor

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, move, rows_of, sharpen
from despur.core import Context, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.run.forward_edits import ForwardEdits
from despur.guard import dft as guard


@claim(
    method="dft",
    says="the gradient is that of mean -sg(p) log p over the tokens that are learned, and at least half of the task is learned without the "
    "drift",
    control=f"the plain gradient; {HALVED_IN_WORDS}",
    margin=0.1,
)
def dft(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance of the gradient from the formula's; then the task without the drift."""
    if whole:
        return areas(seed, "dft", {"strength": 1.0})
    model, ids = sharpen(move(fresh_lora(seed), seed)), rows_of(seed)
    edit = guard()
    edit.bind(model)
    plain = gradient(model, model(input_ids=ids, labels=ids).loss)
    logp = torch.log_softmax(model(input_ids=ids).logits[:, :-1], -1).gather(-1, ids[:, 1:, None])
    wanted = gradient(model, -(logp.exp().detach() * logp).mean())
    edits = ForwardEdits(model.train(), [edit], lambda: Context(model))
    edits.attach()
    got = gradient(model, model(input_ids=ids, labels=ids).loss)
    edits.detach()
    off = [float((one - wanted).norm() / wanted.norm()) for one in (got, plain)]
    return (compared("distance from the formula's gradient, as a share of it", off[0], control=off[1], bound=1e-4, margin=0.1,
                     higher_is_better=False),)  # fmt: skip


def gradient(model: torch.nn.Module, loss: Tensor) -> Tensor:
    """Gradient of all trained weights, one vector."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, trained)])
