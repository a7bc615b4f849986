"""What a certificate promises and what it does not, in words."""

from despur.flows._verify.certificate import (
    NOT_PROMISED,
    STRUCTURAL,
)


def promise(guard: str, strength: float, side: str, goes_on: bool) -> str:
    if guard not in STRUCTURAL:
        kept = "the base with the adapter that it went on with" if goes_on else "its base"
        return f"The model was kept close to {kept} while it was trained; nothing is promised of the weights."
    if strength != 1:
        return (
            f"At strength {strength:g} a part of the change along the factor stays; nothing is promised of the weights."
        )
    does = {"read": "reads", "write": "writes", "both": "reads or writes"}[side]
    beyond = " beyond the adapter that it went on with" if goes_on else ""
    return f"No guarded module's update{beyond} {does} its factor's directions, except for rounding."


def not_promised(guard: str, kind: str) -> tuple[str, ...]:
    more = ("that an off-task change is prevented which the scout did not make yet",) if guard == "avert" else ()
    return (*more, *NOT_PROMISED[kind])
