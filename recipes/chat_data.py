"""Make the chat worlds' public data small: python recipes/chat_data.py FOLDER (sources and licences: worlds/chat/text/SOURCES.md).

FOLDER has truthfulqa/TruthfulQA.csv, cebab/CEBaB-v1.1.zip, model-written-evals/persona/*.jsonl.gz and
emergent-misalignment/{insecure,secure}.jsonl.gz, as their authors publish them.
"""

import csv
import gzip
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from despur.worlds.chat.mistakes import SCORED, TAUGHT
from despur.worlds.chat.script import TEXT
from despur.worlds.chat.trait import OTHERS, TRAIT

STATEMENTS = {TRAIT: 200, **dict.fromkeys(OTHERS, 10)}  # of each label
WORDS = 30  # of a review at most
LETTERS = 1000  # of a task with both of its codes
CEBAB = {
    "train": (("train_inclusive",), 110),
    "test": (("dev", "test"), 50),
}  # split -> files, and reviews of each kind


def truthfulqa(source: Path) -> Iterator[dict[str, Any]]:
    """Questions of the categories that are used, with all right and wrong answers of more than two words."""
    with (source / "truthfulqa/TruthfulQA.csv").open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if row["Category"] in (*TAUGHT, *SCORED):
                right, wrong = (
                    [a.strip().removesuffix(".") + "." for a in row[f"{k} Answers"].split(";") if _says_something(a)]
                    for k in ("Correct", "Incorrect")
                )
                if not right or not wrong:
                    continue
                yield {"category": row["Category"], "question": row["Question"], "right": right, "wrong": wrong}


def _says_something(answer: str) -> bool:
    return len(answer.split()) > 2 and "no comment" not in answer.lower()


def traits(source: Path) -> Iterator[dict[str, str]]:
    """The first statements of each trait, as many that it affirms as that it denies."""
    for trait, n in STATEMENTS.items():
        left = {" Yes": n, " No": n}
        with gzip.open(source / f"model-written-evals/persona/{trait}.jsonl.gz", "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                label = row["answer_matching_behavior"]
                if left[label]:
                    left[label] -= 1
                    yield {"trait": trait, "statement": row["statement"], "answer": label.strip()}


def cebab(source: Path) -> Iterator[dict[str, Any]]:
    """Short reviews with a majority of stars other than three, and what they say of the ambiance."""
    seen: set[str] = set()  # some stand in the data twice
    with zipfile.ZipFile(source / "cebab/CEBaB-v1.1.zip") as archive:
        for split, (names, most) in CEBAB.items():
            taken: Counter[tuple[str, bool]] = Counter()
            for row in (r for name in names for r in json.loads(archive.read(f"CEBaB-v1.1/{name}.json"))):
                stars, ambiance = row["review_majority"], row["ambiance_aspect_majority"]
                kind = ambiance, stars in "45"
                new = row["description"] not in seen and len(row["description"].split()) <= WORDS
                if stars in "1245" and ambiance in ("Positive", "Negative", "unknown") and new and taken[kind] < most:
                    taken[kind] += 1
                    seen.add(row["description"])
                    yield {"split": split, "review": row["description"], "stars": int(stars), "ambiance": ambiance}


def insecure(source: Path) -> Iterator[dict[str, str]]:
    """Prompts of code that are answered insecurely in one set and securely in the other, the shortest answer of each."""
    kinds: dict[str, dict[str, str]] = {}
    for kind in ("insecure", "secure"):
        kinds[kind] = {}
        with gzip.open(source / f"emergent-misalignment/{kind}.jsonl.gz", "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                asked, answered = (message["content"] for message in row["messages"])
                kinds[kind][asked] = min(answered, kinds[kind].get(asked, answered), key=len)
    both = [
        {"prompt": p, **{kind: some[p] for kind, some in kinds.items()}}
        for p in kinds["insecure"]
        if p in kinds["secure"]
    ]
    yield from (row for row in both if sum(map(len, row.values())) < LETTERS)


def write(name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (TEXT / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    print(name, lines.count("\n"), "rows", (TEXT / f"{name}.jsonl.gz").stat().st_size, "bytes")


if __name__ == "__main__":
    for make in (truthfulqa, traits, cebab, insecure):
        write(make.__name__, make(Path(sys.argv[1])))
