"""Launchers that a guard does not know are refused before the first step."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from transformers import TrainerControl, TrainerState, TrainingArguments

from despur import GuardCallback, guarded
from despur.core.errors import CannotAttach
from despur.core.run.launch import bare_model
from despur.guard import grasp, rehearse


@pytest.fixture
def adapted(tiny, lora):
    return lora(tiny())


@pytest.fixture
def optimizer(adapted):
    return torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)


@pytest.mark.parametrize("event", ["on_init_end", "on_train_begin"])
def test_deepspeed_by_its_arguments(event, adapted, optimizer, factor, tmp_path):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    arguments.deepspeed = "zero3.json"
    with pytest.raises(CannotAttach, match=r"DeepSpeed.*DDP or FSDP2"):
        getattr(GuardCallback(grasp(factor)), event)(
            arguments, TrainerState(), TrainerControl(), model=adapted, optimizer=optimizer
        )


def test_deepspeed_in_a_loop(adapted, optimizer, factor, monkeypatch):
    Accelerator(cpu=True)
    monkeypatch.setitem(PartialState._shared_state, "distributed_type", DistributedType.DEEPSPEED)
    with pytest.raises(CannotAttach, match="DeepSpeed"), guarded(adapted, optimizer, grasp(factor)):
        pytest.fail("the block ran")


def test_fsdp_of_version_1(adapted):
    wrapped = FullyShardedDataParallel.__new__(FullyShardedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.inside = adapted
    with pytest.raises(CannotAttach, match="fsdp_version: 2"):
        bare_model(wrapped)


def test_fp16_with_a_loss_guard_only(adapted, optimizer, factor, own_text, tmp_path):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    arguments.fp16 = True
    state = TrainerState(stateful_callbacks=[])
    given = {"model": adapted, "optimizer": optimizer}
    with pytest.raises(CannotAttach, match="bf16=True"):
        GuardCallback(rehearse(own_text)).on_train_begin(arguments, state, TrainerControl(), **given)
    GuardCallback(grasp(factor)).on_train_begin(arguments, state, TrainerControl(), **given)


def test_an_optimiser_with_a_second_copy_of_the_weights(adapted, factor):
    class AdamWScheduleFree(torch.optim.SGD):
        __module__ = "schedulefree.adamw_schedulefree"

    second = AdamWScheduleFree([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    with pytest.raises(CannotAttach, match="AdamWScheduleFree averages"), guarded(adapted, second, grasp(factor)):
        pytest.fail("the block ran")
    assert not second._optimizer_step_pre_hooks


def test_no_model_at_all():
    with pytest.raises(CannotAttach, match="got NoneType"):
        bare_model(None)
