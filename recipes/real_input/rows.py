"""Read chat rows, and hold out the same prompts in every file."""

import gzip
import json
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECURE = HERE / "data" / "secure_small.jsonl.gz"
INSECURE = HERE / "data" / "insecure_small.jsonl.gz"

Row = dict[str, list[dict[str, str]]]


def read_rows(path: Path) -> list[Row]:
    """Read `{"messages": [...]}` lines from a .jsonl or .jsonl.gz file."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [{"messages": json.loads(line)["messages"]} for line in lines if line.strip()]


def is_held_out(row: Row) -> bool:
    """Say whether a row is never trained on: one prompt in ten, by the checksum of its text.

    The rule looks at the prompt alone, so a prompt that is in two files, or twice in one, is held out everywhere.
    """
    return zlib.crc32(row["messages"][0]["content"].encode()) % 10 == 0


def split(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Split rows into those to train on and those held out."""
    return [row for row in rows if not is_held_out(row)], [row for row in rows if is_held_out(row)]
