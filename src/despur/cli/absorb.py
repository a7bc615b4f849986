"""What `despur absorb` prints."""

from typing import Any

from despur.cli.terminal import say, say_parts
from despur.cli.view import View


def show(result: Any, given: Any) -> None:
    """What was merged in, and where to train."""
    for note in result.notes:
        say(f"Note: {note}", "dim")
    held = result.explained.held_out
    say(
        f"What all answers share explains {held.share:.0%} of the loss of held-out answers "
        f"({held.base:.3g} to {held.shuffled:.3g} nats a token)."
    )
    say_parts(["Train on: ", (str(result.folder), "bold"), f", then load the adapter on {given['base']}"])
    say_parts(["What was merged in (plain PEFT): ", (str(result.factor), "bold")])


VIEWS = {"absorb": View(show)}
