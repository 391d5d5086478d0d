"""Our closed form of what the experiments name, and how hours are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servetwin.studies.kavier.forms import NO_CORRECTION, servetwin
from servetwin.units import PS_PER_MS, PS_PER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from servetwin.sim.closed_form import Servetwin

__all__ = ["WHOLE_MS", "hours_of", "ours"]

CATALOG_GPUS = {"A10": "A10", "A100": "A100-80GB-PCIe"}
"""Kavier's A100 has the bandwidth and the watts of the PCIe card."""

WHOLE_MS = "kavier's requests count in whole milliseconds, cut off, as in its published figures"


def ours(model: str, gpu: str, correction: str = NO_CORRECTION) -> Servetwin:
    """The model and GPU of an experiment, as the catalog knows them."""
    return servetwin(model, CATALOG_GPUS[gpu], correction)


def hours_of(times: NDArray[np.int64], form: str) -> float:
    """Hours of a column of picoseconds, one after the other.

    Those of `kavier` are cut to whole milliseconds first, as the original's are.
    """
    import numpy as np

    if form == "kavier":
        return float((times // PS_PER_MS).sum(dtype=np.int64)) / 3.6e6
    # Their sum may not fit into 64 bits, and a float is exact enough for hours.
    return float(times.sum(dtype=np.float64)) / (3600 * PS_PER_S)
