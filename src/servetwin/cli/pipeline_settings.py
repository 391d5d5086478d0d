"""The settings of an engine whose layers lie on several pipeline stages."""

from __future__ import annotations

from pydantic import BaseModel

from servetwin.cli.setting_fields import Count, Counts, Rates, option

__all__ = ["PipelineSettings"]


class PipelineSettings(BaseModel):
    """How iterations travel through the stages of `--pp`."""

    microbatches: Count | None = option(
        None, "Deployment", "N", "Iterations under way in the stages of an engine; else as --pp."
    )
    stage_layers: Counts | None = option(
        None, "Deployment", "N,N,…", "Layers of each stage; else as even as possible."
    )
    stage_speeds: Rates | None = option(
        None, "Deployment", "X,X,…", "How fast each stage's GPUs are, beside --gpu; else all 1."
    )
    resident_microbatches: Count | None = option(
        None, "Deployment", "N", "Whose KV lies in HBM, others' in host memory; else all."
    )
    host_link: str | None = option(
        None, "Deployment", "LINK", "Between a GPU and host memory, for those; else PCIe4."
    )
