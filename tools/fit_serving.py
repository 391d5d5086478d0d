"""Fit the numbers of `servetwin.calibrate.serving` to measured serving runs.

    python tools/fit_serving.py DATA_DIR [--write]

Only runs that the scoreboard marks as fitted are used, every second of them; the same is
done without each of their models in turn, for the scoreboard.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servetwin.calibrate.serving import fit_serving
from servetwin.studies.fidelity.fitting import fitted_points, runs_of
from servetwin.studies.fidelity.points import Point
from servetwin.studies.fidelity.sets import read_set

TARGET = Path(__file__).resolve().parent.parent / "src/servetwin/cost/data/serving.toml"
HEADER = """\
# What kernel timings do not tell, written by tools/fit_serving.py from measured serving runs of
# InferenceX on {gpu}:
{used}
# `without`: fitted again without one model, for the scoreboard only.
"""


def lines_of(prefix: str, table: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if not prefix:
        lines += [f'fitted_on = "{table["fitted_on"]}"', ""]
    operations = table["operation_us"].items()
    lines += [f"[{prefix}operation_us]", *(f'"{name}" = {us:.1f}' for name, us in operations), ""]
    lines += [f"[{prefix}frontend]"]
    lines += [f"{name} = {us:.4g}" for name, us in table["frontend"].items()]
    for name, entry in table["compute"].items():
        names = ", ".join(f'"{gpu}"' for gpu in entry["applies_to"])
        lines += ["", f"[{prefix}compute.{name}]", f"applies_to = [{names}]"]
        lines += [f"share = {entry['share']:.3f}", ""]
    return lines


def used_lines(points: Sequence[Point]) -> str:
    counts = Counter((point.tags["engine"], point.tags["model"]) for point in points)
    return "\n".join(
        f"# {engine}: {model}, {n} runs." for (engine, model), n in sorted(counts.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds measured/")
    parser.add_argument("--write", action="store_true", help="replace the packaged table")
    options = parser.parse_args()
    chosen = fitted_points(read_set("inferencex", options.data / "measured").points)
    models = sorted({point.tags["model"] for point in chosen})
    gpu = chosen[0].deployment.accelerator.name
    lines = [HEADER.format(gpu=gpu, used=used_lines(chosen))]
    lines += lines_of("", fit_serving(runs_of(chosen)))
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
