"""How one tokenizer and its chat template turn rows into tokens, and which of them are learned."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from despur.core.errors import BadInput
from despur.core.text.chat import answer_marks, has_template, opening, render, special_texts, turn_ends
from despur.core.text.cuts import Encoder, check_whole
from despur.core.text.turns import Chats, Rendering, Turns

Tokens = dict[str, list[int]]  # input_ids and labels, -100 where no loss is
UNLEARNED = -100


@dataclass
class Reader:
    """How one tokenizer's rows are read.

    Args:
        tokenizer: A transformers tokenizer.
        turns: Which of the assistant's turns of a chat are learned.
        name: Of the file, in front of a row's number in messages.

    Attributes:
        remarks: Kind of a remark -> numbers of the rows that it is about.
    """

    tokenizer: Any
    turns: Turns = "all"
    name: str = ""
    encoder: Encoder = field(init=False)
    remarks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.encoder, self.templated = Encoder(self.tokenizer), has_template(self.tokenizer)
        self.eos: int | None = self.tokenizer.eos_token_id
        ends = [*([self.eos] if self.eos is not None else []), *turn_ends(self.tokenizer)]
        self.ends = tuple(self.encoder.decoded([i]) for i in ends)
        self.special = {*self.tokenizer.all_special_ids}
        self.special |= {
            i for i, t in getattr(self.tokenizer, "added_tokens_decoder", {}).items() if getattr(t, "special", True)
        }
        marks = special_texts(self.tokenizer) if self.templated else ()
        self.marks = tuple(m for m in marks if m != self.tokenizer.bos_token)
        self.chats = Chats(self.tokenizer, self.turns, marks, self.ends)
        self.opening = opening(self.tokenizer).strip()

    def asked(self, row: Mapping[str, Any], where: str) -> list[int]:
        """Tokens with which the model is asked for a row's answer, which may be there or not.

        Raises:
            BadInput: the template refuses the chat.
        """
        messages = row.get("messages")
        if messages is None:
            prompt = row["prompt"]
            if not self.templated or self._written_out(prompt):
                check_whole(prompt, where)
                return self.encoder.asked(prompt)
            messages = _as_chat(row, prompt)
        if messages[-1]["role"] == "assistant":
            messages = messages[:-1]
        text = render(messages, self.tokenizer, where, ask=True, row=row)
        check_whole(text, where)
        return self.encoder.plain(text)

    def tokens(self, row: Mapping[str, Any], number: int, max_length: int) -> Tokens:
        """Tokens and labels of a row.

        Raises:
            BadInput: see `learn_rows`.
        """
        where = f"{self.name}row {number}"
        rendering = self._rendering(row, where)
        check_whole(rendering.text, where)
        ids, learned = self._chat(row, rendering) if rendering.chat else self._plain(rendering)
        if not any(learned):
            raise BadInput(f"{where}: the answer has no tokens. Fix or drop the row")
        ids, learned = self._stopped(ids, learned, rendering)
        first = learned.index(True)
        if first >= max_length:
            raise BadInput(
                f"{where}: the prompt has {first} tokens and leaves no room for an answer in a context of "
                f"{max_length}. Shorten the row, or raise --max-length if the model allows it"
            )
        if any(learned[max_length:]):
            rendering.remarks.add("cut")
        if _squeezed(rendering.text) not in _squeezed(self.encoder.decoded(ids)):
            rendering.remarks.add("lost")
        for kind in rendering.remarks:
            self.remarks[kind].append(number)
        ids, learned = ids[:max_length], learned[:max_length]
        return {"input_ids": ids, "labels": [i if yes else UNLEARNED for i, yes in zip(ids, learned, strict=True)]}

    def _rendering(self, row: Mapping[str, Any], where: str) -> Rendering:
        if "messages" in row:
            return self.chats.rendering(row, where)
        if "prompt" not in row:
            as_it_is = (
                {"untemplated"} if self.templated and not any(m in row["text"] for m in self.marks) else set[str]()
            )
            return Rendering(row["text"], [(0, len(row["text"]))], as_it_is)
        prompt, completion = row["prompt"], row["completion"]
        if self.templated and not self._written_out(prompt):
            chat = [*_as_chat(row, prompt), {"role": "assistant", "content": completion}]
            rendering = self.chats.rendering({**row, "messages": chat}, where)
            rendering.remarks.add("rendered")
            return rendering
        left = {"written out": self.templated, "system": _system(row), "tools": row.get("tools")}
        remarks = {name for name, there in left.items() if there}
        return Rendering(prompt + completion, [(len(prompt), len(prompt + completion))], remarks)

    def _plain(self, rendering: Rendering) -> tuple[list[int], list[bool]]:
        text, ((start, _),) = rendering.text, rendering.spans
        bos = self.tokenizer.bos_token
        front = [] if bos and text.startswith(bos) else self.encoder.front
        ids, (before,) = self.encoder.cut(text, [start])
        if not start:  # text: a start token carries loss as any other
            return [*front, *ids], [True] * (len(front) + len(ids))
        return [*front, *ids], [False] * (len(front) + before) + [True] * (len(ids) - before)

    def _chat(self, row: Mapping[str, Any], rendering: Rendering) -> tuple[list[int], list[bool]]:
        ids, counts = self.encoder.cut(rendering.text, [place for span in rendering.spans for place in span])
        pairs = list(zip(counts[::2], counts[1::2], strict=True))
        learned = [False] * len(ids)
        for start, end in pairs:
            learned[start:end] = [True] * (end - start)
        marked = answer_marks(row["messages"], self.tokenizer, row) if rendering.marked and "messages" in row else None
        if marked is None or marked[0] != ids:
            return ids, learned
        found = [bool(m) and yes for m, yes in zip(marked[1], learned, strict=True)]
        for start, end in pairs:  # a template may leave the end of the turn out of its mark
            if any(found[start:end]):
                behind = max(i for i in range(start, end) if found[i]) + 1
                found[behind:end] = [True] * (end - behind)
        return ids, found if any(found) else learned

    def _stopped(self, ids: list[int], learned: list[bool], rendering: Rendering) -> tuple[list[int], list[bool]]:
        """With an end token behind the last answer, where nothing else says stop."""
        final = max(i for i, yes in enumerate(learned) if yes)
        if final + 1 < len(ids) and not (rendering.chat and self.encoder.decoded(ids[final + 1 :]).isspace()):
            return ids, learned  # the chat goes on behind the last answer that is learned
        if rendering.chat and ids[final] in self.special:
            return ids, learned
        if not rendering.chat and (ids[final] == self.eos or rendering.text.rstrip().endswith(self.ends or ("\0",))):
            return ids, learned
        if self.eos is None:
            rendering.remarks.add("endless")
            return ids, learned
        if rendering.chat:
            rendering.remarks.add("stopped")
        return [*ids, self.eos], [*learned[: final + 1], *[True] * (len(ids) - final)]

    def _written_out(self, prompt: str) -> bool:
        """Whether a prompt has the template's form already."""
        start = self.tokenizer.bos_token
        return (
            bool(start and prompt.startswith(start))
            or any(m in prompt for m in self.marks)
            or bool(self.opening and prompt.rstrip().endswith(self.opening))
        )


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _system(row: Mapping[str, Any]) -> str | None:
    text = row.get("system")
    return text if isinstance(text, str) and text.strip() else None


def _as_chat(row: Mapping[str, Any], prompt: str) -> list[dict[str, str]]:
    system = _system(row)
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": prompt}]
