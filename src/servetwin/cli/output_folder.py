"""`--out DIR`: whether results can go there, found out before anything is simulated."""

from __future__ import annotations

from pathlib import Path

from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.results.files import NAMES, REPORT, SUMMARY, TRACE
from servetwin.results.output import check_targets
from servetwin.studies import load_curve

__all__ = ["output_folder"]


def output_folder(settings: RunSettings) -> Path | None:
    """Return the folder for results, None where none was named.

    Raises InputError where they could not be written to it, would take the trace's place,
    or would lie beside a result of another kind.
    """
    if settings.out is None:
        if settings.chrome_trace:
            raise InputError("--chrome-trace writes a file: give --out DIR")
        return None
    if not settings.out.strip():
        raise InputError("--out '': name a folder, or leave --out away to write no files")
    out = Path(settings.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")
    sweep = settings.sweep_rps is not None
    names = load_curve.NAMES if sweep else NAMES
    unwanted = {TRACE: not settings.chrome_trace, REPORT: not settings.report}
    check_targets(out, (name for name in names if not unwanted.get(name)))
    _check_kind(out, sweep)
    if settings.trace is not None:
        trace = Path(settings.trace).resolve()
        if trace.name in names and trace.parent == out.resolve():
            raise InputError(f"--out {out}: would replace {settings.trace}; name another folder")
    return out


def _check_kind(out: Path, sweep: bool) -> None:
    """A folder holds one result, so that nobody takes one's figures for the other's."""
    run, curve = (SUMMARY, "a run"), (load_curve.CURVE, "a load curve")
    (mark, other), (_, mine) = (run, curve) if sweep else (curve, run)
    if (out / mark).exists():
        raise InputError(f"--out {out}: holds {other} ({mark}); name another folder for {mine}")
