"""The settings of engines that fail."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from servetwin.cli.setting_fields import option

__all__ = ["FailureSettings"]


class FailureSettings(BaseModel):
    """When engines fail, and how they come back."""

    fail_at: str | None = option(
        None, "Failures", "TIME:ENGINE,…", "When which engine fails: 120s:0,5m:1."
    )
    mtbf: str | None = option(
        None, "Failures", "TIME", "Draw failures, of each engine with this mean time between them."
    )
    detect: str = option("3s", "Failures", "TIME", "Until a failure is noticed.")
    restart: str | None = option(
        None,
        "Failures",
        "TIME",
        "Until the engine runs again; else 20s and the weights of each GPU at 2 GB/s.",
    )
    kv_replication: str = option(
        "none",
        "Failures",
        "WHERE",
        "Copies of KV blocks: none, neighbour (over InfiniBand-NDR) or host (over PCIe4).",
    )
    kv_copy_link: str | None = option(
        None, "Failures", "LINK", "Over which each GPU gets its copies back, instead."
    )
    replication_lag: Annotated[int, Field(ge=0, le=1_000)] = option(
        1, "Failures", "N", "Iterations by which copies are behind, to be computed again."
    )
    reroute: bool = option(
        True, "Failures", "", "Send requests that wait for a failed engine to others (the default)."
    )
