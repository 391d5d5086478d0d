"""RunSettings with failures -> FailureModel, and its settings as they turned out."""

from __future__ import annotations

from servetwin.cache.notation import parse_link
from servetwin.cli.failure_settings import FailureSettings
from servetwin.cli.options import flag_of
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError, nearest
from servetwin.types import FailureModel, Link
from servetwin.types.failures import LONGEST_PAUSE
from servetwin.units import PS_PER_S, ps_from_seconds
from servetwin.workload.notation import parse_duration

__all__ = ["failures_of"]

USUAL_LINKS = {"neighbour": "InfiniBand-NDR", "host": "PCIe4"}
REPLICATIONS = ("none", *USUAL_LINKS)
EXAMPLE = "write 120s:0,5m:1, each a time and the number of an engine"


def failures_of(settings: RunSettings) -> FailureModel | None:
    """How engines fail; None where they do not. Raises InputError."""
    if settings.fail_at is None and settings.mtbf is None:
        for name, field in FailureSettings.model_fields.items():
            if getattr(settings, name) != field.default:
                raise InputError(
                    f"{flag_of(name)} is for engines that fail: give --fail-at TIME:ENGINE or "
                    "--mtbf TIME"
                )
        return None
    return FailureModel(
        at=_failures(settings.fail_at) if settings.fail_at is not None else (),
        mtbf=None if settings.mtbf is None else _time("mtbf", settings.mtbf, least=1),
        detect=_pause("detect", settings.detect),
        restart=None if settings.restart is None else _pause("restart", settings.restart),
        copies=_copies(settings),
        on_neighbour=settings.kv_replication == "neighbour",
        lag=settings.replication_lag,
        reroute=settings.reroute,
    )


def _failures(text: str) -> tuple[tuple[int, int], ...]:
    failures = []
    for item in text.split(","):
        time, colon, engine = item.strip().rpartition(":")
        if not colon or not engine.strip().isdecimal() or len(engine.strip()) > 6:
            raise InputError(f"--fail-at {item.strip()!r} is not understood: {EXAMPLE}")
        failures.append((_time("fail_at", time), int(engine)))
    return tuple(failures)


def _pause(name: str, text: str) -> int:
    return _time(name, text, days=LONGEST_PAUSE // (86_400 * PS_PER_S))


def _time(name: str, text: str, least: int = 0, days: int = 100) -> int:
    try:
        seconds = parse_duration(text)
    except InputError as error:
        raise InputError(f"{flag_of(name)}: {error}") from None
    if not 0 <= seconds <= days * 86_400 or seconds * PS_PER_S < least:
        raise InputError(
            f"{flag_of(name)} {text}: must be {'at least' if least == 0 else 'above'} 0s, and "
            f"at most {days} days"
        )
    return int(ps_from_seconds(seconds))


def _copies(settings: RunSettings) -> Link | None:
    where = settings.kv_replication
    if where not in REPLICATIONS:
        hint = nearest(where, REPLICATIONS) or f"known: {', '.join(REPLICATIONS)}"
        raise InputError(f"--kv-replication {where}: {hint}")
    if where == "none":
        for name in ("kv_copy_link", "replication_lag"):
            if getattr(settings, name) != FailureSettings.model_fields[name].default:
                raise InputError(
                    f"{flag_of(name)} is for copies of the KV: give --kv-replication neighbour or "
                    "host"
                )
        return None
    return parse_link(settings.kv_copy_link or USUAL_LINKS[where])
