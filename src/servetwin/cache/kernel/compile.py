"""How functions of kernels are compiled, and where the machine code is kept.

Importing this module imports numba, which takes half a second: only kernels do. The
simulator's kernel calls functions of this one, so it may compile with the same helpers.
"""
# numba's compiler, which is extended here, has no types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types
from numba.core.compiler import Compiler
from numba.core.untyped_passes import InlineInlinables

from servetwin.cache.kernel.features import LeaveOut

__all__ = [
    "KERNEL",
    "cache_folder",
    "entry",
    "entry_of",
    "from_python",
    "inlined",
    "is_compiled",
    "outlined",
    "spliced",
]

KERNEL = (Path(__file__).parent,)
"""The files and folders whose code becomes this kernel."""

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without numba's runtime, arrays are not reference-counted (see docs/background/design.md)."""

ENTRY = _OPTIONS | {"no_cfunc_wrapper": True}
"""Python is all that calls an entry point."""

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


def is_compiled(sources: Iterable[Path] = KERNEL, entry_point: str = "") -> bool:
    """Whether machine code for these sources, or for one entry point, lies in its folder."""
    code = f"*{entry_point}*.nbc" if entry_point else "*.nbc"
    return any(cache_folder(sources).rglob(code))


class _Kernel(Compiler):
    """Compiles without the features that a run does not have."""

    def define_pipelines(self) -> Any:
        (pipeline,) = super().define_pipelines()
        pipeline.add_pass_after(LeaveOut, InlineInlinables)
        pipeline.finalize()
        return [pipeline]


class _Part(_Kernel):
    """Compiles a function that only kernels call: without a way in from Python.

    A way in unpacks each of some eighty arrays, and machine code for it takes as long to
    make as that of the function itself.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        flags = self.state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True

    def compile_extra(self, function: Any) -> Any:
        config: Any = numba.config
        before = config.OPT
        config.OPT = type(before)(1)  # the entry point optimizes whatever it is made of again
        try:
            result = super().compile_extra(function)
        finally:
            config.OPT = before
        # numba knows a compiled function by a built-in one, which would be the way in.
        name = f"{result.fndesc.mangled_name} is part of a kernel".join
        result.target_context.insert_user_function(name, result.fndesc, [result.library])
        return result._replace(entry_point=name)


class _Outlined(_Part):
    """Compiles a part that is never copied into its callers."""

    def compile_extra(self, function: Any) -> Any:
        result = super().compile_extra(function)
        compiled = result.library.get_function(result.fndesc.llvm_func_name)
        compiled.add_function_attribute("noinline")
        return result


def _part(function: F, pipeline: type[_Part] = _Part, **options: Any) -> F:
    """Have kernels compile `function`, once for all widths of signed integers."""
    part: Any = numba.njit(pipeline_class=pipeline, **options, **_OPTIONS)(function)
    template = part.get_call_template

    def widened(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        wide = {name: _wide(kind) for name, kind in named.items()}
        return template(tuple(map(_wide, arguments)), wide)

    part.get_call_template = widened
    compiled: F = part
    return compiled


def _wide(kind: Any) -> Any:
    """int64 for a narrower integer or a constant, which the caller converts."""
    signed = isinstance(kind, types.Integer) and bool(getattr(kind, "signed", False))
    return types.int64 if signed or isinstance(kind, types.IntegerLiteral) else kind


def inlined(function: F) -> F:
    """Compile a small function that disappears into its caller."""
    return _part(function, forceinline=True)


def spliced(function: F) -> F:
    """Put the code of a large function into that of its only caller, before it is compiled."""
    return _part(function, inline="always")


def outlined(function: F) -> F:
    """Compile a function that is called rarely enough to stay on its own."""
    # Said outright: what is not said comes from the function that calls it first.
    return _part(function, _Outlined, forceinline=False)


def from_python(function: Any) -> Any:
    """Compile a part of a kernel once more, so that Python can call it."""
    return numba.njit(pipeline_class=_Kernel, **_OPTIONS)(function.py_func)


def entry_of(folder: Path) -> Callable[[F], F]:
    """Compile a function that Python calls, and keep its machine code in `folder`."""

    def compile_entry(function: F) -> F:
        config: Any = numba.config
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)  # numba reads it while it decorates
        try:
            compiled: F = numba.njit(cache=True, pipeline_class=_Kernel, **ENTRY)(function)
        finally:
            config.CACHE_DIR = before
        return compiled

    return compile_entry


entry = entry_of(cache_folder())
"""`entry_of` for this kernel."""
