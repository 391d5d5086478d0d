"""`--frontend` -> Frontend."""

from __future__ import annotations

from servetwin.cost import usual_frontend
from servetwin.cost.frontends import NO_FRONTEND
from servetwin.errors import InputError
from servetwin.types import Frontend
from servetwin.units import ps_from_seconds
from servetwin.workload.notation import parse_duration

__all__ = ["parse_frontend"]

USUAL = "usual"
LONGEST = 3600.0
"""Seconds; nobody waits longer for a tokeniser."""


def parse_frontend(text: str) -> Frontend | None:
    """Read `none`, `usual`, or the times of a request and of an input token: `8ms,5us`."""
    if text == NO_FRONTEND:
        return None
    if text == USUAL:
        return usual_frontend()
    request, comma, token = text.partition(",")
    if not comma:
        raise InputError(
            f"--frontend {text}: write none, usual, or the times of a request and of an input "
            "token: 8ms,5us"
        )
    found = Frontend(_time(text, request), _time(text, token))
    return found if found.request or found.token else None


def _time(whole: str, text: str) -> int:
    try:
        seconds = parse_duration(text.strip())
    except InputError as error:
        raise InputError(f"--frontend {whole}: {error}") from None
    if not 0.0 <= seconds <= LONGEST:
        raise InputError(f"--frontend {whole}: must be at least 0s, and at most an hour")
    return int(ps_from_seconds(seconds))
