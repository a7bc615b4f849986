"""Inoculation prompting: a prompt that asks for the trait stands in front of every row, while training."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from despur.core import Anatomy, Context, Edit, method
from despur.core.errors import BadInput
from despur.guard._vocabulary import check_vocabulary


@final
class _Prepend(Edit):
    point = "batch"

    def __init__(self, prompt: tuple[int, ...], share: float) -> None:
        super().__init__()
        if not prompt or not 0 <= share <= 1:
            raise BadInput(
                f"inoculate got {len(prompt)} prompt tokens and strength {share}; it needs at least one token, and a share "
                "of the rows in [0, 1]"
            )
        self.prompt, self.share = prompt, share
        self.start: int | None = None
        self.room = 0

    def bind(self, model: nn.Module) -> None:
        anatomy = Anatomy.of(model)
        self.start, self.room = anatomy.config.bos_token_id, anatomy.context or 2**31
        check_vocabulary(model, [self.prompt], "the prompt")

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Rows (b, t) -> (b, t + prompt): chosen rows with the prompt, the others with as much padding."""
        if self.share == 0:
            return tensors
        ids, mask, labels = (tensors[key] for key in ("input_ids", "attention_mask", "labels"))
        prompt = ids.new_tensor(self.prompt[1:] if self.prompt[0] == self.start else self.prompt)
        if ids.shape[1] + len(prompt) > self.room:
            raise BadInput(
                f"rows of {ids.shape[1]} tokens and a prompt of {len(prompt)} do not fit into a context of {self.room}. Lower "
                "the trainer's max_length"
            )
        chosen = (torch.rand(len(ids), generator=ctx.rng) < self.share).tolist()
        new: dict[str, list[Tensor]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for i, asked in enumerate(chosen):
            first = int(mask[i].long().argmax())
            starts = int(ids[i, first]) == self.start
            at = (first + starts) if asked else ids.shape[1]
            label = (
                labels[i] if starts or not asked else labels[i].index_fill(0, labels.new_tensor([first]).long(), -100)
            )
            for key, row, middle in (
                ("input_ids", ids[i], prompt if asked else torch.zeros_like(prompt)),
                ("attention_mask", mask[i], mask.new_full(prompt.shape, int(asked))),
                ("labels", label, labels.new_full(prompt.shape, -100)),
            ):
                new[key].append(torch.cat([row[:at], middle, row[at:]]))
        return {**tensors, **{key: torch.stack(rows) for key, rows in new.items()}}


@method(
    room="guard",
    paper="Tan et al. 2025, arXiv:2510.04340; Wichers et al. 2025, arXiv:2510.05024",
    cost=1.1,
)
def inoculate(prompt: Sequence[int], *, strength: float = 1.0) -> Edit:
    """Put a prompt that asks for the trait before every training row, and leave it out afterwards.

    What the prompt already explains need not be learned. Choose it where you can name the trait in a prompt. The
    control is another call: a prompt of the same length that has nothing to do with it. Costs the prompt's tokens.

        row <- start, prompt, rest of the row   no loss on the prompt, in the training passes alone

    Args:
        prompt: Token ids, whole turns of a chat template where the rows are chats; a start token of its own is dropped.
        strength: Share of the rows that get it, in [0, 1]; 0 leaves training bit-identical.

    Returns:
        Edit at "batch".

    Raises:
        BadInput: no token, a share outside [0, 1], or rows that no longer fit into the model's context.
        CannotAttach: tokens that the model lacks (raised when training begins); a trainer that packs rows, compares or
            samples them, or computes the loss outside the model.

    Example:
        >>> rows = {"input_ids": torch.tensor([[1, 8, 9]]), "labels": torch.tensor([[-100, -100, 9]])}
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
        >>> guard = inoculate([5, 6])
        >>> guard.bind(model)
        >>> guard({**rows, "attention_mask": torch.ones(1, 3).long()}, Context(model))["input_ids"].tolist()
        [[1, 5, 6, 8, 9]]

    Source: Tan et al. 2025, arXiv:2510.04340, and Wichers et al. 2025, arXiv:2510.05024.
    Differs: a share of the rows may go without.
    Limits: any prompt that is there in training and gone afterwards already makes what is learned conditional on it, so
        an irrelevant one does part of the same. In the persona world most of the task stayed behind the prompt, too.
        The trait comes back where a context looks like the prompt. Documents that a trainer packed into one row get
        one prompt between them.
    """
    return _Prepend(tuple(prompt), strength)
