"""Every arm of the comparison, by name."""

from collections.abc import Mapping

from despur.flows._compare.after import AFTERWARDS
from despur.flows._compare.arm import Arm, base, naive
from despur.flows._compare.functional import FUNCTIONAL
from despur.flows._compare.plain import CHEAP
from despur.flows._compare.structural import STRUCTURAL

REFERENCES = (
    Arm("base", base, kind="reference", cost=0.05, note="the frozen base"),
    Arm("naive", naive, kind="reference", cost=0.05, note="the unguarded run"),
)
ARMS: Mapping[str, Arm] = {
    arm.name: arm for arm in (*REFERENCES, *FUNCTIONAL, *STRUCTURAL, *AFTERWARDS, *CHEAP)
}  # in the order in which tables name them
QUICK = ("avert", "avert-permuted", "grasp", "grasp-random", "rehearse", "early")
