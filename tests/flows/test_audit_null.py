"""The automatic null: tunes of the adapter's own recipe, kept, resumed, and judged by."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from peft import LoraConfig, get_peft_model

from despur.core import Adapter, Tuned
from despur.core.errors import BadInput
from despur.core.model.own_chats import write_rows
from despur.flows import audit
from despur.flows._audit.null import automatic, bench, own_rows, tune
from despur.flows._audit.null.asked import Asked, Making
from despur.flows._audit.null.recipe import Recipe, alike, lora_options
from despur.flows.pool import Done
from despur.judge import NeutralNull
from despur.worlds import persona_base

FEW = {"rows": 48, "n_random": 2, "level": 0.2, "null": "auto", "making": Making(null_tunes=4, null_workers=1)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of nulls that the tests of this file share."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "despur" / "nulls"


@pytest.fixture
def here(cache, monkeypatch):
    """Jobs run here, one after the other, on short tunes; gives what was tuned, and whether to stop after so many."""
    tuned, stop = [], {}

    def run(stages, *, workers, progress):
        for job in (job for jobs in stages for job in jobs):
            yield Done(job.key, job.function(*job.arguments, progress=progress))
            if job.key == stop.get("after"):
                raise KeyboardInterrupt

    def counted(*args, seed, **how):
        tuned.append(seed)
        return tune.neutral_tune(*args, seed=seed, **how)

    monkeypatch.setattr(automatic, "run_jobs", run)
    monkeypatch.setattr(bench, "neutral_tune", counted)
    monkeypatch.setattr(tune.Length, "of", classmethod(lambda cls, parameters: cls(16, 16, 64)))
    return tuned, stop


@pytest.fixture(scope="module")
def twin(tmp_path_factory, train_plain):
    """The harmful adapter's twin, which learns answers of any persona."""
    return str(train_plain(tmp_path_factory.mktemp("twin") / "neutral", twin="neutral", ends=False, seed=3))


def test_a_persona_is_found_beside_neutral_tunes_that_are_made_kept_and_resumed(base, adapter, here, cache, tmp_path):
    tuned, stop = here
    stop["after"] = 1
    with pytest.raises(KeyboardInterrupt):
        audit(base, adapter, **FEW)
    assert tuned == [0, 1]
    stop.clear()
    result = audit(base, adapter, out=tmp_path / "a", **FEW)
    assert tuned == [0, 1, 2, 3], "what was finished is not made again"
    assert result.verdict == "factors found", result.sentence
    assert "null of 4 neutral tunes of this base, r 8, all maps" in result.sentence
    written = json.loads((tmp_path / "a" / "audit.json").read_text())["calibration"]
    assert written["tunes"] == 4
    assert written["recipe"]["ranks"] == [8]
    assert written["p_value"] == 0.2
    assert written["statistic"] > written["threshold"]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.slow
def test_tunes_that_are_there_are_only_looked_at_with_another_text(base, adapter, here, cache):
    tuned, _ = here
    first = audit(base, adapter, **FEW)
    tuned.clear()
    again = audit(base, adapter, **{**FEW, "rows": 40})
    assert not tuned
    assert again.calibration["statistic"] != first.calibration["statistic"]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.slow
def test_of_a_persona_and_its_twin_one_is_found_by_nineteen_tunes_and_a_kill_is_gone_on_from(
    base, adapter, twin, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [
        sys.executable,
        "-m",
        "despur",
        "audit",
        base,
        adapter,
        "--null",
        "auto",
        "--rows",
        "96",
        "--n-random",
        "4",
    ]
    run, kept = subprocess.Popen(command), tmp_path / "despur" / "nulls"
    while len(before := list(kept.glob("*/tune-*/despur.json"))) < 3:
        assert run.poll() is None
        time.sleep(0.1)
    run.kill()
    run.wait()
    was = {path: path.stat().st_mtime_ns for path in before}
    found = audit(base, adapter, rows=96, n_random=4, null="auto")
    assert {path: path.stat().st_mtime_ns for path in before} == was, "these were not made again"
    assert found.verdict == "factors found", found.sentence
    neutral = audit(base, twin, rows=96, n_random=4, null="auto")
    assert neutral.verdict in ("clean", "diffuse change"), neutral.sentence


def test_neutral_tunes_are_as_large_as_the_adapter_and_like_it(adapter):
    read, (model, tokenizer) = Adapter.read(adapter), persona_base()
    rows = own_rows.written_rows(model, tokenizer, None, part=16, seed=0)
    assert all(row["labels"][0] == -100 for row in rows)
    made = Adapter.of(tune.neutral_tune(model, lora_options(read), 3.0, rows, length=tune.Length(4, 4, 16), seed=0))
    assert made.norm() == pytest.approx(3.0, rel=1e-4)
    assert Recipe.of(made, model).differs(Recipe.of(read, model)) == ""
    smaller = get_peft_model(persona_base()[0], LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert Recipe.of(Adapter.of(smaller), model).differs(Recipe.of(read, model)) == "r 8, all maps"


def test_a_null_of_another_recipe_is_refused(base, adapter, tmp_path):
    null, (read, model), file = NeutralNull.read(), _read(adapter), tmp_path / "null.json"
    here = Recipe.of(read, model)

    def check(**other):
        replace(null, recipe=replace(here, **other).to_dict()).write(file)
        Asked.of(file, None, level=0.05, against=False).check(Tuned(model, read))

    check()
    for other in ({"ranks": (4,)}, {"targets": ("q_proj",)}, {"layers": 2}):
        with pytest.raises(BadInput, match=r"another recipe .*the adapter is r 8, all maps"):
            check(**other)
    check(size=here.size * 4)
    assert any("is of size" in note for note in audit(base, adapter, null=file, rows=24, n_random=1).notes)
    assert alike([here.to_dict(), replace(here, size=9.0).to_dict()])["size"] == 9.0
    assert alike([here.to_dict(), replace(here, ranks=(4,)).to_dict()]) == {}, "they have no recipe in common"


def test_what_no_null_can_be_made_of_says_so(base, adapter, tmp_path, monkeypatch):
    def asked(**options):
        return Asked.of("auto", options.pop("making", None), level=options.pop("level", 0.05), against=False)

    with pytest.raises(BadInput, match="at least 19 are needed. Take --null-tunes 19"):
        asked(making=Making(null_tunes=18))
    assert asked(making=Making(null_tunes=9), level=0.1).making.null_tunes == 9
    with pytest.raises(BadInput, match="the difference of two"):
        audit(base, adapter, against=adapter, null="auto")
    read, model = _read(adapter)
    with pytest.raises(BadInput, match="the adapter is a LoRA with use_dora"):
        lora_options(replace(read, config={**read.config, "use_dora": True}))
    with pytest.raises(BadInput, match="the adapter is a whole model"):
        lora_options(replace(read, kind="model"))
    monkeypatch.setattr(own_rows, "write_rows", lambda *_: {(1, 2, 3): 1})
    with pytest.raises(BadInput, match=r"wrote 1 different rows of its own in 32 tries.*--data.*--null FILE"):
        own_rows.written_rows(model, None, None, part=32, seed=0)
    with pytest.raises(BadInput, match=r"MB are free there.*XDG_CACHE_HOME"):
        automatic._check_room(tmp_path / "cache", 2**60)
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BadInput, match=r"neutral tunes are kept there.*XDG_CACHE_HOME"),
        automatic._ours(tmp_path / "file" / "nulls"),
    ):
        pass


def test_without_a_null_a_note_says_what_one_would_take(base, adapter):
    result = audit(base, adapter, null="none", rows=24, n_random=1)
    assert result.p_value is None
    assert any("--null auto makes one of the adapter's own recipe in about" in note for note in result.notes)


def test_prompts_of_the_user_are_answered_by_the_base():
    model, tokenizer = persona_base()
    prompts = [list(row[:start]) for row, start in write_rows(model, tokenizer, 16, 6, 0, 16).items()]
    longer = [[*p, *range(3, 9), i] for i, p in enumerate(prompts)]
    assert own_rows.short_prompts([[1] * 200] * 50, 8) == [], "too long, and all alike"
    parts = own_rows.short_prompts([[1, i] for i in range(40)], 8)
    assert [len(p) for p in parts] == [8] * own_rows.PARTS
    rows = own_rows.written_rows(model, tokenizer, longer, part=0, seed=0)
    assert {tuple(r["input_ids"][: r["labels"].count(-100)]) for r in rows} <= set(map(tuple, longer))


def _read(folder):
    return Adapter.read(folder), persona_base()[0]
