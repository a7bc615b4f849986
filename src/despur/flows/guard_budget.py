"""What a guard may read in a step, as `--guard-budget` says it."""

from typing import Annotated

from despur.core.errors import BadInput
from despur.flows.option import Option

LOW = 0.08  # a step costs a tenth more


def read_budget(text: str) -> float:
    """Read `low`, or tokens of text for each token of the task.

    Raises:
        BadInput: neither, or a number that is not above 0.

    Example:
        >>> read_budget("low"), read_budget("0.5")
        (0.08, 0.5)
    """
    try:
        share = LOW if text == "low" else float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < float("inf"):
        raise BadInput(
            f"--guard-budget {text}: give low, or tokens of the guard's text for each token of the task, such as 0.2"
        )
    return share


Budget = Annotated[float | None, Option(read=read_budget, metavar="low|SHARE", panel="Scout and guard")]
