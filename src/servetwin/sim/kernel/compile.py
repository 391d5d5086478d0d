"""How the simulator's kernel is compiled, and where its machine code is kept.

Importing this module imports numba, which takes half a second: only the kernel does.
"""

from __future__ import annotations

from pathlib import Path

import servetwin.cache.kernel as cache_kernel
from servetwin import units
from servetwin.cache import tiers
from servetwin.cache.kernel import compile as compiling
from servetwin.cache.kernel.compile import entry_of, inlined, outlined, spliced
from servetwin.sim import routing, stages
from servetwin.types import attention, cost, deployment, result

__all__ = ["cache_folder", "entry", "inlined", "is_compiled", "outlined", "spliced"]

SOURCES = (
    Path(__file__).parent,
    Path(cache_kernel.__file__).parent,
    *(
        Path(str(module.__file__))
        for module in (routing, stages, tiers, units, attention, cost, deployment, result)
    ),
)
"""Every file whose code or constants become machine code."""


def cache_folder() -> Path:
    """Where the compiled kernel is kept between runs; see `cache.kernel.compile`."""
    return compiling.cache_folder(SOURCES)


def is_compiled(entry_point: str = "run_plain_slice") -> bool:
    """Whether machine code for `entry_point` lies in the cache folder."""
    return compiling.is_compiled(SOURCES, entry_point)


entry = entry_of(cache_folder())
"""Compile a function that Python calls; its machine code is kept between runs."""
