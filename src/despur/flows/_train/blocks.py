"""A training run as a page: whether to take the adapter, what it says, the axes, the courses, and what is not there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from despur.flows._train.guarding import leaks
from despur.flows._train.page import Trained
from despur.flows.axes import axes_table, frontier, no_drift
from despur.flows.run_page import write_run_page
from despur.guard import OwnText
from despur.judge import accepted
from despur.report import Curves, Dialogue, Omitted, Table, Text, Verdict

ONES = {
    "scout": "the scout, a short run without the guard; it is no run of equal length, so a longer one may well pass 1 in task and drift",
    "twin": "the twin, a run of the same steps without the guard",
}
HOW = (
    "Task: log-probability of held-out answers. Drift: KL to the base, per token, on text that the base wrote and no guard "
    "saw. Legitimate use: how strongly the model still answers when the factor is added to its stream. Validity: likelihood "
    "of the base's own text."
)


def write_train_page(result: Trained, guard: str, text: OwnText, scores: Mapping[str, Any]) -> None:
    """Write the report of a run.

    Args:
        result: The run's result.
        guard: Name of its guarded run among the axes.
        text: Own text that the guard saw.
        scores: Run -> axis -> readout -> values, for the raw means.
    """
    h = ", ".join(f"{k.replace('_', ' ')} {v:.3g}" for k, v in text.health().items())
    raw = [[run, *(float(t.mean()) for r in s.values() for t in r.values())] for run, s in scores.items()]
    columns = [f"{a}, {r}" for a, rs in scores[guard].items() for r in rs]
    one = f"(1, 1) is {ONES[result.reference]}. (0, 0) is the base."
    blocks: list[Any] = [
        _verdict(result, guard),
        *_answers(result),
        frontier(result.axes, title="Task learned against drift picked up", note=one),
        axes_table(
            "The four axes", result.axes, list(result.axes[guard]),
            f"Task and drift: {one} Legitimate use and validity: shares of the base's.",
            best=guard, missing=no_drift(result.axes) or "not measured",
        ),
        Table("Raw means", ["run", *columns], raw),
        *_left_out(result),
        *_courses(result.history),
        *_leak(result),
        Text("How it was measured", f"{HOW}\n\nOwn text: {text.origin}; {h}."),
        Omitted(_omitted(result, guard)),
    ]  # fmt: skip
    data = Path(str(result.record["arguments"]["data"])).name
    write_run_page(result.page, result.record, title="despur train", subtitle=f"{guard} on {data}", blocks=blocks)


def train_summary(result: Trained) -> list[Any]:
    """The verdict, the answers and the axes."""
    guard = list(result.axes)[-1]
    return [
        _verdict(result, guard),
        *_answers(result),
        axes_table("The four axes", result.axes, list(result.axes[guard]), best=guard),
    ]


def _verdict(result: Trained, guard: str) -> Verdict:
    """Whether to take the adapter."""
    own, why = result.axes[guard], no_drift(result.axes)
    unharmed = accepted(own)
    task, drift = own["task"], own["drift"]
    less = not why and drift.value < 1
    word = "no drift to compare" if why else "less drift" if less else "no less drift"
    learned = f"{guard} learned {task.value:.2f} [{task.low:.2f}, {task.high:.2f}] times what the {result.reference} learned of the task"
    drifted = (
        f"its drift is not measured, as {why}"
        if why
        else f"with {drift.value:.2f} [{drift.low:.2f}, {drift.high:.2f}] times its drift"
    )
    harm = "" if unharmed else "; legitimate use or validity fell under .95 of the base's"
    todo = "Read the answers below. Where nothing but the task changed, take the adapter."
    if not less or not unharmed:
        todo = "Do not take it for guarded by these figures. Read the answers below" + (
            "; more steps, or a higher rate, make something to measure."
            if why
            else ", or raise the guard's --strength."
        )
    return Verdict(
        f"{guard}: {word}", f"{learned}{'; ' if why else ', '}{drifted}{harm}", "good" if less and unharmed else "unsure",
        [
            ("How sure", f"Brackets are 95 % bootstrap intervals over {task.n} held-out rows; one run, one seed."),
            ("Against which control", f"{ONES[result.reference][0].upper()}{ONES[result.reference][1:]}."),
            ("What to do", todo),
            *([("Notes", "\n".join(result.notes))] if result.notes else []),
        ],
    )  # fmt: skip


def _answers(result: Trained) -> list[Any]:
    several = (
        ("What it says where nothing asks for it", result.answers),
        ("What it answers where held-out rows ask", result.on_task),
    )
    return [_dialogue(title, asked) for title, asked in several if asked]


def _dialogue(title: str, asked: Mapping[str, Mapping[str, str]]) -> Dialogue:
    speakers = list(next(iter(asked.values())))
    return Dialogue(title, speakers, [(question, [by[s] for s in speakers]) for question, by in asked.items()])


def _left_out(result: Trained) -> list[Any]:
    if not result.left_out:
        return []
    columns = {"base": "base", "factor": "what all answers share", "guarded": "guarded adapter", "both": "both"}
    lines = [[n.replace("_", " "), *(losses[c] for c in columns)] for n, losses in result.left_out.items()]
    return [Table("What was left out: loss of the answers, nats a token", ["rows", *columns.values()], lines)]


def _leak(result: Trained) -> list[Any]:
    if not result.leak:
        return []
    lines = [[n, r.value, r.control] for n, r in result.leak.items()]
    return [Table("What the adapter reads and writes along the factor", ["side", "leakage", "random subspace"], lines)]


def _courses(history: Mapping[str, Mapping[str, Any]]) -> list[Curves]:
    """Curves of the evaluations, one line per stage; empty where there were none."""
    drawn = (
        ("held_out_loss", "The task while training", "loss, nats per token", "On rows that are not trained on; step 0 is the base."),
        ("drift_kl", "The change off-task while training", "KL to the base, nats per token", "On the base's own text that no guard saw."),
    )  # fmt: skip
    seen = {name: course["evaluated"] for name, course in history.items() if course["evaluated"]}
    return [
        Curves(title, "step", y, [(n, [e["step"] for e in c], [e[key] for e in c]) for n, c in seen.items()], note)
        for key, title, y, note in drawn
        if seen
    ]


def _omitted(result: Trained, guard: str) -> list[tuple[str, str]]:
    """What a training page can show and this one does not, and why."""
    evaluated = any(course["evaluated"] for course in result.history.values())
    reasons = (
        (result.answers, "answers of base and adapter", "the base wrote nothing that could be asked"),
        (result.on_task, "answers to held-out rows", "no held-out row has a prompt that leaves room for an answer"),
        (
            result.reference == "twin",
            "a run of equal length without the guard",
            "not asked for (--twin), since it takes as long again",
        ),
        (evaluated, "the course of task and drift", "not asked for (--eval-every)"),
        (
            leaks(guard),
            "leakage: what the adapter reads and writes along the factor",
            f"{guard} takes no directions of the weights",
        ),
    )
    return [(what, why) for there, what, why in reasons if not there]
