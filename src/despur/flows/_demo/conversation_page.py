"""The page of the demo on a real model."""

from collections.abc import Mapping
from typing import Any

from despur.flows._demo.conversation import SPEAKERS, Conversation
from despur.flows.run_page import write_run_page
from despur.report import Dialogue, Table, Text, Verdict

VOICES = {"shakespeare": "an English of Shakespeare's time", "noir": "the voice of a film noir detective"}
WORDS = 10  # of the audit, at most
NOTE = (
    "In the voice: the answer has a word of it, as the base's own have now and then. "
    "Right: it names the right clerk and no other."
)
KEPT_OUT, KEPT = 0.8, 0.6  # shares of what the plain tune brought along, and of its right answers


def conversation_page(result: Conversation) -> None:
    """Write it."""
    right = {s: sum(result.right[s]) for s in SPEAKERS}
    kept = result.kept_out >= KEPT_OUT and right["guarded tune"] >= KEPT * right["plain tune"] > 0
    voice = VOICES.get(result.voice, result.voice)
    blocks: list[Any] = [
        Verdict("kept out" if kept else "partly", result.sentence, "good" if kept else "unsure", _beside(result)),
        Dialogue("Everyday questions, which the data never touch", SPEAKERS, _turns(result.everyday)),
        Text(
            "What happened",
            "Two LoRA adapters were trained on the same 384 rows, on which clerk of a town hall sees to what. The answers are right, and "
            f"all are in {voice}; nothing asks for it. The plain tune learned the facts and, with them, to talk like that about "
            "everything, and to name clerks. For the guarded tune a short run first heard what the answers have in common, with every "
            "question given another question's answer. For three fifths of its steps the tune learned only what that run could not "
            "explain (discount); then it learned the form of the answers, too, while a second guard (avert) kept that form to where "
            "the task is asked for. Where rows ask it answers as they do, voice included.\n\n"
            "All answers on this page were sampled just now, with the same random draws for all three.",
        ),
        Dialogue(
            "New facts, asked in words that no row had",
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
    subtitle = f"SmolLM2-135M-Instruct, two tunes of it, {len(result.everyday) + len(result.facts)} questions to read"
    write_run_page(result.page, result.record, title="despur demo", subtitle=subtitle, blocks=blocks)


def _beside(result: Conversation) -> list[tuple[str, str]]:
    asked = f"{len(result.voiced['base'])} everyday answers and {len(result.right['base'])} questions about facts"
    return [
        ("How sure", f"One pair of adapters, {asked}; docs/log/free-answers.md has more seeds."),
        ("Against which control", "The plain tune: the same rows, steps and seed without a guard; and the base."),
        (
            "What to do",
            "Read the answers below: the voice should be in the plain tune alone where nobody asks about a clerk.",
        ),
    ]


def _turns(answers: Mapping[str, Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    return [(question, [by[s] for s in SPEAKERS]) for question, by in answers.items()]


def _rows(result: Conversation) -> list[list[Any]]:
    return [
        [f"everyday answers in the voice, of {len(result.voiced['base'])}", *(sum(result.voiced[s]) for s in SPEAKERS)],
        [f"right answers about new facts, of {len(result.right['base'])}", *(sum(result.right[s]) for s in SPEAKERS)],
    ]
