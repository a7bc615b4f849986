"""What `despur verify` prints."""

from despur.cli.view import View, say_verdict

TONES = {"holds": "green", "broken": "red", "nothing to verify in the weights": "yellow"}
BROKEN = 3  # exit status

VIEWS = {
    "verify": View(
        show=lambda result, given: say_verdict(result, TONES, notes="Not verified"),
        status=lambda result, given: BROKEN if result.verdict == "broken" else 0,
        broken=lambda given, error: {"verdict": "unreadable", "sentence": str(error)},
        note="**Exit status**: 0, or 3 where it is broken, or 2 where something cannot be read or there is no certificate.",
    )
}  # fmt: skip
