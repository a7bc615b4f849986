"""`despur train --config FILE`: keys are option names, the command line wins, what is wrong is told by its key."""

import re
from functools import wraps

import pytest
from typer.testing import CliRunner

import despur.flows
from despur.cli.app import app
from despur.core.errors import BadInput


@pytest.fixture
def train(tmp_path, monkeypatch):
    """`train("guard: hold", "--steps", "9")` -> what the flow is given."""

    def run(text, *arguments):
        given = {}

        @wraps(despur.flows.train)
        def flow(base, data, **options):
            given.update(options, base=base, data=data)
            raise BadInput("stop here")

        monkeypatch.setattr(despur.flows, "train", flow, raising=False)
        (tmp_path / "train.yaml").write_text(text)
        done = CliRunner().invoke(app, ["train", *arguments, "--config", str(tmp_path / "train.yaml")])
        assert isinstance(done.exception, BadInput), done.output
        return given or str(done.exception)

    return run


def test_keys_are_the_long_names_and_the_command_line_wins(train):
    text = "base: b\ndata: rows.jsonl\nguard: grasp\nlr: 1e-3\nmax_length: 64\nscout_steps:\nrounds: 3\ntwin: true\n"
    given = train(text, "-o", "run", "--rounds", "2", "--steps", "9")
    assert (given["base"], str(given["data"]), str(given["out"])) == ("b", "rows.jsonl", "run")
    assert (given["guard"], given["rounds"], given["twin"], given["scout_steps"]) == ("grasp", 2, True, None)
    settings = given["settings"]
    assert (settings.lr, settings.max_length, settings.steps, settings.batch) == (1e-3, 64, 9, 16)


def test_arguments_on_the_command_line_win_too(train):
    assert train("base: b\ndata: d\nout: o", "mine")["base"] == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps_: 3", r"key 'steps_', which is no option of `despur train`; nearest: 'steps'"),
        ("json: true", "key 'json', which is no option"),
        ("steps: many", "steps = 'many': .*valid integer"),
        ("steps: 1.5", "steps = 1.5: .*valid integer"),
        ("steps: 0", "steps = 0: .*greater than or equal to 1"),
        ("steps: true", "steps = True: .*valid integer"),
        ("twin: perhaps", "twin = 'perhaps'"),
        ("steps: [1, 2]", r"steps = \[1, 2\], where one value is needed"),
        ("- steps", "is a list, where 'key: value' lines"),
        ("", "is a NoneType"),
        ("a: b: c", "is not YAML"),
        ("when: 2024-99-99", "is not YAML"),
        ("x: !!python/object:os.system {}", "is not YAML"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(text, said, train):
    assert re.search(said, train(text, "b", "d", "-o", "o"))


def test_no_such_file(tmp_path):
    done = CliRunner().invoke(app, ["train", "b", "d", "-o", "o", "--config", str(tmp_path / "no.yaml")])
    assert "No such file" in str(done.exception)


def test_the_config_that_a_run_writes_gives_the_flow_what_it_had(train, tmp_path):
    from despur.flows._train.fit import Settings
    from despur.flows._train.inputs import write_config

    settings = Settings(steps=7, lr=3e-5, seed=2)
    had = {"base": "b", "data": "d", "guard": "hold", **settings.to_dict(), "scout_steps": None, "scout": "s", "factors": "f",
           "rounds": 1, "strength": 0.5, "own_rows": 8, "own_tokens": 4, "rehearse_on": None, "twin": True}  # fmt: skip
    write_config(tmp_path / "run", had)
    given = train((tmp_path / "run" / "config.yaml").read_text(), "-o", "again")
    assert given.pop("settings") == settings
    assert {
        k: None if v is None else type(had[k])(str(v)) if k != "twin" else v for k, v in given.items() if k in had
    } == {k: v for k, v in had.items() if k in given}
    assert set(had) <= {*given, *settings.to_dict()}
