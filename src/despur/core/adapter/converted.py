"""What PEFT gives another form on loading must change as much as it does in the file."""

from collections.abc import Sequence

from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.peft_config import CONFIG, rank_and_scale
from despur.core.adapter.peft_folder import WEIGHTS, Opened, lora_pairs
from despur.core.errors import BadInput

_LOST = 0.01  # share of the squared change that a conversion may lose or add: it goes through an SVD in float32


def check_converted(names: Sequence[str], opened: Opened, change: float) -> None:
    """Compare the change of LoRA matrices that were converted (one pair an expert, now stacked) with that in the file.

    Both are squared norms, summed over all of them: a dropped expert shows. Other kinds have no such sum.

    Args:
        names: Tensors of the file that the model does not have.
        opened: The adapter's folder.
        change: The squared change of all tensors of the model that are no plain LoRA.

    Raises:
        BadInput: a part of them was dropped.
    """
    there = set(names)
    pairs = {m: p for m, p in lora_pairs(opened).items() if len(p) == 2 and any(n in there for n, _ in p.values())}
    if not pairs:
        return
    where = repr(str(opened.folder / CONFIG))
    scales = {m: rank_and_scale(m, opened.config, where)[1] for m in pairs}
    want = sum(LowRank(p["A"][1], p["B"][1], scales[m]).norm() ** 2 for m, p in pairs.items())
    if abs(change - want) > _LOST * want:
        raise BadInput(
            f"PEFT's conversion of {len(names)} tensors in {str(opened.folder / WEIGHTS)!r}, such as {names[0]!r}, to this base's "
            f"layout keeps {change / want if want else 0:.0%} of their change: some have no place in it. Save the adapter again with "
            "the versions that wrote it, or merge it there into its base and give the merged model's folder"
        )
