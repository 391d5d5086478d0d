"""`summary.json`: settings, provenance and metrics of one run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.results.metrics import compute
from servetwin.results.remarks import remarks
from servetwin.results.slo import Slo
from servetwin.types import RunResult

__all__ = ["SCHEMA", "experiment_id", "plain", "summary", "to_json"]

SCHEMA = "servetwin.run/1"


def summary(run: RunResult, slo: Slo | None = None) -> dict[str, Any]:
    """Return the whole of `summary.json` as plain values.

    `created_at` and `experiment_id` are those of the provenance where it has them;
    otherwise the present time, and a hash of what was run.
    """
    provenance = plain(run.provenance)
    created_at = provenance.pop("created_at", None)
    identity = provenance.pop("experiment_id", None)
    metrics = compute(run, slo)
    return {
        "schema": SCHEMA,
        "kind": run.kind,
        "experiment_id": identity or experiment_id(run),
        "created_at": created_at or datetime.now(UTC).isoformat(timespec="seconds"),
        "provenance": provenance,
        "config": plain(run.config),
        "workload": plain(run.workload),
        "metrics": metrics,
        "notes": list(dict.fromkeys((*run.notes, *remarks(run, metrics)))),
    }


def experiment_id(run: RunResult) -> str:
    """Return 12 hexadecimal digits that are equal for runs of equal settings and seed."""
    what = [run.kind, run.config, run.workload, run.provenance.get("seed")]
    text = json.dumps(plain(what), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def to_json(value: Any, indent: int | None = 2) -> str:
    """Return strict JSON: no NaN, no Infinity."""
    return json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Return `value` made of dict, list, str, int, float, bool and None alone.

    NaN and infinities become None, since JSON cannot say them. Raises TypeError for a type
    that has no such form.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in a JSON file")
