"""The effect of cleaning an adapter, in a word, a sentence and a page."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from despur.core import Report
from despur.flows.axes import axes_table, frontier
from despur.judge import accepted
from despur.report import Bars, Table, Text, Verdict

if TYPE_CHECKING:
    from despur.flows._clean.cleaned import Cleaned

TONES: dict[str, Literal["good", "bad", "unsure"]] = {
    "drift removed": "good",
    "drift lowered": "unsure",
    "no better than random": "bad",
    "no drift": "unsure",
}
LIMIT = 0.1  # of the adapter's own drift, below which it counts as removed
HONEST = (
    "This is the cheap baseline, applied after training. Blocking a direction in the weights then does not undo what the "
    "update does by other routes: the base computes the factor from other directions, so it can be reached past "
    "any projection. Drift is KL here, and KL can fall while the behaviour stays: ask the cleaned model before you trust it. "
    "To keep a factor out, train with a guard."
)


def word_of(drift: Report, *, unharmed: bool = True) -> str:
    """One word for the drift that is left, beside its control's."""
    if drift.high >= drift.control:
        return "no better than random"
    return "drift removed" if drift.value <= LIMIT and unharmed else "drift lowered"


def judge(axes: Mapping[str, Mapping[str, Report]], truncated: str) -> tuple[str, str]:
    """One word and one sentence; drift is compared with that of the random subspaces and of the truncation."""
    own, random = axes["cleaned"]["drift"], axes["random"]["drift"]
    if own.value != own.value:
        return "no drift", "off-task the adapter hardly moves the model, so there is nothing to clean"
    unharmed = accepted(axes["cleaned"])
    word = word_of(own, unharmed=unharmed)
    sentence = (
        f"of the adapter's drift {own.value:.2f} [{own.low:.2f}, {own.high:.2f}] is left; with random subspaces in place of "
        f"the factor {random.value:.2f}, with the {truncated} singular directions of each module {axes[truncated]['drift'].value:.2f}"
    )
    if "task" in axes["cleaned"]:
        task = [axes[name]["task"].value for name in ("cleaned", "random", truncated)]
        sentence += f"; of its task {task[0]:.2f}, {task[1]:.2f} and {task[2]:.2f}"
    if not unharmed:
        sentence += "; legitimate use or validity fell below .95 of the base's"
    return word, sentence


def clean_blocks(result: "Cleaned") -> list[Any]:
    """The page's blocks, the verdict first."""
    axes = result.axes
    blocks: list[Any] = [
        Verdict(result.verdict, result.sentence, TONES[result.verdict]),
        Text("What this is, and what it is not", HONEST),
    ]
    if result.notes:
        blocks.append(Text("Not verified", "\n\n".join(result.notes)))
    names = ("task", "drift", "legitimate", "validity")
    note = (
        "base = 0 and the adapter = 1 in task and drift; shares of the base's in the others; a dash where no data were given."
        " Drift: KL to the base, per token, on off-task text. Legitimate use: how strongly the model still "
        "answers when the factor is added to its stream. Random: the mean over subspaces of equal rank and activation "
        "share, projected out in the same way."
    )
    blocks.append(axes_table("The four axes", axes, names, note))
    if "task" in axes["adapter"]:
        blocks.append(
            frontier(axes, title="Task that stays against drift that stays", over="rows", controls=["random"])
        )
    bars = [
        (n, r["drift"].value, r["drift"].low, r["drift"].high) for n, r in axes.items() if n not in ("base", "adapter")
    ]
    if not any(value != value for _, value, _, _ in bars):
        blocks.append(Bars("Remaining drift", bars, "Share of the adapter's own; bars are 95 % over rows of text."))
    columns = list(result.means["adapter"])
    blocks.append(
        Table("Raw means", ["run", *columns], [[n, *(m.get(c) for c in columns)] for n, m in result.means.items()])
    )
    sides = [[run, *(reports[s].value if s in reports else None for s in ("read", "write")),
              *(reports[s].control if s in reports else None for s in ("read", "write"))]
             for run, reports in result.leak.items()]  # fmt: skip
    blocks.append(
        Table(
            "What the update reads and writes along the factor",
            ["run", "read", "write", "read, a random subspace", "write, a random subspace"],
            sides,
            "Share of the update's norm. It describes the weights, not what the model does.",
        )
    )
    about = [[f.site.module, f.rank] for f in result.factors]
    blocks.append(Table("Removed factors", ["where (* is the whole stream)", "directions"], about))
    return blocks
