"""What stands in front of an engine: an HTTP server and a tokeniser, as measured runs have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servetwin.cost.curves import read_serving
from servetwin.types import Frontend
from servetwin.units import PS_PER_US

__all__ = ["NO_FRONTEND", "frontend_from", "usual_frontend", "write_frontend"]

NO_FRONTEND = "none"


def frontend_from(serving: Mapping[str, Any]) -> Frontend | None:
    """The front end in a table of what was fitted to serving runs; None where it has none."""
    found = serving.get("frontend")
    if found is None:
        return None
    return Frontend(
        request=round(found["request_us"] * PS_PER_US), token=round(found["token_us"] * PS_PER_US)
    )


def usual_frontend() -> Frontend:
    """vLLM's, fitted to runs of InferenceX."""
    found = frontend_from(read_serving())
    assert found is not None
    return found


def write_frontend(frontend: Frontend | None) -> str:
    """`none`, or the times of a request and of an input token, as `--frontend` takes them."""
    if frontend is None:
        return NO_FRONTEND
    request, token = (time / PS_PER_US for time in (frontend.request, frontend.token))
    return f"{request!r}us,{token!r}us"
