"""What the notes of a run say about its rows, one sentence a kind."""

from collections.abc import Mapping, Sequence

_SAYS = {
    "cut": "{n} of {all} rows are cut at {length} tokens: the end of their answer, and the token that stops, are not learned (the "
    "first: row {first}). Raise --max-length, or shorten them",
    "all": "{n} of {all} rows are chats of several answers, and all of them are learned; --turns last takes the last alone",
    "last": "{n} of {all} rows are chats of several answers, and only the last of each is learned (--turns last)",
    "skipped": "of {n} chats only the last answers are learned: the chat template renders earlier ones in another form once the chat "
    "goes on, or leaves them out (the first: row {first})",
    "opened": "of {n} chats the template opens the answer in another way than it renders one (a thought, mostly): it is learned as "
    "the model is asked (the first: row {first})",
    "changed": "of {n} chats the chat template changes the answer, or leaves a part out, a thought say; what it renders is learned "
    "(the first: row {first})",
    "rendered": "{n} of {all} rows of prompt and completion are learned in the base's chat template, as a user's turn and its answer",
    "written out": "{n} of {all} rows of prompt and completion have marks of the chat template in them and are learned as they "
    "stand, without the template",
    "untemplated": "{n} of {all} rows of text are learned as they stand, without the base's chat template",
    "system": "{n} of {all} rows have a 'system' text that is not learned: there is no chat template to put it in (the first: row "
    "{first})",
    "tools": "{n} of {all} rows have tools that are not learned: the base has no chat template with a place for them (the first: row "
    "{first})",
    "stopped": "the chat template ends an answer without an end token: {eos} is learned behind the last answer of {n} of {all} rows",
    "endless": "the tokenizer has no end token, so that {n} of {all} rows do not teach where to stop",
    "lost": "the tokens of {n} of {all} rows do not give their text back: the tokenizer lacks or changes some characters (the first: "
    "row {first})",
}


def notes_of(
    remarks: Mapping[str, Sequence[int]], rows: int, *, max_length: int, turns: str, eos: str | None
) -> tuple[str, ...]:
    """Sentences for a run's notes.

    Args:
        remarks: Kind -> numbers of the rows.
        rows: How many there are in all.
        max_length: Tokens of a row.
        turns: `all` or `last`.
        eos: The tokenizer's end token.
    """
    named = {turns if kind == "several" else kind: numbers for kind, numbers in remarks.items()}
    return tuple(
        says.format(n=len(named[kind]), all=rows, length=max_length, first=named[kind][0], eos=eos)
        for kind, says in _SAYS.items()
        if kind in named
    )
