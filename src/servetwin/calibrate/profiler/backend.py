"""PyTorch, found when it is needed, and the device it runs on."""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servetwin.errors import InputError, nearest

__all__ = ["DEVICES", "DTYPES", "Backend", "open_backend"]

DEVICES = ("cpu", "cuda")
DTYPES = {"fp32": ("float32", 4), "bf16": ("bfloat16", 2), "fp16": ("float16", 2)}
"""Ours, PyTorch's, and bytes of an element."""

INSTALL = "pip install torch"
CPU_SHARE, CUDA_SHARE = 0.25, 0.8
"""Of the free memory: other programs live in that of the CPU."""


@dataclass(frozen=True)
class Backend:
    """PyTorch on one device, with one number format."""

    torch: Any
    device: str
    dtype: Any
    element: int
    """Bytes of an element."""
    rank: int = 0
    """Of this process among those of a tensor-parallel group."""
    ranks: int = 1

    @property
    def is_cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds on the host.

        A single thread on the CPU is timed by the processor time it gets, so that other
        programs do not count. Several wait for each other, which only a wall clock sees.
        """
        alone = not self.is_cuda and self.torch.get_num_threads() == 1
        return time.thread_time if alone else time.perf_counter

    def tensor(self, *shape: int) -> Any:
        """Random values, small enough that a chain of products stays finite."""
        empty = self.torch.empty(shape, dtype=self.dtype, device=self.device)
        return empty.uniform_(-0.05, 0.05)

    def indices(self, below: int, count: int) -> Any:
        """Random whole numbers, such as token ids."""
        return self.torch.randint(below, (count,), device=self.device)

    def free_memory(self) -> float:
        """Bytes that a profile may use."""
        if self.is_cuda:
            return float(self.torch.cuda.mem_get_info()[0]) * CUDA_SHARE
        return _available() * CPU_SHARE

    def device_name(self) -> str:
        """What the driver calls the GPU, or the system the processor."""
        return str(self.torch.cuda.get_device_name()) if self.is_cuda else _processor()

    def machine(self) -> Mapping[str, str | bool]:
        """Device, driver, PyTorch, and whether the timings are of CUDA graphs."""
        torch = self.torch
        if self.is_cuda:
            name = self.device_name()
            driver = f"{_driver()}, CUDA {torch.version.cuda}"
        else:
            threads = torch.get_num_threads()
            name = f"{self.device_name()}, {threads} thread{'s' if threads > 1 else ''}"
            driver = f"{platform.system()} {platform.release()}"
        version = str(torch.__version__)
        return {"device": name, "driver": driver, "torch": version, "graphs": self.is_cuda}


def open_backend(device: str, dtype: str, threads: int | None = None) -> Backend:
    """Find PyTorch and the device; `threads` of the CPU, None for as many as PyTorch takes.

    Raises InputError for an unknown device or dtype, where PyTorch is not installed, or
    cannot reach the device.
    """
    if device not in DEVICES:
        hint = nearest(device, DEVICES) or f"known: {', '.join(DEVICES)}"
        raise InputError(f"--device {device}: not known; {hint}")
    if dtype not in DTYPES:
        hint = nearest(dtype, DTYPES) or f"known: {', '.join(DTYPES)}"
        raise InputError(f"--dtype {dtype}: cannot be profiled; {hint}")
    if threads is not None and threads < 1:
        raise InputError(f"--threads {threads}: must be at least 1")
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        reason = "is not installed" if error.name == "torch" else f"cannot be loaded ({error})"
        raise InputError(f"profiling needs PyTorch, which {reason}: {INSTALL}") from None
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"--device cuda: PyTorch {torch.__version__} finds no CUDA device; check the driver "
            "and that PyTorch is built for CUDA, or give --device cpu"
        )
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if threads is not None:
        torch.set_num_threads(threads)
    name, size = DTYPES[dtype]
    rank, ranks = (int(os.environ.get(key, d)) for key, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
    return Backend(torch, device, getattr(torch, name), size, rank, ranks)


def _available() -> float:
    """Bytes of memory that programs may take; half of all where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2.0


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except (OSError, UnicodeDecodeError):
        pass
    return platform.processor() or platform.machine()


def _driver() -> str:
    """Version of the kernel module, e.g. "NVIDIA 580.82.07"."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text("utf-8").splitlines()[0].split()
    except (OSError, IndexError, UnicodeDecodeError):
        return "unknown driver"
    version = next((word for word in words if word[:1].isdigit() and "." in word), "unknown")
    return f"NVIDIA {version}"
