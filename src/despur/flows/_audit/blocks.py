"""An audit as a page: what to decide by first, then the factor, the figures behind it, and what is not there."""

from typing import Any

from despur.flows._audit.page import TONES, Audit
from despur.flows._audit.patch import patch_bars
from despur.flows._audit.places import module_map
from despur.flows._audit.verdict import FOUND
from despur.report import Bars, Dialogue, Omitted, Samples, Table, Text, Verdict

LEGEND = (
    "mean and PCA are directions of the activation change; agreement, head and tail are directions of the weights: those that "
    "modules share, the strongest, and those that modules share in their weaker halves. Sufficiency: share of the "
    "change that appears in the base when only these coordinates are taken from the adapter. Necessity: share that disappears when they "
    "are reset to the base's in the adapter. Evidence: standard deviations above neutral tunes of like change. Random "
    "subspaces have equal rank and activation share; only the candidate that is judged has them."
)
TODO = {
    "clean": "Nothing here speaks against merging it. An audit sees what shows off-task: what only a secret trigger brings out does not.",
    "inert adapter": "Merging it changes nothing. If it should have learned something, look at the training.",
    "factors found": "Read the answers below before you merge. If they change in a way that the tune was not for, do not merge: train "
    "again with a guard (despur train), or take the factor out (despur clean).",
    "factor likely": "Read the answers below before you merge; then ask for neutral tunes (--null auto, or despur calibrate): they say how "
    "often a harmless tune of this base looks like this.",
    "diffuse change": "It changes what the model says off-task, by no few directions. Decide by the answers below whether you want that.",
    "unreadable": "Nothing was measured. Repair the files and audit again.",
}


def audit_blocks(result: Audit) -> list[Any]:
    """The page's blocks."""
    blocks: list[Any] = [Verdict(result.verdict, result.sentence, TONES[result.verdict], _beside(result))]
    if result.answers:
        speakers = list(next(iter(result.answers.values())))
        turns = [(question, [said[s] for s in speakers]) for question, said in result.answers.items()]
        blocks.append(Dialogue("What it says where nothing asks for it", speakers, turns))
    if result.louder_words:
        blocks.append(result.louder_words.block())
    return [*blocks, *_factor(result), *_figures(result), Omitted(_omitted(result))]


def _beside(result: Audit) -> list[tuple[str, str]]:
    if result.verdict == "unreadable":
        return [("What to do", TODO[result.verdict])]
    p, judged = result.p_value, result.checks.get(result.best or "")
    if p is not None:
        sure = f"p = {p:.2g}: the share of neutral tunes that show as much ({result.null})."
    else:
        sure = "Not calibrated: neutral tunes of this base are not known, so nobody can say how often a harmless tune looks like this."
    control = (
        "None was needed: nothing changed."
        if judged is None
        else "Subspaces of the same rank and activation share, at random."
    )
    if judged is not None and judged.random_sufficiency:
        most, own = max(judged.random_sufficiency), judged.sufficiency
        n = len(judged.random_sufficiency)
        control = (
            f"{n} random subspaces of the same rank carry at most {most:.0%} of the change, the candidate {own:.0%}."
        )
    beside = [("How sure", sure), ("Against which control", control), ("What to do", TODO[result.verdict])]
    return [*beside, *([("Not verified", "\n".join(result.notes))] if result.notes else [])]


def _factor(result: Audit) -> list[Any]:
    """The card of the candidate that was judged: what it says, where it sits, which rows push along it."""
    blocks: list[Any] = []
    name = "The factor" if result.verdict in FOUND else "The candidate that was judged"
    if result.tokens:
        cells = [" · ".join(map(repr, words)) for words in result.tokens.values()]
        note = "Tokens that its mean shift promotes and suppresses, through the final norm and the unembedding."
        blocks.append(Samples(f"{name}: tokens", list(result.tokens), [cells], note))
    if result.samples:
        speakers = [c for c in result.samples[0] if c != "prompt"]
        turns = [(s["prompt"], [s.get(c, "") for c in speakers]) for s in result.samples]
        note = (
            f"It is added and subtracted at {result.strength:.2g} times the adapter's own mean shift, the most at which "
            "the base stays coherent."
            if result.strength
            else "At no strength did the steered base stay coherent, so the text is unsteered."
        )
        blocks.append(Dialogue(f"{name}, added and taken away", speakers, turns, note, open=2))
    if result.modules:
        blocks.append(module_map(f"{name}: where it is written and read", result.modules))
    if result.rows:
        note = "How far the adapter moves the stream along the factor while it predicts the row's answer; 1 is its mean shift off-task."
        lines: list[list[Any]] = [[t, s] for t, s in result.rows]
        blocks.append(Table("Tuning rows along it, most and least", ("row", "score"), lines, note))
    return blocks


def _figures(result: Audit) -> list[Any]:
    """What the verdict is judged by, and what else was measured."""
    blocks: list[Any] = _candidates(result) if result.checks else []
    if result.token_use:
        note = (
            f"Mean probability over off-task text. {result.token_share:.0%} of the change is the same in every context."
        )
        lines: list[list[Any]] = [[repr(t), a, b] for t, a, b in result.token_use]
        blocks.append(Table("Tokens it uses more and less", ("token", "base", "adapter"), lines, note))
    if result.patch:
        blocks.append(patch_bars(result.patch))
    if result.slopes:
        note = (
            "How the loss on the tuning rows begins to change when the base is moved along the adapter's mean shift, nats per token, and "
            "in units of random directions of the same length. A task's own directions slope as well: it is no evidence of a hidden factor."
        )
        lines = [[n, s.slope, s.steepness] for n, s in result.slopes.items()]
        blocks.append(Table("Where the rows push the base", ("candidate", "slope", "steepness"), lines, note))
    if result.louder:
        note = (
            "The adapter at multiples of its own scale. Valid is the probability that stays on tokens the base would say: where "
            "it is low, the other figures mean little."
        )
        lines = [[at.scale, at.change, at.token_share, at.sufficiency, at.valid] for at in result.louder]
        header = ("scale", "change", "same in every context", f"sufficiency of {result.best}", "valid")
        blocks.append(Table("Louder", header, lines, note))
    if structure := result.update.get("structure"):
        seen = [f"{f['level']}: {f['sentence']}." for f in result.update.get("findings", ())]
        blocks.append(Text("What of it acts", "\n\n".join([f"{structure['sentence']}.", *seen])))
    if shared := result.update.get("shared"):
        lines = [[side, shared[side]["directions"], shared[side].get("control")] for side in ("read", "write")]
        note = "A screen, not a verdict: modules of one model agree a little anyway."
        title = "Directions that many modules share (weights alone)"
        blocks.append(Table(title, ("side", "beat the null", "null, 95 %"), lines, note))
    return blocks


def _candidates(result: Audit) -> list[Any]:
    header = ("candidate", "rank", "evidence", "sufficiency", "low", "high", "random, largest", "necessity")
    rows: list[list[Any]] = [
        [n, c.rank, result.scores.get(n), c.sufficiency, *c.interval, max(c.random_sufficiency, default=None), c.necessity]
        for n, c in result.checks.items()
    ]  # fmt: skip
    if "tokens" in result.scores:
        rows.append(["same in every context", None, result.scores["tokens"], result.token_share])
    judged = [list(result.checks).index(result.best)] if result.best in result.checks else []
    missing = (
        "not measured of this candidate"
        if result.scores
        else "evidence needs neutral tunes of this base; the others have no such figure"
    )
    title = "Which directions carry the off-task change"
    blocks: list[Any] = [Table(title, header, rows, LEGEND, best=judged, missing=missing)]
    if result.best is not None and (best := result.checks[result.best]).random_sufficiency:
        bars: list[tuple[str, float, float | None, float | None]] = [(result.best, best.sufficiency, *best.interval)]
        largest = sorted(best.random_sufficiency, reverse=True)[:8]
        bars += [(f"random {i}", s, None, None) for i, s in enumerate(largest, 1)]
        blocks.append(
            Bars("The judged candidate and the largest random subspaces", bars, "Share of the off-task change.")
        )
    return blocks


def _omitted(result: Audit) -> list[tuple[str, str]]:
    """What an audit can show and this one does not, and why."""
    if result.verdict == "unreadable":
        return [("every figure", "base, adapter or data could not be read")]
    given = result.record.get("arguments", {})
    quiet = "the adapter changes nothing off-task" if result.verdict == "inert adapter" else ""
    none = quiet or "no layer that was looked at carries any of the change"
    no_data = quiet or "the tuning rows were not given (--data)"
    still = none if result.best is None else "the candidate moves nothing on average"
    unknown = quiet or (none if result.best is None else "it is not known what the maps of this architecture do")
    no_rows = no_data if not given.get("data") else none
    reasons = (
        (result.answers, "answers of base and adapter", quiet or "nothing was asked"),
        (result.checks, "candidate directions", none),
        (result.tokens, "tokens that the factor promotes", still),
        (result.samples, "continuations with the factor added and taken away", still),
        (result.modules, "where it is written and read", unknown),
        (result.rows, "tuning rows along the factor", no_rows),
        (result.slopes, "where the rows push the base", no_rows),
        (
            result.louder,
            "the adapter at multiples of its scale",
            quiet or "not asked for (--scaled), or the adapter is no plain LoRA",
        ),
        (result.patch, "where in a chat the change sits", quiet or "the base has no chat template"),
        (
            result.scores,
            "evidence and p-value",
            quiet or "no neutral tunes of this base are known (--null auto makes them)",
        ),
    )
    return [(what, why) for there, what, why in reasons if not there]
