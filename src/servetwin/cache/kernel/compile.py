"""How functions of kernels are compiled, and where the machine code is kept.

Importing this module imports numba, which takes half a second: only kernels do. The
simulator's kernel calls functions of this one, so it may compile with the same helpers.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numba

__all__ = ["KERNEL", "cache_folder", "entry", "entry_of", "inlined", "is_compiled", "outlined"]

KERNEL = (Path(__file__).parent,)
"""The files and folders whose code becomes this kernel."""

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without numba's runtime, arrays are not reference-counted (see docs/background/design.md)."""

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder(sources: Iterable[Path] = KERNEL) -> Path:
    """Where the machine code made from `sources` is kept between runs.

    Below `SERVETWIN_CACHE` or the user's cache folder; a temporary one where that is
    read-only. numba notices edits only in the file of the entry point, so the folder is
    named after the content of all files.
    """
    digest = hashlib.sha256(f"numba {numba.__version__}".encode())
    for source in sources:
        files = sorted(source.glob("*.py")) if source.is_dir() else [source]
        for file in files:
            digest.update(file.read_bytes())
    key = digest.hexdigest()[:16]
    base = os.environ.get("SERVETWIN_CACHE") or os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path.home() / ".cache"
    folder = root / "servetwin" / "kernel" / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = Path(tempfile.gettempdir()) / f"servetwin-{os.getuid()}" / key
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def is_compiled(sources: Iterable[Path] = KERNEL) -> bool:
    """Whether machine code for these sources lies in its folder."""
    return any(cache_folder(sources).rglob("*.nbc"))


def inlined(function: F) -> F:
    """Compile a small function that disappears into its caller."""
    compiled: F = numba.njit(forceinline=True, **_OPTIONS)(function)
    return compiled


def outlined(function: F) -> F:
    """Compile a function that is called rarely enough to stay on its own."""
    compiled: F = numba.njit(**_OPTIONS)(function)
    return compiled


def entry_of(folder: Path) -> Callable[[F], F]:
    """Compile a function that Python calls, and keep its machine code in `folder`."""

    def compile_entry(function: F) -> F:
        config: Any = numba.config
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)  # numba reads it while it decorates
        try:
            compiled: F = numba.njit(cache=True, **_OPTIONS)(function)
        finally:
            config.CACHE_DIR = before
        return compiled

    return compile_entry


entry = entry_of(cache_folder())
"""`entry_of` for this kernel."""
