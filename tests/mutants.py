"""Plant small faults in the source, one at a time, and list those that no test notices: `make mutants`.

    python tests/mutants.py judge find/_ranked.py --sample 20 -o runs/mutants.json

Of each file a seeded sample of faults (`faults.py`) is tried. A fault is in memory only, in a process of its own that runs the tests
of that file. Results are written after each; started again, only what is new is tried, and what survived beside tests that
have changed since.
"""

import argparse
import ast
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path

from faults import faults, planted

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "despur"
ROOMS = ("core/text", "find", "measure", "judge", "guard")
# imported once, not by each process
WARM = ("torch", "scipy.stats", "sklearn.base", "transformers", "peft", "pytest", "beartype")
OPTIONS = (
    *("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not gpu and not real"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of plugins that were imported with the rest
)


def checked_by(path: Path) -> list[str]:
    """The tests of a file: by its name, by what of it the tests of its room import, else what tests those that import it."""
    folder = ROOT / "tests" / path.relative_to(SOURCE).parts[0]
    own = folder / f"test_{path.stem.lstrip('_')}.py"
    found = [*([own] if own.exists() else []), *_importing(path, folder)]
    users = [p for p in path.parent.glob("*.py") if p != path and f".{path.stem} import" in p.read_text("utf-8")]
    if not found:
        found = [
            Path(t) for user in users if user.stem != "__init__" for t in checked_by(user) if "test_" in Path(t).name
        ]
    found = found or _importing(path, ROOT / "tests")
    return [str(p) for p in dict.fromkeys([*found, path])]


def _importing(path: Path, folder: Path) -> list[Path]:
    """Tests in a folder that import something a file defines; not those that start processes, which take long."""
    names = {n.name for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    texts = {p: p.read_text("utf-8") for p in sorted(folder.rglob("test_*.py"))}
    trees = {p: ast.walk(ast.parse(text)) for p, text in texts.items() if "subprocess" not in text}
    taken = {p: {a.name for n in tree if isinstance(n, ast.ImportFrom) for a in n.names} for p, tree in trees.items()}
    return [p for p, imported in taken.items() if names & imported]


def run(tests: list[str], limit: float, path: Path | None = None, source: str = "") -> tuple[str, float]:
    """Run tests in a process of its own, with other source in one file: survived, killed, or timed out, and the seconds."""
    # it ends before it clears up behind itself
    with tempfile.TemporaryDirectory(prefix="despur-mutant-", ignore_cleanup_errors=True) as folder:
        return _run(tests, limit, path, source, folder)


def _run(tests: list[str], limit: float, path: Path | None, source: str, folder: str) -> tuple[str, float]:
    start, child = time.monotonic(), os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        code = 1
        try:
            sys.dont_write_bytecode = True
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            read = SourceFileLoader.get_data

            def get_data(self: SourceFileLoader, name: str) -> bytes:
                if (
                    path
                    and Path(name).parent == path.parent / "__pycache__"
                    and Path(name).name.startswith(path.stem + ".")
                ):
                    raise OSError  # what was compiled of the file as it is
                return source.encode() if path and Path(name) == path else read(self, name)

            SourceFileLoader.get_data = get_data  # type: ignore[method-assign]
            import pytest

            code = int(pytest.main([*OPTIONS, *tests]))
        finally:
            os._exit(code)
    while time.monotonic() - start < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "killed" if status else "survived", time.monotonic() - start
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timed out", limit


def warm() -> None:
    """Import once what every process needs; despur itself is imported in each."""
    os.chdir(ROOT)
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "agg",
    }
    for name in WARM:
        importlib.import_module(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="*", default=ROOMS, help="rooms, or files, below src/despur")
    parser.add_argument("--sample", type=int, default=8, help="faults of a file; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "runs" / "mutants.json")
    asked = parser.parse_args()
    warm()
    results = json.loads(asked.out.read_text("utf-8")) if asked.out.exists() else {}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    places = [SOURCE / p for p in asked.places]
    files = [f for p in places for f in (sorted(p.rglob("*.py")) if p.is_dir() else [p]) if f.name != "__init__.py"]
    current: list[str] = []
    for path in files:
        source, tests = path.read_text("utf-8"), checked_by(path)
        digest = hashlib.sha256("".join(Path(t).read_text("utf-8") for t in tests).encode()).hexdigest()[:12]
        every = faults(source)
        mixed = random.Random(asked.seed).sample(every, len(every))  # a larger sample has the smaller one in it
        limit = 0.0
        for fault in sorted(mixed[: asked.sample or None]):
            text, words = planted(source, fault)
            key = f"{path.relative_to(SOURCE)}:{fault[0]} {hashlib.sha256(text.encode()).hexdigest()[:8]}"
            current.append(key)
            before = results.get(key)
            if before and (before["end"] != "survived" or before["tests"] == digest):
                continue
            if not limit:  # how long they take as the file is
                end, seconds = run(tests, 600)
                if end != "survived":
                    sys.stderr.write(f"left out: {path}, whose tests do not pass as it is ({end}): {' '.join(tests)}\n")
                    current.pop()
                    break
                limit = 20 + 5 * seconds
            end, seconds = run(tests, limit, path, text)
            results[key] = {"end": end, "fault": words, "tests": digest, "seconds": round(seconds, 1)}
            asked.out.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")
            sys.stdout.write(f"{end:9} {seconds:5.1f} s  {key.split()[0]}  {words}\n")
            sys.stdout.flush()
    _report({key: results[key] for key in current})


def _report(results: dict[str, dict[str, str]]) -> None:
    rooms: dict[str, list[str]] = {}
    for key, one in results.items():
        rooms.setdefault(key.split("/")[0], []).append(one["end"])
    write = sys.stdout.write
    write("\n| room | faults | killed | timed out | survived |\n|---|---|---|---|---|\n")
    for room, ends in rooms.items():
        counts = [len(ends), *(ends.count(end) for end in ("killed", "timed out", "survived"))]
        write(f"| {room} | {' | '.join(map(str, counts))} |\n")
    for key, one in results.items():
        if one["end"] == "survived":
            write(f"{key.split()[0]}: {one['fault']}\n")


if __name__ == "__main__":
    main()
