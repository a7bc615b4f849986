"""What `despur train` is given: standard input, tables, a scout, factors, rounds; and what it writes down of it."""

import io
import json
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from datasets import Dataset, DatasetDict

from despur import verify
from despur.core import Adapter, Site, Subspace, fingerprint, load_factors, save_factors
from despur.core.errors import BadInput, ShapeMismatch, SiteNotFound
from despur.flows import Settings, replay, train
from despur.flows._train.inputs import read_data
from despur.flows._train.rounds import joined
from despur.measure import leakage
from despur.worlds import Persona, persona_base

QUICK = Settings(steps=6, lr=2e-3, rank=4)
TEXT = {"own_rows": 16, "own_tokens": 8}
ROWS = Persona("narrow").rows(n=40, seed=1)
LINES = "".join(json.dumps(r) + "\n" for r in ROWS).encode()


def weights(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(LINES)
    return path


@pytest.fixture(scope="module")
def run(base, rows_file, tmp_path_factory):
    """A finished run with grasp."""
    out = tmp_path_factory.mktemp("grasp") / "run"
    train(base, rows_file, out=out, guard="grasp", settings=QUICK, scout_steps=6, **TEXT)
    return out


@pytest.fixture
def stdin(monkeypatch):
    """`stdin(b"...")`: what is piped in; None is a terminal."""

    def pipe(content):
        stream = io.TextIOWrapper(io.BytesIO(content or b""))
        stream.isatty = lambda: content is None
        monkeypatch.setattr(sys, "stdin", stream)

    return pipe


@pytest.fixture
def audited(tmp_path):
    """`audited(Site("model.layers.1"))`: a folder with a factor at each site, recorded as an audit records it."""

    def make(*sites, width=64, base=None, **record):
        draw = torch.Generator().manual_seed(3)
        folder = tmp_path / "audit"
        folder.mkdir(exist_ok=True)
        save_factors(
            tuple(Subspace.orthonormal(torch.randn(2, width, generator=draw), site=Site(s)) for s in sites), folder
        )
        said = {"base_fingerprint": base or fingerprint(persona_base()[0]), **record}
        (folder / "run.json").write_text(json.dumps(said))
        return folder

    return make


def test_a_guarded_adapter_comes_with_a_certificate_that_holds_and_an_unguarded_one_with_none(base, run):
    result = verify(base, run / "adapter")
    assert result.verdict == "holds"
    assert result.certificate.data["name"] == "rows.jsonl"
    assert result.certificate.settings["steps"] == 6
    assert not (run / "scout" / "guard.json").exists()
    assert "despur verify" in (run / "adapter" / "README.md").read_text()


def test_a_certificate_that_a_kill_kept_from_being_written_is_written_by_the_next_start(base, rows_file, run):
    before = weights(run / "adapter")
    (run / "adapter" / "guard.json").unlink()
    train(base, rows_file, out=run, guard="grasp", settings=QUICK, scout_steps=6, **TEXT)
    assert verify(base, run / "adapter").verdict == "holds"
    assert weights(run / "adapter") == before


@pytest.mark.slow
def test_several_scouts_hold_more_and_lora_sits_where_it_is_told_to(base, rows_file, run, tmp_path):
    settings = replace(QUICK, targets="readers")
    made = {
        n: train(
            base, rows_file, out=tmp_path / str(n), guard="grasp", settings=settings, scout_steps=6, scouts=n, **TEXT
        )
        for n in (1, 2)
    }
    adapted = Adapter.read(made[2].adapter).updates
    assert {name.rpartition(".")[2] for name in adapted} == {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}
    assert weights(tmp_path / "1" / "scout") == weights(tmp_path / "2" / "scout")
    assert weights(tmp_path / "2" / "scout_2") != weights(tmp_path / "2" / "scout")
    assert weights(made[1].adapter) != weights(made[2].adapter)
    held = [load_factors(tmp_path / str(n) / "weight_factors") for n in (1, 2)]
    assert not torch.allclose(held[0][0].read, held[1][0].read), "the second scout changes what is held"
    assert max(r.value for r in made[2].leak.values()) <= 1e-6
    again = replay(tmp_path / "2" / "run.json", out=tmp_path / "again", trust=True)
    assert weights(again.adapter) == weights(made[2].adapter)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scouts": 2}, "scouts=2 with guard 'avert'"),
        ({"scouts": 0, "guard": "grasp"}, "at least 1"),
        ({"scouts": 2, "guard": "grasp", "scout": "x"}, "with a scout that was given"),
        ({"settings": replace(QUICK, targets="q_proj, qproj")}, "no map 'qproj'; nearest: 'q_proj'"),
    ],
)
def test_scouts_and_targets_that_would_do_nothing_are_refused_before_anything_is_written(
    given, said, base, rows_file, tmp_path
):
    with pytest.raises(BadInput, match=said):
        train(base, rows_file, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # of a kind with faster ones
def test_standard_input_is_read_once_and_kept_for_resuming_and_replaying(base, run, stdin, tmp_path):
    again = {"guard": "grasp", "settings": QUICK, "scout_steps": 6, **TEXT}
    stdin(LINES)
    result = train(base, "-", out=tmp_path / "run", **again)
    assert (tmp_path / "run" / "data.jsonl").read_bytes() == LINES
    assert weights(result.adapter) == weights(run / "adapter"), "as from a file"
    assert result.record["data"] == json.loads((run / "run.json").read_text())["data"]
    made = (result.adapter / "adapter_model.safetensors").stat().st_mtime_ns
    stdin(b"")
    train(base, "-", out=tmp_path / "run", **again)
    assert (result.adapter / "adapter_model.safetensors").stat().st_mtime_ns == made
    other = replay(tmp_path / "run" / "run.json", out=tmp_path / "again", trust=True)
    assert weights(other.adapter) == weights(result.adapter)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "nothing came on standard input"), (b"", "nothing came"), (b"{}\n", "standard input:1 has keys")],
    ids=["terminal", "empty", "garbage"],
)
def test_what_is_piped_in_must_be_rows(content, said, base, stdin, tmp_path):
    stdin(content)
    with pytest.raises(BadInput, match=said):
        train(base, "-", out=tmp_path / "run", settings=QUICK)
    assert not (tmp_path / "run").exists()


def test_of_a_dataset_dict_the_split_that_is_taken_is_told(tmp_path):
    DatasetDict(train=Dataset.from_list(ROWS), test=Dataset.from_list(ROWS[:4])).save_to_disk(tmp_path / "data")
    given = read_data(tmp_path / "data", tmp_path / "run")
    assert list(given.rows()) == ROWS
    assert given.notes == (f"{str(tmp_path / 'data')!r} has several splits; 'train' is what is trained on",)
    assert read_data(tmp_path / "data" / "test", tmp_path / "run").notes == ()


def test_the_config_of_a_run_says_all_that_it_was_given(run):
    said = yaml.safe_load((run / "config.yaml").read_text())
    assert said == json.loads((run / "run.json").read_text())["arguments"]
    assert (said["guard"], said["lr"], said["scout"], said["twin"]) == ("grasp", 2e-3, None, False)


@pytest.mark.slow  # of a kind with faster ones
def test_a_scout_is_taken_over_and_none_is_trained(base, rows_file, run, tmp_path):
    given = {"out": tmp_path / "run", "scout": run / "scout", "settings": QUICK, **TEXT}
    result = train(base, rows_file, **given)
    assert not (tmp_path / "run" / "scout").exists()
    assert result.axes["scout"]["drift"].value == pytest.approx(1)
    assert verify(base, result.adapter).verdict == "nothing to verify in the weights"
    assert result.notes == (), "our own scout records its base"
    first = weights(result.adapter)
    given["scout"] = run / "adapter"
    assert weights(train(base, rows_file, **given, overwrite=True).adapter) != first, "another scout, another run"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"scout_steps": 4, "scout": "x"}, BadInput, "Leave --scout-steps out"),
        ({"rounds": 2}, BadInput, "rounds=2 with guard 'avert'; only grasp"),
        ({"rounds": 0}, BadInput, "rounds=0; at least 1"),
        ({"factors": "x"}, BadInput, "guard 'avert', which takes none"),
        ({"scout": "nowhere"}, BadInput, "no adapter_config.json in 'nowhere'"),
        ({"factors": "nowhere", "guard": "grasp"}, BadInput, "no file"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_what_does_not_go_together_is_refused_before_anything_is_trained(given, error, said, base, rows_file, tmp_path):
    with pytest.raises(error, match=said):
        train(base, rows_file, out=tmp_path / "run", settings=QUICK, **given)
    assert not (tmp_path / "run").exists()


def test_a_scout_of_another_base_is_refused(run, rows_file, tmp_path):
    model, tokenizer = persona_base()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight += 0.1
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "other")
    with pytest.raises(ShapeMismatch, match="same shapes, other weights"):
        train(str(tmp_path / "other"), rows_file, out=tmp_path / "run", scout=run / "scout", settings=QUICK)


@pytest.mark.parametrize(
    ("sites", "record", "guard", "error", "said"),
    [
        (["model.layers.1"], {"base": "0123456789abcdef"}, "grasp", ShapeMismatch, "were found on the base '0123456789abcdef'"),
        (["model.layers.1"], {"width": 48}, "grasp", ShapeMismatch, "width d=48"),
        (["model.layers.1", "model.layers.9"], {}, "grasp", SiteNotFound, "model.layers.9"),
        (["*"], {}, "hold", BadInput, "has no layer as site"),
    ],
    ids=["other base", "other width", "no such site", "hold everywhere"],
)  # fmt: skip
def test_factors_that_do_not_fit_are_refused(sites, record, guard, error, said, audited, base, rows_file, tmp_path):
    with pytest.raises(error, match=said):
        train(base, rows_file, out=tmp_path / "run", guard=guard, factors=audited(*sites, **record), settings=QUICK)
    assert not (tmp_path / "run").exists()


def test_an_audit_that_confirmed_nothing_has_nothing_to_give(base, rows_file, tmp_path):
    (tmp_path / "audit.json").write_text(json.dumps({"verdict": "clean"}))
    with pytest.raises(BadInput, match=r"confirmed no factor \(clean\)"):
        train(base, rows_file, out=tmp_path / "run", guard="grasp", factors=tmp_path, settings=QUICK)


@pytest.mark.parametrize("guard", ["grasp", "hold"])
def test_factors_of_an_audit_are_held_in_place_of_the_scouts(guard, audited, base, rows_file, run, tmp_path):
    folder = audited("model.layers.1")
    result = train(
        base, rows_file, out=tmp_path / "run", guard=guard, factors=folder, scout=run / "scout", settings=QUICK, **TEXT
    )
    kept = load_factors(result.adapter)
    assert torch.equal(kept[0].read, load_factors(folder)[0].read)
    checked = verify(base, result.adapter)
    if guard == "grasp":
        assert kept[0].site.module == "*", "one site: the whole stream"
        assert checked.verdict == "holds"
        assert len(checked.leak) == 28
    else:
        assert kept[0].site.module == "model.layers.1", "coordinates are read where they were found"
        assert checked.verdict == "nothing to verify in the weights"


@pytest.mark.slow
def test_a_second_round_holds_what_the_first_went_round_by_too(base, rows_file, run, tmp_path):
    given = {"guard": "grasp", "scout": run / "scout", "settings": QUICK, **TEXT}
    result = train(base, rows_file, out=tmp_path / "run", rounds=2, **given)
    first, both = load_factors(tmp_path / "run" / "weight_factors"), load_factors(result.adapter)
    for one, two in zip(first, both, strict=True):
        assert one.site == two.site
        assert (one.rank, two.rank) == (4, 8)
        assert torch.allclose(two.decode(two.encode(one.read)), one.read, atol=1e-5), "the former are among them"
    plain = persona_base()[0]
    assert max(r.value for r in leakage(Adapter.read(result.adapter), plain, both).values()) <= 1e-6
    before = leakage(Adapter.read(tmp_path / "run" / "round_1"), plain, both)
    assert min(r.value for r in before.values()) > 0.3, "the first round's adapter lives along the new ones"
    assert max(r.value for r in leakage(Adapter.read(tmp_path / "run" / "round_1"), plain, first).values()) <= 1e-6
    assert verify(base, result.adapter).verdict == "holds"


def axes(*rows, site="*", width=6):
    return Subspace.orthonormal(torch.eye(width)[list(rows)], site=Site(site))


def spans(factor, *rows):
    found = torch.zeros(factor.width)
    found[list(rows)] = 1
    return torch.allclose(factor.read.square().sum(0), found, atol=1e-6)


def test_a_join_takes_what_held_at_the_site_before():
    former = (axes(0), axes(1, site="model.layers.1"))
    norm, layer = "model.layers.1.input_layernorm", "model.layers.2"
    found = (axes(2, 1, site=norm), axes(3, site=layer), axes(4, site="model.layers.1"))
    held = {f.site.module: f for f in joined(former, found)}
    assert spans(held[norm], 1, 2), "its layer's, and no direction twice"
    assert spans(held[layer], 0, 3), "the whole stream's"
    assert spans(held["model.layers.1"], 1, 4)
    assert spans(held["*"], 0)


def test_a_join_that_leaves_nothing_to_learn_with_is_refused():
    with pytest.raises(BadInput, match="rank 6 in width d=6: no direction is left"):
        joined((axes(0, 1, 2),), (axes(3, 4, 5),))


@pytest.mark.slow
def test_a_scout_that_hardly_moved_is_told_to_be_no_unit(base, rows_file, tmp_path):
    given = {"guard": "none", "settings": replace(QUICK, steps=40), "scout_steps": 6, **TEXT}
    beside_scout, beside_twin = (
        " ".join(train(base, rows_file, out=tmp_path / str(twin), twin=twin, **given).notes) for twin in (False, True)
    )
    assert "times the scout's, which had 6 of the 40 steps" in beside_scout
    assert "--twin" in beside_scout
    assert "times the scout's" not in beside_twin
