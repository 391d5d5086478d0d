"""Runs what was asked for, writes its files, and prints it at a width of 80 columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servetwin.cost.energy import Rates
from servetwin.errors import InputError
from servetwin.studies.kavier.running import Done, Job, check_run, run_one
from servetwin.studies.kavier.settings import Sweep
from servetwin.studies.progress import counting

if TYPE_CHECKING:
    from servetwin.studies.kavier.opendc_post import PostProcessed

__all__ = ["SCHEMA", "PostJob", "SimulationJob", "post_processing", "simulations"]

SCHEMA = "servetwin.kavier/1"
SUMMARY, EFFICIENCY = "summary.json", "efficiency.json"

RUN_FILES = tuple(
    f"{name}{kind}.parquet" for name in ("tasks", "fragments") for kind in ("", ".partial")
)
NAMED = 3
"""Folders of former runs that a note names."""


@dataclass(frozen=True)
class SimulationJob:
    """A sweep of simulations. `requests` and `folder` may be None: all, and no files."""

    sweep: Sweep
    requests: int | None
    rates: Rates
    folder: Path | None
    notes: tuple[str, ...]
    """On how the command was read."""


@dataclass(frozen=True)
class PostJob:
    """Files to rate, and where the result goes (None: only to the terminal)."""

    tasks: Path
    opendc: str
    gpu: str | None
    rates: Rates
    out: Path | None


def simulations(job: SimulationJob, json: bool) -> None:
    """Run all; files of each run appear when it is complete, the summary at the end."""
    from servetwin.results.output import replace_file, writing_to
    from servetwin.results.summary import to_json
    from servetwin.studies.kavier import printing
    from servetwin.studies.kavier.traces import find_trace

    _check_folder(job.folder)
    for run in job.sweep.runs:
        check_run(run)
    traces = {path: find_trace(path, job.requests) for path in _paths(job.sweep)}
    notes, done = list(job.notes), []
    for found in traces.values():
        notes += found.notes
    for number, run in enumerate(job.sweep.runs):
        place = _place(job, number)
        with counting(f"run {number + 1} of {len(job.sweep.runs)}", "fragments") as told:
            done.append(run_one(run, traces[run.trace].workload, Job(job.rates, place, told)))
        notes += done[-1].notes
    notes += _left_over(job)
    content = _content(job, done, notes)
    if job.folder is not None:
        with writing_to(job.folder):
            job.folder.mkdir(parents=True, exist_ok=True)
        text = to_json(content) + "\n"
        replace_file(job.folder / SUMMARY, lambda path: path.write_text(text, encoding="utf-8"))
    if json:
        print(to_json(content))
    else:
        printing.show_runs(job.sweep, done, content["notes"], job.folder)


def _paths(sweep: Sweep) -> dict[str, None]:
    return dict.fromkeys(run.trace for run in sweep.runs)


def _check_folder(folder: Path | None) -> None:
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--output_folder {folder}: is a file; name a folder")


def _place(job: SimulationJob, number: int) -> Path | None:
    """The folder of one run: a sweep's runs have one each, named after what varies."""
    if job.folder is None or not job.sweep.varied:
        return job.folder
    settings = job.sweep.runs[number].described()
    names = [f"{name}={settings[name]}".replace("/", "_") for name in job.sweep.varied]
    return job.folder / ",".join(names)


def _left_over(job: SimulationJob) -> list[str]:
    """Say which runs in the output folder are not of this sweep; their files stay."""
    if job.folder is None:
        return []
    own = {_place(job, number) for number in range(len(job.sweep.runs))}
    others = [path for path in (job.folder, *_folders(job.folder)) if path not in own]
    names = [str(path) for path in others if any((path / name).exists() for name in RUN_FILES)]
    if not names:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    where = f"{', '.join(names[:NAMED])}{more}"
    return [f"kept from former commands, not in {SUMMARY}: {where}"]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _content(job: SimulationJob, done: list[Done], notes: list[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "varied": list(job.sweep.varied),
        "runs": [run.describe() for run in done],
        "notes": list(dict.fromkeys(notes)),
    }


def post_processing(job: PostJob, json: bool) -> None:
    """Compute the efficiency, write it where `out` says, and print it."""
    from servetwin.results.summary import to_json
    from servetwin.studies.kavier import printing
    from servetwin.studies.kavier.opendc_post import post_process

    found = post_process(job.tasks, job.opendc, job.rates, job.gpu)
    content = found.describe()
    written = _write(job.out, found, to_json(content) + "\n")
    if json:
        print(to_json(content))
    else:
        printing.show_efficiency(content, written)


def _write(out: Path | None, found: PostProcessed, text: str) -> list[Path]:
    """Write the figures, and generated power where a folder is named to hold it."""
    from servetwin.results.output import Writer, replace_file, write_together
    from servetwin.studies.kavier.opendc_post import POWER_SOURCE, write_power

    def save(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    if out is None:
        return []
    if out.suffix == ".json":
        replace_file(out, save)
        return [out]
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder, or a file ending in .json")
    writers: dict[str, Writer] = {}
    if found.hourly is not None:
        writers[POWER_SOURCE] = lambda path: write_power(path, found)
    write_together(out, {**writers, EFFICIENCY: save}, ())
    return [out / name for name in (*writers, EFFICIENCY)]
