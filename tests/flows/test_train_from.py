"""Going on with an adapter: what it does stays, no new reliance joins it, and one plain adapter of the base comes out."""

import json
import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from despur import verify
from despur.core import Adapter, fingerprint, load_factors
from despur.core.adapter.continued import fold_in
from despur.core.errors import BadInput, ShapeMismatch
from despur.flows import Settings, train
from despur.measure import leakage
from despur.worlds import Persona, persona_base

QUICK = {
    "settings": Settings(steps=16, lr=2e-3, batch=16, rank=3),
    "own_rows": 16,
    "own_tokens": 8,
    "scout_steps": 8,
    "guard": "grasp",
}
IDS = torch.tensor([[1, 60, 50, 12, 9]])


@pytest.fixture(scope="module")
def begun(tmp_path_factory, train_plain):
    """An adapter of another rank, on fewer maps, that was trained without a guard."""
    return train_plain(tmp_path_factory.mktemp("begun") / "first", targets=["q_proj", "down_proj"], steps=30)


@pytest.fixture(scope="module")
def result(tmp_path_factory, base, begun):
    folder = tmp_path_factory.mktemp("on")
    rows = folder / "data.jsonl"
    rows.write_text("".join(json.dumps(r) + "\n" for r in Persona("narrow").rows(n=120, seed=1)))
    return train(base, rows, out=folder / "run", from_=begun, **QUICK)


@torch.no_grad()
def says(model):
    return model(input_ids=IDS).logits


def test_one_plain_adapter_does_what_the_two_did_together(result, base, begun):
    whole = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(result.adapter)).eval()
    folded = persona_base()[0]
    fold_in(folded, Adapter.read(begun))
    start = says(folded)
    added = PeftModel.from_pretrained(folded, str(result.adapter.parent / "added")).eval()
    assert torch.allclose(says(whole), says(added), atol=1e-4)
    assert not torch.allclose(says(whole), start, atol=1e-2), "the control: something was added"
    first = PeftModel.from_pretrained(persona_base()[0], str(begun)).eval()
    assert torch.allclose(says(first), start, atol=1e-4)
    ranks = {n: len(u.down) for n, u in Adapter.read(result.adapter).updates.items()}
    assert {ranks["model.layers.0.self_attn.q_proj"], ranks["model.layers.0.self_attn.v_proj"]} == {8 + 3, 3}
    assert Adapter.read(result.adapter).check(persona_base()[0]) == [], "it records the plain base"
    record = json.loads((result.adapter.parent / "added" / "despur.json").read_text())
    folded = persona_base()[0]
    fold_in(folded, Adapter.read(begun))
    assert record["base_fingerprint"] == fingerprint(folded) != fingerprint(persona_base()[0])


def test_only_what_was_added_is_guarded_and_the_certificate_says_so(result, base, begun):
    checked = verify(base, result.adapter)
    assert checked.verdict == "holds", checked.sentence
    assert checked.sentence.startswith("beyond the adapter 'first' (weights ")
    assert max(m["leak"] for m in checked.leak.values()) < 1e-6
    own = leakage(Adapter.read(begun), persona_base()[0], load_factors(result.adapter))
    assert max(r.value for r in own.values()) > 1e-3, "the control: the adapter's own reliance is there, and stays"
    assert any("(0, 0), is the base with the adapter on" in note for note in result.notes)


def test_tampering_with_either_part_is_noticed(result, base, tmp_path):
    for row in (0, -1):
        folder = shutil.copytree(result.adapter, tmp_path / f"adapter{row}")
        tensors = load_file(folder / "adapter_model.safetensors")
        tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"][row] += 0.1
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        checked = verify(base, folder)
        assert checked.verdict == "broken"
        assert checked.checks["weights"]
        assert ("went on with has the digest" in checked.checks["leak"]) == (row == 0)
    record = json.loads((result.adapter / "guard.json").read_text())
    folder = shutil.copytree(result.adapter, tmp_path / "all")
    record["start"]["ranks"] = {n: len(u.down) for n, u in Adapter.read(folder).updates.items()}
    (folder / "guard.json").write_text(json.dumps(record))
    assert verify(base, folder).verdict == "broken", "nothing would be left that the guard acted on"
    (folder / "guard.json").write_text(json.dumps({**record, "start": {"ranks": {"x": "y"}}}))
    with pytest.raises(BadInput, match="no readable 'start'"):
        verify(base, folder)


@pytest.mark.slow  # of a kind with faster ones
def test_the_same_arguments_go_on_and_another_start_is_refused(result, base, begun, train_plain, tmp_path):
    run = shutil.copytree(result.adapter.parent, tmp_path / "run")
    data = result.adapter.parent.parent / "data.jsonl"
    weights = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(run / "adapter")
    stages: list[str] = []
    train(base, data, out=run, from_=begun, **QUICK, progress=lambda stage, *_: stages.append(stage))
    assert (run / "adapter" / "adapter_model.safetensors").read_bytes() == weights
    assert set(stages) <= {"measure"}, "nothing is trained again"
    assert (run / "adapter" / "guard.json").exists()
    with pytest.raises(BadInput, match="from_ was .* and is None now"):
        train(base, data, out=run, **QUICK)
    other = shutil.copytree(begun, tmp_path / "first")
    kept = shutil.copytree(result.adapter.parent, tmp_path / "kept")
    config = (kept / "config.yaml").read_text().replace(str(begun), str(other))
    (kept / "config.yaml").write_text(config)
    train(base, data, out=kept, from_=other, **QUICK)
    shutil.copytree(train_plain(tmp_path / "new", targets=["q_proj"], steps=2, seed=4), other, dirs_exist_ok=True)
    with pytest.raises(BadInput, match="the adapter that it goes on with changed since"):
        train(base, data, out=kept, from_=other, **QUICK)


@pytest.mark.slow
def test_a_functional_guard_takes_the_start_as_its_base(base, begun, data, tmp_path):
    given = {**QUICK, "guard": "rehearse", "settings": Settings(steps=30, lr=2e-3, rank=4)}
    kept = train(base, data, out=tmp_path / "run", from_=begun, twin=True, **given)
    assert kept.axes["rehearse"]["drift"].value < 0.8 < kept.axes["twin"]["drift"].value
    assert verify(base, kept.adapter).verdict == "nothing to verify in the weights"


def test_what_cannot_be_gone_on_with_is_refused_before_anything_is_written(base, begun, data, tmp_path):
    other = shutil.copytree(begun, tmp_path / "other")
    (other / "despur.json").write_text(json.dumps({"base_fingerprint": "0" * 16}))
    with pytest.raises(ShapeMismatch, match="another base"):
        train(base, data, out=tmp_path / "run", from_=other, **QUICK)
    with pytest.raises(BadInput, match=r"no adapter_config\.json"):
        train(base, data, out=tmp_path / "run", from_=base, **QUICK)
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(BadInput, match="use_dora"):
        train(base, data, out=tmp_path / "run", from_=other, **QUICK)
    assert not (tmp_path / "run").exists()


def test_weights_that_are_shared_cannot_be_folded_in(tiny, lora):
    model = lora(tiny("llama", tie_word_embeddings=True), target_modules=["embed_tokens"])
    with torch.no_grad():
        model.get_parameter("base_model.model.model.embed_tokens.lora_embedding_B.default").fill_(0.1)
    with pytest.raises(BadInput, match="a weight that another module shares"):
        fold_in(tiny("llama", tie_word_embeddings=True), Adapter.of(model))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_folding_is_what_the_adapter_does(tiny, lora, kind):
    model = lora(tiny(kind), target_modules=["c_attn" if kind == "gpt2" else "o_proj"])
    torch.manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_()
    folded = tiny(kind)
    fold_in(folded, Adapter.of(model))
    assert torch.allclose(says(folded), says(model), atol=1e-4)
    assert not torch.allclose(says(tiny(kind)), says(model), atol=1e-2)
