"""What every edit of a finished adapter promises: an adapter that plain PEFT loads, with an honest configuration."""

import tempfile
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.adapter.adapter import Adapter
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.save import save_adapter
from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.errors import BadInput
from despur.core.materials import Materials
from despur.testing.require import at_hand, fingerprints, require
from despur.testing.tiny import RANK, VOCABULARY, tiny_base

IDENTITY = {"strength": 0.0, "by": 1.0, "share": 0.0, "rank": RANK}  # option -> where it leaves every weight as it is
EXACT = 1e-5  # of the update's norm: singular values taken apart and put together again


def check_acts_and_then_not(method: Method, given: Materials, **options: Any) -> None:
    """With its defaults it changes the update; at the identity's option (see `IDENTITY`) it does not."""
    option = next((name for name in IDENTITY if name in method.options), None)
    require(
        option is not None,
        f"none of its options is one of {', '.join(IDENTITY)}, so it is unknown when it does nothing",
    )
    plain = given.get("adapter")
    require(_apart(build(method.name, given, **options), plain) > 1e-3, "with its defaults it changes nothing")
    at_identity: dict[str, Any] = {**options, str(option): IDENTITY[str(option)]}
    still = build(method.name, given, **at_identity)
    require(_apart(still, plain) < EXACT, f"at {option}={IDENTITY[str(option)]} it still changes the update")


def check_leaves_its_input_alone(method: Method, given: Materials, **options: Any) -> None:
    """Adapters, models and text that it is given stay as they are; so do the global draws, and it gives the same again."""
    materials = at_hand(method, given)
    before, drawn = fingerprints(materials), torch.get_rng_state()
    one = build(method.name, materials, **options)
    require(torch.equal(drawn, torch.get_rng_state()), "it draws from the global generator")
    require(fingerprints(materials) == before, "it changes what it is given")
    require(_apart(one, build(method.name, materials, **options)) == 0, "made again from the same materials it differs")


def check_rank_and_config_are_honest(method: Method, given: Materials, **options: Any) -> None:
    """Every update has the rank and the scale that the config says, and is finite."""
    made = build(method.name, given, **options)
    require(isinstance(made, Adapter), f"it gives a {type(made).__name__}")
    require(made.updates.keys() == given.get("adapter").updates.keys(), "it adapts other modules than it was given")
    r, alpha = made.config["r"], made.config["lora_alpha"]
    require(
        not made.config.get("rank_pattern") and not made.config.get("alpha_pattern"),
        "its config has patterns left over",
    )
    for name, update in made.updates.items():
        rows, columns = update.down.shape[0], update.up.shape[1]
        require(rows == columns == r, f"{name} has rank {rows}, its config has r={r}")
        scale = alpha / (r**0.5 if made.config.get("use_rslora") else r)
        require(
            abs(update.scale - scale) <= 1e-6 * abs(scale), f"{name} has scale {update.scale}, its config has {scale}"
        )
        require(torch.isfinite(update.down).all() and torch.isfinite(update.up).all(), f"{name} contains NaN or Inf")


@torch.no_grad()
def check_loads_in_plain_peft(method: Method, given: Materials, **options: Any) -> None:
    """Written by `save_adapter` and loaded by PEFT alone, its logits are the base's with the update added by hand."""
    from peft import PeftModel

    made = build(method.name, given, **options)
    ids = torch.randint(3, VOCABULARY, (2, 8), generator=torch.Generator().manual_seed(0))
    base: Any = tiny_base()
    plain = base(input_ids=ids).logits
    for name, update in made.updates.items():
        base.get_submodule(name).weight += _dense(update)
    with tempfile.TemporaryDirectory() as folder:
        target = save_adapter(made, f"{folder}/adapter")
        try:
            loaded: Any = PeftModel.from_pretrained(tiny_base(), str(target))  # type: ignore[arg-type]
            read = Adapter.read(target)
        except (RuntimeError, BadInput) as fault:
            raise AssertionError(f"what it made does not load: {fault}") from fault
    by_hand, by_peft = base(input_ids=ids).logits, loaded(input_ids=ids).logits
    require(
        torch.allclose(by_peft, by_hand, atol=1e-4),
        "loaded by PEFT its logits differ from the base with the update added by hand",
    )
    require(not torch.allclose(by_peft, plain, atol=1e-3), "loaded by PEFT its logits are the base's")
    require(_apart(read, made) < EXACT, "read from its folder it is another")
    _check_loaded(loaded, made)


SUITE = (
    check_acts_and_then_not,
    check_leaves_its_input_alone,
    check_rank_and_config_are_honest,
    check_loads_in_plain_peft,
)


def _check_loaded(loaded: nn.Module, made: Adapter) -> None:
    matrices = {n: p for n, p in loaded.named_parameters() if "lora_A" in n}
    require(len(matrices) == len(made.updates), "PEFT finds another number of matrices")
    require(all(len(p) == made.config["r"] for p in matrices.values()), "PEFT loads another rank than its config has")


def _dense(update: LowRank) -> Tensor:
    return (update.scale * update.up.double() @ update.down.double()).float()


def _apart(one: Adapter, two: Adapter) -> float:
    """How far two adapters are apart, as a share of the second's norm."""
    gaps = [(_dense(one.updates[n]) - _dense(update)).norm() ** 2 for n, update in two.updates.items()]
    return float(torch.stack(gaps).sum().sqrt()) / two.norm()
