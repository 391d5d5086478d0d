"""The errors that docs/background/cost.md states, measured again on the held-out shapes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from servetwin.cost import kernel_tables as tables
from servetwin.cost.curves import curves_for
from servetwin.cost.kernel_fit import (
    HARDWARE,
    decode_seconds,
    gemm_seconds,
    held_out,
    held_out_gemms,
    mixture_seconds,
    prefill_seconds,
    relative_error,
)

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "background" / "cost.md"


def documented() -> dict[str, tuple[float, float]]:
    text = DOCUMENT.read_text().split("<!-- kernel errors -->")[1].split("<!-- end -->")[0]
    rows = re.findall(r"^\| (\S.*?) \| ([\d.]+) % \| ([\d.]+) % \|", text, re.MULTILINE)
    return {name: (float(median) / 100, float(p90) / 100) for name, median, p90 in rows}


def gemm(folder: Path, device: str, dtype: str):
    hardware = HARDWARE[device]
    curves = curves_for(hardware.accelerator)
    table = tables.gemm_table(folder, device, hardware.gemm_source, dtype)
    curve, element = (curves.gemm_fp8, 1.0) if dtype == "fp8" else (curves.gemm, 2.0)
    roof = hardware.roof("fp8" if dtype == "fp8" else "bf16")
    return gemm_seconds(curve, roof, table, element), table.seconds, held_out_gemms(hardware, table)


def measured_again(folder: Path, name: str):
    kind, device = name.split(", ")
    if kind.startswith("GEMM"):
        return gemm(folder, device, "fp8" if kind.endswith("fp8") else "bfloat16")
    hardware = HARDWARE[device]
    curves = curves_for(hardware.accelerator)
    if kind == "decode attention":
        table = tables.decode_table(folder, device)
        out = held_out(table.heads, table.kv_heads, table.done)
        return decode_seconds(curves.decode, hardware.roof(), table), table.seconds, out
    table = tables.prefill_table(folder, device)
    out = held_out(table.heads, table.kv_heads, table.tokens, table.done)
    return prefill_seconds(curves.prefill, hardware.roof(), table), table.seconds, out


@pytest.mark.parametrize("name", documented())
def test_held_out_errors_are_as_documented(name, data_dir):
    predicted, measured, out = measured_again(data_dir / "profiles", name)
    assert 0.05 < out.mean() < 0.35
    median, p90, _ = relative_error(predicted[out], measured[out])
    assert (median, p90) == pytest.approx(documented()[name], abs=0.001)


def test_expert_layers(data_dir):
    table = tables.mixture_table(data_dir / "profiles")
    curves, roof = curves_for("RTX-PRO-6000"), HARDWARE["RTXPRO6000"].roof()
    predicted = mixture_seconds(curves.mixture, curves.gemm, roof, table)
    assert relative_error(predicted, table.seconds)[0] < 0.06


def test_every_kernel_table_is_documented():
    timed = {"A100", "H100", "RTX4090", "RTXPRO6000"}
    attention = {f"{kind} attention, {name}" for kind in ("decode", "prefill") for name in timed}
    assert set(documented()) == attention | {f"GEMM, {name}" for name in HARDWARE} | {
        "GEMM fp8, H100"
    }
