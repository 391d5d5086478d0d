"""A profile on the disk: `meta.yaml` and `tpN/*.csv`, the layout of vLLM layer profiles.

Nothing here needs PyTorch. What the columns mean is in docs/guides/profiling.md; the reader
is `cost.profiles.vllm_layers`.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from servetwin.calibrate.profiler.plan import ATTENTION, DENSE, SAMPLED, Plan, Point
from servetwin.cost.profiles.vllm_layers import DIMENSIONS, OWN
from servetwin.errors import InputError
from servetwin.results.output import replace_file, writing_to

__all__ = ["Profile", "describe", "open_profile"]

META = "meta.yaml"
COLUMNS = {
    DENSE: ("layer", "tokens"),
    SAMPLED: ("layer", "sequences"),
    ATTENTION: DIMENSIONS,
}
SAME = ("profiler", "hardware", "model", "variant", "device", "driver", "torch", "graphs")
"""What has to be the same for timings of two runs to lie in one folder."""


@dataclass
class Profile:
    """Timings that are there, in microseconds, and the folder they are written to."""

    folder: Path
    tp: int
    meta: dict[str, Any]
    seconds: dict[Point, float] = field(default_factory=dict)

    def missing(self, plan: Plan) -> list[Point]:
        """What is still to be timed, in the order of the plan."""
        return [point for point in plan.points if point not in self.seconds]

    def save(self, plan: Plan) -> None:
        """Write all tables and then the description; each file appears whole.

        Raises InputError where the folder cannot be written to.
        """
        place = self.folder / f"tp{self.tp}"
        with writing_to(place):
            place.mkdir(parents=True, exist_ok=True)
        for table in sorted({point.table for point in self.seconds}):
            replace_file(place / f"{table}.csv", partial(self._write, table))
        self.meta["unfinished"] = sorted(
            {*self.meta.get("unfinished", ()), self.tp} - {self.tp}
            | ({self.tp} if self.missing(plan) else set())
        )
        self.meta["left_out"] = list(plan.left_out)
        import yaml

        text = yaml.safe_dump(self.meta, sort_keys=False, allow_unicode=True, width=100)
        replace_file(self.folder / META, lambda path: path.write_text(text, "utf-8"))

    def _write(self, table: str, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*COLUMNS[table], "time_us"))
            for point, seconds in self.seconds.items():
                if point.table == table:
                    name = (point.layer,) if point.layer else ()
                    writer.writerow((*name, *point.sizes, f"{seconds * 1e6:.4g}"))


def describe(
    *, hardware: str, model: str, dtype: str, machine: Mapping[str, str | bool]
) -> dict[str, Any]:
    """The contents of meta.yaml; `machine` holds device, driver, torch and graphs."""
    return {
        "profiler": OWN,
        "hardware": hardware,
        "model": model,
        "variant": dtype,
        **machine,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def open_profile(folder: Path, tp: int, meta: dict[str, Any]) -> Profile:
    """A profile to add to, with the timings of an earlier run of the same command.

    Raises InputError where the folder holds anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file; name a folder")
    if not (folder / META).is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"--out {folder}: holds other files; name a new folder")
        return Profile(folder, tp, meta)
    before = _read_meta(folder / META)
    for key in SAME:
        if before.get(key) != meta.get(key):
            raise InputError(
                f"--out {folder}: holds timings with {key} {before.get(key)!r}, not "
                f"{meta.get(key)!r}; name another folder"
            )
    profile = Profile(folder, tp, {**before, **meta})
    for table in COLUMNS:
        path = folder / f"tp{tp}" / f"{table}.csv"
        if path.is_file():
            profile.seconds.update(_read_table(path, table))
    return profile


def _read_meta(path: Path) -> dict[str, Any]:
    import yaml

    try:
        meta = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(meta, dict):
        raise InputError(f"{path}: a mapping is needed; name another folder with --out")
    return meta


def _read_table(path: Path, table: str) -> dict[Point, float]:
    from servetwin.cost.profiles.reading import read_columns

    labelled = "layer" in COLUMNS[table]
    names = [name for name in COLUMNS[table] if name != "layer"]
    columns = read_columns(path, (*names, "time_us"), ("layer",) if labelled else ())
    layers = columns.labels["layer"] if labelled else [""] * len(columns)
    sizes = zip(*(columns.numbers[name] for name in names), strict=True)
    times = columns.numbers["time_us"]
    return {
        Point(table, str(layer), tuple(int(size) for size in row)): float(us) * 1e-6
        for layer, row, us in zip(layers, sizes, times, strict=True)
    }
