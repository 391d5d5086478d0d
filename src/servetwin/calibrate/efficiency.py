"""Fit the efficiency curves of the derived cost models to public kernel timings.

`tools/fit_efficiency.py` writes what `fit_all` returns to `cost/data/efficiency.toml`. The
scoreboard fits again without one device, to see what is predicted for a device that nobody
has timed. One shape in five is held out of every fit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_link
from servetwin.cost import kernel_tables as tables
from servetwin.cost.curves import (
    DecodeCurve,
    ElementwiseCurve,
    GemmCurve,
    MixtureCurve,
    PrefillCurve,
)
from servetwin.cost.kernel_fit import (
    HARDWARE,
    decode_seconds,
    elementwise_seconds,
    gemm_seconds,
    held_out,
    held_out_gemms,
    mixture_seconds,
    prefill_seconds,
)

__all__ = ["EfficiencyFit", "fit_all"]

Floats = NDArray[np.float64]
Report = Callable[[str, Floats, Floats], None]
"""Told a title, and predicted and measured seconds, after each fit."""

Curve = TypeVar("Curve")

LAYERED = ("RTX4090", "RTXPRO6000")
NETWORKED = ("A100", "H100")


def fit_all(
    folder: Path, without: Collection[str] = (), report: Report | None = None
) -> dict[str, Any]:
    """Return the content of `efficiency.toml`, fitted to the timings under `folder`.

    Devices in `without` (keys of `kernel_fit.HARDWARE`) contribute nothing, as if they had
    never been timed.
    """
    return EfficiencyFit(folder, frozenset(without), report or silent).everything()


@dataclass(frozen=True)
class EfficiencyFit:
    """One fit of all curves. `folder` holds the three sources of `cost.kernel_tables`."""

    folder: Path
    without: frozenset[str]
    report: Report

    def everything(self) -> dict[str, Any]:
        """Curves by device, the medians that serve all others, and what devices share."""
        chosen = [device for device in HARDWARE if device not in self.without]
        gemm = {device: self.gemm(device) for device in chosen}
        timed = [device for device in chosen if device != "A40"]
        decode = {device: self.decode(device) for device in timed}
        prefill = {device: self.prefill(device) for device in timed}
        elementwise = {device: self.elementwise(device) for device in chosen}
        common = middle(list(gemm.values()))
        narrow = self.gemm("H100", "fp8") if "H100" in chosen else common
        devices: dict[str, Any] = {
            "default": {
                "source": "medians of the fitted devices; fp8 as on H100",
                "gemm": asdict(common),
                "gemm_fp8": asdict(narrow),
                "decode": asdict(middle(list(decode.values()))),
                "prefill": asdict(middle(list(prefill.values()))),
                "elementwise": asdict(middle(list(elementwise.values()))),
            }
        }
        for device in chosen:
            entry: dict[str, Any] = {
                "applies_to": list(HARDWARE[device].applies_to),
                "source": HARDWARE[device].source,
                "gemm": asdict(gemm[device]),
                "elementwise": asdict(elementwise[device]),
            }
            if device in decode:
                entry |= {"decode": asdict(decode[device]), "prefill": asdict(prefill[device])}
            devices[device] = entry
        layered = {device: elementwise[device] for device in LAYERED if device in chosen}
        return {
            "mixture": self.mixture(gemm),
            "sampler": self.sampler(layered),
            "collective": self.collective(),
            "host": self.host(),
            "device": devices,
        }

    def gemm(self, device: str, dtype: str = "bfloat16") -> GemmCurve:
        """Curve of one device; `dtype` as the timings spell it."""
        hardware = HARDWARE[device]
        roof = hardware.roof("bf16" if dtype == "bfloat16" else dtype)
        element = 2.0 if dtype == "bfloat16" else 1.0
        table = tables.gemm_table(self.folder, device, hardware.gemm_source, dtype)
        out = held_out_gemms(hardware, table)
        train = tables.GemmTable(*(column[~out] for column in columns_of(table)))
        start = GemmCurve(4.0, 0.8, 0.8, 16.0, 3.0)
        curve = fit(start, lambda c: gemm_seconds(c, roof, train, element), train.seconds)
        title = f"gemm {dtype} {device} ({hardware.gemm_source})"
        self._report_both(title, gemm_seconds(curve, roof, table, element), table.seconds, out)
        if hardware.gemm_source == "aiconfigurator" and dtype == "bfloat16":
            other = tables.gemm_table(self.folder, device, "vidur")
            title = f"gemm {device}, other source (vidur)"
            self.report(title, gemm_seconds(curve, roof, other), other.seconds)
        return curve

    def decode(self, device: str) -> DecodeCurve:
        roof, table = HARDWARE[device].roof(), tables.decode_table(self.folder, device)
        out = held_out(table.heads, table.kv_heads, table.done)
        train = tables.AttentionTable(*(column[~out] for column in columns_of(table)))
        start = DecodeCurve(10.0, 0.8, 60.0)
        curve = fit(start, lambda c: decode_seconds(c, roof, train), train.seconds)
        predicted = decode_seconds(curve, roof, table)
        self._report_both(f"decode attention {device}", predicted, table.seconds, out)
        return curve

    def prefill(self, device: str) -> PrefillCurve:
        roof, table = HARDWARE[device].roof(), tables.prefill_table(self.folder, device)
        out = held_out(table.heads, table.kv_heads, table.tokens, table.done)
        train = tables.AttentionTable(*(column[~out] for column in columns_of(table)))
        start = PrefillCurve(10.0, 0.6, 200.0)
        curve = fit(start, lambda c: prefill_seconds(c, roof, train), train.seconds)
        predicted = prefill_seconds(curve, roof, table)
        self._report_both(f"prefill attention {device}", predicted, table.seconds, out)
        return curve

    def elementwise(self, device: str) -> ElementwiseCurve:
        roof, table = HARDWARE[device].roof(), tables.elementwise_table(self.folder, device)
        keep = table.seconds > 0
        table = tables.ElementwiseTable(table.moved[keep], table.seconds[keep])
        start = ElementwiseCurve(2.5, 0.8)
        curve = fit(start, lambda c: elementwise_seconds(c, roof, table), table.seconds)
        predicted = elementwise_seconds(curve, roof, table)
        self.report(f"elementwise {device} fitted", predicted, table.seconds)
        return curve

    def mixture(self, gemm: dict[str, GemmCurve]) -> dict[str, float]:
        """From the one device whose experts were timed; without it, as plain GEMMs."""
        if "RTXPRO6000" not in gemm:
            launch = 2 * float(np.median([curve.launch_us for curve in gemm.values()]))
            return asdict(MixtureCurve(launch, 0.0))
        roof, table = HARDWARE["RTXPRO6000"].roof(), tables.mixture_table(self.folder)
        base = gemm["RTXPRO6000"]
        curve = fit(
            MixtureCurve(10.0, 8.0),
            lambda c: mixture_seconds(c, base, roof, table),
            table.seconds,
        )
        predicted = mixture_seconds(curve, base, roof, table)
        self.report("mixture RTXPRO6000 fitted", predicted, table.seconds)
        return asdict(curve)

    def sampler(self, elementwise: dict[str, ElementwiseCurve]) -> dict[str, float]:
        fits = []
        for device, curve in elementwise.items():
            logits, seconds = tables.sampler_rows(self.folder, device)
            slope, first = np.polyfit(logits, seconds, 1, w=1 / seconds)
            self.report(f"sampler {device} fitted", first + slope * logits, seconds)
            fits.append((first * 1e6, slope * HARDWARE[device].roof().bandwidth * curve.memory))
        launch, moved = np.mean(fits, axis=0)
        return {"launch_us": float(launch), "bytes_per_logit": float(moved)}

    def collective(self) -> dict[str, float]:
        launches: list[float] = []
        shares: dict[str, list[float]] = {"all_reduce": [], "send_recv": []}
        for device in (name for name in NETWORKED if name not in self.without):
            for kind, found in shares.items():
                launch, reached = self._link_shares(device, kind)
                found += reached
                if kind == "all_reduce":
                    launches.append(launch * 1e6)
        return {
            "launch_us": float(np.mean(launches)),
            "all_reduce": float(np.median(shares["all_reduce"])),
            "send": float(np.median(shares["send_recv"])),
        }

    def _link_shares(self, device: str, kind: str) -> tuple[float, list[float]]:
        """Seconds of start-up, and the share of the link reached by each number of GPUs."""
        bandwidth = find_link(find_accelerator(HARDWARE[device].accelerator).link).bandwidth
        workers, size, seconds = tables.collective_rows(self.folder, device, kind)
        factor = 2 * (workers - 1) / workers if kind == "all_reduce" else np.ones_like(workers)
        # Between four or eight GPUs, small messages wait for launches from the host,
        # which CUDA graphs remove: the start-up is taken between two.
        launch = float(seconds[workers == 2].min())
        reached = []
        for count in np.unique(workers):
            chosen = (size >= 8e6) & (workers == count)
            ideal = factor[chosen] * size[chosen] / bandwidth
            share = float(np.median(ideal / (seconds[chosen] - launch)))
            reached.append(share)
            title = f"{kind} {device} x{int(count)}: {share:.2f} of the link"
            self.report(title, launch + ideal / share, seconds[chosen])
        return launch, reached

    def host(self) -> dict[str, float]:
        batch, seconds = tables.host_overheads(self.folder)
        slope, first = np.polyfit(batch, seconds, 1)
        return {
            "step_us": 750.0,
            "blocking_us": float(first) * 1e6,
            "blocking_sequence_us": float(slope) * 1e6,
        }

    def _report_both(
        self, title: str, predicted: Floats, measured: Floats, out: NDArray[np.bool_]
    ) -> None:
        self.report(f"{title} fitted", predicted[~out], measured[~out])
        self.report(f"{title} held out", predicted[out], measured[out])


def silent(title: str, predicted: Floats, measured: Floats) -> None:
    """Nobody wants to know."""


def fit(start: Curve, predict: Callable[[Curve], Floats], measured: Floats) -> Curve:
    """Fit every field of a curve (all positive) to the logarithm of the times, robustly."""
    from scipy.optimize import least_squares

    # A curve is any of the dataclasses of `cost.curves`, which a type variable cannot say.
    values: dict[str, float] = asdict(start)  # type: ignore[call-overload]
    names = list(values)

    def curve(logs: Floats) -> Curve:
        changed = dict(zip(names, np.exp(logs).tolist(), strict=True))
        return replace(start, **changed)  # type: ignore[type-var]

    def residual(logs: Floats) -> Floats:
        return np.log(predict(curve(logs)) / measured)

    first = np.log(list(values.values()))
    low, high = np.full(first.size, -7.0), np.full(first.size, 9.0)
    # A share of a peak cannot exceed it (but small tensors stay in the cache between
    # elementwise kernels), and a norm below 1.2 is no longer a corner.
    for i, name in enumerate(names):
        if name in ("memory", "compute"):
            high[i] = np.log(3.0) if isinstance(start, ElementwiseCurve) else 0.0
        if name == "sharpness":
            low[i], high[i] = np.log(1.2), np.log(8.0)
    found = least_squares(residual, first, bounds=(low, high), loss="soft_l1", f_scale=0.1)
    fitted = curve(found.x)
    negligible = {name: 0.0 for name in names if getattr(fitted, name) < 0.01}
    return replace(fitted, **negligible)  # type: ignore[type-var]


def middle(curves: list[Any]) -> Any:
    """Median of each coefficient: the curve of a device without data."""
    names = list(asdict(curves[0]))
    medians = {name: float(np.median([getattr(c, name) for c in curves])) for name in names}
    return replace(curves[0], **medians)


def columns_of(table: Any) -> list[Floats]:
    """Columns of a kernel table in the order of its fields."""
    return [getattr(table, name) for name in table.__dataclass_fields__]
