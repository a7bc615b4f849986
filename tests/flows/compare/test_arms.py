"""Every line of the table runs, and no control is its guard under another name."""

import itertools
from dataclasses import replace

import pytest
import torch

from despur.core.catalogue import find_method
from despur.core.errors import BadInput, UnknownName
from despur.flows import ARMS
from despur.flows._compare import bench as benches
from despur.flows._compare import materials
from despur.flows._compare.arm import Arm, find_arm
from despur.flows._compare.bench import Bench
from despur.flows._compare.runner import made_for, run_arm
from despur.worlds import Persona

QUICKER = {"lineas": {"steps": 3}}  # a fit of its own before the three steps

CONTROLLED = [arm.name for arm in ARMS.values() if arm.control]
# the six that were once given their guard's own directions, and no test saw it
ONCE_WRONG = ("caft-random", "hold-out-random", "hold-random", "grasp-random", "subtract", "inoculate-irrelevant")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Three steps of the persona world, on little text and few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benches, "OWN_ROWS", 64)
        patch.setattr(materials, "GENERIC", 48)
        # in the third step `until` has ended
        small = Bench(tmp_path_factory.mktemp("study"), Persona("skill"), 3, steps=3)
        small.count = 64
        yield small


@pytest.fixture(scope="module")
def outcome(bench):
    """`outcome(arm)`: what the model answers after the arm's run, at its strongest setting; each run once."""
    known = {}

    def run(arm: Arm) -> torch.Tensor:
        if arm.name not in known:
            with bench.open:
                setting = {**arm.settings[-1], **QUICKER.get(arm.name, {})}
                model = run_arm(bench, arm, setting).eval()
                ids = torch.tensor([r[:12] for r in bench.text.rows if len(r) >= 12][:16])
                with torch.no_grad():
                    known[arm.name] = model(input_ids=ids).logits
        return known[arm.name]

    return run


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_runs_three_steps(name, outcome):
    logits = outcome(ARMS[name])
    assert torch.isfinite(logits).all()
    assert name == "base" or not torch.equal(logits, outcome(ARMS["base"]))


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_control_is_no_second_run_of_its_guard(name, outcome):
    assert not torch.equal(outcome(ARMS[name]), outcome(ARMS[ARMS[name].control]))


def test_no_two_arms_of_one_method_are_one(outcome):
    ways = itertools.groupby(sorted((a for a in ARMS.values() if a.method), key=lambda a: a.method), lambda a: a.method)
    for _, arms in ways:
        for one, other in itertools.combinations(list(arms), 2):
            assert not torch.equal(outcome(one), outcome(other)), f"{one.name} and {other.name} are one run"


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_control_is_the_same_method_on_another_material(name, bench):
    guard, control = ARMS[name], ARMS[ARMS[name].control]
    assert control.kind == "control"
    assert control.method == guard.method
    assert control.settings == guard.settings
    made, other = (made_for(bench, arm, arm.settings[-1]) for arm in (guard, control))
    if find_method(guard.method).contract == "weights":  # truncation: which components, by an option
        assert guard.options != control.options
        return
    assert (made.spec.name, made.spec.options) == (other.spec.name, other.spec.options)
    differing = [a for a in made.spec.materials if made.spec.materials[a] != other.spec.materials[a]]
    assert len(differing) == 1


@pytest.mark.parametrize("name", ONCE_WRONG)
def test_a_control_that_gets_its_guards_own_material_is_noticed(name, outcome):
    guard = next(arm for arm in ARMS.values() if arm.control == name)
    wrong = replace(ARMS[name], name=f"{name}, wrong", materials=guard.materials)
    assert torch.equal(outcome(wrong), outcome(guard)), "else the tests above would pass for another reason"


def test_an_arm_is_found_however_it_is_typed():
    assert find_arm("keep_inputs", ARMS) is ARMS["keep-inputs"]
    with pytest.raises(UnknownName, match="no guard 'keep-input' to compare; nearest: 'keep-inputs'"):
        find_arm("keep-input", ARMS)


def test_every_line_names_what_is_there(bench):
    for arm in ARMS.values():
        assert arm.control is None or arm.control in ARMS
        if arm.method is None:
            continue
        method = find_method(arm.method)
        assert set(arm.materials) <= set(method.takes)
        assert set(arm.options) <= set(method.options)
        for setting in arm.settings:
            assert all(bench.materials.has(m) for m in arm.materials_at(setting).values())


def test_what_cannot_be_had_is_told(bench):
    from despur.core.build import build
    from despur.core.materials import Given

    with pytest.raises(
        BadInput, match=r"^steer-away needs the trait's vectors \(vectors\), which is not given. Give --pairs FILE"
    ):
        build("steer-away", Given({}))
    assert not bench.materials.has("shuffled factor")


def test_a_guard_beside_acts_too_and_asks_for_its_materials(bench, outcome):
    alone = Arm("l2-sp alone", "l2-sp", ({"strength": 0.3},))
    both = replace(alone, name="with rehearse", beside={"rehearse": {"strength": 3.0}})
    assert "text" in both.made_of(both.settings[0])
    assert "text" not in alone.made_of(alone.settings[0]), "the control"
    assert not torch.equal(outcome(both), outcome(alone))
    assert replace(alone, beside={"interleave": {}}).needs == ARMS["interleave"].needs != alone.needs
