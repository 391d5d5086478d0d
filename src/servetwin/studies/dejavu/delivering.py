"""What DéjàVu's simulators print, and the files that they leave."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.errors import InputError
from servetwin.sim.pipeline import PipelineRun, Split
from servetwin.studies.dejavu.simulating import Done
from servetwin.studies.dejavu.tables import Column, show_notes, show_table

__all__ = ["Delivery", "deliver", "seed_lines", "stage_rows"]

STAGES = "stages.csv"
TRACE_NAMES = {"dejavu-baseline": "baseline_trace.json", "dejavu-disaggregated": "dv_trace.json"}
MOST_STAGES_SHOWN = 32


@dataclass(frozen=True)
class Delivery:
    """Where results go."""

    out: Path | None
    do_traces: bool
    json: bool


def deliver(done: Done, delivery: Delivery) -> None:
    """Write the files, then print. Raises InputError where they cannot be written."""
    import shlex
    import sys

    from servetwin.results.summary import summary, to_json

    typed = shlex.join(["servetwin", *sys.argv[1:]])
    provenance = {**done.result.provenance, "command": typed}
    result = replace(done.result, provenance=provenance)
    done = replace(done, result=result)
    written = _write(done, delivery)
    if delivery.json:
        content = summary(result) | {"stages": stage_rows(done.run)}
        print(to_json(content))
        return
    for line in seed_lines(done):
        print(line)
    _show(done)
    show_notes(result.notes)
    if written:
        print(f"\nWritten: {', '.join(written)}")


def seed_lines(done: Done) -> list[str]:
    """The lines of the published simulators, word for word, so that scripts find them."""
    run = done.run
    latency, makespan = run.latency_s_per_token, run.makespan_us / 1e6
    median, most, least = (float(f(latency)) for f in (np.median, np.max, np.min))
    n, mean = len(run.load), float(np.average(run.load.rounds))
    split = isinstance(run.pipeline, Split)
    stops = [] if split else ["-" * 48 + f" Early stops is {run.early_stops}"]
    return [
        f"trace_list:  {n} {mean}" if split else f"{n} {mean}",
        f"LAT/TOKEN: median: {median}, max: {most}, min: {least}",
        *stops,
        f"Total time is {makespan} sec, thr is {n / makespan} ubatces/sec",
    ]


def stage_rows(run: PipelineRun) -> list[dict[str, Any]]:
    """Of each stage: what it serves, how long it worked, and the share that is bubbles."""
    prompts = run.pipeline.prompt_stages if isinstance(run.pipeline, Split) else 0
    rows = []
    for stage, (busy, share) in enumerate(
        zip(run.busy_us().tolist(), run.utilisation().tolist(), strict=True)
    ):
        serves = "prompts and tokens" if not prompts else "prompts" if stage < prompts else "tokens"
        row = {"stage": stage, "serves": serves, "busy_s": busy / 1e6, "utilisation": share}
        rows.append({**row, "bubbles": 1 - share})
    return rows


def _write(done: Done, delivery: Delivery) -> list[str]:
    from servetwin.results.files import NAMES, TRACE, write_run
    from servetwin.results.output import Writer, check_targets, replace_file
    from servetwin.studies.dejavu.tracing import write_trace

    def trace(path: Path) -> None:
        write_trace(done.run, path)

    if delivery.out is None:
        if not delivery.do_traces:
            return []
        target = Path(TRACE_NAMES[done.asked.study])
        _check_inputs(done, [target])
        replace_file(target, trace)
        return [str(target)]
    if delivery.out.exists() and not delivery.out.is_dir():
        raise InputError(f"--out {delivery.out}: is a file; name a folder")
    check_targets(delivery.out, (*NAMES, STAGES))
    _check_inputs(done, [delivery.out / name for name in (*NAMES, STAGES)])
    extra: dict[str, Writer] = {STAGES: lambda path: _write_stages(done.run, path)}
    if delivery.do_traces:
        extra[TRACE] = trace
    write_run(done.result, delivery.out, extra=extra)
    names = ["summary.json", "requests.parquet", *extra]
    return [f"{delivery.out}/: {names[0]}", *names[1:]]


def _check_inputs(done: Done, targets: list[Path]) -> None:
    """Raise InputError where a file that was read would be replaced."""
    config = done.result.config
    for given in filter(None, (config["trace_file"], config["arrivals"])):
        if Path(given).resolve() in {target.resolve() for target in targets}:
            raise InputError(f"'{given}' would be replaced: name another folder with --out")


def _write_stages(run: PipelineRun, path: Path) -> None:
    rows = stage_rows(run)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _show(done: Done) -> None:
    show_table(
        "Semantics",
        [_figures(run) for run in (done.run, done.other) if run is not None],
        (
            Column("semantics", ""),
            Column("makespan s", ",.3f"),
            Column("mean latency s", ",.3f"),
            Column("P50 s", ",.3f"),
            Column("P99 s", ",.3f"),
            Column("early stops", ","),
        ),
    )
    if done.other is not None:
        late = (done.run.completion_us - done.other.completion_us) / 1e6
        print(f"largest difference of one request: {float(np.abs(late).max()):,.6g} s")
    rows = stage_rows(done.run)
    alike = {(row["serves"], row["busy_s"]): row for row in rows}
    shown = rows if len(rows) <= MOST_STAGES_SHOWN else list(alike.values())
    show_table(
        "Stages" if shown is rows else f"Stages: one of each kind, of {len(rows)}",
        shown,
        (
            Column("stage", ""),
            Column("serves", ""),
            Column("busy_s", ",.3f", "busy s"),
            Column("utilisation", ".1%"),
            Column("bubbles", ".1%"),
        ),
    )


def _figures(run: PipelineRun) -> dict[str, Any]:
    seconds = (run.completion_us - run.load.arrival_us) / 1e6
    p50, p99 = np.percentile(seconds, (50, 99)).tolist()
    return {
        "semantics": run.semantics,
        "makespan s": run.makespan_us / 1e6,
        "mean latency s": float(seconds.mean()),
        "P50 s": p50,
        "P99 s": p99,
        "early stops": run.early_stops,
    }
