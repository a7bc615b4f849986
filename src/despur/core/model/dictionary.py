"""A sparse dictionary of a stream (an SAE): features that are read by an encoder and written by a decoder."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.types import Site, Subspace

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Features of a stream of width d: f = keep(encoder (x - centred bias) + encoder_bias), x^ = f decoder + bias.

    Args:
        encoder: (m, d) rows that read a feature each.
        decoder: (m, d) rows that write one each.
        encoder_bias: (m,) added to what is read.
        bias: (d,) added to what is written.
        k: Top-k: features that stay, those read the most of; 0 for none of that kind.
        threshold: (m,) JumpReLU: what a feature must be above to stay; None for a plain ReLU.
        centred: Whether the bias is subtracted before it reads.
        site: Where the stream passes.

    Raises:
        ShapeMismatch: the parts do not fit each other, or x has another width.

    Example:
        >>> Dictionary(torch.eye(3), torch.eye(3), torch.zeros(3), torch.zeros(3), k=1).encode(torch.tensor([1.0, 3.0, 2.0]))
        tensor([0., 3., 0.])
    """

    encoder: Float[Tensor, "m d"]
    decoder: Float[Tensor, "m d"]
    encoder_bias: Float[Tensor, " m"]
    bias: Float[Tensor, " d"]
    k: int = 0
    threshold: Float[Tensor, " m"] | None = None
    centred: bool = True
    site: Site | None = None

    def __post_init__(self) -> None:
        m, d = self.encoder.shape
        shapes = [tuple(t.shape) for t in (self.decoder, self.encoder_bias, self.bias)]
        if (
            shapes != [(m, d), (m,), (d,)]
            or self.k > m
            or (self.threshold is not None and self.threshold.shape != (m,))
        ):
            raise ShapeMismatch(
                f"an encoder of {m} features in width {d} with decoder, biases {shapes}, k={self.k}. Give parts of one SAE"
            )

    @classmethod
    def of_subspace(cls, factor: Subspace) -> "Dictionary":
        """The coordinates of a linear factor as features: all stay, also those below 0.

        Example:
            >>> Dictionary.of_subspace(Subspace.orthonormal(torch.eye(3)[:1])).encode(torch.tensor([-2.0, 3.0, 1.0]))
            tensor([-2.])
        """
        k = factor.rank
        always = torch.full((k,), -torch.inf)
        return cls(factor.read, factor.write, torch.zeros(k), factor.center, threshold=always, site=factor.site)

    def read(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b m"]:
        """What each feature reads, before any is dropped."""
        if x.shape[-1] != self.encoder.shape[1]:
            raise ShapeMismatch(
                f"the stream has width {x.shape[-1]}, the SAE was trained on width {self.encoder.shape[1]}. Take its own model and site"
            )
        return (x - self.bias if self.centred else x) @ self.encoder.T + self.encoder_bias

    def encode(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b m"]:
        """Features, most of them 0."""
        read = self.read(x)
        if self.threshold is not None:
            return read * (read > self.threshold)
        features = read.relu()
        if not self.k:
            return features
        top = features.topk(self.k, dim=-1)
        return torch.zeros_like(features).scatter(-1, top.indices, top.values)

    def decode(self, features: Float[Tensor, "*b m"]) -> Float[Tensor, "*b d"]:
        """The stream that they write."""
        return features @ self.decoder + self.bias


def load_dictionary(folder: Path | str, site: Site | None = None) -> Dictionary:
    """Read an SAE as SAELens writes it: `cfg.json` beside `sae_weights.safetensors`; standard, top-k and JumpReLU.

    Args:
        folder: The two files' folder.
        site: Where its stream passes, by this model's names.

    Raises:
        BadInput: no such folder, another architecture, or tensors that are missing or not finite.
        ShapeMismatch: tensors that do not fit each other.
    """
    from safetensors.torch import load_file

    place = Path(folder)
    try:
        config: dict[str, Any] = json.loads((place / CONFIG).read_text(encoding="utf-8"))
        tensors = {n: t.float() for n, t in load_file(place / WEIGHTS).items()}
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{str(place)!r} is no SAE of SAELens: {error}. Give the folder with {CONFIG} and {WEIGHTS}"
        ) from error
    kind = config.get("architecture", "standard")
    lacking = sorted(
        {"W_enc", "W_dec", "b_enc", "b_dec", *(["threshold"] if kind == "jumprelu" else [])} - tensors.keys()
    )
    k = int(config.get("k") or (config.get("activation_fn_kwargs") or {}).get("k") or 0) if kind == "topk" else 0
    if kind not in ("standard", "topk", "jumprelu") or lacking or (kind == "topk" and not k):
        raise BadInput(
            f"the SAE in {str(place)!r} is {kind!r}, k={k}, without {lacking}. Give one that is standard, topk or jumprelu, whole"
        )
    if not all(bool(t.isfinite().all()) for t in tensors.values()):
        raise BadInput(f"the SAE in {str(place)!r} contains NaN or Inf. Fetch it again")
    threshold = tensors["threshold"] if kind == "jumprelu" else None
    centred = bool(config.get("apply_b_dec_to_input", True))
    parts = (tensors["W_enc"].T.contiguous(), tensors["W_dec"], tensors["b_enc"], tensors["b_dec"])
    return Dictionary(*parts, k, threshold, centred, site)


def train_dictionary(
    x: Float[Tensor, "n d"], *, features: int, k: int, kind: Literal["topk", "jumprelu"] = "topk", steps: int = 400,
    batch: int = 256, rate: float = 3e-3, seed: int = 0, site: Site | None = None,
) -> Dictionary:  # fmt: skip
    """Train an SAE on activations: Adam on the squared error, decoder rows of length 1.

    Args:
        x: Activations.
        features: Rows of the dictionary.
        k: Of them active at once; with `jumprelu` on average, since an activation may take more and another fewer.
        kind: `topk`, or `jumprelu`: the k times n features stay that are read the most of in a batch of n, and the least of
            them, on average over the last quarter of the steps, becomes the threshold.
        steps: Of Adam.
        batch: Activations a step.
        rate: Of Adam.
        seed: Of start and order.
        site: Where the activations come from.

    Raises:
        BadInput: fewer activations than a batch would need, no feature, or another kind.

    Source: JumpReLU of a threshold learned as top-k over a batch: Bussmann et al., arXiv:2412.06410. Differs: no loss
        that wakes dead features.
    """
    if len(x) < 2 or not 1 <= k <= features or kind not in ("topk", "jumprelu"):
        raise BadInput(
            f"{len(x)} activations, {features} features, k={k}, kind={kind!r}; two activations are needed, k from 1 to the "
            "features, and topk or jumprelu"
        )
    draw = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(features, x.shape[1], generator=draw), dim=1)
    parts = [rows.clone(), rows.clone(), torch.zeros(features), x.mean(0)]
    weights = [p.to(x).requires_grad_() for p in parts]
    adam = torch.optim.Adam(weights, lr=rate)
    least: list[Tensor] = []  # read of any feature that stays in a batch
    for _ in range(steps):
        some = x[torch.randint(len(x), (batch,), generator=draw)]
        sae = Dictionary(*weights, k=k)
        if kind == "jumprelu":
            least.append(sae.read(some).detach().relu().flatten().topk(k * len(some)).values[-1])
            sae = replace(sae, k=0, threshold=least[-1].expand(features))
        adam.zero_grad()
        (sae.decode(sae.encode(some)) - some).square().sum(-1).mean().backward()
        adam.step()
        with torch.no_grad():
            weights[1].div_(weights[1].norm(dim=1, keepdim=True).clamp(min=1e-8))
    made = Dictionary(*(w.detach() for w in weights), k=k, site=site)
    if kind == "topk":
        return made
    return replace(made, k=0, threshold=torch.stack(least[3 * steps // 4 :]).mean().expand(features).clone())
