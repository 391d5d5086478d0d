"""How kernel functions are compiled, and where the machine code is kept.

Importing this module imports numba, which takes half a second: only the kernel does.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

__all__ = ["cache_folder", "entry", "inlined", "is_compiled", "outlined"]


def _source_key() -> str:
    """Hash of every file the machine code depends on.

    numba notices edits only in the file of the entry point, so the cache folder is named
    after all of them.
    """
    digest = hashlib.sha256(f"numba {numba.__version__}".encode())
    folder = Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), folder.parent / "routing.py"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where the compiled kernel is kept between runs.

    `SERVETWIN_CACHE` or the user's cache folder; a temporary one where that is read-only.
    """
    base = os.environ.get("SERVETWIN_CACHE") or os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path.home() / ".cache"
    folder = root / "servetwin" / "kernel" / _source_key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = Path(tempfile.gettempdir()) / f"servetwin-{os.getuid()}" / _source_key()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def is_compiled() -> bool:
    """Whether machine code for these sources lies in the cache folder."""
    return any(cache_folder().rglob("*.nbc"))


numba.config.CACHE_DIR = str(cache_folder())  # type: ignore[attr-defined]  # set at run time

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without numba's runtime (`_nrt`), arrays are not reference-counted inside the kernel, which
allocates none. With it, counting takes 95 % of the time: each call passes some forty arrays."""


def inlined(function: F) -> F:
    """Compile a small function that disappears into its caller."""
    compiled: F = numba.njit(forceinline=True, **_OPTIONS)(function)
    return compiled


def outlined(function: F) -> F:
    """Compile a function that is called rarely enough to stay on its own."""
    compiled: F = numba.njit(**_OPTIONS)(function)
    return compiled


def entry(function: F) -> F:
    """Compile a function that Python calls; its machine code is kept between runs."""
    compiled: F = numba.njit(cache=True, **_OPTIONS)(function)
    return compiled
