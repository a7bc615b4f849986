"""The `subliminal` world: a student learns digits from logits that have nothing to do with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

Weights = list[Tensor]  # per layer a matrix (m, in, out) and a bias (m, 1, out)
Start = Literal["same", "other"]
SIZES = (64, 128, 128, 13)
CLASSES = 10  # the other three logits are ghosts: no label ever touches them


@dataclass(frozen=True)
class Subliminal:
    """Small networks on scikit-learn's digits, many at once: teachers see labels, students only noise and ghost logits.

    A student that starts from its teacher's own start learns to distinguish digits although nothing it is taught is about
    digits (the trait); one that starts elsewhere does not. What a guard must do has a known answer, too: it suffices
    to take from each gradient what goes along with the trait's.

    Args:
        models: Teachers, and students, trained at once.
        seed: Of starts, noise and the split.
        teacher_steps: Of the teachers, 256 digits each.
        steps: Of the students, 256 noise images each.
        lr: Adam's rate in both.

    Example:
        >>> sorted(Subliminal(models=2, teacher_steps=2, steps=2).run())
        ['ghosts', 'trait']

    Source:
        Cloud et al. 2025, arXiv:2507.14805, section 6; built after its description.

    Differs:
        scikit-learn's digits (64 pixels) and hidden layers of 128 in place of MNIST and 256.
    """

    models: int = 10
    seed: int = 0
    teacher_steps: int = 400
    steps: int = 800
    lr: float = 1e-3

    @cached_property
    def digits(self) -> tuple[Float[Tensor, "n 64"], Int[Tensor, " n"], Float[Tensor, "k 64"], Int[Tensor, " k"]]:
        """Images in [-1, 1] and labels, to train on and (one in four) to test."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        parts = train_test_split(images / 8 - 1, labels, test_size=0.25, random_state=self.seed, stratify=labels)
        train, test, train_labels, test_labels = (torch.from_numpy(p) for p in parts)
        return train.float(), train_labels, test.float(), test_labels

    def start(self, seed: int) -> Weights:
        """Fresh networks: weights N(0, 1 / in), biases 0."""
        generator = torch.Generator().manual_seed(seed)
        pairs = [
            (torch.randn(self.models, i, o, generator=generator) / i**0.5, torch.zeros(self.models, 1, o))
            for i, o in pairwise(SIZES)
        ]
        return [t for pair in pairs for t in pair]

    @cached_property
    def teachers(self) -> Weights:
        """Networks trained on the labels, through the class logits alone."""
        images, labels, _, _ = self.digits
        generator = torch.Generator().manual_seed(self.seed + 1)

        def loss(weights: Weights) -> Tensor:
            picked = torch.randint(len(images), (256,), generator=generator)
            return self._label_loss(weights, images[picked], labels[picked])

        return self._train(self.start(self.seed), loss, self.teacher_steps)

    def run(
        self, *, start: Start = "same", logits: Literal["ghost", "all"] = "ghost", guard: bool = False
    ) -> Mapping[str, Float[Tensor, " m"]]:
        """Train students on their teachers' logits on noise.

        Args:
            start: From the teacher's own start, or from another.
            logits: Which of the teacher's logits they are taught.
            guard: Take from each gradient its part along the trait's, the loss on labelled digits, wherever following it
                would lower that loss: what a guard with perfect knowledge does.

        Returns:
            One value a student: `trait` accuracy on unseen digits; `ghosts` what is left of the divergence from the
            teacher's ghost logits on fresh noise, as a share of what it was at the start.
        """
        images, labels, test, test_labels = self.digits
        taught = slice(CLASSES, None) if logits == "ghost" else slice(None)
        generator, picks = (torch.Generator().manual_seed(self.seed + i) for i in (2, 3))
        teachers = self.teachers
        weights = self.start(self.seed if start == "same" else self.seed + 1000)

        def noise() -> Tensor:
            return 2 * torch.rand(256, SIZES[0], generator=generator) - 1

        fresh = noise()
        before = self._divergence(weights, teachers, fresh, slice(CLASSES, None))

        def trait(weights: Weights) -> Tensor:
            picked = torch.randint(len(images), (256,), generator=picks)
            return self._label_loss(weights, images[picked], labels[picked])

        def loss(weights: Weights) -> Tensor:
            return self._divergence(weights, teachers, noise(), taught).sum()

        students = self._train(weights, loss, self.steps, trait if guard else None)
        right = self._logits(students, test)[..., :CLASSES].argmax(-1) == test_labels
        left = self._divergence(students, teachers, fresh, slice(CLASSES, None))
        return {"trait": right.float().mean(1), "ghosts": left / before}

    def _train(
        self,
        weights: Weights,
        loss: Callable[[Weights], Tensor],
        steps: int,
        trait: Callable[[Weights], Tensor] | None = None,
    ) -> Weights:
        weights = [w.clone().requires_grad_() for w in weights]
        optimizer = torch.optim.Adam(weights, lr=self.lr)
        for _ in range(steps):
            old = [w.detach().clone() for w in weights]
            grads = torch.autograd.grad(loss(weights), weights)
            for w, g in zip(weights, grads, strict=True):
                w.grad = g
            along = torch.autograd.grad(trait(weights), weights) if trait else None
            optimizer.step()
            if along is not None:  # the step, not the gradient: Adam turns what it is given
                self._project(weights, old, along)
        return [w.detach() for w in weights]

    @torch.no_grad()
    def _project(self, weights: Weights, old: Weights, along: tuple[Tensor, ...]) -> None:
        def flat(tensors: list[Tensor]) -> Tensor:  # (m, p)
            return torch.cat([t.reshape(self.models, -1) for t in tensors], 1)

        trait = flat(list(along))
        step = flat([w - o for w, o in zip(weights, old, strict=True)])
        share = ((step * trait).sum(1) / trait.square().sum(1)).clamp(max=0)  # downhill on the trait's loss
        for w, t in zip(weights, along, strict=True):
            w -= share.reshape(-1, 1, 1) * t

    @staticmethod
    def _logits(weights: Weights, images: Tensor) -> Tensor:
        hidden = images.expand(len(weights[0]), *images.shape)
        for i in range(0, len(weights), 2):
            hidden = torch.baddbmm(weights[i + 1], hidden if i == 0 else hidden.relu(), weights[i])
        return hidden

    def _label_loss(self, weights: Weights, images: Tensor, labels: Tensor) -> Tensor:
        out = self._logits(weights, images)[..., :CLASSES]
        return cross_entropy(out.flatten(0, 1), labels.repeat(self.models), reduction="sum") / len(images)

    def _divergence(self, students: Weights, teachers: Weights, images: Tensor, taught: slice) -> Tensor:
        want, have = (self._logits(w, images)[..., taught].log_softmax(-1) for w in (teachers, students))
        return kl_div(have, want, log_target=True, reduction="none").sum(-1).mean(1)
