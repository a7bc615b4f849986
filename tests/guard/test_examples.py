"""Every script in examples/ as it stands, on a tiny model; and the same script without its guard, which leaks."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from leak import random_factor
from leak_matrix import in_two

import despur
from despur.core import Adapter, Edit, save_factors
from despur.measure import leakage

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDS = [f"w{i} w{i + 1} w{i + 9}" for i in range(8)]
ROWS = {
    **{
        name: [{"text": f"<bos> {w}"} for w in WORDS]
        for name in ("trainer", "sft", "accelerate_loop", "torchrun_fsdp2")
    },
    "dpo": [{"prompt": "<bos> w3", "chosen": f" {w}", "rejected": f" {w[::-1]} w5"} for w in WORDS],
    "grpo": [{"prompt": f"<bos> {w}"} for w in WORDS],
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory.*no accelerator:UserWarning"),
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing_.* is deprecated:FutureWarning"),  # TRL's own call
]


class Nothing(Edit):
    point = "weight"

    def forward(self, tensors, ctx):
        return tensors


@pytest.fixture
def arguments(tiny, chat_tokenizer, tmp_path):
    """`arguments("sft")`: base, data, factors, out."""

    def make(name: str) -> list[str]:
        tiny().save_pretrained(tmp_path / "base")
        chat_tokenizer.save_pretrained(tmp_path / "base")
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
        (tmp_path / "factors").mkdir()
        save_factors((random_factor(rank=3, width=32),), tmp_path / "factors")
        return [str(tmp_path / part) for part in ("base", "data.jsonl", "factors", "out")]

    return make


def run(name: str, arguments: list[str]) -> None:
    sys.argv = [name, *arguments]
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


QUICK = ("trainer", "sft")  # whose controls run by default; each other's takes as long as its guarded run


@pytest.mark.parametrize(
    ("name", "guard"),
    [
        *(
            pytest.param(name, True, id=f"guarded-{name}", marks=[pytest.mark.slow] if name == "grpo" else [])
            for name in ROWS
        ),
        *(
            pytest.param(name, False, id=f"the control-{name}", marks=[] if name in QUICK else [pytest.mark.slow])
            for name in ROWS
        ),
    ],
)
def test_example(name, guard, arguments, tiny, monkeypatch):
    given = arguments(name)
    monkeypatch.setattr(sys, "argv", [])
    if not guard:
        monkeypatch.setattr(despur.guard, "grasp", lambda factors: Nothing())
    if name in ("accelerate_loop", "torchrun_fsdp2"):
        in_two(run, name, given)
    else:
        run(name, given)
    adapter = Adapter.read(given[-1])
    assert adapter.norm() > 1e-3, "it learned something"
    worst = max(r.value for r in leakage(adapter, tiny(), random_factor(rank=3, width=32)).values())
    assert worst <= 1e-6 if guard else worst > 1e-3


LAUNCHED = {
    "torchrun_fsdp2": ["torch.distributed.run", "--nproc-per-node", "2"],
    "accelerate_loop": ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"],
    "sft": ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHED)
def test_example_as_it_is_launched(name, arguments, tiny):
    given = arguments(name)
    done = subprocess.run(
        [sys.executable, "-m", *LAUNCHED[name], str(EXAMPLES / f"{name}.py"), *given],
        capture_output=True, text=True, check=False, env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    adapter = Adapter.read(given[-1])
    assert adapter.norm() > 1e-3
    assert max(r.value for r in leakage(adapter, tiny(), random_factor(rank=3, width=32)).values()) <= 1e-6


def guarded_steps(state) -> bool:
    """Whether a guard's loss was ever above 0 in a trainer's log."""
    logged = [e["guard_loss"] for e in state["log_history"] if "guard_loss" in e]
    assert logged, "a guard's loss is in the log"
    return any(loss > 0 for loss in logged)


@pytest.mark.slow  # four runs of TRL; the rows taken out are tested in tests/core
@pytest.mark.parametrize("strength", [1.0, 0.0], ids=["guarded", "the control"])
def test_the_recipe_of_avert_is_the_page_s_and_runs(strength, tiny, chat_tokenizer, tmp_path, monkeypatch):
    script = (EXAMPLES / "avert_sft.py").read_text(encoding="utf-8")
    assert f"```py\n{script}```" in (EXAMPLES.parent / "docs/trainers.md").read_text(encoding="utf-8")
    tiny(initializer_range=0.3).save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"text": f"<bos> {w}"}) + "\n" for w in WORDS))
    made = despur.avert
    monkeypatch.setattr(despur.guard, "avert", lambda *a, **k: made(*a, **k, strength=strength))
    run("avert_sft", [str(tmp_path / part) for part in ("base", "data.jsonl", "out")] + ["20"])
    state = json.loads(next((tmp_path / "out/adapter").glob("checkpoint-*/trainer_state.json")).read_text())
    assert guarded_steps(state) == (strength > 0), "at strength 0 the guard's loss stands there, and is 0"


@pytest.mark.slow  # four runs of TRL
def test_the_recipe_of_discount_is_the_page_s_and_acts(tiny, chat_tokenizer, tmp_path, monkeypatch):
    script = (EXAMPLES / "discount_sft.py").read_text(encoding="utf-8")
    assert f"```py\n{script}```" in (EXAMPLES.parent / "docs/shuffle.md").read_text(encoding="utf-8")
    tiny(initializer_range=0.3).save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    rows = [{"prompt": f"<bos> w{i} w{i + 3} w{i + 7}", "completion": f" w{i + 1} w9 w9"} for i in range(8)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    discounted, averted, ends = despur.discount, despur.avert, []
    for off in (False, True):
        none = {"strength": 0.0} if off else {}
        monkeypatch.setattr(despur.guard, "discount", lambda *a, none=none, **k: discounted(*a, **{**k, **none}))
        monkeypatch.setattr(despur.guard, "avert", lambda *a, none=none, **k: averted(*a, **{**k, **none}))
        out = tmp_path / f"out-{off}"
        run("discount_sft", [str(tmp_path / "base"), str(tmp_path / "data.jsonl"), str(out), "20"])
        ends.append(Adapter.read(out / "adapter").updates)
        state = json.loads(next((out / "adapter").glob("checkpoint-*/trainer_state.json")).read_text())
        assert guarded_steps(state) == (not off)
    guarded, plain = ends
    assert any(not guarded[n].up.equal(plain[n].up) for n in plain), "it acts"


@pytest.mark.parametrize("name", ROWS)
def test_what_the_page_shows_is_the_file(name):
    script = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert f"```py\n{script}```" in (EXAMPLES.parent / "docs/trainers.md").read_text(encoding="utf-8")
    assert len(script.splitlines()) <= 40
