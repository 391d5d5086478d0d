"""Fit the bands of `servetwin.calibrate.residuals` to the points of the scoreboard.

    servetwin study fidelity --out BOARD
    python tools/profiled_points.py DATA_DIR BOARD/profiled-points.csv
    python tools/fit_intervals.py BOARD/*-points.csv [--write]

Without --write, the bands are only printed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from servetwin.calibrate.evidence import kind_of
from servetwin.catalog import count_parameters, find_model
from servetwin.studies.fidelity.intervals import (
    ENGINE,
    METRICS,
    Ratio,
    bands_of,
    check,
    classes,
    ratios_of,
)

TARGET = Path(__file__).resolve().parent.parent / "src/servetwin/calibrate/data/intervals.toml"
FEWEST_GROUPS = 5
"""Groups from which on a class has bands of its own."""
NAMES = {
    ("derived", "fitted"): "derived costs, NVIDIA",
    ("derived", "other"): "derived costs, other vendors",
    ("profiled", "fitted"): "profiled costs, NVIDIA",
    ("profiled", "other"): "profiled costs, other vendors",
}
HEADER = """\
# Measured over predicted, written by tools/fit_intervals.py from the scoreboard's points that
# nothing was fitted on: {points:,} values of {sources} (digest {digest}).
# `checked` and `coverage`: intervals that were fitted without the GPU and model of the source
# that they were checked on; `half_width` is the median of half of them over the prediction.
"""


def numbers(*values: float) -> str:
    return f"[{', '.join(f'{value:.4f}' for value in values)}]"


def class_lines(name: tuple[str, str], ratios: Sequence[Ratio]) -> Iterator[str]:
    groups = {ratio.group for ratio in ratios}
    if len(groups) < FEWEST_GROUPS:
        return
    yield f"[class.{name[0]}.{name[1]}]"
    yield f'name = "{NAMES[name]}"'
    yield f"points = {len(ratios)}"
    yield f"groups = {len(groups)}"
    for metric, band in bands_of(ratios).items():
        yield f"{metric} = {numbers(band.low, band.high)}"
    checked = check(ratios)
    yield f"coverage = {checked['all'].coverage:.3f}"
    for metric in (*METRICS, "all"):
        if found := checked.get(metric):
            cells = f"values = {found.values}, inside = {found.inside}"
            yield f"checked.{metric} = {{ {cells}, half_width = {found.half_width:.3f} }}"
    yield ""


def evidence_lines(ratios: Sequence[Ratio]) -> Iterator[str]:
    cells: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for ratio in ratios:
        key = (ratio.source, ratio.gpu, ratio.model, ratio.weights, ratio.level)
        cells[key][ratio.metric].append(abs(1 / ratio.value - 1))
    for (source, gpu, model, weights, level), errors in sorted(cells.items()):
        found = find_model(model)
        yield "[[evidence]]"
        yield f'source = "{source}"'
        yield f'gpu = "{gpu}"'
        yield f'model = "{model}"'
        yield f'kind = "{kind_of(found)}"'
        yield f"parameters = {count_parameters(found).total:.3g}"
        yield f'weights = "{weights}"'
        yield f'engine = "{ENGINE}"'
        yield f'level = "{level}"'
        yield f"points = {max(map(len, errors.values()))}"
        medians = (f"{name} = {np.median(errors[name]):.3f}" for name in METRICS if name in errors)
        yield f"error = {{ {', '.join(medians)} }}"
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", type=Path, nargs="+", help="fidelity-points.csv of a board")
    parser.add_argument("--write", action="store_true", help="replace the packaged table")
    options = parser.parse_args()
    rows, digest = [], hashlib.sha256()
    for path in options.points:
        digest.update(path.read_bytes())
        with path.open(newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    ratios = ratios_of(rows)
    sources = ", ".join(sorted({ratio.source for ratio in ratios}))
    head = HEADER.format(points=len(ratios), sources=sources, digest=digest.hexdigest()[:16])
    lines = [
        head,
        *(line for item in sorted(classes(ratios).items()) for line in class_lines(*item)),
    ]
    print("\n".join(lines))
    lines += evidence_lines(ratios)
    if options.write:
        TARGET.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
