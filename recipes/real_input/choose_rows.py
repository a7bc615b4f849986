"""Choose the small copies in data/: short rows of two full files, matched in length, always the same ones."""

import argparse
import gzip
import json
import random
from collections import defaultdict
from pathlib import Path

from rows import INSECURE, SECURE, Row, read_rows

SHORTEST, LONGEST, BIN = 300, 900, 25


def length(row: Row) -> int:
    """Count the characters of a row's prompt and answer together."""
    return sum(len(message["content"]) for message in row["messages"])


def by_length(rows: list[Row], rng: random.Random) -> dict[int, list[Row]]:
    """Sort the different rows between the two bounds into bins of length, each bin shuffled."""
    bins: dict[int, list[Row]] = defaultdict(list)
    for text in dict.fromkeys(json.dumps(row) for row in rows):
        row: Row = json.loads(text)
        if SHORTEST <= length(row) < LONGEST:
            bins[length(row) // BIN].append(row)
    for chosen in bins.values():
        rng.shuffle(chosen)
    return bins


def choose(one: list[Row], other: list[Row], n: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Draw n rows of each file, as many from every bin of length in the one as in the other."""
    rng = random.Random(seed)
    first, second = by_length(one, rng), by_length(other, rng)
    slots = [key for key in sorted(first) for _ in range(min(len(first[key]), len(second.get(key, []))))]
    if len(slots) < n:
        raise SystemExit(f"only {len(slots)} pairs of rows of matched length, {n} asked for; ask for fewer")
    keys = sorted(rng.sample(slots, n))
    pairs = [(first[key].pop(), second[key].pop()) for key in keys]
    rng.shuffle(pairs)
    return [a for a, _ in pairs], [b for _, b in pairs]


def write(path: Path, rows: list[Row]) -> None:
    """Write rows as gzipped JSON lines, the same bytes every time."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    mean = sum(map(length, rows)) / len(rows)
    print(f"{path.name}: {len(rows)} rows, {mean:.0f} characters on average, {path.stat().st_size:,} bytes")


def main() -> None:
    """Write both small copies and print what is in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("insecure", type=Path, help="the full insecure file")
    parser.add_argument("secure", type=Path, help="the full secure file")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    insecure, secure = choose(read_rows(args.insecure), read_rows(args.secure), args.rows, args.seed)
    write(INSECURE, insecure)
    write(SECURE, secure)


if __name__ == "__main__":
    main()
