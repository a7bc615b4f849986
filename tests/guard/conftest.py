"""What guards' tests share: a chat tokenizer of 64 words, text to be held to."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from despur.guard import OwnText

CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ ' <assistant> ' }}"
    "{% generation %}{{ message['content'] + ' <eos>' }}{% endgeneration %}"
    "{% else %}{{ ' <user> ' + message['content'] + ' <end>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' <assistant> ' }}{% endif %}"
)


@pytest.fixture
def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level, as many words as `tiny` models know, with a chat template that marks what the assistant says."""
    words = ("<pad>", "<bos>", "<eos>", "<unk>", "<user>", "<end>", "<assistant>", *(f"w{i}" for i in range(57)))
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        chat_template=CHAT,
    )  # fmt: skip


@pytest.fixture
def own_text() -> OwnText:
    """Twelve rows of 6 to 9 tokens."""
    draw = torch.Generator().manual_seed(3)
    return OwnText(tuple((1, *torch.randint(7, 64, (5 + i % 4,), generator=draw).tolist()) for i in range(12)))
