"""The claim of `rank-one-ewc`: its spring on a tiny language model, the paper's own statement on a denoiser of digits."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from despur.claims.tiny_runs import fresh_lora, penalty, rows_of
from despur.core import Report
from despur.core.claim import claim
from despur.core.fisher.forms import Fisher
from despur.core.fisher.labels import GAUSSIAN
from despur.core.fisher.rows import RowFisher, row_gradients
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import rank_one_ewc as guard
from despur.worlds import Digits
from despur.worlds.digits.denoiser import Denoiser, denoising_loss, dreamt, images_of, learn_images, noisy_draw

CLASSES = (1, 0, 2)  # learned one after the other
NETS, STEPS, DREAMT = 10, 250, 64
LOUD, QUIET = (0.94, 0.96), (0.09, 0.11)  # phases in quarter turns: nearly all noise, nearly all image
MEASURED = (0.8, 1.0)  # phases at which the Fisher information of the penalty is measured
STIFF = (3.0, 30.0)  # lambdas; with 0 a curve of what is kept against what is learned
SHORTER = (80, 30)  # steps of replay alone, whose curve is that of a shorter run
APART = 0.035  # how far above replay's own new-class loss all are compared
Curve = list[tuple[float, float]]  # new-class loss, rise of old-class loss


@claim(
    method="rank-one-ewc",
    says="at high noise most of a denoiser's empirical Fisher information lies in one direction and at low noise it does not, and with "
    "classes learned in turn the old ones' loss rises less, at equal new-class loss, than with diagonal EWC or replay alone",
    control="low noise; the diagonal of the same Fisher information beside the same replay; replay alone, for fewer steps",
    margin=0.001,
    slow=True,
)
def rank_one_ewc(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """What an update along the text's gradient costs beside one off it; with `whole`, ten denoisers learn three digits in turn."""
    if whole:
        return _denoisers(range(1000 * seed, 1000 * seed + NETS))
    text = OwnText(tuple(map(tuple, rows_of(seed, n=6).tolist())))
    model = fresh_lora(seed, r=1, target_modules=["up_proj"], layers_to_transform=[0])
    edit = guard(text, replay=0.0)
    edit.bind(model)
    ((name, g),) = edit.fisher.mean.items()  # type: ignore[union-attr, operator, misc]
    layer = model.base_model.model.get_submodule(name)
    u, _, vh = torch.linalg.svd(g)
    costs: list[float] = []
    for down in (vh[0], vh[1]):  # the control is along the same outputs, and at right angles to the gradient
        with torch.no_grad():
            layer.lora_A["default"].weight.copy_(down[None])
            layer.lora_B["default"].weight.copy_(u[:, :1])
        costs.append(penalty(edit, model))
    return (compared("share of the penalty that is left off the gradient", 1 - costs[1] / costs[0], control=0.0, n=len(text.rows),
                     bound=0.99, margin=0.5, control_is="a spring that is the same in all directions"),)  # fmt: skip


def _denoisers(seeds: range) -> tuple[Report, ...]:
    shares, kept = zip(*(_denoiser(s) for s in seeds), strict=True)
    loud, quiet = np.array(shares).T
    ours, diagonal, replay, alone = np.array(kept).T
    return (
        _paired("share of the Fisher information in its top eigenvalue, high noise", loud, quiet, bound=0.8, margin=0.2,
                control_is="low noise"),
        _paired("rise of old-class loss at equal new-class loss, beside diagonal EWC", ours, diagonal, higher_is_better=False,
                unit="squared error", without_replay=float(alone.mean())),
        _paired("the same, beside replay alone", ours, replay, higher_is_better=False, unit="squared error"),
    )  # fmt: skip


def _paired(name: str, value: np.ndarray, control: np.ndarray, **more: object) -> Report:
    """The mean, its interval that of the paired difference."""
    half = 2.262 * (value - control).std(ddof=1) / len(value) ** 0.5  # Student's t of ten
    mean = value.mean()
    return compared(name, mean, control=control.mean(), low=mean - half, high=mean + half, n=len(value), **more)  # type: ignore[arg-type]


def _denoiser(seed: int) -> tuple[tuple[float, float], tuple[float, float, float, float]]:
    """Top eigenvalue's share at both noise levels; rises of the old classes' loss."""
    world = Digits()
    images, tested = ([images_of(rows.of_class(c)) for c in CLASSES] for rows in (world.train, world.test))
    draw = torch.Generator().manual_seed(seed)
    start = learn_images(Denoiser(seed=seed), images[0], draw, steps=400, batch=32, falls=False)
    first = dreamt(start, DREAMT, draw)
    shares = (_top_share(start, images[0], LOUD), _top_share(start, images[0], QUIET))

    def run(form: str, stiff: float, steps: int = STEPS, *, replay: bool = True) -> tuple[float, float]:
        net, draw, old = deepcopy(start), torch.Generator().manual_seed(seed + 1), first
        springs: list[tuple[Fisher, Mapping[str, Tensor]]] = []
        losses = [denoising_loss(net, tested[0])]
        for k in (1, 2):
            if k > 1:
                old = dreamt(net, DREAMT, draw)
            if stiff:
                known = images[0] if k == 1 else torch.cat([images[1], old])
                springs.append((_fisher(net, known, form), {n: p.detach().clone() for n, p in net.named_parameters()}))
            pull = _springs(springs, stiff) if stiff else None
            learn_images(net, images[k], draw, steps=steps, rehearsed=old if replay else None, penalty=pull)
            losses.append(denoising_loss(net, tested[k]))
        rise = sum(denoising_loss(net, tested[k]) - losses[k] for k in (0, 1)) / 2
        return (losses[1] + losses[2]) / 2, rise

    plain = run("", 0.0)
    curves: list[Curve] = [[plain, *(run(form, s) for s in STIFF)] for form in ("rank one", "diagonal")]
    curves.append([plain, *(run("", 0.0, steps) for steps in SHORTER)])
    ours, diagonal, replay = (_at(curve, plain[0] + APART) for curve in curves)
    return shares, (ours, diagonal, replay, run("", 0.0, replay=False)[1])


def _at(curve: Curve, loss: float) -> float:
    """Rise at a new-class loss, between the runs of a curve; beyond its last run that run's."""
    x, y = zip(*sorted(curve), strict=True)
    return float(np.interp(loss, x, y))


def _fisher(net: nn.Module, images: Tensor, form: str) -> Fisher:
    x, noise = noisy_draw(images, 256, torch.Generator().manual_seed(1), between=MEASURED)
    read = RowFisher(net, x, noise, labels="observed", likelihood=GAUSSIAN)
    return read.rank_one() if form == "rank one" else read.importance()


def _springs(springs: list[tuple[Fisher, Mapping[str, Tensor]]], stiff: float) -> Callable[[nn.Module], Tensor]:
    def pull(net: nn.Module) -> Tensor:
        now = dict(net.named_parameters())
        moved = [fisher.quadratic({n: now[n] - was for n, was in start.items()}) for fisher, start in springs]
        return stiff / 2 * torch.stack(moved).sum()

    return pull


def _top_share(net: nn.Module, images: Tensor, between: tuple[float, float]) -> float:
    x, noise = noisy_draw(images, 256, torch.Generator().manual_seed(2), between=between)

    def value(call: Callable[..., Tensor], x: Tensor, noise: Tensor) -> Tensor:
        return (call(x) - noise).square().sum()

    rows = torch.cat(
        [torch.cat([g.flatten(1) for g in chunk.values()], 1) for chunk in row_gradients(net, value, x, noise)]
    )
    values = torch.linalg.eigvalsh((rows @ rows.T).double())
    return float(values[-1] / values.sum())
