"""Runs of a world whose truth is known."""

import numpy as np
import pytest
import torch

from despur.judge import Run


@pytest.fixture(scope="session")
def simulate():
    """Make runs: (guard, task, drift, legitimate) by setting, with noise between seeds and between prompts."""

    def make(
        guards, *, seeds, rng, prompts=40, between=0.0, within=0.0, asked=0.0, world="w", nested=False, validity=1.0
    ):
        effect = {}  # of a prompt: on all seeds alike, or drawn anew at each

        def scores(seed, name, task, drift, legitimate):
            shifts = rng.normal(0, between, size=2)
            out = {}
            for axis, mean in (("task", task), ("drift", drift), ("legitimate", legitimate), ("validity", validity)):
                key = (axis, seed if nested else 0, name)
                if key not in effect:
                    effect[key] = (
                        rng.normal(0, asked, size=prompts) if name not in ("base", "naive") else np.zeros(prompts)
                    )
                noise = rng.normal(0, within, size=prompts) + effect[key]
                shift = dict(task=shifts[0], drift=shifts[1]).get(axis, 0.0)
                noisy = name not in ("base", "naive") and axis in ("task", "drift")
                out[axis] = {"p": torch.tensor(mean + noisy * (noise + shift))}
            return out

        runs = []
        for seed in seeds:
            runs += [Run(world, "base", 0, seed, scores(seed, "base", 0.0, 0.0, 1.0))]
            runs += [Run(world, "naive", 0, seed, scores(seed, "naive", 1.0, 1.0, 1.0))]
            for guard, settings in guards.items():
                runs += [Run(world, guard, i, seed, scores(seed, f"{guard}{i}", *s)) for i, s in enumerate(settings)]
        return runs

    return make
