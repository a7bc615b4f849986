"""Calibrate: a null of one's own base, made once, resumed where it stopped, and then judged by."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from despur.core.errors import BadInput
from despur.flows import audit, calibrate
from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import screen_settings
from despur.judge import NeutralNull


@pytest.mark.slow  # of a kind with faster ones
def test_a_null_is_made_resumed_and_judged_by(base, adapter, neutral, tmp_path):
    out = tmp_path / "null.json"
    seen = []

    def stop(stage, done, total, figures):
        seen.append(done)
        if len(seen) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(base, neutral, out=out, rows=12, progress=stop)
    assert not out.exists()
    kept = out.with_name("null.json.part")
    before = kept.read_text().splitlines()
    assert len(before) == 7
    kept.write_text("\n".join(before) + '\n{"spec": "half a li')  # as a kill leaves it
    null = calibrate(base, neutral, out=out, rows=12)
    assert not kept.exists()
    assert null.changes[0] == json.loads(before[0])["change"], "what was measured is not measured again"
    assert NeutralNull.read(out).p_value(0.1, {"mean": 0.9}) == null.p_value(0.1, {"mean": 0.9})
    record = json.loads(out.with_name("null.run.json").read_text())
    assert (record["verb"], record["arguments"]["rows"], record["arguments"]["adapters"]) == ("calibrate", 12, neutral)
    result = audit(base, adapter, null=out, n_random=2)  # on as many rows, unless another number is named
    assert result.verdict == "diffuse change", "beside its own like the persona does not stand out"
    assert not [n for n in result.notes if "false-positive" in n], "the null is of this base and of these settings"


@pytest.fixture
def interrupted(base, neutral, tmp_path, monkeypatch):
    """A calibration of six copies, few for once, that was stopped after three: the options to go on with, and the lines of its `.part`."""
    monkeypatch.setattr("despur.judge.neutral.FEWEST", 6)
    copies = [str(shutil.copytree(folder, tmp_path / f"n{i}")) for i, folder in enumerate([*neutral[:5], neutral[9]])]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"<bos> s{i % 4} d1"}) + "\n" for i in range(8)))
    asked = {"out": tmp_path / "null.json", "rows": 8, "tokens": 4, "prompts": prompts}

    def stop(stage, done, total, figures):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(base, copies, progress=stop, **asked)
    return copies, asked, (tmp_path / "null.json.part").read_text().splitlines()


def test_an_adapter_trained_again_at_its_path_is_measured_again(base, interrupted):
    copies, asked, before = interrupted
    was = [json.loads(line)["change"] for line in before]
    shutil.copy(f"{copies[5]}/adapter_model.safetensors", copies[0])  # the last is louder
    config = Path(copies[1]) / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 16', '"lora_alpha": 32'))
    shutil.move(copies[2], copies[2] + "-moved")
    copies[2] += "-moved"
    shutil.rmtree(copies.pop(5))
    copies.append(str(shutil.copytree(copies[0], copies[0] + "-scaled")))
    config = Path(copies[-1]) / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 16', '"lora_alpha": 17'))
    null = calibrate(base, copies, **asked)
    assert null.changes[0] > 1.2 * was[0], "other weights"
    assert null.changes[1] > 2 * was[1], "the same weights at twice the scale"
    assert null.changes[2] == was[2], "moved, not changed"


def test_prompts_are_known_by_their_content(tmp_path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text('{"prompt": "a"}')
    other.write_text('{"prompt": "a"}')
    was = screen_settings(one, 8, 4, 0.5)
    assert screen_settings(other, 8, 4, 0.5) == was, "under another name"
    one.write_text('{"prompt": "b"}')
    assert screen_settings(one, 8, 4, 0.5) != was, "under the same name"
    assert [screen_settings(p, 8, 4, 0.5)["prompts"] for p in (None, "shipped")] == [None, "shipped"]


def test_what_cannot_be_calibrated(base, neutral, tmp_path):
    again = shutil.copytree(neutral[0], tmp_path / "again")
    with pytest.raises(BadInput, match=r"0' and .*again' are the same one"):
        calibrate(base, [*neutral, str(again)], out=tmp_path / "null.json")
    with pytest.raises(BadInput, match="18 different neutral adapters; at least 19"):
        calibrate(base, neutral[:18], out=tmp_path / "null.json")
    with pytest.raises(BadInput, match="at least 19"):
        calibrate(base, [*neutral[:18], neutral[0]], out=tmp_path / "null.json")


def test_settings_name_the_questions_that_were_taken_where_none_were_given():
    everyday = Passages(((1, 2),), (1,), "the base's answers to everyday questions")
    own = replace(everyday, origin="the base's answers to its own questions")
    assert everyday.prompts(None) == "shipped"
    assert own.prompts(None) is None, "the control"
    assert everyday.prompts("mine.jsonl") == "mine.jsonl"
