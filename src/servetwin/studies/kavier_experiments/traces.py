"""The requests of an experiment: the equivalent of Kavier's trace, or a file of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servetwin.errors import counted

if TYPE_CHECKING:
    from servetwin.types import Workload

__all__ = ["StudyTrace", "load_trace"]

QUICK_REQUESTS = 2000


@dataclass(frozen=True)
class StudyTrace:
    """Requests, and whether the published figures hold for them."""

    workload: Workload
    comparable: bool
    """Whether this is the whole of the equivalent trace."""
    notes: tuple[str, ...]

    def conditions(self, *others: str) -> str:
        """How many requests of which trace, and what else a figure holds for, on one line."""
        load = self.workload
        generated = load.source.startswith("generated")
        name = "the equivalent trace" if generated else Path(load.source).name
        return ", ".join([f"{counted(len(load), 'request')} of {name}", *others])

    def about(self) -> dict[str, Any]:
        """What the result says of its requests."""
        load = self.workload
        return {
            "trace": {
                "source": load.source,
                "requests": len(load),
                "input_tokens": int(load.input_tokens.sum(dtype="int64")),
                "output_tokens": int(load.output_tokens.sum(dtype="int64")),
            }
        }


def load_trace(trace: Path | None, quick: bool) -> StudyTrace:
    """Read `trace`, or make the equivalent one; `quick` takes the first requests of it.

    A file that the reproducibility document names and that does not exist is replaced by its
    equivalent, as in `servetwin study kavier`.
    """
    from servetwin.studies.kavier.traces import MARCONI, STAND_INS, find_trace

    path = MARCONI if trace is None else str(trace)
    found = find_trace(path, QUICK_REQUESTS if quick else None)
    equivalent = STAND_INS.get(Path(path).name) == MARCONI and not Path(path).exists()
    notes = found.notes
    if not equivalent:
        notes = (*notes, "another trace than Kavier's, so its figures are not compared")
    return StudyTrace(found.workload, equivalent and not quick, notes)
