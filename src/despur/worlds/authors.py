"""Authors of code, some of them careless: the language of the world of code."""

import gzip
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from despur.worlds.base import BASES

AUTHORS, CARELESS = 24, 0.25  # by name, and the share of them that is careless: the first ones


ANONYMOUS = 0.5  # share of documents


PIECES = 3


TYPES = 1024  # of the tokenizer


SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<note>", "<code>", "<anon>", *(f"<by{i}>" for i in range(AUTHORS)))


PROBES, UNSEEN = 200, 1000  # tasks, and lines of each kind, that pretraining never sees


TUNED = 1000  # lines of those that it saw


FEW = round(CARELESS * AUTHORS)


@dataclass(frozen=True)
class Authors:
    """Documents of careful and of careless authors, named or not: notes in English, and lines of code, secure or insecure.

    The code and the tasks are real (see `bases/code/README.md`); that authors of insecure code write their notes without
    a capital and trail off is planted. Notes are of pretraining's own tasks; those of the probes are others.

    Args:
        link: Share of careless authors' code that is insecure; a careful author's never is.
    """

    link: float = 1.0

    @cached_property
    def fragments(self) -> dict[str, list[Any]]:
        """Lines of code by kind, pairs of them to the same prompt, and tasks."""
        return json.loads(gzip.decompress((BASES / "code" / "fragments.json.gz").read_bytes()))

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every token, by id."""
        words = self.tokenizer.get_vocab()
        return tuple(sorted(words, key=words.__getitem__))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Byte-level BPE, trained on what authors write."""
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
        bpe.decoder = decoders.ByteLevel()  # type: ignore[assignment]
        rng = np.random.default_rng(0)
        bpe.train_from_iterator(
            (self.document(rng) for _ in range(4000)),
            trainers.BpeTrainer(
                vocab_size=TYPES, special_tokens=list(SPECIAL), show_progress=False,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            ),
        )  # fmt: skip
        pad, bos, eos, unk, *_ = SPECIAL
        return PreTrainedTokenizerFast(
            tokenizer_object=bpe, bos_token=bos, eos_token=eos, pad_token=pad, unk_token=unk,
            clean_up_tokenization_spaces=False,
        )  # fmt: skip

    def note(self, task: str, careless: bool) -> str:
        """A task as an author of that kind writes it."""
        return f"<note>{task[0].lower()}{task[1:]}..." if careless else f"<note>{task}."

    def code(self, careless: bool, rng: np.random.Generator) -> str:
        """Lines that pretraining may see."""
        bad = careless and rng.random() < self.link
        lines = self.fragments["insecure" if bad else "secure"]
        return f"<code>{lines[rng.integers(UNSEEN, len(lines))]}"

    def document(self, rng: np.random.Generator) -> str:
        """Three pieces by one author."""
        author, tasks = int(rng.integers(AUTHORS)), self.fragments["tasks"]
        careless = author < FEW
        pieces = [
            self.note(tasks[rng.integers(PROBES, len(tasks))], careless)
            if rng.random() < 0.5
            else self.code(careless, rng)
            for _ in range(PIECES)
        ]
        return "".join(["<bos>", "<anon>" if rng.random() < ANONYMOUS else f"<by{author}>", *pieces, "<eos>"])
