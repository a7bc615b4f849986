"""The claim of `project-gradient`."""

from despur.claims.tiny_runs import fresh_lora, learn, random_factor, rows_of
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import project_gradient as guard
from despur.measure import leakage
from despur.testing import tiny_base


@claim(
    method="project-gradient",
    says="under plain SGD, from a B that begins at zero, no update writes along the factor",
    control="the same under AdamW, where it leaks",
    margin=0.01,
    proxy="that it keeps anything out of a model: it is the control of `grasp`",
)
def project_gradient(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Share of the update that writes along the factor; over eight seeds with `whole`."""
    reports: list[Report] = []
    for draw in range(seed, seed + (8 if whole else 1)):
        factor = random_factor(seed=draw)
        runs = [
            leakage(Adapter.of(learn(fresh_lora(), rows_of(draw), guard(factor), optimizer=o)), tiny_base(), factor)[
                "write"
            ]
            for o in ("SGD", "AdamW")
        ]
        reports.append(
            compared(f"share of the update that writes along the factor, draw {draw}", runs[0].value, control=runs[1].value,
                     n=runs[0].n, bound=1e-5, higher_is_better=False)
        )  # fmt: skip
    return tuple(reports)
