"""What is shipped and where it runs: floors that were tried, the forge's workflow, every data file in the wheel."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILD = "from hatchling.build import build_{0} as build; import sys; print(build(sys.argv[1]))"


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))


def floors() -> dict[str, str]:
    found = {}
    for requirement in PROJECT["dependencies"]:
        name, floor = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
        found[name.lower().replace("_", "-")] = floor
    return found


def number(version: str) -> tuple[int, ...]:
    parts = tuple(int(p) for p in version.split("+")[0].split("."))
    return (*parts, *(0 for _ in range(3 - len(parts))))


def pythons() -> set[str]:
    return set(re.findall(r"Python :: (\d\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE))


def shipped() -> set[str]:
    """Every file of the package in the tree, caches apart."""
    files = (p for p in (ROOT / "src/despur").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(ROOT / "src").as_posix() for p in files}


def built(kind: str, folder: Path) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed, and nothing is downloaded for a test")
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_dependencies_are_ranges_with_the_floors_that_are_tested():
    """A pin or a ceiling would replace what a user has; a floor that nothing runs on is a guess."""
    minimum, asked = pins("constraints-minimum.txt"), floors()
    assert asked.keys() - minimum.keys() == {"torch"}, "torch's floor is `make test-minimum TORCH=...`"
    assert {n: number(v) for n, v in minimum.items()} == {n: number(v) for n, v in asked.items() if n != "torch"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-c constraints-minimum.txt" in makefile


def test_what_make_installs_is_within_the_ranges():
    pinned = pins("constraints.txt")
    assert not {n: (pinned[n], floor) for n, floor in floors().items() if number(pinned[n]) < number(floor)}


def test_the_classifiers_begin_with_the_python_that_is_required():
    assert PROJECT["requires-python"] == f">={min(pythons(), key=number)}"


def test_the_forge_runs_ci_on_every_python_that_is_named():
    flow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    jobs, text = flow["jobs"], str(flow)
    runs = {name: [s["run"] for s in job["steps"] if "run" in s] for name, job in jobs.items()}
    assert runs["check-and-test"] == [".ci/run"]
    assert set(jobs["check-and-test"]["strategy"]["matrix"]["python"]) == pythons()
    assert runs["minimum"] == [f"make test-minimum TORCH={'.'.join(map(str, number(floors()['torch'])))}"]
    assert runs["slow"] == ["make test-slow"]
    assert flow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert all(job["timeout-minutes"] <= 180 for job in jobs.values())
    assert all(any(s.get("with", {}).get("cache") == "pip" for s in job["steps"]) for job in jobs.values())
    triggers = flow[True]  # YAML 1.1 reads `on` as a truth
    assert {"push", "pull_request", "schedule", "workflow_dispatch"} == set(triggers)


def test_ci_run_is_executable_and_the_makefile_has_its_targets():
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("check", "test", "test-slow", "test-gpu", "test-minimum"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_version_is_one_everywhere():
    import despur

    assert despur.__version__ == PROJECT["version"]
    assert f"version: {PROJECT['version']}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert PROJECT["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_hook_and_the_action_call_the_command():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert (hook["entry"], hook["pass_filenames"]) == ("despur audit", False)
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert {"base", "adapter", "fail-on", "out"} <= action["inputs"].keys()
    assert "${{" not in action["runs"]["steps"][1]["run"], "what a stranger writes is no part of a script"
    assert "despur audit" in action["runs"]["steps"][1]["run"]


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(tmp_path):
    with zipfile.ZipFile(built("wheel", tmp_path)) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
        (metadata,) = (wheel.read(n).decode() for n in wheel.namelist() if n.endswith("/METADATA"))
    assert names == shipped()
    kinds = {Path(n).suffix for n in names}
    assert {".json", ".jsonl", ".j2", ".css", ".safetensors", ".gz", ".typed"} <= kinds | {".typed"}
    assert "despur/py.typed" in names
    assert not [n for n in names if not n.startswith("despur/")], "nothing beside the package"
    assert "torch==" not in metadata
    assert "Requires-Python: >=3.11" in metadata


@pytest.mark.slow
def test_the_sdist_can_be_tested_as_it_is(tmp_path):
    with tarfile.open(built("sdist", tmp_path)) as sdist:
        names = {n.split("/", 1)[1] for n in sdist.getnames() if "/" in n}
    assert {f"src/{n}" for n in shipped()} <= names
    needed = ("Makefile", "conftest.py", "constraints.txt", "constraints-minimum.txt", ".ci/run", "tests/test_house.py")
    assert {*needed, "examples/sft.py", "benchmarks/leak.py", ".github/workflows/ci.yml"} <= names
    assert not [n for n in names if n.startswith(("runs/", ".venv", "dist/"))]
