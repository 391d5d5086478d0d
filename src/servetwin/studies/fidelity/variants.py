"""The packaged curves, and those of a world in which a GPU or a model was never measured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from servetwin.calibrate.efficiency import fit_all
from servetwin.cost.curves import Curves, curves_for, curves_from, read_curves, read_serving
from servetwin.cost.kernel_fit import HARDWARE

__all__ = ["unseen_gpu", "unseen_model"]


def unseen_gpu(accelerator: str, profiles: Path) -> Curves | None:
    """Curves for the accelerator, fitted again without timings and runs of its chip.

    None where nothing was ever fitted to it: the packaged curves are already a stranger's.
    """
    chip = curves_for(accelerator).name
    runs = _runs_without(accelerator)
    if chip in HARDWARE:
        return curves_from(_fit_without(chip, profiles), accelerator, runs)
    return None if runs is read_serving() else curves_from(read_curves(), accelerator, runs)


def unseen_model(accelerator: str, model: str) -> Curves | None:
    """Curves for the accelerator without the runs of a model; None where there were none."""
    others = read_serving().get("without", {})
    return curves_from(read_curves(), accelerator, others[model]) if model in others else None


def _runs_without(accelerator: str) -> Mapping[str, Any]:
    """What was fitted to runs of other devices than this one."""
    serving = read_serving()
    kept = {
        name: entry
        for name, entry in serving.get("compute", {}).items()
        if accelerator != entry["fitted_on"]
    }
    return serving if kept == serving.get("compute", {}) else {"compute": kept}


@cache
def _fit_without(chip: str, profiles: Path) -> dict[str, Any]:
    return fit_all(profiles, without={chip})
