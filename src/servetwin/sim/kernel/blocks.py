"""KV blocks: how many, and in which plan a growing context needs its next one."""

from servetwin.sim.kernel.compile import inlined
from servetwin.sim.kernel.state import Int, Record, Shorts

__all__ = ["blocks_for", "growth", "phase_of", "steps_that_fit"]


@inlined
def blocks_for(settings: Record, tokens: Int) -> Int:
    if settings.shift >= 0:
        return (tokens + settings.block_size - 1) >> settings.shift
    return (tokens + settings.block_size - 1) // settings.block_size


@inlined
def phase_of(settings: Record, plan: Int) -> Int:
    """Plans of equal phase lie a whole number of blocks apart."""
    if settings.shift >= 0:
        return plan & (settings.block_size - 1)
    return plan % settings.block_size


@inlined
def growth(settings: Record, phases: Shorts, batch: Int, plan: Int, steps: Int) -> Int:
    """Blocks that `batch` sequences take in the `steps` plans from `plan` on."""
    cycles = steps >> settings.shift if settings.shift >= 0 else steps // settings.block_size
    total = cycles * batch
    phase = phase_of(settings, plan)
    for _ in range(steps - cycles * settings.block_size):
        total += phases[phase]
        phase += 1
        if phase == settings.block_size:
            phase = 0
    return total


@inlined
def steps_that_fit(
    settings: Record, phases: Shorts, batch: Int, plan: Int, steps: Int, free: Int
) -> Int:
    """The most plans, up to `steps` from `plan` on, that `free` blocks are enough for."""
    size = settings.block_size
    if batch * (steps // size + 1) <= free:
        return steps
    cycles = min(steps // size, free // batch)
    free -= cycles * batch
    fitting = cycles * size
    phase = phase_of(settings, plan)
    while fitting < steps and phases[phase] <= free:
        free -= phases[phase]
        fitting += 1
        phase += 1
        if phase == size:
            phase = 0
    return fitting
