"""Writing and reading the folder of one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.errors import InputError
from servetwin.results.metrics import NO_ERROR_BARS, NO_FOOTPRINT
from servetwin.results.output import Writer, write_together
from servetwin.results.slo import Slo
from servetwin.results.summary import summary, to_json
from servetwin.types import RequestTable, RunResult, Status

__all__ = ["NAMES", "REPORT", "REQUESTS", "SUMMARY", "TIMELINE", "TRACE", "read_run", "write_run"]

SUMMARY = "summary.json"
REQUESTS = "requests.parquet"
TIMELINE = "timeline.parquet"
TRACE = "trace.json"
REPORT = "report.html"
NAMES = (SUMMARY, REQUESTS, TIMELINE, TRACE, REPORT)
"""Names that a run may write, replace or remove in its folder."""


def write_run(
    run: RunResult,
    out: Path,
    *,
    slo: Slo | None = None,
    chrome_trace: bool = False,
    extra: Mapping[str, Callable[[Path], object]] | None = None,
) -> dict[str, Any]:
    """Write the files of `run` into the folder `out` and return its summary.

    `extra` adds files, by name, each written by a function of its path, such as a report.
    All appear together at the end; files that an earlier run left under the names of this
    one's are replaced or removed. Raises InputError where writing fails.
    """
    from servetwin.results import chrome, tables

    content = summary(run, slo)
    writers: dict[str, Writer] = {REQUESTS: lambda path: tables.write_requests(run, path)}
    if run.timeline is not None:
        timeline = run.timeline
        writers[TIMELINE] = lambda path: tables.write_timeline(timeline, path)
    if chrome_trace:
        writers[TRACE] = lambda path: chrome.write_trace(run, path)
    writers.update(extra or {})
    writers[SUMMARY] = lambda path: path.write_text(to_json(content) + "\n", encoding="utf-8")
    stale = tuple(name for name in (TIMELINE, TRACE, REPORT) if name not in writers)
    write_together(Path(out), writers, stale)
    return content


def read_run(folder: Path) -> RunResult:
    """Read a run that `write_run`, or another program in the same format, left in `folder`.

    Times are whole picoseconds again, the nearest to the seconds of the file. Raises
    InputError where a file is missing, damaged, of another version or of another run.
    """
    from servetwin.results import tables

    folder = Path(folder)
    content = read_summary(folder / SUMMARY)
    requests, token_gaps = tables.read_requests(folder / REQUESTS)
    _check_same_run(content["metrics"], requests, folder / REQUESTS)
    kv_cache = content["metrics"]["kv_cache"]
    timeline = folder / TIMELINE
    kept = ("created_at", "experiment_id")
    footprint = {name: content["metrics"][name] for name in NO_FOOTPRINT}
    error_bars = {name: content["metrics"].get(name) for name in NO_ERROR_BARS}
    return RunResult(
        kind=content["kind"],
        config=content["config"],
        provenance={**content["provenance"], **{name: content[name] for name in kept}},
        workload=content["workload"],
        requests=requests,
        kv_capacity_blocks=kv_cache["capacity_blocks"] or 0,
        kv_peak_blocks=kv_cache["peak_blocks"] or 0,
        kv_tiers=kv_cache.get("tiers"),
        kv_decode=kv_cache.get("decode"),
        groups=content["metrics"].get("groups"),
        pipeline=content["metrics"].get("pipeline"),
        decode_pipeline=content["metrics"].get("decode_pipeline"),
        failures=content["metrics"].get("failures"),
        timeline=tables.read_timeline(timeline) if timeline.exists() else None,
        token_gaps=token_gaps,
        footprint=None if footprint == NO_FOOTPRINT else footprint,
        error_bars=None if error_bars == NO_ERROR_BARS else error_bars,
        notes=tuple(content["notes"]),
    )


def _check_same_run(metrics: dict[str, Any], requests: RequestTable, path: Path) -> None:
    completed = requests.status == Status.OK
    found = {
        "requests": len(requests),
        "completed": int(np.count_nonzero(completed)),
        "output_tokens": int(requests.output_tokens[completed].sum(dtype=np.int64)),
    }
    for name, count in found.items():
        if count != metrics[name]:
            raise InputError(
                f"'{path}' is not of the run in {SUMMARY}: {name} are {count:,}, not "
                f"{metrics[name]:,}; restore the file or simulate again"
            )


def read_summary(path: Path) -> dict[str, Any]:
    """Read and check a `summary.json`. Raises InputError."""
    from servetwin.results.schema import check

    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_constant=_refuse)
    except FileNotFoundError:
        raise InputError(
            f"'{path.parent}' holds no {path.name}; name the folder that a run was written to"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not JSON: {error}") from None
    return check(content, str(path))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
