"""The requests of DéjàVu's simulators: tokens of a trace, and when they arrive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError, counted

if TYPE_CHECKING:
    from servetwin.types import Workload

__all__ = ["FEWEST_TOKENS", "MOST_TOKENS", "STAND_INS", "Found", "find_trace", "read_arrivals"]

FEWEST_TOKENS, MOST_TOKENS = 2, 1000
"""Generated tokens are moved into this range, as in the original."""

STAND_INS = ("lmsys_tokens.json",)
"""Traces that the simulation page names and that were never published."""

STANDS_FOR = "lengths of ShareGPT stand in for the unpublished trace"
STAND_IN_REQUESTS = 512
STAND_IN_SEED = 42


@dataclass(frozen=True)
class Found:
    """Requests, their tokens to generate (int64), and what needs to be said about them."""

    workload: Workload
    rounds: NDArray[np.int64]
    notes: tuple[str, ...]
    stand_in: str = ""
    """What takes the place of the trace, empty where it was read."""


def find_trace(path: Path | None, requests: int) -> Found:
    """Read the first `requests` of a trace (0: all), or stand in for one that is named.

    Raises InputError where the file is missing or cannot be read.
    """
    from servetwin.workload import read, take

    notes: tuple[str, ...] = ()
    stand_in = ""
    if path is None:
        raise InputError("give --trace_file FILE: a list of [prompt, generated] tokens")
    if path.exists():
        workload = read(path)
    elif path.name in STAND_INS:
        workload = _stand_in()
        stand_in = STANDS_FOR
        notes = (
            f"'{path}' does not exist; instead: {len(workload)} requests with the lengths of "
            "ShareGPT conversations (the preset sharegpt)",
        )
    else:
        raise InputError(
            f"--trace_file '{path}': no such file; {STAND_INS[0]} stands for lengths of ours"
        )
    if requests and len(workload) > requests:
        notes += (f"only the first {requests:,} of {len(workload):,} requests: see --requests",)
        workload = take(workload, requests)
    rounds = np.clip(workload.output_tokens, FEWEST_TOKENS, MOST_TOKENS).astype(np.int64)
    if (longer := int(np.count_nonzero(workload.output_tokens > MOST_TOKENS))) > 0:
        notes += (f"{counted(longer, 'request')} cut to {MOST_TOKENS:,} generated tokens",)
    return Found(workload, rounds, notes, stand_in)


def read_arrivals(path: Path, requests: int) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read arrivals in µs: a JSON list (also under the key `arrivals`), or one a line.

    Returns those of the first `requests`, and a note where there are more. Raises InputError
    that names the entry which is no time, and where there are too few.
    """
    from servetwin.workload.parsing.json_text import parse_json
    from servetwin.workload.parsing.text import whole_text

    if not path.exists():
        raise InputError(f"--arrivals '{path}': no such file")
    text = whole_text(path)
    if text.lstrip()[:1] in ("[", "{"):
        content = parse_json(text, str(path))
        values = content.get("arrivals") if isinstance(content, dict) else content
        _check_unit(path, content)
    else:
        values = text.split()
    if not isinstance(values, list):
        raise InputError(f"{path}: needs a list of arrivals in µs, alone or as 'arrivals'")
    if len(values) < requests:
        raise InputError(
            f"{path}: {counted(len(values), 'arrival')} for {counted(requests, 'request')}; give "
            "one for each, or fewer --requests"
        )
    numbers = [_number(path, at, value) for at, value in enumerate(values[:requests], start=1)]
    more = f"{path.name} has {len(values):,} arrivals: only the first {requests:,} are used"
    return np.array(numbers), (more,) if len(values) > requests else ()


def _check_unit(path: Path, content: Any) -> None:
    unit = content.get("unit", "us") if isinstance(content, dict) else "us"
    if unit not in ("us", "µs"):
        raise InputError(f"{path}, key unit: arrivals must be in us, not {unit!r}")


def _number(path: Path, at: int, value: Any) -> float:
    try:
        if isinstance(value, bool | list | dict):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        shown = str(value)[:40]
        raise InputError(f"{path}: arrival {at}, {shown!r}, is not a number of µs") from None
    if not 0 <= number < float("inf"):
        raise InputError(f"{path}: arrival {at}, {number:g} µs, must be 0 or more")
    return number


def _stand_in() -> Workload:
    from servetwin.workload import generate, preset

    return generate(preset("sharegpt", STAND_IN_REQUESTS, rps=1.0, seed=STAND_IN_SEED))
