"""The A6000 pulses: three bursts of ten requests, with the watts of the GPU and its server.

Folder `vllm_throughput_power/figure_6`. Three clocks are brought to one, in seconds since the
simulated workload's time 0 (the first burst arrives at 1 s): the engine's log and the GPU's
differ by eight hours of time zone, and the server's series starts with the first burst.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.energy.measured import Point, engine, phases
from servetwin.types import Parallelism, Workload
from servetwin.units import PS_PER_S

__all__ = ["PULSE_SECONDS", "Pulses", "pulse_points", "read_pulses", "read_workload"]

Floats = NDArray[np.float64]
FOLDER = "vllm_throughput_power/figure_6"
WORKLOAD = "vllm_throughput_power/dataset/sharegpt_pulse_req10_n3_delay60.jsonl"
PULSE_SECONDS = 60.0
"""From one burst to the next."""
ZONES = 8 * 3600.0
LOG_START = 13 * 3600 + 8 * 60 + 27.5
"""Time of day, on the engine's clock, that is time 0 (its first request ran at 13:08:28.5)."""
SERVER_START = 1.0
LINE = re.compile(
    r"(\d+):(\d+):(\d+) \[loggers.*prompt throughput: ([\d.]+).*generation throughput: ([\d.]+)"
    r".*Running: (\d+)"
)


@dataclass(frozen=True)
class Pulses:
    """One row a second of each series; times are the middle of the second."""

    log_t: Floats
    prompt: Floats
    """Prompt tokens in the second before."""
    generated: Floats
    running: Floats
    gpu_t: Floats
    gpu_watts: Floats
    server_t: Floats
    server_watts: Floats


def read_pulses(measured: Path) -> Pulses:
    """Read the three series under the folder `measured`."""
    folder = measured / FOLDER
    log = np.array(
        [
            [float(text) for text in found.groups()]
            for found in LINE.finditer((folder / "vllm_pulse_power_tp1.txt").read_text("utf-8"))
        ]
    )
    log_t = log[:, 0] * 3600 + log[:, 1] * 60 + log[:, 2] - LOG_START
    stamps, watts = [], []
    for line in (folder / "gpu_power_log_tp1.txt").read_text("utf-8").splitlines():
        cells = line.split(", ")
        if len(cells) == 4:
            stamp = datetime.strptime(cells[0], "%Y/%m/%d %H:%M:%S.%f")
            midnight = stamp.replace(hour=0, minute=0, second=0, microsecond=0)
            stamps.append((stamp - midnight).total_seconds() - ZONES - LOG_START)
            watts.append(float(cells[3]))
    times, values = _by_second(np.array(stamps), np.array(watts))
    server = np.loadtxt(folder / "server_power_tp1.tsv", skiprows=1)
    return Pulses(
        log_t, log[:, 3], log[:, 4], log[:, 5], times, values,
        server[:, 0] + SERVER_START, server[:, 1],
    )  # fmt: skip


def _by_second(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Mean over each whole second that holds a value."""
    second = np.floor(times).astype(np.int64)
    kept = np.unique(second)
    means = np.array([float(values[second == each].mean()) for each in kept])
    return np.asarray(kept + 0.5, dtype=np.float64), means


def read_workload(measured: Path) -> Workload:
    """The thirty requests of the pulses."""
    rows = [json.loads(line) for line in (measured / WORKLOAD).read_text("utf-8").splitlines()]
    return Workload(
        arrival=np.array([row["arrival_time_ns"] for row in rows], dtype=np.int64)
        * (PS_PER_S // 10**9),
        input_tokens=np.array([row["input_toks"] for row in rows], dtype=np.int32),
        output_tokens=np.array([row["output_toks"] for row in rows], dtype=np.int32),
    )


def pulse_points(measured: Path) -> list[Point]:
    """GPU watts in each second that the engine worked through; the first pulse may be fitted."""
    series, workload = read_pulses(measured), read_workload(measured)
    deployment, cost = engine("meta-llama/Llama-3.1-8B", "RTX-A6000", Parallelism(), False)
    prompts = float(workload.input_tokens.mean())
    context = prompts + float(workload.output_tokens.mean()) / 2
    points = []
    for row in range(1, series.log_t.size):
        # Work at both ends of the second that the line reports.
        if series.running[row] < 1 or series.log_t[row] - series.log_t[row - 1] > 1.5:
            continue
        batch = max(series.running[row], series.running[row - 1])
        made, prompt = series.generated[row], series.prompt[row]
        work = phases(
            (
                1.0,
                made / batch,
                made,
                prompt,
                made * context,
                prompt * context / 2,
                prompt / prompts,
            )
        )
        watts = float(np.interp(series.log_t[row], series.gpu_t, series.gpu_watts))
        points.append(
            Point(
                group="A6000, GPU (pulses)",
                label=f"second {series.log_t[row]:.0f}, {batch:.0f} running",
                fit=bool(series.log_t[row] < PULSE_SECONDS),
                deployment=deployment,
                cost=cost,
                work=work,
                watts=watts,
            )
        )
    return points
