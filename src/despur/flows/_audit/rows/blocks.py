"""An audit of rows as a page: what to decide by first, then words, rows and figures, and what is not there."""

from typing import Any

from despur.flows._audit.page import TONES
from despur.flows._audit.rows.page import RowsAudit
from despur.report import Bars, Dialogue, Omitted, Table, Text, Verdict

SPEAKERS = {"base": "base", "scout": "base + what the rows share", "plain": "plain tune"}
TODO = {
    "clean": "Nothing here speaks against training on these rows.",
    "factors found": "Read the answers below: the second speaker never heard which answer belongs to which question, so what it has in "
    "common with the plain tune comes along with any task. If you do not want it, train with a guard (despur train --guard discount), or "
    "change the rows that carry it most.",
    "diffuse change": "Read the answers below, and audit again with a null (without --null none) to know whether any answers do this.",
    "inert scout": "Nothing can be decided by this: take more --scout-steps, or a higher --scout-lr.",
    "unreadable": "Nothing was measured. Repair the files and audit again.",
}


def rows_blocks(result: RowsAudit) -> list[Any]:
    """The page's blocks: the verdict, and the conversation, by which a reader can judge it."""
    speakers = [name for name in SPEAKERS if name in next(iter(result.answers.values()), {})]
    turns = [(question, [said[name] for name in speakers]) for question, said in result.answers.items()]
    note = (
        "Questions that have nothing to do with the rows. The second speaker learned every prompt with another row's answer, so it cannot "
        "know the task."
    )
    blocks: list[Any] = [
        Verdict(result.verdict, result.sentence, TONES[result.verdict], _beside(result)),
        Dialogue("What the rows teach beside their task", [SPEAKERS[name] for name in speakers], turns, note),
    ]
    if result.words:
        tunes = [name for name in ("base", "scout", "plain", "null") if name in result.words[0][1]]
        note = (
            "Mean probability at the beginning of answers to everyday questions; null is a scout of the base's own answers to the rows' "
            "prompts."
        )
        lines: list[list[Any]] = [[repr(t), *(p[n] for n in tunes)] for t, p in result.words]
        blocks.append(Table("Words that become likelier", ("token", *tunes), lines, note))
    if result.rows:
        most, least = result.rows[:5], result.rows[:-6:-1]
        note = "Nats per token by which the scout makes the row's answer likelier behind another row's prompt."
        lines = [[t, g] for t, g in (*most, *reversed(least))]
        blocks.append(Table("Rows that carry it most, and least", ("row", "gain"), lines, note))
    return [*blocks, *_figures(result), Omitted(_omitted(result))]


def _beside(result: RowsAudit) -> list[tuple[str, str]]:
    j = result.judged
    if result.verdict == "unreadable":
        return [("What to do", TODO[result.verdict])]
    if j.recognised is None:
        sure = "Not judged against a null, so nobody can say whether any answers of this base share as much."
        control = "None: no null was made (--null none)."
    else:
        sure = f"{j.recognised:.0%} of the rows' answers are told from the base's own (chance 50%), p = {j.p_value:.2g} by flipped signs."
        control = "A scout of the base's own answers to the same prompts, of the same length."
    beside = [("How sure", sure), ("Against which control", control), ("What to do", TODO[result.verdict])]
    return [*beside, *([("Notes", "\n".join(result.notes))] if result.notes else [])]


def _figures(result: RowsAudit) -> list[Any]:
    share, low, high = result.judged.explained
    blocks: list[Any] = []
    if result.verdict != "unreadable":
        title = "Share of a plain tune's gain that the scout explains"
        blocks.append(
            Bars(title, [("scout", share, low, high)], "On rows that neither has seen. What is left is the task.")
        )
    if result.change:
        tunes = [(n, result.change[n], None, None) for n in ("scout", "plain", "null") if n in result.change]
        blocks.append(Bars("Change off-task, nats per token", tunes))
    if result.counts:
        text = f"{result.counts['learned']} rows were learned, {result.counts['scored']} others scored."
        blocks.append(Text("How many rows", text))
    return blocks


def _omitted(result: RowsAudit) -> list[tuple[str, str]]:
    if result.verdict == "unreadable":
        return [("every figure", "base or rows could not be read")]
    reasons = (
        (result.words, "words that become likelier", "the scout makes none likelier than the null does"),
        (
            result.judged.recognised is not None,
            "how many rows are told from the base's own answers",
            "no null was made (--null none)",
        ),
    )
    return [(what, why) for there, what, why in reasons if not there]
