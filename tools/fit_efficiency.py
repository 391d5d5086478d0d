"""Fit the efficiency curves of `servetwin.cost` to public kernel timings.

    python tools/fit_efficiency.py DATA_DIR [--write]

Prints the errors quoted in docs/background/cost.md; with --write, replaces the packaged
table. One shape in five is held out of every fit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

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
    relative_error,
)

Floats = NDArray[np.float64]
TARGET = Path(__file__).resolve().parent.parent / "src/servetwin/cost/data/efficiency.toml"
HEADER = """\
# Efficiency curves, written by tools/fit_efficiency.py; servetwin/cost/curves.py says what
# each coefficient means, docs/background/cost.md how far off the curves are.
# Shares refer to the peaks in the catalog: fit again when those change.
"""


def fit(start: Any, predict: Callable[[Any], Floats], measured: Floats) -> Any:
    """Fit every field of a curve (all positive) to the logarithm of the times, robustly."""
    names = list(asdict(start))

    def curve(logs: Floats) -> Any:
        return replace(start, **dict(zip(names, np.exp(logs).tolist(), strict=True)))

    def residual(logs: Floats) -> Floats:
        return np.log(predict(curve(logs)) / measured)

    first = np.log([getattr(start, name) for name in names])
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
    negligible = {name: 0.0 for name, value in asdict(fitted).items() if value < 0.01}
    return replace(fitted, **negligible)


def report(title: str, predicted: Floats, measured: Floats) -> None:
    median, p90, bias = relative_error(predicted, measured)
    print(
        f"{title:52s} n={measured.size:6d}  median {median:6.1%}  p90 {p90:6.1%}  bias {bias:+.1%}"
    )


def fit_gemm(folder: Path, device: str, dtype: str = "bfloat16") -> GemmCurve:
    hardware = HARDWARE[device]
    roof = hardware.roof("bf16" if dtype == "bfloat16" else dtype)
    element = 2.0 if dtype == "bfloat16" else 1.0
    table = tables.gemm_table(folder, device, hardware.gemm_source, dtype)
    out = held_out_gemms(hardware, table)
    train = tables.GemmTable(*(column[~out] for column in _columns(table)))
    start = GemmCurve(4.0, 0.8, 0.8, 16.0, 3.0)
    curve = fit(start, lambda c: gemm_seconds(c, roof, train, element), train.seconds)
    predicted = gemm_seconds(curve, roof, table, element)
    report(
        f"gemm {dtype} {device} ({hardware.gemm_source}) fitted",
        predicted[~out],
        table.seconds[~out],
    )
    report(
        f"gemm {dtype} {device} ({hardware.gemm_source}) held out",
        predicted[out],
        table.seconds[out],
    )
    if hardware.gemm_source == "aiconfigurator" and dtype == "bfloat16":
        other = tables.gemm_table(folder, device, "vidur")
        report(
            f"gemm {device}, other source (vidur)", gemm_seconds(curve, roof, other), other.seconds
        )
    return curve


def fit_decode(folder: Path, device: str) -> DecodeCurve:
    roof, table = HARDWARE[device].roof(), tables.decode_table(folder, device)
    out = held_out(table.heads, table.kv_heads, table.done)
    train = tables.AttentionTable(*(column[~out] for column in _columns(table)))
    curve = fit(
        DecodeCurve(10.0, 0.8, 60.0), lambda c: decode_seconds(c, roof, train), train.seconds
    )
    predicted = decode_seconds(curve, roof, table)
    report(f"decode attention {device} fitted", predicted[~out], table.seconds[~out])
    report(f"decode attention {device} held out", predicted[out], table.seconds[out])
    return curve


def fit_prefill(folder: Path, device: str) -> PrefillCurve:
    roof, table = HARDWARE[device].roof(), tables.prefill_table(folder, device)
    out = held_out(table.heads, table.kv_heads, table.tokens, table.done)
    train = tables.AttentionTable(*(column[~out] for column in _columns(table)))
    curve = fit(
        PrefillCurve(10.0, 0.6, 200.0), lambda c: prefill_seconds(c, roof, train), train.seconds
    )
    predicted = prefill_seconds(curve, roof, table)
    report(f"prefill attention {device} fitted", predicted[~out], table.seconds[~out])
    report(f"prefill attention {device} held out", predicted[out], table.seconds[out])
    return curve


def fit_elementwise(folder: Path, device: str) -> ElementwiseCurve:
    roof, table = HARDWARE[device].roof(), tables.elementwise_table(folder, device)
    keep = table.seconds > 0
    table = tables.ElementwiseTable(table.moved[keep], table.seconds[keep])
    curve = fit(
        ElementwiseCurve(2.5, 0.8), lambda c: elementwise_seconds(c, roof, table), table.seconds
    )
    report(f"elementwise {device} fitted", elementwise_seconds(curve, roof, table), table.seconds)
    return curve


def fit_mixture(folder: Path, gemm: GemmCurve) -> dict[str, float]:
    roof, table = HARDWARE["RTXPRO6000"].roof(), tables.mixture_table(folder)
    start = MixtureCurve(10.0, 8.0)
    curve = fit(start, lambda c: mixture_seconds(c, gemm, roof, table), table.seconds)
    report("mixture RTXPRO6000 fitted", mixture_seconds(curve, gemm, roof, table), table.seconds)
    return asdict(curve)


def fit_sampler(folder: Path, elementwise: dict[str, ElementwiseCurve]) -> dict[str, float]:
    fits = []
    for device, curve in elementwise.items():
        logits, seconds = tables.sampler_rows(folder, device)
        slope, first = np.polyfit(logits, seconds, 1, w=1 / seconds)
        predicted = first + slope * logits
        report(f"sampler {device} fitted", predicted, seconds)
        fits.append((first * 1e6, slope * HARDWARE[device].roof().bandwidth * curve.memory))
    launch, moved = np.mean(fits, axis=0)
    return {"launch_us": float(launch), "bytes_per_logit": float(moved)}


def fit_collective(folder: Path) -> dict[str, float]:
    launches: list[float] = []
    shares: dict[str, list[float]] = {"all_reduce": [], "send_recv": []}
    for device in ("A100", "H100"):
        link = find_accelerator(HARDWARE[device].accelerator).link
        bandwidth = find_link(link).bandwidth
        for kind, found in shares.items():
            workers, size, seconds = tables.collective_rows(folder, device, kind)
            factor = 2 * (workers - 1) / workers if kind == "all_reduce" else np.ones_like(workers)
            # Between four or eight GPUs, small messages wait for launches from the host,
            # which CUDA graphs remove: the start-up is taken between two.
            launch = float(seconds[workers == 2].min())
            large = size >= 8e6
            for count in np.unique(workers):
                chosen = large & (workers == count)
                busy = bandwidth * (seconds[chosen] - launch)
                found.append(float(np.median(factor[chosen] * size[chosen] / busy)))
                print(
                    f"{kind} {device} x{int(count)}: {found[-1]:.2f} of the link, "
                    f"start-up {launch * 1e6:.0f} us"
                )
            if kind == "all_reduce":
                launches.append(launch * 1e6)
    return {
        "launch_us": float(np.mean(launches)),
        "all_reduce": float(np.median(shares["all_reduce"])),
        "send": float(np.median(shares["send_recv"])),
    }


def fit_host(folder: Path) -> dict[str, float]:
    batch, seconds = tables.host_overheads(folder)
    _, first = np.polyfit(batch, seconds, 1)
    return {"step_us": 750.0, "blocking_us": float(first) * 1e6}


def _columns(table: Any) -> list[Floats]:
    return [getattr(table, name) for name in table.__dataclass_fields__]


def middle(curves: list[Any]) -> Any:
    """Median of each coefficient: the curve of a device without data."""
    names = list(asdict(curves[0]))
    return replace(
        curves[0], **{n: float(np.median([getattr(c, n) for c in curves])) for n in names}
    )


def fit_all(folder: Path) -> dict[str, Any]:
    gemm = {device: fit_gemm(folder, device) for device in HARDWARE}
    fp8 = fit_gemm(folder, "H100", "fp8")
    timed = [device for device in HARDWARE if device != "A40"]
    decode = {device: fit_decode(folder, device) for device in timed}
    prefill = {device: fit_prefill(folder, device) for device in timed}
    elementwise = {device: fit_elementwise(folder, device) for device in HARDWARE}
    report_default(folder, gemm)
    devices: dict[str, Any] = {
        "default": {
            "source": "medians of the fitted devices; fp8 as on H100",
            "gemm": asdict(middle(list(gemm.values()))),
            "gemm_fp8": asdict(fp8),
            "decode": asdict(middle(list(decode.values()))),
            "prefill": asdict(middle(list(prefill.values()))),
            "elementwise": asdict(middle(list(elementwise.values()))),
        }
    }
    for device, hardware in HARDWARE.items():
        entry: dict[str, Any] = {
            "applies_to": list(hardware.applies_to),
            "source": hardware.source,
            "gemm": asdict(gemm[device]),
            "elementwise": asdict(elementwise[device]),
        }
        if device in decode:
            entry |= {"decode": asdict(decode[device]), "prefill": asdict(prefill[device])}
        devices[device] = entry
    layered = {device: elementwise[device] for device in ("RTX4090", "RTXPRO6000")}
    return {
        "mixture": fit_mixture(folder, gemm["RTXPRO6000"]),
        "sampler": fit_sampler(folder, layered),
        "collective": fit_collective(folder),
        "host": fit_host(folder),
        "device": devices,
    }


def report_default(folder: Path, gemm: dict[str, GemmCurve]) -> None:
    """What a device without data must expect: the median of the others, on each in turn."""
    for device, hardware in HARDWARE.items():
        others = middle([curve for name, curve in gemm.items() if name != device])
        table = tables.gemm_table(folder, device, hardware.gemm_source)
        predicted = gemm_seconds(others, hardware.roof(), table)
        report(f"gemm {device} from the other devices", predicted, table.seconds)


def to_toml(tree: dict[str, Any]) -> str:
    """Enough of TOML for this table: sections, inline curves, four digits."""
    lines = [HEADER]

    def value(item: Any) -> str:
        if isinstance(item, str):
            return f'"{item}"'
        if isinstance(item, list):
            return "[" + ", ".join(map(value, item)) + "]"
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{key} = {value(v)}" for key, v in item.items()) + " }"
        return f"{float(f'{item:.4g}')!r}"

    sections = {key: entry for key, entry in tree.items() if key != "device"}
    sections |= {f"device.{name}": entry for name, entry in tree["device"].items()}
    for name, entry in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {value(item)}" for key, item in entry.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds profiles/")
    parser.add_argument("--write", action="store_true", help="replace the packaged table")
    options = parser.parse_args()
    text = to_toml(fit_all(options.data / "profiles"))
    if options.write:
        TARGET.write_text(text, encoding="utf-8")
        print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
