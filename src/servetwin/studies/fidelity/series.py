"""`servetwin study fidelity-series`: measured runs and their simulations, second by second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from servetwin.studies.fidelity.points import Point
    from servetwin.types import RunResult

    Floats = NDArray[np.float64]

__all__ = ["P99", "app", "p99_of", "run_of"]

SAMPLES = 2000
"""Bootstrap samples of the measured requests."""
SEED = 0
WITHIN = (2.5, 97.5)
"""Percentiles of the samples' P99 between which it is taken to lie."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def fidelity_series(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder with measured/ and profiles/; else $SERVETWIN_DATA."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and the figure there.")
    ] = None,
) -> None:
    """Simulate the measured runs of vLLM from kernel timings; compare over time, and at P99.

    \b
    servetwin study fidelity-series --data ../shared/data --out series
    """
    from servetwin.studies.fidelity.command import find_data

    folder = find_data(data)
    p99, rows = [], []
    for point, measured in _runs(folder / "measured"):
        run = run_of(point, folder / "profiles")
        p99 += list(p99_of(point, run))
        rows += _rows(point.tags["gpu"], run, measured)
    _print(p99)
    if out is not None:
        from servetwin.results.output import written_to

        print(f"\n{written_to(out, _write(p99, rows, out))}")


@dataclass(frozen=True)
class P99:
    """The 99th percentile of a latency, in seconds."""

    gpu: str
    metric: str
    requests: int
    measured: float
    low: float
    """The measured one of 2.5 % of the bootstrap samples is lower."""
    high: float
    simulated: float

    @property
    def within(self) -> bool:
        """Whether the simulated one could be told from the measured one."""
        return self.low <= self.simulated <= self.high


def _runs(measured: Path) -> Iterator[tuple[Point, list[dict[str, str]]]]:
    """Each run with its requests by themselves, and the engine's own samples over time."""
    from servetwin.studies.fidelity.sets import SETS, read_set, rows_of
    from servetwin.studies.fidelity.sets.vllm_runs import GPUS, MODEL

    names = {gpu: name for name, gpu in GPUS.items()}
    folder = measured / SETS["vllm-runs"]
    for point in read_set("vllm-runs", measured).points:
        if point.profiles and "each" in point.statistics.values():
            stem = f"{names[point.tags['gpu']]}_{MODEL}"
            yield point, list(rows_of(folder / f"{stem}_vllm_timeseries.csv"))


def run_of(point: Point, profiles: Path) -> RunResult:
    """Simulate a point, with a timeline of seconds."""
    from servetwin.sim import SimOptions, simulate
    from servetwin.studies.fidelity.predict import cost_of
    from servetwin.studies.fidelity.variants import Fits

    workload = point.workload()
    cost = cost_of(point, workload, profiles, Fits())
    return simulate(point.deployment, workload, cost, SimOptions(token_gaps=False))


def p99_of(point: Point, run: RunResult) -> Iterator[P99]:
    """Compare the P99 of each latency; the measured one with its bootstrap interval."""
    import numpy as np

    from servetwin.results.latencies import latencies_ps
    from servetwin.units import PS_PER_S

    for metric in ("ttft", "tpot", "e2e"):
        values = point.measured[metric]
        values = values[np.isfinite(values)]
        chosen = np.random.default_rng(SEED).integers(0, values.size, (SAMPLES, values.size))
        low, high = np.percentile(np.percentile(values[chosen], 99, axis=1), WITHIN)
        yield P99(
            gpu=point.tags["gpu"],
            metric=metric,
            requests=values.size,
            measured=float(np.percentile(values, 99)),
            low=float(low),
            high=float(high),
            simulated=float(np.percentile(latencies_ps(run.requests, metric), 99)) / PS_PER_S,
        )


def _rows(gpu: str, run: RunResult, measured: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Both series, one row a time, quantity and kind.

    A measured series that is zero from end to end was not recorded, and is left out.
    """
    from servetwin.units import PS_PER_S

    timeline = run.timeline
    assert timeline is not None
    simulated: dict[str, Any] = {
        "running requests": timeline.running.astype(float),
        "waiting requests": timeline.waiting.astype(float),
        "KV blocks in use (%)": timeline.kv_blocks.astype(float) * (100 / run.kv_capacity_blocks),
        "output tokens/s": timeline.decode_tokens * (PS_PER_S / timeline.interval),
    }
    columns = dict(
        zip(simulated, ("running", "waiting", "kv_cache_pct", "gen_throughput"), strict=True)
    )
    seconds = (timeline.t / PS_PER_S).tolist()
    rows = []
    for quantity, values in simulated.items():
        there = [(float(row["t"]), float(row[columns[quantity]])) for row in measured]
        here = zip(seconds, values.tolist(), strict=True)
        there = there if any(value for _, value in there) else []
        for kind, pairs in (("measured", there), ("simulated", here)):
            rows += [
                {"gpu": gpu, "quantity": quantity, "kind": kind, "t": t, "value": value}
                for t, value in pairs
            ]
    return rows


HEADS = ("GPU", "P99 of", "measured", "95 % bootstrap", "simulated", "error", "")


def _print(found: list[P99]) -> None:
    """The P99s as a table of at most 80 columns."""
    for gpu, metric, *figures, verdict in (HEADS, *map(_cells, found)):
        measured, interval, simulated, error = figures
        print(
            f"{gpu:13} {metric:6} {measured:>9} {interval:>19} {simulated:>9} {error:>7}  {verdict}"
        )
    print(f"\n{_outside(found)}")


def _cells(row: P99) -> tuple[str, ...]:
    return (
        row.gpu,
        row.metric.upper(),
        f"{row.measured:.4g} s",
        f"{row.low:.4g} to {row.high:.4g} s",
        f"{row.simulated:.4g} s",
        f"{100 * (row.simulated / row.measured - 1):+.1f} %",
        "within" if row.within else "outside",
    )


def _outside(found: list[P99]) -> str:
    lost = sum(not row.within for row in found)
    return f"{lost} of {len(found)} simulated P99 lie outside the bootstrap interval."


def _write(p99: list[P99], rows: list[dict[str, Any]], out: Path) -> list[str]:
    """Write both tables and the figure: all of them, or none."""
    from servetwin.report import figures
    from servetwin.report.fidelity_series_figure import measured_and_simulated
    from servetwin.results.output import Writer, write_together
    from servetwin.studies.fidelity.writing import write_csv

    chart = measured_and_simulated(rows)
    page = _page(p99, rows)
    writers: dict[str, Writer] = {
        "fidelity-p99.csv": lambda path: write_csv([asdict(row) for row in p99], path),
        "fidelity-series.csv": lambda path: write_csv(rows, path),
        "fidelity-series.png": lambda path: figures.save(chart, path),
        "fidelity-series.html": lambda path: path.write_text(page, encoding="utf-8"),
    }
    write_together(out, writers, ())
    return list(writers)


def _page(p99: list[P99], rows: list[dict[str, Any]]) -> str:
    """Return fidelity-series.html: what was done, the P99s, and a chart of each quantity."""
    from servetwin.report.fidelity_series_figure import panels
    from servetwin.report.page import NO_SCRIPT, drawn, framed, notes, section, specs_of, table

    specs = specs_of({f"series-{n}": chart for n, chart in enumerate(panels(rows))})
    about = (
        "Measured runs of vLLM 0.19, and their simulation from kernel timings of the very GPU; "
        "nothing is fitted to the runs.",
        f"P99 of few requests rests on the slowest of them: 95 % of {SAMPLES:,} bootstrap samples "
        f"of the measured requests have theirs within the interval. {_outside(p99)}",
        "What the engine did not record has no measured line.",
    )
    body = (
        notes(about),
        section("P99 of requests", table(HEADS, map(_cells, p99))),
        NO_SCRIPT,
        drawn("Second by second", specs),
    )
    return framed("servetwin fidelity-series: measured and simulated runs", body, specs)
