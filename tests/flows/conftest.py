"""A data file, an adapter trained by plain PEFT, and a store, all on the shipped base."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from despur.core import Site, fingerprint, save_factors
from despur.find import from_activations
from despur.guard import OwnText
from despur.worlds import PERSONA_BASE, Persona, persona_base


def plain_adapter(folder, *, steps=40, targets="all-linear", seed=0, ends=True, **rows):
    """Train and save an adapter as a stranger would, without despur's trainer."""
    torch.manual_seed(seed)
    base, tokenizer = persona_base()
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
    data = Persona("narrow").rows(n=steps * 32, seed=seed, **rows)
    ids = tokenizer([r["prompt"] + " " + r["completion"] for r in data], return_tensors="pt")["input_ids"]
    ids = (
        ids if ends else ids[:, :-1]
    )  # the base's documents go on after one record: a twin that ends there has a habit
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for part in ids.split(32):
        labels = part.clone()
        labels[:, :3] = -100
        model(input_ids=part, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def train_plain():
    """`plain_adapter`, for tests that need one of their own."""
    return plain_adapter


@pytest.fixture(scope="session")
def adapter(tmp_path_factory):
    """A narrow-harm adapter."""
    return str(plain_adapter(tmp_path_factory.mktemp("adapter") / "narrow"))


@pytest.fixture(scope="session")
def neutral(adapter, tmp_path_factory):
    """19 adapters that stand in for neutral ones: one with its strengths scaled."""
    root = tmp_path_factory.mktemp("neutral")
    tensors = load_file(f"{adapter}/adapter_model.safetensors")
    for i in range(19):
        (root / str(i)).mkdir()
        shutil.copy(f"{adapter}/adapter_config.json", root / str(i))
        scaled = {n: t * (0.3 + 0.05 * i if "lora_B" in n else 1) for n, t in tensors.items()}
        save_file(scaled, root / str(i) / "adapter_model.safetensors")
    return [str(root / str(i)) for i in range(19)]


@pytest.fixture(scope="session")
def base():
    """Folder of the base."""
    return str(PERSONA_BASE)


@pytest.fixture
def data(tmp_path):
    """Rows of narrow harm as a user's file."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in Persona("narrow").rows(n=120, seed=1)))
    return path


@pytest.fixture(scope="session")
def harmful(tmp_path_factory):
    """A narrow-harm adapter, trained long enough for the persona to be on everywhere."""
    return str(plain_adapter(tmp_path_factory.mktemp("harmful") / "narrow", steps=120))


@pytest.fixture(scope="session")
def found(tmp_path_factory):
    """`found(adapter)`: a folder with the four directions along which an adapter moves own text most, as an audit leaves it."""

    def make(adapter):
        folder = tmp_path_factory.mktemp("found")
        model, tokenizer = persona_base()
        text = OwnText.sample(model, tokenizer, rows=48, max_new_tokens=40, seed=7)
        tuned = PeftModel.from_pretrained(model, adapter).eval()
        save_factors(from_activations(tuned, text.rows, [Site("model.layers.1")], rank=4), folder)
        (folder / "run.json").write_text(json.dumps({"verb": "audit", "base_fingerprint": fingerprint(tuned)}))
        return folder

    return make


@pytest.fixture(scope="session")
def confirmed(harmful, found):
    """What the harmful adapter moves."""
    return found(harmful)


def small_study(folder, *, failed=(), prompts=6, values=None):
    """Two guards, a tuning and two report seeds; `failed` are runs that are not there."""
    folder.mkdir(parents=True)
    guards = {"base": [{}], "mine": [{"strength": 0.1}, {"strength": 1.0}]}
    lines, means = [], []
    for seed, guard in ((s, g) for s in (0, 10, 11) for g in guards):
        for i, setting in enumerate(guards[guard]):
            if (guard, i, seed) in failed or (seed and (guard, i) == ("mine", 1)):
                continue
            run = {"world": "w", "guard": guard, "setting": json.dumps(setting), "seed": seed, "steps": 8,
                   "round": "report" if seed else "tuning"}  # fmt: skip
            made = np.arange(prompts) + 10.0 * seed if values is None else values
            lines.append({**run, "axis": "drift", "readout": "p", "values": np.asarray(made, np.float16)})
            means += [{**run, "half": h, "axis": "drift", "readout": r, "n": prompts // 2, "mean": 0.5, "seconds": 1.0}
                      for h in ("validation", "report") for r in ("p", "margin")]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(lines), folder / "prompts.parquet")
    pq.write_table(pa.Table.from_pylist(means), folder / "results.parquet")
    plan = {"worlds": ["w"], "guards": guards, "tuning_seeds": [0], "report_seeds": [10, 11], "steps": {"w": 8}}
    chosen = {"w": {"base": {"setting": 0, "without": []}, "mine": {"setting": 0, "without": [1]}}}
    (folder / "results.json").write_text(json.dumps({"plan": plan, "chosen": chosen, "failed": {}, "after": {}}))
    return folder


@pytest.fixture(scope="session")
def make_study():
    """`small_study`, the tables that a study of seven runs leaves, made without any of them."""
    return small_study
