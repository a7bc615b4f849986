"""A record of a stranger names no place outside, unless it is trusted; and a record says nothing of who made it."""

import json
import os
from pathlib import Path

import pytest

from despur.core.errors import BadInput
from despur.flows import replay
from despur.flows.record import at_home, private, run_record


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.jsonl").write_text('{"prompt": "a password"}\n')
    (tmp_path / "cwd/link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def run(here, trust=False, verb="audit", **arguments):
    (here / "cwd/run.json").write_text(
        json.dumps({"verb": verb, "arguments": {"base": "base", "adapter": "adapter", **arguments}})
    )
    replay("run.json", out="again", trust=trust)


@pytest.mark.parametrize(
    "named",
    [
        {"prompts": "../elsewhere/secret.jsonl"}, {"prompts": "{}/elsewhere/secret.jsonl"}, {"data": "~/secret.jsonl"}, {"base": "/etc"},
        {"adapter": "link"}, {"prompts": "link/secret.jsonl"}, {"null": "/no/where"}, {"base": "base/../../elsewhere"},
    ],
    ids=str,
)  # fmt: skip
def test_a_place_outside_is_named_and_not_read(named, here):
    named = {k: v.format(here) for k, v in named.items()}
    with pytest.raises(BadInput, match=f"names {next(iter(named))} = .*neither here nor in its own folder.*--trust"):
        run(here, **named)
    with pytest.raises(BadInput) as raised:  # the control: trusted, it goes on until there is no base
        run(here, trust=True, **named)
    assert "--trust" not in str(raised.value)
    assert not (here / "cwd/again").exists()


def test_places_here_need_no_trust(here):
    (here / "cwd/base").mkdir()
    (here / "cwd/rows.jsonl").write_text('{"text": "x"}\n')
    for arguments in ({}, {"data": "rows.jsonl"}, {"data": str(here / "cwd/rows.jsonl")}):
        with pytest.raises(BadInput, match=r"no config.json in 'base'"):
            run(here, **arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": "many"},
        {"rows": True},
        {"tokens": None},
        {"base": 3},
        {"scaled": "yes"},
        {"base": ["a"]},
        {"level": {}},
        {"seed": [1]},
    ],
)
def test_a_value_of_another_type_is_named(wrong, here):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        run(here, **wrong)


def test_a_record_has_no_home_and_reads_it_back(here):
    home = str(Path.home())
    given = {"base": f"{home}/models/base", "adapters": [f"{home}/a", "b"], "rows": 8, "note": f"you gave '{home}/x'"}
    record = run_record("audit", given)
    assert home not in json.dumps(record)
    assert record["arguments"]["base"] == f"~{os.sep}models{os.sep}base"
    assert at_home(record["arguments"])["base"] == given["base"]
    assert at_home(record["arguments"])["adapters"] == given["adapters"]
    assert private({"a": "/homeless/x"}) == {"a": "/homeless/x"}
