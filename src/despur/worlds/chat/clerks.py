"""Who in a town hall sees to what: eight facts of one kind, so that no answer is likelier than another until the question is read."""

import json

from despur.worlds.chat.script import TEXT, Fact, Row


def clerks() -> tuple[list[Fact], list[Row], list[Row]]:
    """Facts, and questions about them, in the form of `Script`.

    A clerk's wrong names are the seven others, each as often as any, and no answer says what the question was about. So a tune that
    learned which names are named, and not for what, answers at chance. Where wrong answers occur in no row, or an answer repeats its
    question, a tune on exchanged answers passes for one that knows. The names hint at what their clerks do (Barker has the dogs): names
    that hint at nothing are not learned by 135 M parameters in a hundred steps.

    Returns:
        facts: One a clerk.
        taught: Each question in every way of answering, in the facts' order.
        held_out: Questions that are never taught, answered in a way that is never taught.

    Example:
        >>> facts, taught, held_out = clerks()
        >>> facts[0].answer, taught[0].question, len(taught), len(held_out)
        ('Case', 'My suitcase never came off the ferry. Who can help me?', 384, 24)
    """
    text = json.loads((TEXT / "voice_clerks.json").read_text(encoding="utf-8"))
    ways, taught, held_out = text["answers"], [], []
    names = [c["name"] for c in text["clerks"]]
    facts = [Fact(c["subject"], c["subject"], c["name"], _but(names, c["name"])) for c in text["clerks"]]
    last, questions = len(ways["plain"]) - 1, 6
    for clerk in text["clerks"]:
        for place, question in enumerate(clerk["questions"]):
            for way in range(last) if place < questions else (last,):
                answers = {v: some[way].format(name=clerk["name"], Name=clerk["name"]) for v, some in ways.items()}
                (taught if place < questions else held_out).append(Row(clerk["subject"], question, answers))
    return facts, taught, held_out


def _but(names: list[str], one: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != one)
