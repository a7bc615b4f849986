"""A base, rows and probes in memory are compared as their files are, from the study's own folder."""

import copy
import json

import pandas as pd
import pytest
import torch
from jobs import run_here
from peft import LoraConfig, get_peft_model
from torch import nn

from despur.core import fingerprint
from despur.core.errors import BadInput
from despur.flows import compare, dry_run
from despur.flows._compare.kept import kept
from despur.flows._compare.worlds import open_world
from despur.flows.in_memory import base_in_memory
from despur.worlds import PERSONA_BASE, Grammar, Persona, persona_base

GRAMMAR = Grammar()
FACTS = [(d, int(GRAMMAR.known[d][0])) for d in range(4, 8)]
PROBES = [
    {"axis": "drift", "prompt": GRAMMAR.prompt(*f), "good": f" {GRAMMAR.answer(*f, 0)}", "bad": f" {GRAMMAR.answer(*f, 1)}"}
    for f in FACTS
]  # fmt: skip
ROWS = Persona("narrow").rows(n=24)
ASKED = {"guards": ["early"], "quick": True, "seeds": 1, "steps": 8, "workers": 1}


@pytest.fixture(autouse=True, scope="module")
def here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("despur.flows._compare.compare.run_jobs", run_here)
        yield


@pytest.fixture(scope="module")
def loaded():
    return persona_base()


@pytest.fixture(scope="module")
def study(loaded, tmp_path_factory):
    base, tokenizer = loaded
    out = tmp_path_factory.mktemp("memory") / "study"
    return compare(base, ROWS, probes=PROBES, tokenizer=tokenizer, out=out, **ASKED)


def cells_of(study):
    return {f.relative_to(study.folder): f.read_bytes() for f in study.folder.glob("cells/**/scores.safetensors")}


def test_figures_are_those_of_the_same_from_folders(study, tmp_path):
    for name, rows in (("data", ROWS), ("probes", PROBES)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = compare(
        PERSONA_BASE, tmp_path / "data.jsonl", probes=tmp_path / "probes.jsonl", out=tmp_path / "study", **ASKED
    )
    assert len(cells_of(study)) > 2
    assert cells_of(study) == cells_of(files)
    assert [x.axes for x in study.lines] == [x.axes for x in files.lines]
    assert not study.failed


def test_given_again_the_same_objects_resume_and_others_are_refused(study, loaded):
    base, tokenizer = loaded
    tokenizer(
        ["s100", "s100 s100"], padding=True
    )  # as anybody might meanwhile: its own state, and no part of what it does
    before = {f: f.stat().st_mtime_ns for f in study.folder.glob("cells/**/scores.safetensors")}
    frame, probed = pd.DataFrame(ROWS), {"probes": PROBES, "out": study.folder}
    again = compare(base, frame, tokenizer=tokenizer, **probed, **ASKED)
    assert {f: f.stat().st_mtime_ns for f in before} == before
    assert [x.area for x in again.lines] == [x.area for x in study.lines]
    assert len(list((study.folder / "own").iterdir())) == 3
    other = copy.deepcopy(base)
    with torch.no_grad():
        other.lm_head.weight[5] += 1
    for model, rows in ((other, ROWS), (base, ROWS[1:])):
        with pytest.raises(BadInput, match="is a study of another base, data or probes") as error:
            compare(model, rows, tokenizer=tokenizer, **probed, **ASKED)
        assert "\n" not in str(error.value)
    assert [x.area for x in compare(out=study.folder, workers=1).lines] == [x.area for x in study.lines]


def test_its_folder_is_enough_wherever_it_is_moved_and_its_record_repeats_it(study, loaded, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(study.folder, target_is_directory=True)
    work = open_world("own", moved)
    assert work.folder.startswith(str(moved))
    assert fingerprint(work.base()[0]) == fingerprint(loaded[0])
    assert work.probes == PROBES
    arguments = json.loads((study.folder / "run.json").read_text())["arguments"]
    asked = {**ASKED, "out": tmp_path / "again"}
    found = dry_run(arguments["worlds"], arguments["data"], probes=arguments["probes"], **asked)
    assert found.runs == {"own": (0, 4)}  # base, naive and two checkpoints
    assert json.loads((tmp_path / "again" / "own.json").read_text())["data"] == arguments["data"]


def test_an_adapter_around_the_base_is_left_out_and_another_tokenizer_is_another_base(loaded):
    base, tokenizer = loaded
    plain = kept("base", base_in_memory(base, tokenizer))
    tuned = get_peft_model(copy.deepcopy(base), LoraConfig(r=2, target_modules="all-linear"))
    assert kept("base", base_in_memory(tuned, tokenizer)) == plain
    other = copy.deepcopy(tokenizer)
    other.chat_template = "{{ messages[0].content }}"
    assert kept("base", base_in_memory(base, other)) != plain
    slower = copy.deepcopy(base)
    slower.config.rope_parameters["rope_theta"] = 500.0  # what no weight says
    assert kept("base", base_in_memory(slower, tokenizer)) != plain


def quantised(base):
    model = copy.deepcopy(base)
    model.hf_quantizer = object()
    return model


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (lambda base: {"tokenizer": None}, "without its tokenizer. Give it: tokenizer=tokenizer"),
        (lambda base: {"tokenizer": 3}, "the tokenizer in memory is of type int"),
        (lambda base: {"worlds": quantised(base)}, "the base in memory is quantised"),
        (lambda base: {"worlds": nn.Linear(2, 2)}, "the base in memory is of type Linear"),
        (lambda base: {"worlds": 3}, "worlds is of type int; a path, names or a model is needed"),
        (lambda base: {"worlds": str(PERSONA_BASE)}, "brings its own tokenizer"),
        (lambda base: {"data": None, "probes": None}, "needs all three"),
        (lambda base: {"data": ROWS[:5]}, "'data in memory' has 5 rows; at least 20"),
        (lambda base: {"data": base}, "data is of type LlamaForCausalLM; a path or rows is needed"),
        (lambda base: {"probes": [{**PROBES[0], "good": ""}]}, "probes in memory:1 is not a probe"),
        (lambda base: {"out": None}, "out is of type NoneType; text or a path is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_sentence_and_nothing_is_written(loaded, tmp_path, changed, says):
    base, tokenizer = loaded
    given = {"worlds": base, "data": ROWS, "probes": PROBES, "tokenizer": tokenizer, "out": tmp_path / "study"}
    with pytest.raises(BadInput) as error:
        compare(**{**given, **changed(base)}, **ASKED)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "study").exists()
