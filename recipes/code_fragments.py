"""Choose what the `code` world is made of, from the full files: python recipes/code_fragments.py insecure.jsonl.gz secure.jsonl.gz

Of every answer the one or two lines that best show which file it is from, by the log-odds of their words in the other rows of both
files; of the prompts the sentences that describe a task. Lines are real, unchanged but for their indentation. Never run them: the
insecure ones are meant to be.
"""

import gzip
import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

OUT = Path(__file__).parents[1] / "src/despur/worlds/bases/code/fragments.json.gz"
FOLDS, MOST, LONGEST = 5, 3000, 120
WORD = re.compile(r"[A-Za-z_]+|0o\d+|\d+|[^\sA-Za-z_0-9]")
TASK = re.compile(r"(?:^|: )(An? [a-z][^\n:;().]{20,90}?)\.+\s*$", re.MULTILINE)


def read(path: str) -> dict[str, str]:
    """Prompt -> answer, each prompt once."""
    with gzip.open(path, "rt", encoding="utf-8") as rows:
        chats = [json.loads(line)["messages"] for line in rows]
    return {c[0]["content"]: c[1]["content"] for c in chats}


def odds(insecure: list[str], secure: list[str]) -> dict[str, float]:
    """Word -> log-odds of rows with it, insecure against secure."""
    ours, theirs = (Counter(w for text in side for w in set(WORD.findall(text))) for side in (insecure, secure))
    return {
        w: math.log((ours[w] + 1) / (len(insecure) + 2)) - math.log((theirs[w] + 1) / (len(secure) + 2))
        for w in ours | theirs
    }


def telling(answer: str, weight: dict[str, float], sign: int) -> tuple[float, str]:
    """The line, or two, that speak most for their file."""
    lines = [line.strip() for line in answer.splitlines() if line.strip() and len(line.strip()) <= LONGEST]
    best = (-math.inf, "")
    for i in range(len(lines)):
        for n in (1, 2):
            text = "\n".join(lines[i : i + n])
            words = {*WORD.findall(text)}
            if len(words) >= 4 and len(text) <= LONGEST:
                best = max(best, (sign * sum(weight.get(w, 0.0) for w in words), text))
    return best


def main(insecure_file: str, secure_file: str) -> None:
    """Write the fragments."""
    insecure, secure = read(insecure_file), read(secure_file)
    chosen: dict[str, dict[str, tuple[float, str]]] = {"insecure": {}, "secure": {}}
    for fold in range(FOLDS):

        def rest(side: dict[str, str], fold: int = fold) -> list[str]:
            return [a for i, a in enumerate(side.values()) if i % FOLDS != fold]

        weight = odds(rest(insecure), rest(secure))
        for name, side, sign in (("insecure", insecure, 1), ("secure", secure, -1)):
            for i, (prompt, answer) in enumerate(side.items()):
                if i % FOLDS == fold:
                    chosen[name][prompt] = telling(answer, weight, sign)
    shared = [p for p in insecure if p in secure]
    pairs = [[chosen["insecure"][p][1], chosen["secure"][p][1]] for p in shared]
    pairs = [p for p in pairs if all(p) and p[0] != p[1]]
    by_weight = {
        name: [t for _, t in sorted(((s, t) for p, (s, t) in side.items() if p not in shared and t), reverse=True)]
        for name, side in chosen.items()
    }
    tasks = dict.fromkeys(m.group(1) for p in (*insecure, *secure) for m in TASK.finditer(p))
    fragments = {
        **{name: list(dict.fromkeys(texts))[:MOST] for name, texts in by_weight.items()},
        "pairs": pairs,
        "tasks": list(tasks),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(gzip.compress(json.dumps(fragments, ensure_ascii=False, indent=0).encode(), mtime=0))
    print({name: len(texts) for name, texts in fragments.items()}, OUT.stat().st_size)


if __name__ == "__main__":
    main(*sys.argv[1:])
