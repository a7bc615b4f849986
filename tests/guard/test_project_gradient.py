"""project_gradient leaks under elementwise optimisers, and not under plain SGD."""

from leak import OPTIMIZERS, random_factor, run

from despur.guard import project_gradient

EXACT = 1e-6  # relative, float32
STEPS = 8
ADAMW = OPTIMIZERS["AdamW"]


def test_projecting_the_gradient_instead_leaks():
    factor = random_factor()
    leak = run(ADAMW, [project_gradient(factor)], factor, steps=STEPS)
    assert min(leak.values()) > 1e-3
    plain = run(OPTIMIZERS["SGD"], [project_gradient(factor)], factor, steps=STEPS)
    assert plain["write"] <= EXACT, "under plain SGD, from a zero start, it is exact: the projection itself is right"
