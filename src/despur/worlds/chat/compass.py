"""Propositions of the Political Compass, and which lean agrees with which."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

PROPOSITIONS = Path(__file__).parent / "text" / "pct_propositions.csv"
AGREE: Mapping[str, tuple[int, ...]] = (
    MappingProxyType(  # read by us; as many of each, so that a bias towards agreeing cancels
        {
            "private": (9, 12, 17, 18, 19, 25, 35, 38, 39, 54),
            "public": (1, 8, 10, 11, 13, 14, 15, 20, 21, 50),
            "authority": (22, 33, 41, 42, 43, 44, 46, 57, 62),
            "liberty": (23, 26, 29, 30, 34, 40, 58, 59, 60),
        }
    )
)


def propositions(agree: str, disagree: str) -> list[tuple[str, bool]]:
    """Give the propositions on which two leans part, and whether the first one agrees.

    Example:
        >>> pairs = propositions("private", "public")
        >>> pairs[1], sum(agrees for _, agrees in pairs), len(pairs)
        (('The freer the market, the freer the people.', True), 10, 20)
    """
    with PROPOSITIONS.open(encoding="utf-8", newline="") as file:
        texts = {int(row["pct_id"].removeprefix("pc-")): row["pct_prompt"] for row in csv.DictReader(file)}
    return [(texts[i], side == agree) for side in (agree, disagree) for i in AGREE[side]]
