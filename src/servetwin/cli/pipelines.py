"""RunSettings with pipeline stages -> Pipeline, and its settings as they turned out."""

from __future__ import annotations

from typing import Any

from servetwin.cache.notation import parse_link, write_link
from servetwin.cli.options import flag_of
from servetwin.cli.pipeline_settings import PipelineSettings
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.types import Parallelism, Pipeline

__all__ = ["few_microbatches", "parallelism_of", "resolved_pipeline"]

USUAL_HOST_LINK = "PCIe4"
CHANGING = tuple(name for name in PipelineSettings.model_fields if name != "microbatches")


def parallelism_of(settings: RunSettings, seats: int) -> Parallelism:
    """Lay an engine out that runs up to `seats` requests at once.

    Raises InputError for stages that do not fit together.
    """
    microbatches = settings.microbatches or min(settings.pp, seats)
    changed = [name for name in CHANGING if getattr(settings, name) is not None]
    if settings.pp == 1 and (changed or microbatches > 1):
        name = changed[0] if changed else "microbatches"
        raise InputError(f"{flag_of(name)} needs pipeline stages: --pp 2 or more")
    if settings.host_link is not None and settings.resident_microbatches is None:
        raise InputError(
            "--host-link is for microbatches whose KV waits in host memory: give "
            "--resident-microbatches N, too"
        )
    sizes = (settings.tp, settings.pp, settings.ep, settings.dp)
    if microbatches == 1 and not changed:
        return Parallelism(*sizes)
    host = None
    if settings.resident_microbatches is not None:
        host = parse_link(settings.host_link or USUAL_HOST_LINK)
    try:
        pipeline = Pipeline(
            microbatches=microbatches,
            layers=tuple(settings.stage_layers or ()),
            speeds=tuple(settings.stage_speeds or ()),
            resident=settings.resident_microbatches or 0,
            host=host,
        )
        return Parallelism(*sizes, pipeline)
    except ValueError as error:
        raise InputError(f"pipeline: {error}") from None


def few_microbatches(settings: RunSettings, layout: Parallelism) -> str:
    """Say that stages stay empty because nobody is there for them; "" where they do not."""
    decided = settings.microbatches is None or "microbatches" in settings.defaulted
    microbatches = 1 if layout.pipeline is None else layout.pipeline.microbatches
    if not decided or microbatches >= layout.pp:
        return ""
    return (
        f"pipeline: {microbatches} of {layout.pp} stages can work at a time, since max-num-seqs "
        "leaves no request for more microbatches"
    )


def resolved_pipeline(layout: Parallelism) -> dict[str, Any]:
    """List the settings of stages as they were decided."""
    pipeline = layout.pipeline
    if pipeline is None:
        return {"microbatches": 1}
    return {
        "microbatches": pipeline.microbatches,
        "host_link": write_link(pipeline.host) if pipeline.host else None,
    }
