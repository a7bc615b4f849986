"""Bases, row files, templates, audits' JSON and studies, mutated: a result or one sentence, in time, and nothing is changed."""

import contextlib
import copy
import gzip
import io
import json
import math
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from in_time import in_time, listing

from despur.core import read_json
from despur.core.errors import DespurError
from despur.core.text.rows import read_rows, tokenize_rows
from despur.flows._compare.compare import judge_again
from despur.flows._library.factor_folder import read_factors
from despur.flows._replay import replay
from despur.flows.load import load_base
from despur.judge import NeutralNull
from despur.judge.neutral import SHIPPED
from despur.worlds import PERSONA_BASE, persona_base

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
ODD = [
    None, True, -1, 0, 1e308, 10**30, "", "x", "\u202e\x1b]0;x\x07", "a" * 5000, "../../etc/passwd", "/dev/zero", "[/bold]", "{{ 1/0 }}",
    [], {}, [[]], {"": {}}, [1, "a", None], "\ud800", "nan", 1.5,
]  # fmt: skip


def attempt(work, folder, kind):
    """Do it: what comes is a result, or one sentence of ours."""
    before = listing(folder)
    with in_time(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            work()
            event(f"{kind}: read")
        except DespurError as error:
            text = str(error)
            assert "\n" not in text, text
            assert len(text) < 6000
            event(f"{kind}: {type(error).__name__}")
    assert listing(folder) == before


def change(draw, value):
    """One change somewhere in a value of JSON."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        kind = draw(st.sampled_from(["in", "in", "in", "drop", "odd", "rename"]))
        rest = {k: v for k, v in value.items() if k != key}
        if kind == "drop":
            return rest
        if kind == "rename":
            return {**rest, draw(st.sampled_from(["", "x", "__class__", key.upper()])): value[key]}
        return {**value, key: draw(st.sampled_from(ODD)) if kind == "odd" else change(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        i = draw(st.integers(0, len(value) - 1))
        return [*value[:i], *([] if draw(st.booleans()) else [change(draw, value[i])]), *value[i + 1 :]]
    return draw(st.sampled_from(ODD))


def change_raw(draw, raw):
    at = draw(st.integers(0, max(0, len(raw) - 1)))
    return draw(st.sampled_from([
        raw[:at], raw[at:], raw[:at] + bytes([draw(st.integers(0, 255))]) + raw[at + 1 :], b"", b"\xff\xfe" + raw, b"[" * 5000, raw + raw,
        b"\0" * len(raw), gzip.compress(raw)[: max(3, at)], b"PAR1" + raw,
    ]))  # fmt: skip


def changed_json(draw, value):
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        value = change(draw, value)
    raw = json.dumps(value).encode("utf-8", "surrogatepass")
    return change_raw(draw, raw) if draw(st.integers(0, 5)) == 0 else raw


@pytest.fixture(scope="module")
def sound():
    _, tokenizer = persona_base()
    files = {p.name: p.read_bytes() for p in Path(PERSONA_BASE).iterdir() if p.is_file()}
    return tokenizer, files, json.loads(SHIPPED.read_bytes())


ROWS = [
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "d1"}, {"role": "assistant", "content": "v1"}]},
    {"prompt": "<bos> s1 d1", "completion": "v1"}, {"text": "<bos> s1 d1 v1"},
]  # fmt: skip
TEMPLATE = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
PIECES = [
    "{{ raise_exception('no') }}", "{{ 1/0 }}", "{% for i in range(10**3) %}x{% endfor %}", "{{ messages.__class__.__mro__ }}",
    "{{ ''.__class__ }}",
    "{{ messages[9].x.y }}", "{% if %}", "{{", "{# ", "{{ messages | tojson }}", "{{ namespace(x=1).x }}", "{{ strftime_now('%Y') }}",
    "{% generation %}x{% endgeneration %}", "{{ cycler.__init__.__globals__ }}", "{{ messages[0]['content'].format(x=1) }}", "\x1b]0;x\x07",
    "{{ undefined_name }}",
]  # fmt: skip


def rows_case(draw, folder, sound):
    tokenizer = sound[0]
    lines = [json.dumps(row) for row in ROWS for _ in range(2)]
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        i = draw(st.integers(0, len(lines) - 1))
        lines[i] = json.dumps(change(draw, json.loads(lines[i]))) if lines[i].startswith("{") else lines[i]
    raw = "\n".join(lines).encode("utf-8", "surrogatepass")
    raw = change_raw(draw, raw) if draw(st.integers(0, 2)) == 0 else raw
    path = folder / draw(st.sampled_from(["d.jsonl", "d.jsonl.gz", "d.parquet", "d"]))
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" and draw(st.booleans()) else raw)
    answers = draw(st.booleans())

    def work():
        rows = read_rows(path, answers=answers)
        if answers and not any("messages" in r for r in rows):
            tokenize_rows(rows, tokenizer, max_length=64)

    return work


def templates_case(draw, folder, sound):
    tokenizer = copy.deepcopy(sound[0])
    template = TEMPLATE
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(template)))
        template = template[:at] + draw(st.sampled_from(PIECES)) + template[draw(st.integers(at, len(template))) :]
    tokenizer.chat_template = template
    return lambda: tokenize_rows(ROWS[:1], tokenizer, max_length=64)


def bases_case(draw, folder, sound):
    files = sound[1]
    name = draw(st.sampled_from(sorted(files)))
    for key, raw in files.items():
        if key == name and key.endswith(".json"):
            raw = changed_json(draw, json.loads(raw))
        elif key == name:
            raw = change_raw(draw, raw)
        (folder / key).write_bytes(raw)
    if draw(st.integers(0, 9)) == 0:
        (folder / name).unlink()
    return lambda: load_base(str(folder))


def audits_case(draw, folder, sound):
    null = sound[2]
    kind = draw(st.sampled_from(["null", "run", "factors"]))
    if kind == "null":
        small = {**null, "changes": null["changes"][:20], "evidence": {k: v[:20] for k, v in null["evidence"].items()}}
        (folder / "null.json").write_bytes(changed_json(draw, small))
        return lambda: NeutralNull.read(folder / "null.json").p_value(0.1, {"mean": 0.5})
    if kind == "run":
        asked = {
            "base": "no-base/",
            "adapter": "no-adapter/",
            "rows": 8,
            "level": 0.05,
            "scaled": False,
            "prompts": None,
        }
        record = {"verb": "audit", "arguments": asked, "versions": {}, "python": "3"}
        (folder / "run.json").write_bytes(changed_json(draw, record))

        def again():
            with contextlib.suppress(FileNotFoundError):
                replay(folder / "run.json", out=folder / "again")

        return again
    meta = [{"module": "model.layers.1", "side": "out", "rank": 1, "width": 4, "evidence": {"method": "x"}}]
    (folder / "factors.json").write_bytes(changed_json(draw, meta))
    for name in ("audit.json", "run.json", "despur.json", "entry.json"):
        (folder / name).write_bytes(changed_json(draw, {"verdict": "clean", "base_fingerprint": "1" * 16}))
    return lambda: read_factors(folder)


PLAN = {}


def studies_case(draw, folder, sound):
    import yaml

    from despur.flows._compare.plan import register

    if not PLAN:
        PLAN.update(
            json.loads(
                json.dumps(register(["persona"], root=folder, guards=["rehearse"], quick=True, steps=20).to_dict())
            )
        )
    plan = copy.deepcopy(PLAN)
    if draw(st.booleans()):
        plan = change(draw, plan)
    raw = yaml.safe_dump(plan, allow_unicode=True).encode("utf-8", "surrogatepass")
    (folder / "prereg.yaml").write_bytes(change_raw(draw, raw) if draw(st.integers(0, 4)) == 0 else raw)
    choice = {"setting": 0, "area": None, "accepted": True, "reason": "", "screened": "", "without": []}
    files = {
        "chosen.json": {"persona": dict.fromkeys(PLAN["guards"], choice)},
        "failures.json": {"persona rehearse #10": "why"}, "run.json": {"verb": "compare", "arguments": {"worlds": ["persona"]}},
        "own.json": {"base": "b", "data": "d", "probes": "p"},
    }  # fmt: skip
    for name, value in files.items():
        if draw(st.booleans()):
            (folder / name).write_bytes(
                changed_json(draw, value) if draw(st.booleans()) else json.dumps(value).encode()
            )
    copy_of = folder.parent / "copy"
    shutil.copytree(folder, copy_of)  # a report writes its page

    def work():
        try:
            judge_again(copy_of)
        finally:
            shutil.rmtree(copy_of)

    return work


KINDS = {
    "rows": rows_case,
    "templates": templates_case,
    "bases": bases_case,
    "audits": audits_case,
    "studies": studies_case,
}


def one_case(data, kind, sound):
    root = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        folder = root / "in"
        folder.mkdir()
        attempt(KINDS[kind](data.draw, folder, sound), folder, kind)
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_mutated_inputs_give_a_result_or_one_sentence(kind, data, sound):
    one_case(data, kind, sound)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=2000, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_many_mutated_inputs_give_a_result_or_one_sentence(kind, data, sound):
    one_case(data, kind, sound)


def test_sound_inputs_are_read(sound, tmp_path):
    tokenizer = sound[0]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    assert len(read_rows(tmp_path / "d.jsonl")) == 3
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = TEMPLATE
    assert tokenize_rows(ROWS[:1], tokenizer, max_length=64)
    assert load_base(str(PERSONA_BASE))
    assert math.isfinite(NeutralNull.read().p_value(0.1, {"mean": 0.5}))
    assert read_json(Path(PERSONA_BASE) / "config.json")
