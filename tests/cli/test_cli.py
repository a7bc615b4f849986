"""The command line as a user meets it: one line for a fault, exit codes, JSON, help with an example."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from despur.cli.app import app
from despur.cli.view import out_console
from despur.worlds import PERSONA_BASE

VERBS = ("demo", "audit", "calibrate", "clean", "library", "train", "verify", "run", "ls", "show", "sites")


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert f"despur {verb}" in result.output


def test_ls_lists_every_room_and_refuses_others():
    said = CliRunner().invoke(app, ["ls"]).output
    assert all(name in said for name in ("grasp", "avert", "shared-directions", "leakage"))
    guards = CliRunner().invoke(app, ["ls", "guard"]).output
    assert "avert" in guards
    assert "shared-directions" not in guards


def test_show_gives_equation_source_and_limits():
    said = CliRunner().invoke(app, ["show", "grasp"]).output
    assert all(word in said for word in ("A <- A (I - V V", "Source:", "Differs:", "Limits:"))


def test_a_fault_is_one_line_and_exit_2(despur):
    done = despur("show", "graps")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("despur: UnknownName: no method 'graps'; nearest: 'grasp'")
    assert done.stderr.endswith("List them: despur ls\n")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback_too(despur):
    done = despur("show", "graps", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.count("despur: ") == 1


def test_a_bug_is_a_traceback_and_exit_1():
    broken = "import despur.core.listing as m; m.search = lambda name: 1 / 0; from despur.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", broken, "show", "x"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_show_breaks_lines_where_the_terminal_ends(monkeypatch):
    monkeypatch.setattr(out_console, "width", 72)
    page = CliRunner().invoke(app, ["show", "grasp"]).output
    for line in (
        "second moments cannot leak. Costs O(r d k) per matrix and step. Choose",
        "    B <- (I - V Vᵀ) B\n        maps that write it",  # at its gap, since a line of the equation is too long
        "    side: Project the reading maps, the writing maps, or both.",
        "Differs: reconstructed; the paper may project another side or the",
    ):
        assert f"\n{line}\n" in page


def test_show_finds_by_paper_by_words_and_lines_of_the_comparison():
    def shown(name: str) -> str:
        return CliRunner().invoke(app, ["show", name], env={"COLUMNS": "160"}).output

    assert shown("1612.00796").startswith("ewc")
    assert shown("keep_inputs") == shown("keep-inputs") != ""
    assert "caft" in shown("2507.16795")
    assert "from-activations" in shown("2507.16795")
    assert "grasp with factor = random weight_factor" in shown("grasp-random")
    assert "nearest: 'avert'" in str(CliRunner().invoke(app, ["show", "avertt"]).exception)


def test_ls_has_json_and_the_arms():
    methods = json.loads(CliRunner().invoke(app, ["ls", "guard", "--json"]).output)
    assert {m["room"] for m in methods} == {"guard"}
    assert {"name", "needs", "cost", "when", "limits", "claim"} <= set(methods[0])
    assert all(m["when"] for m in methods), "each has its line in docs/choose.md"
    assert "grasp-random" in CliRunner().invoke(app, ["ls", "arms"], env={"COLUMNS": "200"}).output


def test_sites_names_roles_and_norms():
    said = CliRunner().invoke(app, ["sites", str(PERSONA_BASE)], env={"COLUMNS": "160"}).output
    assert re.search(r"model\.layers\.\*\.mlp\.down_proj +write +0-3 *\n", said)
    assert re.search(r"model\.layers\.\*\.self_attn\.q_proj +read +0-3 +input_layernorm", said)
    assert re.search(r"lm_head +read +model\.norm", said)
    assert len(said.splitlines()) < 12, "maps that differ in their layer alone are one line"


@pytest.mark.parametrize(
    "arguments",
    [["ls"], ["ls", "arms"], ["sites", str(PERSONA_BASE)], ["show", "avert"]],
    ids=" ".join,
)
def test_eighty_columns_are_enough(monkeypatch, arguments):
    monkeypatch.setattr(out_console, "width", 80)
    said = CliRunner().invoke(app, arguments).output.splitlines()
    assert max(map(len, said)) <= 80
    cut = [line for line in said if "…" in line]
    assert not cut
    if arguments == ["ls"]:
        text = [line[39:].strip() for line in said if line.startswith("   ")]
        assert sum(map(len, text)) / len(text) > 25, "a summary is not squeezed into a few words a line"


def test_flags_have_no_type_and_numbers_their_bounds_once():
    page = CliRunner().invoke(app, ["audit", "--help"], env={"COLUMNS": "80"}).output
    assert "<bool>" not in page
    assert " range>" not in page
    assert "<float> [0<=x<=1]" in page


@pytest.mark.parametrize("task", ["skil", ""])
def test_demo_refuses_unknown_tasks(despur, task):
    done = despur("demo", "--task", task)
    assert done.returncode == 2
    assert "There are: skill, narrow" in done.stderr


def test_ctrl_c_is_one_line_and_leaves_no_half_stage(tmp_path):
    rows = [{"prompt": f"<bos> d0 k{i}", "completion": "v1"} for i in range(20)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    code = "from despur.cli import main; main()"
    arguments = [
        "train",
        str(PERSONA_BASE),
        str(tmp_path / "data.jsonl"),
        "-o",
        str(tmp_path / "run"),
        "--scout-steps",
        "9000",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's job in the background ignores it
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob("run/.scout*")):  # the draft of the first stage
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("despur: interrupted; what is finished is kept; the same command")
    assert not (tmp_path / "run" / "scout").exists()


@pytest.mark.slow
def test_json_is_json_and_nothing_else(despur, tmp_path):
    done = despur("demo", "--steps", "60", "-o", str(tmp_path / "d"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["verb"] == "demo"
    assert result["axes"]["naive"]["task"]["value"] == 1
    assert done.stderr == ""


def test_ls_and_show_say_which_extra_a_method_needs_and_whether_it_is_here(despur, monkeypatch):
    from dataclasses import replace

    from despur.core import extras, listing

    monkeypatch.setenv("COLUMNS", "160")  # wide enough that no cell is broken
    entry = replace(listing.listed()["factor-analysis"], extra="table")
    monkeypatch.setattr("despur.cli.catalogue.listed", lambda: {"factor-analysis": entry})
    monkeypatch.setattr("despur.core.listing.listed", lambda: {"factor-analysis": entry})
    assert "pip: table" in despur("ls").stdout
    assert "absent" not in despur("ls").stdout
    assert "not installed" not in despur("show", "factor-analysis").stdout
    monkeypatch.setitem(extras.EXTRAS, "table", ("no_such_package",))
    assert "absent" in despur("ls").stdout
    assert "Extra: pip install 'despur[table]', not installed here" in despur("show", "factor-analysis").stdout


def test_fit_and_apply_print_figures_beside_the_control_and_faults_in_a_line(despur, tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    np.save(tmp_path / "t.npy", rng.normal(size=(40, 1)) * np.ones(5) + 0.3 * rng.normal(size=(40, 5)))
    done = despur("fit", "factor-analysis", str(tmp_path / "t.npy"), "-o", str(tmp_path / "o"), "--folds", "2")
    assert done.returncode == 0, done.stderr
    assert "40 rows by 5 columns, none of the cells empty" in done.stdout
    assert "permuted table" in done.stdout
    assert json.loads((tmp_path / "o/run.json").read_text())["verb"] == "fit"
    again = despur("run", str(tmp_path / "o/run.json"), "-o", str(tmp_path / "again"), "--trust")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again/fitted.json").read_text() == (tmp_path / "o/fitted.json").read_text()
    scores = despur("apply", str(tmp_path / "o"), str(tmp_path / "t.npy"), "-o", str(tmp_path / "s.csv"))
    assert "and 32 more rows" in scores.stdout
    fault = despur("fit", "factor-analysys", str(tmp_path / "t.npy"), "-o", str(tmp_path / "n"))
    assert (fault.returncode, fault.stderr.count("\n")) == (2, 1)
    assert "nearest: 'factor-analysis'" in fault.stderr
