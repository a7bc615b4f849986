"""Every command: each option has a help text, each page an example; listing them imports no torch."""

import importlib.util
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import despur
from despur.cli.app import COMMANDS, app, command
from despur.flows.verbs import RECORDED, VERBS, find_verb, headline

NEEDED = {"json", "debug"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text_and_every_page_an_example(name):
    made = command(name)
    assert [p.name for p in made.params if not p.help] == []
    assert f"Example: `despur {name}" in made.help
    names = {p.name for p in made.params}
    assert names >= NEEDED
    assert ("config" in names) == (name in RECORDED)
    page = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "160"}).output
    assert all(option in page for p in made.params if p.param_type_name == "option" for option in p.opts)


def test_every_verb_is_a_command_and_is_listed_by_the_first_line_of_its_docstring():
    assert set(VERBS) <= set(COMMANDS)
    page = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output.split())
    for name in VERBS:
        first = (find_verb(name).__doc__ or "").splitlines()[0]
        assert headline(name) == first
        assert " " in name or first.replace("`", "") in page


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ls"], ["library", "--help"]], ids=" ".join)
def test_no_torch_is_imported_to_list_commands(arguments):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "despur", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "despur" in done.stdout or "avert" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.split("|")[-1].strip() in ("torch", "transformers")]


def test_bounds_on_the_command_line_are_a_usage_error():
    done = CliRunner().invoke(app, ["audit", "b", "a", "--level", "2"])
    assert done.exit_code == 2
    assert "--level" in done.output


@pytest.mark.parametrize("verb", ["audit", "clean", "demo", "calibrate", "compare", "fit"])
def test_config_gives_the_verb_what_it_records(verb, tmp_path, monkeypatch):
    """What a run records is a config of the same verb."""
    from functools import wraps

    import despur.flows
    from despur.flows.verb import parameters_of, recorded

    real = find_verb(verb)
    options = {"base": "b", "adapter": "a", "adapters": ["x", "y"], "worlds": ["persona", "slant"], "rows": 12, "task": "narrow",
               "arms": ["avert"], "steps": {"persona": 80} if verb == "compare" else 9}  # fmt: skip
    names = [p.name for p in parameters_of(real)]
    asked = {k: v for k, v in options.items() if k in names}
    if verb == "compare":
        asked["worlds"] = "persona,slant"
    if verb == "fit":
        asked |= {
            "method": "factor-analysis",
            "table": "t.csv",
            "rows": ["run"],
            "options": {"rank": "3"},
            "where": {"seed": "1"},
        }
    seen = {}

    @wraps(real)
    def stop(**given):
        seen.update(recorded(real, given))
        raise KeyboardInterrupt

    monkeypatch.setattr(despur.flows, verb, stop, raising=False)
    (tmp_path / "c.yaml").write_text(json.dumps(asked))
    CliRunner().invoke(app, [verb, "--config", str(tmp_path / "c.yaml"), "-o", str(tmp_path / "o")])
    assert {k: seen[k] for k in asked} == asked


def test_the_verbs_are_at_the_top_and_nothing_else_is_shown():
    shown = set(dir(despur))
    assert {"audit", "calibrate", "certify", "clean", "compare", "demo", "fit", "train", "verify"} <= shown
    assert not {"Any", "TYPE_CHECKING", "import_module"} & shown
    assert {name for name in shown if not name.startswith("__")} == {*despur.__all__} | {
        name for name in shown if importlib.util.find_spec(f"despur.{name}")
    }
    assert callable(despur.calibrate)
