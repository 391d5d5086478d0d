"""The trace formats: one module each, with what reads and, where possible, writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servetwin.types import Workload
from servetwin.workload.formats import (
    agentic,
    azure,
    dejavu,
    kavier,
    mooncake,
    native,
    token_ids,
    vidur,
)

__all__ = ["BY_NAME", "Format"]


@dataclass(frozen=True)
class Format:
    """A trace format; `write` is None where servetwin only reads it."""

    read: Callable[[Path], Workload]
    write: Callable[[Workload, Path], None] | None = None
    unwritable: Callable[[Workload], list[str]] | None = None


BY_NAME = {
    "agentic": Format(agentic.read),
    "azure": Format(azure.read, azure.write, azure.unwritable),
    "dejavu": Format(dejavu.read, dejavu.write, dejavu.unwritable),
    "kavier": Format(kavier.read, kavier.write, kavier.unwritable),
    "mooncake": Format(mooncake.read, mooncake.write, mooncake.unwritable),
    "servetwin": Format(native.read, native.write, native.unwritable),
    "token-ids": Format(token_ids.read, token_ids.write, token_ids.unwritable),
    "vidur": Format(vidur.read, vidur.write, vidur.unwritable),
}
