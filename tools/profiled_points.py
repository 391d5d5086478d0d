"""Predict measured points again, with kernel timings of their GPU, for tools/fit_intervals.py.

    python tools/profiled_points.py DATA_DIR OUT.csv

The scoreboard itself predicts only the runs of vLLM 0.19 so. Kernel tables of the H100 fit many
more of its points. Engines that wait for the device before they plan are left out: their host
takes time that no kernel table has. Of ML.ENERGY every second point is taken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from servetwin.errors import InputError
from servetwin.studies.fidelity.intervals import ENGINE
from servetwin.studies.fidelity.points import Point
from servetwin.studies.fidelity.predict import predict
from servetwin.studies.fidelity.sets import read_set
from servetwin.studies.fidelity.writing import write_csv

TABLES = "aiconfigurator_kernels"
TIMED = ("H100-SXM", "A100-80GB")
EVERY = {"inferencex": 1, "mlenergy": 2, "argonne": 1, "vllm-series": 1}


def chosen(measured: Path) -> Iterator[tuple[str, Point]]:
    for name, step in EVERY.items():
        fitting = [
            point
            for point in read_set(name, measured).points
            if point.tags["engine"] == ENGINE
            and point.deployment.accelerator.name in TIMED
            and point.deployment.settings.async_scheduling
        ]
        for point in fitting[::step]:
            yield name, replace(point, profiles=TABLES)


def rows_of(source: str, point: Point, profiles: Path) -> Iterator[dict[str, Any]]:
    """As in fidelity-points.csv; none where nobody timed such weights, or no request fits."""
    try:
        found = predict(point, profiles)
    except InputError as error:
        print(f"{point.label}: {error}", file=sys.stderr)
        return
    for metric, values in point.measured.items():
        if metric in found.values and metric != "energy":
            yield {
                "set": source,
                "group": point.group,
                "metric": metric,
                "label": point.label,
                "values": values.size,
                "measured": float(values[0]),
                "predicted": float(found.values[metric][0]),
                "level": found.level,
                "fitted": metric in point.fitted,
                **{
                    name: point.tags.get(name, "") for name in ("gpu", "model", "engine", "weights")
                },
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds measured/ and profiles/")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    tasks = chosen(options.data / "measured")
    rows = [row for task in tasks for row in rows_of(*task, options.data / "profiles")]
    write_csv(rows, options.out)


if __name__ == "__main__":
    main()
