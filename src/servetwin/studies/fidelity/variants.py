"""The packaged curves, and those of a world in which one device was never timed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from servetwin.calibrate.efficiency import fit_all
from servetwin.cost.curves import Curves, curves_for, curves_from
from servetwin.cost.kernel_fit import HARDWARE

__all__ = ["unseen_gpu"]


def unseen_gpu(accelerator: str, profiles: Path) -> Curves | None:
    """Curves for the accelerator, fitted again without timings of its chip.

    None where there are none, so that the packaged curves are already those of a stranger.
    """
    chip = curves_for(accelerator).name
    if chip not in HARDWARE:
        return None
    return curves_from(_fit_without(chip, profiles), accelerator)


@cache
def _fit_without(chip: str, profiles: Path) -> dict[str, Any]:
    return fit_all(profiles, without={chip})
