"""Long work is never silent: plain lines about once a minute off a terminal, one bar a stage on it, nothing with --json."""

import io
import logging
import time

from rich.console import Console
from rich.progress import Progress

from despur.cli import interrupted
from despur.cli import progress as bars
from despur.cli.progress import Stages, progress_bars
from despur.flows.progress import Logged


def test_a_stage_is_a_line_at_its_beginning_one_a_minute_and_one_at_its_end(caplog):
    now = [0.0]
    report = Logged(clock=lambda: now[0])
    with caplog.at_level(logging.INFO, logger="despur"):
        for step in range(301):
            now[0] = step
            report("scout", step, 300, {"loss": 2.0})
    said = [r.message for r in caplog.records]
    assert len(said) == 6
    assert said[0] == "scout 0/300, loss 2"
    assert said[1] == "scout 60/300, about 4 min 0 s left, loss 2"
    assert said[-1] == "scout 300/300, loss 2"


def test_off_a_terminal_lines_appear_after_a_while_and_with_json_none(capsys, monkeypatch):
    monkeypatch.setattr(bars, "_SILENT", 0.05)
    for quiet, after, lines in ((False, 0.3, 2), (False, 0.0, 0), (True, 0.3, 0)):
        with progress_bars(quiet=quiet) as progress:
            progress("text", 0, 2, {})
            time.sleep(after)
            progress("screen", 1, 2, {})
        assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_bar_goes_on_through_stages_that_count_the_same_steps_and_goes_when_it_is_full():
    with Progress(console=Console(file=io.StringIO(), force_terminal=True)) as shown:
        stages = Stages(shown)
        for i, name in enumerate(("load", "text", "screen")):
            stages(name, i, 3, {})
            assert [(t.description, t.completed) for t in shown.tasks] == [(name, i)]
        stages("another", 0, 9, {})
        assert len(shown.tasks) == 2, "the control: other steps are another bar"
        stages("done", 3, 3, {})
        assert [t.description for t in shown.tasks] == ["another"]


def test_what_is_true_at_ctrl_c():
    assert "nothing was written" in interrupted(["despur", "audit", "base", "adapter"])
    assert "is kept" in interrupted(["despur", "--debug", "train", "base"])
    assert "of a conversation nothing" in interrupted(["despur", "demo"])
