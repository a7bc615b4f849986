"""Whatever a stage depends on is in its spec: changed, it is made again, and never taken from an earlier run."""

import inspect
import json
import shutil

import pytest
import transformers
from safetensors.torch import load_file, save_file

from despur.flows import Placement, Settings, train
from despur.worlds import Persona

SETTINGS = {"steps": 2, "lr": 1e-3, "batch": 4, "rank": 2}
RUN = {"guard": "avert", "scout_steps": 2, "own_rows": 16, "own_tokens": 8}
CHANGED = {
    "guard": "rehearse", "strength": 0.5, "guard_budget": 0.3, "guard_options": {"one_sided": "false"},
    "beside": "l2-sp", "beside_options": {"strength": "0.5"}, "own_rows": 20, "own_tokens": 9, "scout_steps": 3,
    "settings": Settings(**{**SETTINGS, "lr": 2e-3}), "twin": True, "placement": Placement(dtype="bfloat16"),
    "from_": "another", "scout": "another", "rehearse_on": "generic.jsonl",  # in the folder beside the run
}  # fmt: skip
# stages are made again for these as well, but only with another guard than avert, or besides another change
ELSEWHERE = {
    "base": "test_fingerprint", "data": "test_train_killed", "factors": "test_train_inputs", "pairs": "test_train_inputs",
    "trait": "test_train_inputs", "roles": "test_roles_file", "scouts": "test_train_inputs", "rounds": "test_train_inputs",
    "patience": "test_history", "eval_every": "test_history",
    "keep": "test_shuffled", "tokenizer": "test_in_memory",
}  # fmt: skip
NOTHING = {"out", "save_every", "overwrite", "progress"}  # they change nothing of what is made


class Trained(Exception):
    """An adapter would be trained."""


@pytest.fixture(scope="module")
def run(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rows = Persona("narrow").rows(n=24, seed=1)
    prompts = {r["prompt"] for r in rows}
    others = [r for r in Persona("narrow").rows(n=400, seed=2) if r["prompt"] not in prompts]
    for name, part in (("data", rows), ("generic", others[:12]), ("other", others[12:24])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in part))
    train(base, folder / "data.jsonl", out=folder / "run", settings=Settings(**SETTINGS), **RUN)
    shutil.copytree(folder / "run" / "scout", folder / "another")
    weights = folder / "another" / "adapter_model.safetensors"
    save_file({n: 1.5 * t for n, t in load_file(weights).items()}, weights)
    return folder


@pytest.fixture
def no_training(monkeypatch):
    """Training raises; what is there already can be used."""

    def refuse(self, *args, **kwargs):
        raise Trained

    return lambda: monkeypatch.setattr(transformers.Trainer, "train", refuse)


@pytest.fixture
def again(base, run, no_training):
    """Run again in the same folder, with something changed."""
    no_training()

    def go_on(**changed):
        asked = {"settings": Settings(**SETTINGS), **RUN, **changed}
        return train(base, run / "data.jsonl", out=run / "run", overwrite=True, **asked)

    return go_on


@pytest.mark.slow  # of a kind with faster ones
def test_of_the_same_arguments_nothing_is_trained_again(again):
    assert again().adapter.exists(), "the control"
    assert again(save_every=1).adapter.exists()
    assert again(placement=Placement("cpu", "float32")).adapter.exists(), (
        "the device, and what is the precision already"
    )


@pytest.mark.parametrize("name", CHANGED)
def test_what_an_option_changes_is_trained_again(name, again, run):
    value = run / CHANGED[name] if name in ("from_", "scout", "rehearse_on") else CHANGED[name]
    beside = {"scout": {"scout_steps": None}, "beside_options": {"beside": "l2-sp"}}.get(name, {})  # what goes with it
    with pytest.raises(Trained):
        again(**{name: value, **beside})


@pytest.mark.slow  # of a kind with faster ones
def test_text_that_changed_under_its_name_is_read_again(base, run, no_training, tmp_path):
    text = tmp_path / "text.jsonl"
    asked = {"out": tmp_path / "run", "settings": Settings(**SETTINGS), **RUN, "rehearse_on": text}
    text.write_bytes((run / "generic.jsonl").read_bytes())
    train(base, run / "data.jsonl", **asked)
    no_training()
    assert train(base, run / "data.jsonl", **asked).adapter.exists(), "the control"
    text.write_bytes((run / "other.jsonl").read_bytes())
    with pytest.raises(Trained):
        train(base, run / "data.jsonl", **asked)


def test_every_option_is_known_to_change_something_or_nothing():
    asked = set(inspect.signature(train).parameters)
    known = {*CHANGED, *ELSEWHERE, *NOTHING}
    assert not asked - known, (
        "a new option of train: does it change a stage? Put it into CHANGED, or say where it is tested"
    )
