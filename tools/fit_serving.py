"""Fit the numbers of `servetwin.calibrate.serving` to measured serving runs.

    python tools/fit_serving.py DATA_DIR [--write]

Only runs that the scoreboard marks as fitted are used, every second of them; the same is
done without each of their models in turn, for the scoreboard.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servetwin.calibrate.serving import Run, fit_serving
from servetwin.studies.fidelity.points import Point
from servetwin.studies.fidelity.sets import read_set

TARGET = Path(__file__).resolve().parent.parent / "src/servetwin/cost/data/serving.toml"
HEADER = """\
# What kernel timings do not tell, written by tools/fit_serving.py from measured serving runs:
# {used}.
# `without`: fitted again without one model, for the scoreboard only.
"""


def runs_of(points: Sequence[Point]) -> list[Run]:
    return [
        Run(p.deployment, p.workload, float(p.measured["ttft"][0]), float(p.measured["tpot"][0]))
        for p in points
    ]


def lines_of(prefix: str, table: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, entry in table.items():
        names = ", ".join(f'"{gpu}"' for gpu in entry["applies_to"])
        lines += [f"[{prefix}compute.{name}]", f"applies_to = [{names}]"]
        lines += [f'fitted_on = "{entry["fitted_on"]}"']
        lines += [f"share = {entry['share']:.3f}", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds measured/")
    parser.add_argument("--write", action="store_true", help="replace the packaged table")
    options = parser.parse_args()
    points = read_set("inferencex", options.data / "measured").points
    chosen = [point for point in points if "tpot" in point.fitted][::2]
    models = sorted({point.tags["model"] for point in chosen})
    used = f"{', '.join(models)}; {len(chosen)} runs of InferenceX"
    lines = [HEADER.format(used=used), *lines_of("", fit_serving(runs_of(chosen)))]
    for model in models:
        rest = [point for point in chosen if point.tags["model"] != model]
        lines += lines_of(f'without."{model}".', fit_serving(runs_of(rest)))
    text = "\n".join(lines)
    print(text)
    if options.write:
        TARGET.write_text(text, encoding="utf-8")
        print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
