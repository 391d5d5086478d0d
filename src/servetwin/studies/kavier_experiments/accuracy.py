"""Both closed forms against the measured A10 runs, on points they were not fitted to.

How many tokens the measured decodes generated is not certain: as many as the row's label
says ("labelled"), or as Kavier's trace counts ("counted"). Three numbers of `servetwin` are
fitted to every other length; the lengths between are held out. Kavier's constants were
fitted to nothing we know of, so all its points count as held out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servetwin.sim.closed_form import ClosedForm, Servetwin, apply_correction
from servetwin.sim.closed_form.correction import (
    Correction,
    LoneRequests,
    every_other,
    fit_correction,
)
from servetwin.studies.kavier.forms import kavier
from servetwin.studies.kavier_experiments.models import ours
from servetwin.studies.kavier_experiments.outcome import Row
from servetwin.studies.kavier_experiments.published import published

__all__ = ["PHASES", "READINGS", "Contest", "contest", "fit_half", "lone_requests", "mape"]

PHASES = ("prefill", "decode")
READINGS = {"labelled": "kavier-a10", "counted": "kavier-a10-counted"}
"""Packaged corrections, fitted to the first length and every second one after it."""

HALVES = {(0,): "every second length", (1,): "the others", (0, 1): "all, each when held out"}


@dataclass(frozen=True)
class Contest:
    """The forms that are compared on one reading of the decode lengths."""

    reading: str
    kavier: ClosedForm
    derived: ClosedForm
    """`servetwin` with nothing fitted."""
    fitted: Mapping[int, ClosedForm]
    """`servetwin` by the first length of the half it was fitted to: 0, and 1 unless quick."""

    def held_out(self, phase: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Seconds of each point by a form not fitted to it, and whether there is one."""
        points = lone_requests(phase, self.reading)
        seconds = seconds_of(self.fitted[0], points)
        held_out = ~every_other(seconds.size, 0)
        if 1 in self.fitted:
            seconds = np.where(held_out, seconds, seconds_of(self.fitted[1], points))
            held_out = np.ones_like(held_out)
        return seconds, held_out

    def scores(self, phase: str) -> list[Row]:
        """Mean absolute errors in per cent, by the half of the lengths that was held out."""
        points = lone_requests(phase, self.reading)
        lengths = published("accuracy")["lengths"]
        rows = []
        for firsts, name in HALVES.items():
            if not set(firsts) <= self.fitted.keys():
                continue
            halves = [(self.fitted[first], ~every_other(len(lengths), first)) for first in firsts]
            kept = [points.part(half) for _, half in halves]
            mine = [errors_of(form, part) for (form, _), part in zip(halves, kept, strict=True)]
            rows.append(
                {
                    "reading": self.reading,
                    "held_out": name if len(firsts) > 1 else _named(halves[0][1]),
                    "points": sum(errors.size for errors in mine),
                    "kavier_percent": mape([errors_of(self.kavier, part) for part in kept]),
                    "servetwin_percent": mape(mine),
                    "derived_percent": mape([errors_of(self.derived, part) for part in kept]),
                }
            )
        return rows


def _named(half: NDArray[np.bool_]) -> str:
    lengths = np.array(published("accuracy")["lengths"])[half].tolist()
    return f"{lengths[0]}, {lengths[1]}, …, {lengths[-1]}"


def contest(reading: str, quick: bool) -> Contest:
    """Prepare the forms; `quick` uses the packaged fit alone."""
    chosen = published("accuracy")
    base = ours(chosen["model"], chosen["gpu"])
    fitted = {0: ours(chosen["model"], chosen["gpu"], READINGS[reading])}
    if not quick:
        correction = fit_half(base, reading, 1)
        fitted[1] = Servetwin(base.deployment, apply_correction(base.deployment, correction))
    return Contest(reading, kavier(chosen["model"], chosen["gpu"]), base, fitted)


def fit_half(base: Servetwin, reading: str, first: int) -> Correction:
    """Fit to every other length, prefills and decodes, from number `first` (0 or 1) on."""
    parts = [lone_requests(phase, reading) for phase in PHASES]
    chosen = every_other(parts[0].input_tokens.size, first)
    halves = [part.part(chosen) for part in parts]
    points = LoneRequests(
        *(
            np.concatenate([getattr(half, name) for half in halves])
            for name in LoneRequests.__dataclass_fields__
        )
    )
    return fit_correction(base.deployment, points)


def lone_requests(phase: str, reading: str) -> LoneRequests:
    """The measured runs of a phase; NaN for what was not measured."""
    table = published("accuracy")
    lengths = np.array(table["lengths"], np.int64)
    measured = np.array(table[phase]["measured_s"])
    unknown, one = np.full(lengths.size, np.nan), np.ones(lengths.size, np.int64)
    if phase == "prefill":
        return LoneRequests(lengths, one, measured, unknown)
    decode = table["decode"]
    made = lengths if reading == "labelled" else np.array(decode["counts"], np.int64)
    return LoneRequests(decode["input_tokens"] * one, made, unknown, measured)


def seconds_of(form: ClosedForm, points: LoneRequests) -> NDArray[np.float64]:
    """Predicted seconds of what was measured: the prefill, or prefill and decode together."""
    time = form.prefill(points.input_tokens)
    if np.isnan(points.prefill_s).all():
        time = time + form.decode(points.input_tokens, points.output_tokens)
    return np.asarray(time * 1e-12)


def errors_of(form: ClosedForm, points: LoneRequests) -> NDArray[np.float64]:
    """Predicted over measured, less 1."""
    measured = points.prefill_s if np.isnan(points.total_s).all() else points.total_s
    return np.asarray(seconds_of(form, points) / measured - 1)


def mape(errors: list[NDArray[np.float64]]) -> float:
    """Mean of the absolute values, in per cent."""
    return float(100 * np.abs(np.concatenate(errors)).mean())
