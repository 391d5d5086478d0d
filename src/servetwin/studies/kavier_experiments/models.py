"""Both closed forms for the models and GPUs that the experiments name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servetwin.units import PS_PER_MS, PS_PER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from servetwin.sim.closed_form import Kavier, Servetwin
    from servetwin.types import Deployment

__all__ = ["WHOLE_MS", "hours_of", "kavier", "ours"]

CATALOG_MODELS = {
    "Llama-3-8B": "meta-llama/Meta-Llama-3-8B",
    "Llama-2-13B": "meta-llama/Llama-2-13b-hf",
    "Granite-20B": "ibm-granite/granite-20b-code-base-8k",
    "MPT-30B": "mosaicml/mpt-30b",
}
CATALOG_GPUS = {"A10": "A10", "A100": "A100-80GB-PCIe"}
"""Kavier's A100 has the bandwidth and the watts of the PCIe card."""

TYPICAL_CONTEXT = 1000
"""For the memory plan, which no time depends on."""


def kavier(model: str, gpu: str) -> Kavier:
    """Kavier's formulas for a model and GPU of its own library."""
    from servetwin.sim.closed_form import Kavier, find_kavier_gpu, find_kavier_model

    return Kavier(find_kavier_model(model), find_kavier_gpu(gpu))


def deployment(model: str, gpu: str) -> Deployment:
    """The same model and GPU as the catalog knows them."""
    from servetwin.catalog import find_accelerator, find_link, find_model
    from servetwin.cost import resolve_settings
    from servetwin.types import Deployment

    known, device = find_model(CATALOG_MODELS[model]), find_accelerator(CATALOG_GPUS[gpu])
    settings = resolve_settings(known, device, scheduler="single")
    return Deployment(known, device, find_link(device.link), settings=settings)


def ours(model: str, gpu: str, correction: str | None = None) -> Servetwin:
    """Derived costs, moved towards measurements only where a `correction` is named."""
    from servetwin.cost import derive
    from servetwin.sim.closed_form import Servetwin, apply_correction, find_correction

    target = deployment(model, gpu)
    if correction is None:
        cost = derive(target, TYPICAL_CONTEXT)
    else:
        cost = apply_correction(target, find_correction(correction))
    return Servetwin(target, cost)


WHOLE_MS = "kavier's requests count in whole milliseconds, cut off, as in its published figures"


def hours_of(times: NDArray[np.int64], form: str) -> float:
    """Hours of a column of picoseconds, one after the other.

    Those of `kavier` are cut to whole milliseconds first, as the original's are.
    """
    import numpy as np

    if form == "kavier":
        return float((times // PS_PER_MS).sum(dtype=np.int64)) / 3.6e6
    # Their sum may not fit into 64 bits, and a float is exact enough for hours.
    return float(times.sum(dtype=np.float64)) / (3600 * PS_PER_S)
