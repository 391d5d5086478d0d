"""`servetwin doctor`: whether this machine has what servetwin needs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import typer

from servetwin import __version__
from servetwin.cli.options import PanelCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
GIB = 2**30
ENOUGH_MEMORY = 2 * GIB


class Check(NamedTuple):
    """One line of the list."""

    state: str
    """ok, note (something optional is missing) or bad."""
    what: str
    found: str


@app.command(cls=PanelCommand)
def doctor() -> None:
    """Check this machine and installation."""
    checks = list(_checks())
    signs = {"ok": "[x]", "note": "[ ]", "bad": "[!]"}
    for check in checks:
        print(f"{signs[check.state]} {check.what:<12} {check.found}")
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(1)


def _checks() -> Iterator[Check]:
    yield Check("ok", "servetwin", f"{__version__} in {Path(__file__).parents[1]}")
    supported = sys.version_info >= (3, 11)
    python = f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    yield Check("ok" if supported else "bad", "Python", python)
    yield _packages()
    yield Check("ok", "Cores", str(os.cpu_count()))
    yield _memory()
    yield _kernel()
    yield _data()
    yield _browser()


def _packages() -> Check:
    missing, found = [], []
    for line in requires("servetwin") or ():
        name = line.partition(">")[0].strip()
        if "extra ==" in line:
            continue
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("bad", "Packages", f"missing: {', '.join(missing)}")
    shown = [text for text in found if text.split()[0] in ("numpy", "numba", "pyarrow")]
    return Check("ok", "Packages", f"all {len(found)}, among them {', '.join(shown)}")


def _memory() -> Check:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return Check("note", "Memory", "unknown")
    return Check("ok" if size >= ENOUGH_MEMORY else "note", "Memory", f"{size / GIB:.1f} GiB")


def _kernel() -> Check:
    from servetwin.sim.kernel.compile import cache_folder, is_compiled

    if is_compiled():
        return Check("ok", "Kernel", f"compiled, in {cache_folder()}")
    return Check("note", "Kernel", f"compiled once, by the first run, into {cache_folder()}")


def _data() -> Check:
    named = os.environ.get("SERVETWIN_DATA")
    folder = Path(named) if named else Path("..", "shared", "data")
    if folder.is_dir():
        return Check("ok", "Data", f"public traces in {folder}")
    return Check("note", "Data", f"none in {folder}; only tests need it (SERVETWIN_DATA)")


def _browser() -> Check:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found:
        return Check("ok", "Browser", found)
    return Check("note", "Browser", "no chromium; only the test of report.html needs it")
