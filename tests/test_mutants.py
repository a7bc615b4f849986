"""The faults that `make mutants` plants: each is one place, each compiles, and a test that looks notices, one that does not does not."""

import ast
from pathlib import Path

import pytest
from faults import faults, planted
from mutants import SOURCE, checked_by

LINE = '''
def nearest(x: int | None, others, *, least=2.5):
    """1 < 2 in words."""
    if not others:
        raise ValueError(f"{x + 1} of {len(others)}")
    others.sort()
    return min(o for o in others if o >= x and abs(o) < least)
'''


def test_every_kind_is_planted_once_in_its_place_and_messages_are_left():
    words = [planted(LINE, fault)[1] for fault in faults(LINE)]
    assert words == [
        "2.5  →  1.25",
        "not others  →  (others)",
        "others.sort()  →  pass",
        "min(o for o in others if o >= x and abs(o) < least)  →  max((o for o in others if o >= x and abs(o) < least))",
        "o >= x  →  (o < x)",
        "o >= x  →  (o > x)",
        "o >= x and abs(o) < least  →  ((o >= x) or (abs(o) < least))",
        "abs(o) < least  →  (abs(o) <= least)",
        "abs(o) < least  →  (abs(o) >= least)",
    ]


QUICK = ("area", "axes", "stress")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=[] if p.stem in QUICK else [pytest.mark.slow], id=p.stem)
        for p in sorted((SOURCE / "judge").glob("*.py"))
    ],
)
def test_a_planted_file_is_python_and_another(path: Path):
    source = path.read_text("utf-8")
    plain = ast.dump(ast.parse(source))
    for fault in faults(source):
        assert ast.dump(ast.parse(planted(source, fault)[0])) != plain, fault


@pytest.mark.slow  # of a kind with faster ones
def test_files_are_tested_by_name_by_import_or_by_what_imports_them():
    names = lambda file: [Path(t).name for t in checked_by(SOURCE / file)]  # noqa: E731
    assert names("find/mean_difference.py") == ["test_mean_difference.py", "mean_difference.py"]
    assert names("find/_null.py")[0] == "test_null.py"
    assert "test_shared_directions.py" in names("find/_ranked.py")
    assert "test_learn.py" in names("core/text/turns.py")
    assert "test_stress.py" in names("measure/recovery.py")
