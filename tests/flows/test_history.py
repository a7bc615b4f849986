"""Evaluations while training: what they measure, that they change nothing, and when they end a run."""

import json

import pytest
import torch
from peft import PeftModel

from despur.core import read_json
from despur.core.errors import BadInput
from despur.core.text.rows import read_rows, tokenize_rows
from despur.core.text.token_rows import TokenRows
from despur.flows import Settings, train
from despur.flows._train.fit import fit
from despur.flows._train.history import figures_of
from despur.flows._train.start import split
from despur.flows.text_files import load_text
from despur.worlds import Persona, persona_base

QUICK = Settings(steps=7, lr=2e-3, rank=4)
GIVEN = {"settings": QUICK, "scout_steps": 4, "own_rows": 16, "own_tokens": 8}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in Persona("narrow").rows(n=60, seed=1)))
    return path


@pytest.fixture(scope="module")
def run(base, rows, tmp_path_factory):
    """A finished run with evaluations, and what its progress showed."""
    out, shown = tmp_path_factory.mktemp("course") / "run", []
    train(base, rows, out=out, **GIVEN, eval_every=3, save_every=2, progress=lambda *said: shown.append(said))
    return out, shown


def test_every_stage_has_its_curve_in_file_report_and_progress(run):
    out, shown = run
    history = read_json(out / "history.json")
    assert [[e["step"] for e in history[s]["evaluated"]] for s in ("scout", "adapter")] == [[0, 3, 4], [0, 3, 6, 7]]
    start, *_, end = history["adapter"]["evaluated"]
    assert (start["drift_kl"], start) == (0, history["scout"]["evaluated"][0])
    assert end["held_out_loss"] < start["held_out_loss"] - 0.1
    page = (out / "report.html").read_text()
    assert "The change off-task while training" in page
    assert "held-out" in page
    last = next(figures for stage, step, _, figures in shown if (stage, step) == ("adapter", 7))
    assert last["held out loss"] == end["held_out_loss"]


def test_the_last_evaluation_is_what_the_saved_adapter_measures(base, rows, run):
    out, _ = run
    model, tokenizer = persona_base()
    _, held_out = split(TokenRows.of(tokenize_rows(read_rows(rows), tokenizer, max_length=128)), QUICK.seed)
    figures = figures_of(PeftModel.from_pretrained(model, out / "adapter"), held_out, load_text(out / "fresh_text"))
    end = read_json(out / "history.json")["adapter"]["evaluated"][-1]
    assert figures == {k: pytest.approx(end[k], rel=1e-5) for k in figures}


@pytest.mark.slow  # of a kind with faster ones
def test_without_evaluations_there_is_no_history_and_the_very_same_adapter(base, rows, run, tmp_path):
    train(base, rows, out=tmp_path / "run", **GIVEN)
    assert not (tmp_path / "run/history.json").exists()
    assert "while training" not in (tmp_path / "run/report.html").read_text()
    one, other = ((out / "adapter/adapter_model.safetensors").read_bytes() for out in (run[0], tmp_path / "run"))
    assert one == other


def trained(model):
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("losses", "patience", "steps", "best"),
    [
        ([3, 2, 1, 2, 2, 9], 2, 5, 3),
        ([3, 2, 2, 2, 9, 9], 2, 4, 2),  # as good is no better, and the first of equals is taken
        ([1, 2, 3, 4, 5, 6], 9, 6, 1),  # it never ended early, and the best is taken all the same
        ([3, 2, 1, 2, 2, 9], 0, 6, None),
    ],
)
def test_patience_ends_the_run_and_puts_the_best_back(losses, patience, steps, best, tiny, lora):
    draw = torch.Generator().manual_seed(0)
    rows = [{"input_ids": r, "labels": r} for r in torch.randint(7, 64, (8, 6), generator=draw).tolist()]
    seen = {}

    def evaluate(model, step):
        seen[step] = trained(model)
        return {"held_out_loss": float(losses[step - 1])}

    model = lora(tiny())
    fitted = fit(model, rows, Settings(steps=6, lr=1e-2, batch=2), every=1, evaluate=evaluate, patience=patience)
    assert (fitted.steps, fitted.best) == (steps, best)
    taken = {n: torch.equal(w, seen[best or steps][n]) for n, w in trained(model).items()}
    assert all(taken.values())
    assert not all(torch.equal(w, seen[2 if best == 3 else 3][n]) for n, w in trained(model).items()), "the control"


def test_a_loss_that_is_not_finite_ends_the_run_where_it_happens(tiny, lora):
    rows, made = [{"input_ids": [8, 9, 10], "labels": [8, 9, 10]}] * 4, []
    with pytest.raises(BadInput, match="held out loss became nan at step 2 with lr=0.01: the run diverged"):
        fit(lora(tiny()), rows, Settings(steps=6, lr=1e-2, batch=2), every=2,
            evaluate=lambda _, step: made.append(step) or {"held_out_loss": float("nan")})  # fmt: skip
    assert made == [2]


@pytest.mark.parametrize(
    ("given", "said"),
    [({"patience": 2}, "patience=2 and nothing is evaluated. Set how often: --eval-every"), ({"eval_every": -1}, "eval_every=-1")],
)  # fmt: skip
def test_what_has_no_effect_is_refused(given, said, base, rows, tmp_path):
    with pytest.raises(BadInput, match=said):
        train(base, rows, out=tmp_path / "run", **GIVEN, **given)
    assert not (tmp_path / "run").exists()
