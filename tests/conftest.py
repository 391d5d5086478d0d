"""What every test may rely on: where the data lies, and hypothesis without randomness."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from support.hand import Run

REPOSITORY = Path(__file__).resolve().parent.parent

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("ci")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As of a command in the background. Tests interrupt their children, which would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real traces and measurements; skips the test where there is none."""
    folder = Path(os.environ.get("SERVETWIN_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder} (set SERVETWIN_DATA)")
    return folder


@pytest.fixture(autouse=True)
def ctrl_c_as_before() -> Iterator[None]:
    """The command line, which tests run in their own process, keeps Ctrl-C to the end of it."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=["reference", "kernel"])
def run(request: pytest.FixtureRequest) -> Run:
    """Each simulator in turn: inputs of a run -> its outcome."""
    from support.hand import RUNS  # imports the kernel, which few tests need

    return RUNS[request.param]
