"""The tokenizer and chat template that an adapter's folder brings along: a tune shows best in the form it was trained in."""

from pathlib import Path
from typing import Any, NamedTuple

from despur.core import digest
from despur.core.adapter.peft_config import reason
from despur.flows.own_tokenizer import TEMPLATE, VOCABULARY, has_vocabulary, own_tokenizer, why_unreadable

_CONFIG = "tokenizer_config.json"
_MARK = "\u2063despur\u2063"
_LARGEST = 256 * 2**20  # bytes: the largest vocabularies have 40 MB


class Form(NamedTuple):
    """How text is given to a tune.

    Args:
        tokenizer: What to render and tokenise with.
        digest: Of the chat template, where it is the adapter's own and not the base's; None for the base's form.
        notes: What a reader of the result must know, one sentence each.
    """

    tokenizer: Any
    digest: str | None = None
    notes: tuple[str, ...] = ()


def form_of(tokenizer: Any, folder: Path | str, vocabulary: int) -> Form:
    """Take the tokenizer that lies beside an adapter, where it differs from the base's and fits the model.

    Args:
        tokenizer: The base's.
        folder: The adapter's, or that of a whole tuned model.
        vocabulary: Tokens that the tuned model has.

    Returns:
        The base's own form where the folder brings none, brings the same, or brings one that cannot be used; notes say so.

    Example:
        >>> form_of("the base's", tmp_path, 8).tokenizer
        "the base's"
    """
    folder = Path(folder)
    files = [
        folder / name for name in (*VOCABULARY, TEMPLATE, "chat_template.json", _CONFIG) if (folder / name).is_file()
    ]
    if not files:
        return Form(tokenizer)
    try:
        own = _read(folder, files, tokenizer)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # as `own_tokenizer`: looking at what was read may fail, too
        return Form(tokenizer, None, (_left_out(f"cannot be read ({why_unreadable(error)})"),))
    if own is None:
        return Form(tokenizer)
    used, why = own
    theirs, ours = used.chat_template, tokenizer.chat_template
    if why is None and max(used.get_vocab().values(), default=0) >= vocabulary:
        why = f"has the token id {max(used.get_vocab().values())}, and the model only {vocabulary} tokens"
    if why is None and theirs is not None:
        why = _unusable(used)
    if why is not None:
        return Form(tokenizer, None, (_left_out(why),))
    if theirs == ours:
        return Form(used)
    if theirs is None:  # saved by a tool that drops templates: the base's form is the better guess
        note = (
            "the adapter's folder has a tokenizer without the base's chat template; off-task text is in the base's form"
        )
        return Form(tokenizer, None, (note,))
    lacks = "which has none" if ours is None else "which has another"
    note = (
        "the adapter's folder has a chat template of its own, and off-task text is in that form, not in the base's, "
        f"{lacks}; a null of tunes in another form does not judge it exactly"
    )
    return Form(used, digest(str(theirs)), (note,))


def _read(folder: Path, files: list[Path], base: Any) -> tuple[Any, str | None] | None:
    """The tokenizer in a folder, and why it cannot be used; None where there is only a configuration."""
    if large := next((f for f in files if f.stat().st_size > _LARGEST), None):
        return base, f"is too large ({large.name} has {large.stat().st_size} bytes)"
    own = own_tokenizer(folder, base)
    if own is None:
        return None
    if has_vocabulary(folder):
        ids, theirs = base.get_vocab(), own.get_vocab()
        moved = next((token for token, i in ids.items() if theirs.get(token, i) != i), None)
        if moved is not None:
            return own, f"gives {moved!r} the id {theirs[moved]}, and the base's {ids[moved]}"
        if len(own) < 0.9 * len(base):
            return own, f"knows {len(own)} tokens, and the base's {len(base)}"
    return own, None


def _unusable(tokenizer: Any) -> str | None:
    """Why a template cannot ask a question; a stranger's may refuse, or leave out what is asked."""
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": _MARK}], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # whatever the template does in its sandbox
        return f"has a chat template that cannot be rendered ({reason(error)})"
    return None if _MARK in text else "has a chat template that leaves out what the user asks"


def _left_out(why: str) -> str:
    return (
        f"the tokenizer or chat template in the adapter's folder was not used: it {why}; off-task text is in the base's form, "
        "in which this tune may hardly show"
    )
