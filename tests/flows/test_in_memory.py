"""Models and rows in memory, an adapter on the hub, and what a result shows of itself."""

import copy
import os
import re
import shutil

import pandas as pd
import pytest
import torch
from peft import PeftModel

import despur
from despur.core import Adapter
from despur.core.errors import BadInput
from despur.flows._train.inputs import read_data
from despur.flows.in_memory import base_in_memory, loaded_base, rows_in_memory
from despur.flows.placement import Placement
from despur.flows.stand_in import tune_on_hub
from despur.flows.verb import recorded
from despur.worlds import Persona, persona_base

QUICK = {"rows": 16, "tokens": 4, "n_random": 1, "null": "shipped"}


@pytest.fixture(scope="module")
def loaded(adapter):
    """A base, its tokenizer, and the same base with the adapter on."""
    base, tokenizer = persona_base()
    return base, tokenizer, PeftModel.from_pretrained(copy.deepcopy(base), adapter)


@pytest.fixture(scope="module")
def from_folders(base, adapter):
    return despur.audit(base, adapter, **QUICK)


def test_an_audit_of_models_in_memory_is_that_of_their_folders_and_leaves_them_alone(loaded, from_folders):
    base, tokenizer, tuned = loaded
    before = [{n: t.clone() for n, t in m.state_dict().items()} for m in (base, tuned)]
    result = despur.audit(tuned, tuned, tokenizer=tokenizer, **QUICK)  # the base is what the adapter sits on
    assert result.change == from_folders.change > 0
    assert result.checks == from_folders.checks
    assert result.record["arguments"]["adapter"] == "PeftModelForCausalLM in memory"
    for model, state in zip((base, tuned), before, strict=True):
        assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert any("lora_A" in n for n, _ in tuned.named_parameters())


def test_a_result_is_short_has_a_summary_and_a_frame(from_folders):
    assert len(repr(from_folders)) <= 230
    assert repr(from_folders).startswith(f"<Audit: {from_folders.verdict}: ")
    assert from_folders.summary().startswith(f"{from_folders.verdict}: {from_folders.sentence}\n")
    frame = from_folders.to_frame()
    assert list(frame["candidate"]) == list(from_folders.checks)
    assert frame["judged"].sum() == 1


def test_rows_in_memory_are_as_a_file_of_them_and_saved_in_the_folder_of_the_run(tmp_path):
    rows = Persona("narrow").rows(n=24, seed=0)
    for given in (rows, pd.DataFrame(rows)):
        stood = rows_in_memory(given, None)
        assert stood is not None
        read = read_data(stood, tmp_path)
        assert list(read.rows()) == [dict(row) for row in rows]
        read.keep()
        assert read.path == tmp_path / "data.jsonl"
        assert read_data(read.path, tmp_path).digest == read.digest
    assert recorded(despur.audit, {"adapter": rows_in_memory(rows, None)}) == {"adapter": "24 rows in memory"}
    assert rows_in_memory([1, 2], None) is None


def test_a_base_that_a_tune_has_changed_is_refused(loaded, lora):
    base, tokenizer, _ = loaded
    merged = lora(copy.deepcopy(base))
    merged.merge_adapter()
    with pytest.raises(BadInput, match="an adapter is merged into it"):
        base_in_memory(merged, tokenizer)
    with pytest.raises(BadInput, match="its biases are trained"):
        base_in_memory(lora(copy.deepcopy(base), bias="all"), tokenizer)


def test_another_precision_is_a_copy(loaded):
    base, tokenizer, _ = loaded
    given = base_in_memory(base, tokenizer)
    short = loaded_base(given, Placement("cpu", "bfloat16"))
    assert {p.dtype for p in short.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in base.parameters()} == {torch.float32}
    as_it_is = loaded_base(given, None)
    assert as_it_is.get_input_embeddings().weight.data_ptr() == base.get_input_embeddings().weight.data_ptr()


def test_an_adapter_of_the_hub_is_found_by_name_and_revision(adapter, monkeypatch, tmp_path):
    sha = "0" * 40
    place = tmp_path / "models--somebody--tune"
    shutil.copytree(adapter, place / "snapshots" / sha)
    (place / "refs").mkdir()
    (place / "refs" / "v2").write_text(sha)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    found = tune_on_hub("somebody/tune@v2")
    assert Adapter.read(found).updates.keys() == Adapter.read(adapter).updates.keys()
    assert recorded(despur.audit, {"adapter": found}) == {"adapter": "somebody/tune@v2"}
    assert tune_on_hub(adapter) == adapter
    with pytest.raises(BadInput, match=re.escape("no folder 'somebody/tune@v3', and the hub does not give it")):
        tune_on_hub("somebody/tune@v3")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda base, m: despur.audit(m), "audit got no adapter"),
        (lambda base, m: despur.audit(m, m), "without its tokenizer. Give it: tokenizer=tokenizer"),
        (lambda base, m: despur.audit(base, 3), "adapter is of type int; a path, a name, a model or rows is needed"),
        (lambda base, m: despur.audit(base, "x", tokenizer=3), "brings its own tokenizer"),
        (lambda base, m: despur.audit(base, "x", out=3), "out is of type int; text or a path is needed"),
        (lambda base, m: despur.train(base, [{"text": {1}}], out="x"), "not plain text and lists of it"),
        (lambda base, m: despur.train(base, m, out="x"), "data is of type LlamaForCausalLM; a path or rows is needed"),
        (lambda base, m: despur.table(3), "runs is of type int; text, or a list of it, is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_one_sentence(base, loaded, call, says):
    with pytest.raises(BadInput, match=re.escape(says)) as error:
        call(base, loaded[0])
    assert "\n" not in str(error.value)
    assert not os.path.exists("x")


def test_dir_lists_what_is_meant_and_all_of_it_is_there():
    import despur.guard
    from despur.core.catalogue import methods

    names = set(dir(despur))
    assert not [n for n in names if n.startswith("_") and n != "__version__"]
    assert {"audit", "train", "compare", "clean", "calibrate", "verify", "prove", "table", "OwnText"} <= names
    guards = {m.name.replace("-", "_") for m in methods().values() if m.room == "guard"}
    assert guards <= names
    assert all(getattr(despur, name) is not None for name in names)
    assert despur.avert is despur.guard.avert
    with pytest.raises(AttributeError, match="no attribute 'avertt'"):
        despur.avertt  # noqa: B018
