"""DDP and FSDP2 in two gloo processes: the weights are those of one process on the same global batch."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from leak_matrix import in_two
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer

from despur import GuardCallback, guarded
from despur.core import Adapter, Context, Site, write_json
from despur.core.model.fingerprint import fingerprint
from despur.core.model.shards import whole as gathered
from despur.guard import avert, grasp, hold, project_gradient, rehearse
from despur.measure import leakage

CLOSE = 2e-6  # the sums of two halves, rounded otherwise, through five steps
EXACT = 1e-6


def whole() -> float:
    """A budget that reads as much text in each of several processes as one alone does: each sees its share of the task."""
    return float(dist.get_world_size()) if dist.is_initialized() else 1.0


GUARDS = {
    "grasp": lambda text, scout, factor: [grasp(factor)],
    "half of grasp": lambda text, scout, factor: [grasp(factor, strength=0.5)],
    "rehearse, grasp": lambda text, scout, factor: [rehearse(text, budget=whole()), grasp(factor)],
    "avert": lambda text, scout, factor: [avert(text, scout, budget=whole())],
    "hold": lambda text, scout, factor: [hold(replace(factor, site=Site("model.layers.0")), text, budget=whole())],
    "project_gradient": lambda text, scout, factor: [project_gradient(factor)],
    "full fine-tune": lambda text, scout, factor: [grasp(factor)],
}
DATA = torch.randint(3, 64, (5, 4, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def base(tiny):
    """A Llama whose norms have gains of their own, so that FSDP2 must give them up to the guard."""

    def make():
        model = tiny(tie_word_embeddings=False)
        draw = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight += 0.5 * torch.randn(weight.shape, generator=draw)
        return model

    return make


@pytest.fixture
def scout(base, lora, tmp_path):
    model = lora(base())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    model.save_pretrained(tmp_path / "scout")
    write_json(tmp_path / "scout/despur.json", {"base_fingerprint": fingerprint(base())})
    return tmp_path / "scout"


@pytest.fixture
def prepare(base, lora):
    """Rank 3 over two processes is uneven: one has two rows of A, the other one."""

    def make(full: bool):
        if not full:
            return lora(base(), r=3)
        model = base()
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.ndim == 2)
        return model

    return make


def loop(model, edits, *, world: int, rank: int) -> None:
    trained = [p for p in model.parameters() if p.requires_grad]
    # with the usual eps of 1e-8 a gradient of nothing but rounding makes a step as long as any
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1, eps=1e-4)
    with guarded(model.train(), optimizer, *edits):
        for batch in DATA:
            part = batch.chunk(world)[rank]
            model(input_ids=part, labels=part).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()


def weights(model) -> dict[str, torch.Tensor]:
    return {n: gathered(p).detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def sharded(model):
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in (model.get_base_model() if hasattr(model, "peft_config") else model).model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def both_launchers(prepare, make_edits, out: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for name, edits in make_edits.items():
        full = name == "full fine-tune"
        for launcher, wrap in (("DDP", DistributedDataParallel), ("FSDP2", sharded)):
            model = wrap(prepare(full))
            loop(model, edits(), world=2, rank=rank)
            inner = model.module if launcher == "DDP" else model
            assert launcher == "DDP" or all(isinstance(p, DTensor) for p in inner.parameters())
            found = weights(inner)
            torch.save(found, out / f"{name}-{launcher}-{rank}.pt")


@pytest.mark.slow  # of a kind with faster ones
def test_two_processes_train_as_one(prepare, base, scout, own_text, factor, tmp_path):
    make_edits = {name: partial(edits, own_text, scout, factor) for name, edits in GUARDS.items()}
    in_two(both_launchers, prepare, make_edits, tmp_path)
    for name, edits in make_edits.items():
        model = prepare(name == "full fine-tune")
        loop(model, edits(), world=1, rank=0)
        one = weights(model)
        for launcher in ("DDP", "FSDP2"):
            here, there = (torch.load(tmp_path / f"{name}-{launcher}-{rank}.pt") for rank in (0, 1))
            assert one.keys() == here.keys()
            assert all(torch.equal(here[n], there[n]) for n in here), f"{name}, {launcher}: the processes agree"
            off = max(float((one[n] - w).abs().max()) for n, w in here.items())
            assert off < CLOSE, f"{name}, {launcher}: {off:.1e}"
            if name in ("grasp", "rehearse, grasp"):
                model.load_state_dict(here, strict=False)
                assert max(r.value for r in leakage(Adapter.of(model), base(), factor).values()) <= EXACT
    free = prepare(False)
    loop(free, [], world=1, rank=0)
    assert max(r.value for r in leakage(Adapter.of(free), base(), factor).values()) > 0.05, "the control"


def no_gather(prepare, factor) -> None:
    """What the guard sends between processes while it holds sharded weights."""
    dist.init_process_group("gloo")
    model, guard, sent = sharded(prepare(False)), grasp(factor), []
    guard.bind(model)
    plain = {"all_reduce": dist.all_reduce}
    for name in ("all_gather", "all_gather_into_tensor", "all_reduce", "broadcast", "scatter"):

        def send(tensor, *args, name=name, **options):
            sent.append((name, tensor.numel()))
            return plain[name](tensor, *args, **options)

        setattr(dist, name, send)
    from torch.distributed import _functional_collectives as functional

    functional.all_gather_tensor = functional.all_reduce = lambda *_, **__: pytest.fail("a DTensor was gathered")
    with torch.no_grad():
        guard({n: p for n, p in model.named_parameters() if p.requires_grad}, Context(model))
    writers = sum(held.rows for held in guard.projections.values())
    assert sent == [("all_reduce", factor.rank * 3)] * writers, "k x r for each B, nothing for an A"


def test_no_weight_is_gathered(prepare, factor):
    in_two(no_gather, prepare, factor)


def trainer_run(trainer, prepare, edits, out: Path, fsdp: bool, full: bool) -> None:
    if fsdp:  # accelerate has FSDP2 on devices only; told that this is one, it shards as it does there
        os.environ |= {
            "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
            "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        }  # fmt: skip
        make = Trainer.create_accelerator_and_postprocess

        def as_on_devices(self):
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
            make(self)

        Trainer.create_accelerator_and_postprocess = as_on_devices
    made = trainer(
        GuardCallback(*edits), model=prepare(full), per_device_train_batch_size=1, adam_epsilon=1e-4,
        save_strategy="steps", save_steps=2, ddp_find_unused_parameters=False,
    )  # fmt: skip
    made.train()
    assert isinstance(next(made.model.parameters()), DTensor) == fsdp
    made.save_model(str(out / "saved"))
    found = weights(made.model)
    torch.save(found, out / "weights.pt")


CASES = {"DDP": (False, False), "FSDP2": (True, False), "FSDP2, full fine-tune": (True, True)}


@pytest.mark.parametrize(
    ("fsdp", "full"),
    [pytest.param(*case, marks=[pytest.mark.slow] if case[1] else []) for case in CASES.values()],
    ids=CASES,
)
def test_trainer_in_two_processes(fsdp, full, trainer, prepare, base, own_text, factor, tmp_path):
    in_two(trainer_run, trainer, prepare, [rehearse(own_text, budget=2.0), grasp(factor)], tmp_path, fsdp, full)
    edits = [rehearse(own_text, budget=1.0), grasp(factor)]
    alone = trainer(GuardCallback(*edits), model=prepare(full), per_device_train_batch_size=2, adam_epsilon=1e-4)
    alone.train()
    found = torch.load(tmp_path / "weights.pt")
    assert max(float((found[n] - w).abs().max()) for n, w in weights(alone.model).items()) < CLOSE
    if not full:
        for folder in (tmp_path / "saved", *(tmp_path / "trainer").glob("checkpoint-*")):
            assert max(r.value for r in leakage(Adapter.read(folder), base(), factor).values()) <= EXACT
