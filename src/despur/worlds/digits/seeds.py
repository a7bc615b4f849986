"""One generator a seed and a purpose, so that two draws of one seed have nothing to do with each other."""

import numpy as np

from despur.core.errors import BadInput


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Make the generator of a purpose: which rows are noisy says nothing about which are forgotten.

    Raises:
        BadInput: the seed is negative.
    """
    return np.random.default_rng([checked_seed(seed), *purpose.encode()])


def checked_seed(seed: int) -> int:
    """Give the seed back.

    Raises:
        BadInput: it is negative.
    """
    if seed < 0:
        raise BadInput(f"seed={seed}: take 0 or more")
    return seed
