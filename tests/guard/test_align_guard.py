"""align-guard: the split against eigenvectors multiplied out, each term against its formula, and what it refuses."""

import pytest
import torch
from guarding import bound_penalty, filled, penalty

from despur.core import Adapter, Context, LowRank
from despur.core.errors import BadInput, CannotAttach
from despur.core.fisher.forms import Kronecker
from despur.guard import OwnText, align_guard
from despur.guard._alignment import split
from despur.guard.align_guard import FISHER

ROWS = [{"input_ids": [1, 9, 30, 12], "labels": [-100, -100, 30, 12]}, {"input_ids": [1, 5, 7], "labels": [-100, 5, 7]}]
ALONE = {
    "fisher": {"curvature": 0.0, "collision": 0.0},
    "curvature": {"fisher": 0.0, "collision": 0.0},
    "collision": {"fisher": 0.0, "curvature": 0.0},
}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def form(seed: int) -> Kronecker:
    a, g = draw(4, 4, seed=seed), draw(3, 3, seed=seed + 1)
    return Kronecker({"w": a @ a.T}, {"w": g @ g.T})


@pytest.fixture
def moved(tiny, lora):
    return filled(lora(tiny(initializer_range=0.4), lora_alpha=6).eval())


@pytest.mark.parametrize("energy", [0.6, 0.95])
def test_the_alignment_part_is_the_projection_onto_the_top_eigenvectors(energy):
    alignment = form(0)
    one = split(alignment, form(5), energy)["w"]
    update = LowRank(draw(2, 4, seed=3), draw(3, 2, seed=4), 0.5)
    dense = torch.kron(alignment.signals["w"], alignment.inputs["w"])  # of weights row by row
    values, vectors = torch.linalg.eigh(dense.double())
    values, vectors = values.flip(0), vectors.flip(1)
    k = int((values.cumsum(0) / values.sum() < energy).sum()) + 1
    assert int((one.weighed > 0).sum()) == k
    whole = (0.5 * update.up @ update.down).flatten().double()
    onto = vectors[:, :k] @ vectors[:, :k].T
    aligned, task = (one.back(part).flatten().double() for part in one.parts(one.turned(update)))
    assert torch.allclose(aligned, onto @ whole, atol=1e-5)
    assert torch.allclose(aligned + task, whole, atol=1e-5)
    other = vectors[:, -k:] @ vectors[:, -k:].T @ whole
    assert (other - aligned).norm() > 0.5 * aligned.norm(), "the control: as many of the least ones"


def test_each_term_is_its_formula_multiplied_out():
    alignment, task_rows = form(0), form(5)
    one = split(alignment, task_rows, 0.8)["w"]
    update = LowRank(draw(2, 4, seed=3), draw(3, 2, seed=4))
    aligned, task = one.parts(one.turned(update))
    a, t = one.back(aligned), one.back(task)
    assert one.importance(aligned).item() == pytest.approx(alignment.quadratic({"w": a}).item(), rel=1e-4)
    assert one.curvature(task).item() == pytest.approx(task_rows.quadratic({"w": t}).item(), rel=1e-4)
    metric = torch.outer(alignment.signals["w"].diagonal(), alignment.inputs["w"].diagonal())
    overlap = (metric * (a * t).abs()).sum()

    def root(x: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(x)
        return vectors * values.clamp(min=0).sqrt() @ vectors.T

    a, t = (root(alignment.signals["w"]) @ x @ root(alignment.inputs["w"]) for x in (a, t))
    assert (a * t).sum().abs() < 1e-3 * a.norm() * t.norm(), "at right angles as they are: of no use as a measure"
    nearness = ((a.T @ t).norm() + (a @ t.T).norm()) / 2
    assert one.collision(aligned, task).item() == pytest.approx(((overlap + nearness) / 2).item(), rel=1e-3)
    assert nearness > 0.01 * a.norm() * t.norm()


def test_terms_add_up_and_each_is_switched_off_alone(moved, own_text):
    apart = {
        term: bound_penalty(align_guard(own_text, ROWS, energy=0.9, **off), moved).item() for term, off in ALONE.items()
    }
    assert all(value > 0 for value in apart.values())
    whole = bound_penalty(align_guard(own_text, ROWS, energy=0.9), moved).item()
    assert whole == pytest.approx(sum(apart.values()), rel=1e-4)
    for term in apart:
        without = bound_penalty(align_guard(own_text, ROWS, energy=0.9, **{term: 0.0}), moved).item()
        assert without == pytest.approx(whole - apart[term], rel=1e-4)
        assert bound_penalty(
            align_guard(own_text, ROWS, strength=0.5, energy=0.9, **ALONE[term]), moved
        ).item() == pytest.approx(apart[term] / 2, rel=1e-4)


def test_the_penalty_is_of_the_live_update(moved, own_text):
    edit = align_guard(own_text, ROWS, **ALONE["fisher"], energy=0.9)
    got = bound_penalty(edit, moved).item()
    parts = [(edit.split[n], u) for n, u in Adapter.of(moved).updates.items()]
    want = sum(one.importance(one.turned(u)) for one, u in parts)
    assert got == pytest.approx(FISHER / 2 * float(want), rel=1e-4)
    with torch.no_grad():
        for name, p in moved.named_parameters():
            if "lora_B" in name:
                p.mul_(2)
    assert penalty(edit, moved).item() == pytest.approx(4 * got, rel=1e-3)


def test_what_multiplies_square_matrices_is_measured_on_some_maps_a_step_and_is_the_whole_on_average(moved, own_text):
    whole = bound_penalty(align_guard(own_text, ROWS, energy=0.9, maps_per_step=99, fisher=0.0), moved).item()
    edit = align_guard(own_text, ROWS, energy=0.9, maps_per_step=3, fisher=0.0)
    edit.bind(moved)
    rng = torch.Generator().manual_seed(0)
    drawn = torch.tensor([edit({"loss": torch.zeros(())}, Context(moved, rng=rng))["loss"].item() for _ in range(200)])
    assert drawn.std() > 0.05 * whole, "not all maps in each step"
    assert drawn.mean().item() == pytest.approx(whole, abs=4 * drawn.std().item() / 200**0.5)
    alone = {
        n: bound_penalty(align_guard(own_text, ROWS, energy=0.9, maps_per_step=n, **ALONE["fisher"]), moved)
        for n in (1, 99)
    }
    assert torch.equal(alone[1], alone[99]), "the first term is of all maps in every step"


def test_no_more_is_read_than_so_many_tokens(own_text):
    edit = align_guard(
        OwnText(((1,) * 3000, (2,) * 1000, (3,) * 1000)), [{"input_ids": [1] * 9000, "labels": [1] * 9000}]
    )
    assert [len(t.rows) for t in edit.texts] == [2, 1]


def test_no_rows_no_share_and_no_fisher_information_are_said_in_a_sentence(tiny, lora, own_text):
    with pytest.raises(BadInput, match="no alignment rows, so it cannot tell what must stay.*--rehearse-on FILE"):
        align_guard(OwnText(()), ROWS)
    with pytest.raises(BadInput, match="no training rows"):
        align_guard(own_text, [])
    with pytest.raises(BadInput, match=r"n_rows=0, maps_per_step=7 and energy=0\.5"):
        align_guard(own_text, ROWS, n_rows=0, energy=0.5)
    with pytest.raises(BadInput, match=r"energy=1\.5; .* up to 1"):
        align_guard(own_text, ROWS, energy=1.5)
    zero = Kronecker({"w": torch.eye(4)}, {"w": torch.zeros(3, 3)})
    with pytest.raises(BadInput, match="of the alignment rows is zero, so no direction matters"):
        split(zero, form(0), 0.9)
    nan = Kronecker({"w": torch.eye(4)}, {"w": torch.full((3, 3), torch.nan)})
    with pytest.raises(BadInput, match="gradients on the alignment rows are not finite. Look for NaN"):
        split(nan, form(0), 0.9)
    with pytest.raises(CannotAttach, match="embed_tokens"):
        align_guard(own_text, ROWS).bind(lora(tiny(), target_modules=["embed_tokens", "q_proj"]))
    broken = lora(tiny())
    with torch.no_grad():
        broken.get_parameter("base_model.model.model.layers.1.mlp.up_proj.base_layer.weight")[0, 0] = torch.nan
    with pytest.raises(BadInput, match="not finite.*Look for NaN in the base"):
        align_guard(own_text, ROWS).bind(broken)
