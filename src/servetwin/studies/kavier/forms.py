"""Both closed forms for a model and a GPU, by the names that people type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servetwin.sim.closed_form import Kavier, Servetwin

__all__ = ["NO_CORRECTION", "kavier", "servetwin"]

NO_CORRECTION = "none"
TYPICAL_CONTEXT = 1000
"""For the memory plan, which no time depends on."""


def kavier(llm: str, gpu: str) -> Kavier:
    """Kavier's formulas, of its own library. Raises InputError for unknown names."""
    from servetwin.sim.closed_form import Kavier, find_kavier_gpu, find_kavier_model

    return Kavier(find_kavier_model(llm), find_kavier_gpu(gpu))


def servetwin(llm: str, gpu: str, correction: str = NO_CORRECTION) -> Servetwin:
    """Derived costs of the catalog, moved towards measurements where a correction is named.

    Raises InputError for unknown names, and for a model that the GPU cannot hold.
    """
    from servetwin.catalog import find_accelerator, find_link, find_model
    from servetwin.cost import check_deployment, derive, lower_max_model_len, resolve_settings
    from servetwin.sim.closed_form import Servetwin, apply_correction, find_correction
    from servetwin.types import Deployment

    model, device = find_model(llm), find_accelerator(gpu)
    settings = resolve_settings(model, device, scheduler="single")
    deployment = Deployment(model, device, find_link(device.link), settings=settings)
    deployment, _ = lower_max_model_len(deployment)
    check_deployment(deployment)
    if correction == NO_CORRECTION:
        return Servetwin(deployment, derive(deployment, TYPICAL_CONTEXT))
    return Servetwin(deployment, apply_correction(deployment, find_correction(correction)))
