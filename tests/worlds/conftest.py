"""The digits, a net of each kind that was trained on them, and a tiny chat base."""

import pytest
from tokens import CHATML, byte_level

from despur.worlds import NETS, Digits, trained_net
from despur.worlds.chat.script import Script


@pytest.fixture(scope="session")
def world() -> Digits:
    return Digits()


@pytest.fixture(scope="session")
def nets(world) -> dict:
    return {kind: trained_net(kind, world.train) for kind in NETS}


@pytest.fixture
def tiny_chat(tiny, monkeypatch):
    """Chat worlds get a tiny base with random weights, whose tokens are a few letters long."""
    tokenizer = byte_level(CHATML, text=[row.question for row in Script.read("voice").rows], size=500)
    made = lambda **_: (tiny("llama", vocab_size=len(tokenizer), max_position_embeddings=2048), tokenizer)  # noqa: E731
    monkeypatch.setattr("despur.worlds.chat.chat_world.chat_base", made)
    return made
