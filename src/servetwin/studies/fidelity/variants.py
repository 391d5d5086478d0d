"""What was fitted, and what is left of it where a GPU or a model was never measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from servetwin.calibrate.efficiency import fit_all
from servetwin.cost.curves import Curves, curves_for, curves_from, read_curves, read_serving
from servetwin.cost.kernel_fit import HARDWARE

__all__ = ["Fits", "unseen_gpu", "unseen_model"]

SAME = {
    "deepseek-ai/DeepSeek-V3": "deepseek-ai/DeepSeek-R1",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai/DeepSeek-R1",
}
"""Models of one architecture: who has not seen the one has not seen the other."""


@dataclass(frozen=True)
class Fits:
    """Tables of fitted numbers; the packaged ones unless told otherwise."""

    efficiency: Mapping[str, Any] = field(default_factory=read_curves)
    serving: Mapping[str, Any] = field(default_factory=read_serving)

    def curves(self, accelerator: str, host: str) -> Curves:
        """Curves of a device under an engine."""
        return curves_from(self.efficiency, accelerator, self.serving, host)


def unseen_gpu(accelerator: str, profiles: Path) -> Fits | None:
    """Everything fitted again without timings and runs of the accelerator's chip.

    None where nothing was ever fitted to it: the packaged tables are already a stranger's.
    """
    chip = curves_for(accelerator).name
    serving = read_serving()
    others: Mapping[str, Any] = {} if accelerator == serving["fitted_on"] else serving
    if chip in HARDWARE:
        return Fits(_fit_without(chip, profiles), others)
    return None if others is serving else Fits(serving=others)


def unseen_model(model: str) -> Fits | None:
    """What is fitted without the runs of a model; None where there were none."""
    others = read_serving().get("without", {})
    name = SAME.get(model, model)
    return Fits(serving=others[name]) if name in others else None


@cache
def _fit_without(chip: str, profiles: Path) -> dict[str, Any]:
    return fit_all(profiles, without={chip})
