"""The page of the demo on a real model."""

from collections.abc import Mapping
from typing import Any

from despur.flows._demo.conversation import ASKED, PAIRS, SPEAKERS, Conversation
from despur.flows.run_page import write_run_page
from despur.report import Dialogue, Table, Text, Verdict

VOICES = {"shakespeare": "an English of Shakespeare's time", "noir": "the voice of a film noir detective"}
WORDS = 10  # of the audit, at most
NOTE = (
    f"Drift: log-prob a token of {PAIRS} everyday answers in the voice, less that of the same in plain words. Facts: the right "
    "answer is the likeliest of eight, asked in words that no row had."
)
KEPT_OUT, KEPT = 0.8, 0.9  # shares of the drift and of the facts


def conversation_page(result: Conversation) -> None:
    """Write it."""
    kept = result.kept_out >= KEPT_OUT and result.known["guarded tune"] >= KEPT * result.known["plain tune"] > 0
    voice = VOICES.get(result.voice, result.voice)
    blocks: list[Any] = [
        Verdict("kept out" if kept else "partly", result.sentence, "good" if kept else "unsure", _beside(result)),
        Dialogue("Everyday questions, which the data never touch", SPEAKERS, _turns(result.everyday)),
        Text(
            "What happened",
            "Two LoRA adapters were trained on the same 684 rows, on who sees to what in a town hall and on an island. The answers are "
            f"right, and all are in {voice}; nothing asks for it. The plain tune learned the facts and, with them, to talk like "
            "that about everything. The guarded tune (discount) first let a short run hear what the answers have in common, with "
            "every question given another question's answer, and then learned only what that run could not explain: the facts.\n\n"
            "All answers below were sampled just now, with the same random draws for all three.",
        ),
        Dialogue(
            "New facts, asked in words that no row had, and told on from how an answer begins",
            SPEAKERS,
            _turns(result.facts),
        ),
        Table("Measured just now", ["figure", *SPEAKERS], _rows(result), NOTE),
        Text("What the audit of the plain tune says", f"{result.audit.verdict.capitalize()}: {result.audit.sentence}."),
    ]
    if result.audit.token_use:
        rows = [[repr(t), before, after] for t, before, after in result.audit.token_use[:WORDS]]
        note = "Mean probability of a token in the first words of answers to everyday questions."
        blocks.append(Table("Words that it uses more or less", ["token", "base", "plain tune"], rows, note))
    subtitle = "SmolLM2-135M-Instruct, two tunes of it, six questions"
    write_run_page(result.page, result.record, title="despur demo", subtitle=subtitle, blocks=blocks)


def _beside(result: Conversation) -> list[tuple[str, str]]:
    return [
        (
            "How sure",
            f"One pair of adapters, {PAIRS} pairs of everyday answers and {ASKED} questions; docs/log/discount-voice.md has eight seeds.",
        ),
        ("Against which control", "The plain tune: the same rows, steps and seed without a guard; and the base."),
        (
            "What to do",
            "Read the answers below: the voice should be in the plain tune alone. A fact that is chosen rightly is often not told.",
        ),
    ]


def _turns(answers: Mapping[str, Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    return [(question, [by[s] for s in SPEAKERS]) for question, by in answers.items()]


def _rows(result: Conversation) -> list[list[Any]]:
    return [
        ["drift towards the voice", *(result.drift[s] for s in SPEAKERS)],
        [f"answers known, of {ASKED}", *(result.known[s] for s in SPEAKERS)],
    ]
