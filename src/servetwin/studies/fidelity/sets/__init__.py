"""Readers of measured sets, one file each: `load(folder)` returns a MeasuredSet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from servetwin.studies.fidelity.points import MeasuredSet

__all__ = ["SETS", "read_set", "rows_of"]

SETS = {
    "vllm-runs": "vllm_runs",
    "mlenergy": "mlenergy_v3",
    "splitwise": "splitwise",
    "argonne": "argonne",
    "kavier-a10": "kavier_a10",
    "inferencex": "inferencex_silicon",
    "inferencex-pools": "inferencex_silicon",
    "vllm-series": "vllm_throughput_power",
    "vllm-series-pools": "vllm_throughput_power",
}
"""Names of the sets, and their folders; modules are called as the sets."""


def read_set(name: str, measured: Path) -> MeasuredSet:
    """Read one of SETS from the folder `measured`, which holds all of them."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    found: MeasuredSet = module.load(measured / SETS[name])
    return found


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file; spaces around the names in its head do not count."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {(name or "").strip(): value or "" for name, value in row.items()}
