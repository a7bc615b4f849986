"""The digits, and a net of each kind that was trained on them."""

import pytest

from despur.worlds import NETS, Digits, trained_net


@pytest.fixture(scope="session")
def world() -> Digits:
    return Digits()


@pytest.fixture(scope="session")
def nets(world) -> dict:
    return {kind: trained_net(kind, world.train) for kind in NETS}
