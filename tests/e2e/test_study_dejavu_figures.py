"""Figures 17 to 19 through the command line: pictures of the plan, and what is told of it."""

from __future__ import annotations

import csv
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from servetwin.studies.dejavu.figures import FIGURES, Figure

KINDS = {"Baseline": "baseline", "Baseline-DP": "baseline_dp", "DéjàVu": "dv"}
COLUMNS = {"Baseline": "Baseline", "Baseline-DP": "Baseline_dp", "DéjàVu": "DV"}
SPEEDUPS = {
    "SPEEDUP-DP": ("Baseline", "Baseline-DP"),
    "SPEEDUP-DV-BASELINE": ("Baseline", "DéjàVu"),
    "SPEEDUP-DV-DP": ("Baseline-DP", "DéjàVu"),
}


@pytest.fixture(scope="module", params=sorted(FIGURES))
def drawn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Figure, Path, str]:
    """A figure, the folder with its files, and what was printed."""
    folder = tmp_path_factory.mktemp("figures")
    command = [sys.executable, "-m", "servetwin", "study", f"dejavu-fig{request.param}"]
    done = subprocess.run(
        [*command, "--out", "out"], cwd=folder, capture_output=True, text=True, check=True
    )
    return FIGURES[request.param], folder / "out", done.stdout


def stem(figure: Figure) -> str:
    return f"{figure.model}_{figure.machine}"


def table(figure: Figure, folder: Path) -> list[dict[str, float]]:
    with (folder / f"{stem(figure)}.csv").open(encoding="utf-8") as file:
        return [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def bars(page: str) -> dict[tuple[int, str], float]:
    """Machines, kind and height of what an HTML figure draws."""
    begin = page.index("{", page.rindex('"datasets"'))
    datasets: dict[str, list[dict[str, Any]]]
    datasets, _ = json.JSONDecoder().raw_decode(page[begin:])
    rows = [row for rows in datasets.values() for row in rows if "kind" in row]
    return {(row["machines"], row["kind"]): row["value"] for row in rows}


def test_every_file_is_there_and_the_pictures_are_drawn(drawn: tuple[Figure, Path, str]) -> None:
    figure, folder, _ = drawn
    endings = (".csv", ".json", ".html", ".png", "_cost.html", "_cost.png")
    assert {path.name for path in folder.iterdir()} == {f"{stem(figure)}{end}" for end in endings}
    for end in (".png", "_cost.png"):
        content = (folder / f"{stem(figure)}{end}").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", content[16:24])
        assert width > 1000
        assert height > 500
        assert len(content) > 20_000  # a plain area takes a tenth of that


def test_the_bars_are_the_figures_of_the_table(drawn: tuple[Figure, Path, str]) -> None:
    figure, folder, _ = drawn
    rows = table(figure, folder)
    assert [row["Num_machines"] for row in rows] == [1, 2, 4, 6, 8, 10, 12, 14, 16]
    pages = {
        "": (folder / f"{stem(figure)}.html").read_text(encoding="utf-8"),
        "cost": (folder / f"{stem(figure)}_cost.html").read_text(encoding="utf-8"),
    }
    for row in rows:
        for kind, name in COLUMNS.items():
            at = int(row["Num_machines"]), kind
            assert bars(pages[""])[at] == pytest.approx(row[name])
            hours = row[f"Cost_{KINDS[kind]}"] / figure.machine_cost
            assert bars(pages["cost"])[at] == pytest.approx(hours)
            assert hours == pytest.approx(row[name] / 3600 * row["Num_machines"])
    for page in pages.values():
        assert f"Figure {figure.number}: {figure.model}" in page
        assert "256 requests, the best layout of each kind" in page
        assert "stand in for the unpublished trace" in page


def test_the_largest_speedups_and_the_lowest_cost_are_told(
    drawn: tuple[Figure, Path, str],
) -> None:
    figure, folder, said = drawn
    rows = table(figure, folder)
    lines = said.splitlines()
    for name, (slower, faster) in SPEEDUPS.items():
        quotients = [
            (row[COLUMNS[slower]] / row[COLUMNS[faster]], int(row["Num_machines"]))
            for row in rows
            if row[COLUMNS[slower]] and row[COLUMNS[faster]]
        ]
        most, machines = max(quotients)
        assert most > 1
        told = next(line for line in lines if line.startswith(f"{name}: ")).split()
        assert float(told[1]) == pytest.approx(most)
        assert told[2:] == [f"({machines}", "machines)"]
    hours, kind, machines = min(
        (row[f"Cost_{column}"] / figure.machine_cost, kind, int(row["Num_machines"]))
        for row in rows
        for kind, column in KINDS.items()
        if row[f"Cost_{column}"]
    )
    cheapest = f"The fewest machine-hours, {hours:.3g}, are those of {kind} with {machines} machine"
    assert cheapest in " ".join(said.split())
    costs = lines[lines.index("Cost, $") + 2 :][: len(rows)]
    for row, line in zip(rows, costs, strict=True):
        cells = [f"{row[f'Cost_{column}']:,.2f}" for column in KINDS.values()]
        shown = ["-" if cell == "0.00" else cell for cell in cells]
        assert line.split() == [f"{row['Num_machines']:.0f}", *shown]
    assert max(len(line) for line in lines if not line.startswith("Written to")) <= 80
