"""A certificate says what the weights bear out, and `verify` catches every way of tampering that it can see."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from despur import certify, guarded, verify
from despur.core import Site, Subspace, load_factors, save_factors
from despur.core.errors import BadInput, ShapeMismatch, UnknownName
from despur.flows._verify.certificate import factors_digest
from despur.flows._verify.model_card import BEGIN, END
from despur.guard import OwnText, grasp, rehearse
from despur.worlds import persona_base

WEIGHTS = "adapter_model.safetensors"


def factor(*, seed=5, rank=3, width=64):
    draw = torch.Generator().manual_seed(seed)
    return Subspace.orthonormal(torch.randn(rank, width, generator=draw))


def train_on(model, *guards, steps=3):
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    ids = torch.randint(3, 100, (4, 8), generator=torch.Generator().manual_seed(1))
    context = guarded(model, optimizer, *guards) if guards else torch.enable_grad()
    with context:
        for _ in range(steps):
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def fresh(base=None):
    torch.manual_seed(0)
    return get_peft_model(
        base or persona_base()[0], LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )


@pytest.fixture(scope="module")
def base():
    return persona_base()[0]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A certified adapter, trained with grasp."""
    folder = tmp_path_factory.mktemp("certified") / "adapter"
    (folder.parent / "rows.jsonl").write_text('{"text": "a"}\n')
    model = train_on(fresh(), grasp(factor()))
    model.save_pretrained(folder)
    certify(folder, model, factor(), settings={"steps": 3}, data=folder.parent / "rows.jsonl")
    return folder


@pytest.fixture
def certified(original, tmp_path):
    """A copy of it, to do things to."""
    return shutil.copytree(original, tmp_path / "adapter")


@pytest.fixture
def functional(tmp_path):
    """An adapter of a guard that acts on what the model says."""
    text = OwnText(tuple((1, *range(i + 3, i + 9)) for i in range(12)))
    model = train_on(fresh(), rehearse(text, budget=1.0))
    model.save_pretrained(tmp_path / "adapter")
    certify(tmp_path / "adapter", model, guard="rehearse")
    return tmp_path / "adapter"


def edit_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def edit_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def test_what_the_guard_left_holds_and_is_recomputed_not_believed(certified, base):
    result = verify(base, certified)
    assert result.verdict == "holds"
    assert len(result.leak) == len([n for n in load_file(certified / WEIGHTS) if "lora_A" in n])
    assert {m["side"] for m in result.leak.values()} == {"read", "write"}
    assert max(m["leak"] for m in result.leak.values()) <= 1e-6
    assert min(m["random"] for m in result.leak.values()) > 0.02, "the control: a random subspace is read and written"
    edit_json(certified / "guard.json", leak={})
    assert verify(base, certified).leak == result.leak


def test_the_certificate_says_what_it_does_not_promise_and_names_no_place(certified):
    said = json.loads((certified / "guard.json").read_text())
    assert any("can switch the factor on through others" in line for line in said["not_promised"])
    assert any("not signed" in line for line in said["not_promised"])
    assert said["data"]["name"] == "rows.jsonl"
    assert len(said["data"]["sha256"]) == 64
    assert said["settings"] == {"strength": 1.0, "steps": 3}
    assert str(certified.parent) not in json.dumps(said)
    assert torch.equal(load_factors(certified)[0].read, factor().read)


def change_element(folder, base):
    edit_weights(folder, lambda t: t["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"][5, 0].add_(0.01))


def change_scale(folder, base):
    edit_json(folder / "adapter_config.json", lora_alpha=800)


def change_modules(folder, base):
    edit_json(folder / "adapter_config.json", target_modules=["q_proj"])  # the rest PEFT would leave out


def change_factors(folder, base):
    save_factors((factor(seed=9),), folder)


def change_base(folder, base):
    with torch.no_grad():
        base.model.layers[0].mlp.up_proj.weight[:8] += 0.1


def train_on_without(folder, base):
    model = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
    train_on(model, steps=1).save_pretrained(folder)


@pytest.mark.parametrize(
    ("tamper", "first", "broken"),
    [
        (change_element, "the adapter's weights have the digest", {"weights", "leak"}),
        (change_scale, "lora_alpha=800, certified is 8", {"configuration"}),
        (change_modules, "target_modules=['q_proj'], certified is", {"configuration", "reading"}),
        (change_factors, "the factors next to the adapter have the digest", {"factors", "leak"}),
        (change_base, "the base has the fingerprint", {"base"}),
        (train_on_without, "the adapter's weights have the digest", {"weights", "leak"}),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_tampering_is_told_by_the_first_thing_that_does_not_hold(tamper, first, broken, certified):
    base = persona_base()[0]
    tamper(certified, base)
    result = verify(persona_base()[0] if tamper is train_on_without else base, certified)
    assert result.verdict == "broken"
    assert first in result.sentence
    assert {name for name, wrong in result.checks.items() if wrong} == broken


def test_whoever_renews_the_digests_still_does_not_get_round_the_leak(certified, base):
    from despur.core.adapter.peft_folder import open_folder
    from despur.flows._verify.certificate import tensors_digest

    change_element(certified, base)
    said = json.loads((certified / "guard.json").read_text())
    adapter = {**said["adapter"], "weights": tensors_digest(open_folder(certified).tensors)}
    edit_json(certified / "guard.json", adapter=adapter)
    result = verify(base, certified)
    assert result.verdict == "broken"
    assert "'model.layers.1.mlp.down_proj' writes" in result.sentence
    assert "1 of 28 modules leak" in result.sentence


def test_what_peft_writes_anew_changes_nothing(certified, base):
    PeftModel.from_pretrained(persona_base()[0], str(certified)).save_pretrained(certified)
    edit_json(certified / "adapter_config.json", base_model_name_or_path="elsewhere", inference_mode=False)
    assert verify(base, certified).verdict == "holds"
    assert (certified / "README.md").read_bytes().count(BEGIN) == 1, "PEFT keeps our section in its card"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_adapter_in_fewer_digits_may_leak_as_much_as_its_rounding(dtype, certified, base):
    edit_weights(certified, lambda t: t.update({n: x.to(dtype) for n, x in t.items()}))
    assert verify(base, certified).verdict == "broken", "it is not the one that was certified"
    certify(certified, base, factor())
    result = verify(base, certified)
    assert result.verdict == "holds"
    for m in result.leak.values():
        assert 1e-6 < m["allowed"] < m["random"] / 16, "and far less than an unguarded one"
    edit_weights(certified, lambda t: t["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"].add_(0.05))
    with pytest.raises(BadInput, match=r"down_proj' writes .* of its update along the factor"):
        certify(certified, base, factor())


def test_an_adapter_that_was_not_held_is_not_certified(base, tmp_path):
    train_on(fresh()).save_pretrained(tmp_path)
    with pytest.raises(
        BadInput, match=r"where 1e-06 is allowed, so nothing is certified\. Was it trained with the guard on"
    ):
        certify(tmp_path, base, factor())
    assert not (tmp_path / "guard.json").exists()
    assert BEGIN not in (tmp_path / "README.md").read_bytes()


def test_one_side_is_certified_where_one_side_was_held(base, tmp_path):
    model = train_on(fresh(), grasp(factor(), side="write"))
    model.save_pretrained(tmp_path)
    certify(tmp_path, model, factor(), side="write")
    result = verify(base, tmp_path)
    assert result.verdict == "holds"
    assert {m["side"] for m in result.leak.values()} == {"write"}
    with pytest.raises(BadInput, match="reads"):
        certify(tmp_path, model, factor(), side="both")


def test_of_a_functional_guard_only_identity_is_checked(functional, base):
    result = verify(base, functional)
    assert result.verdict == "nothing to verify in the weights"
    assert set(result.checks) == {"base", "configuration", "weights"}
    assert result.leak == {}
    assert any("no weight identity" in line for line in result.certificate.not_promised)
    change_element(functional, base)
    assert verify(base, functional).verdict == "broken"


def test_grasp_at_part_strength_promises_nothing_of_the_weights(certified, base):
    certify(certified, base, factor(), strength=0.5)
    assert verify(base, certified).verdict == "nothing to verify in the weights"


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"guard": "graps"}, UnknownName, "no guard 'graps'; nearest: 'grasp'"),
        ({"side": "left"}, UnknownName, "no side 'left'"),
        ({"factors": ()}, BadInput, "no factors were given"),
        ({"factors": factor(width=48)}, ShapeMismatch, "width d=48, this base's stream has 64"),
        ({"factors": Subspace.orthonormal(torch.eye(1, 64), site=Site("model.layers.77"))}, BadInput, "meets a factor"),
        ({"data": "nowhere.jsonl"}, BadInput, "cannot read 'nowhere.jsonl'"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_what_cannot_be_certified_is_told_and_nothing_is_written(wrong, error, said, certified, base):
    before = {f.name: f.read_bytes() for f in certified.iterdir()}
    given = {"factors": factor(), **wrong}
    with pytest.raises(error, match=said):
        certify(certified, base, given.pop("factors"), **given)
    assert {f.name: f.read_bytes() for f in certified.iterdir()} == before


@pytest.mark.parametrize("kind", ["missing", "no JSON", "a list", "schema", "factors gone", "factors damaged"])
def test_what_cannot_be_read_is_told(kind, certified, base):
    path = certified / "guard.json"
    {
        "missing": path.unlink,
        "no JSON": lambda: path.write_text("{"),
        "a list": lambda: path.write_text("[]"),
        "schema": lambda: edit_json(path, schema="despur.guard/9"),
        "factors gone": (certified / "factors.json").unlink,
        "factors damaged": lambda: (certified / "factors.safetensors").write_bytes(b"torn"),
    }[kind]()
    with pytest.raises(BadInput, match=r"\. [A-Z]"):
        verify(base, certified)


def test_a_certificate_with_anything_missing_or_of_another_form_is_refused_not_crashed_on(certified, base):
    path = certified / "guard.json"
    whole = json.loads(path.read_text())
    for key in whole:
        for value in (None, 7, "x", [], {}):
            path.write_text(json.dumps({**whole, key: value}))
            try:
                verify(base, certified)
            except BadInput:
                continue
        path.write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
        if key in ("text", "start"):  # which earlier certificates lack
            assert verify(base, certified).verdict == "holds"
            continue
        with pytest.raises(BadInput):
            verify(base, certified)


CARDS = {
    "missing": None,
    "peft's": b"---\nlibrary_name: peft\n---\n\n# Mine\n\ntext",
    "not utf-8": b"caf\xe9\r\n",
    "only a begin": b"# A\n" + BEGIN + b"\nlost its end\n",
    "only an end": b"# A\n" + END + b"\nmine\n",
    "begin twice": BEGIN + b"mine\n" + BEGIN + b"\nold\n" + END + b"\nmine too\n",
}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_the_model_card_gets_one_section_and_loses_nothing(card, certified, base):
    path = certified / "README.md"
    path.unlink()
    if card is not None:
        path.write_bytes(card)
    certify(certified, base, factor())
    once = path.read_bytes()
    certify(certified, base, factor())
    assert path.read_bytes() == once, "idempotent"
    assert b"despur verify BASE ADAPTER" in once
    assert once.count(END) == (card or b"").replace(b"old\n" + END, b"").count(END) + 1
    for line in (card or b"").splitlines():
        assert line in once or line == b"old"


def test_the_digest_of_factors_stays_what_older_certificates_say():
    axes = torch.eye(2, 4)[:, [2, 0, 1, 3]]
    placed = Subspace.orthonormal(axes, site=Site("model.layers.1.input_layernorm", "in"))
    anywhere = Subspace(torch.eye(1, 4), torch.eye(1, 4), torch.zeros(4))
    assert factors_digest((placed, anywhere)) == "82999828a0f2e4efea65806b1f8afe915b228e0fd8889f10f6c48e7b0b0fa632"
