"""How far interpolated kernel timings are from timings that were set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost.defaults import resolve_settings
from servetwin.cost.kernel_fit import held_out
from servetwin.cost.profiles import vidur
from servetwin.cost.profiles.attention import chunk_seconds
from servetwin.cost.profiles.gemms import GemmTimings, predicted, roofline_of
from servetwin.cost.profiles.grids import interpolated
from servetwin.cost.profiles.kernels import kernel_gemms
from servetwin.cost.profiles.reading import read_columns
from servetwin.cost.profiles.timings import AttentionTimings
from servetwin.cost.profiles.vllm_layers import (
    DIMENSIONS,
    LayerProfile,
    find_layer_profiles,
    read_layer_profile,
)
from servetwin.types import Deployment

__all__ = ["KernelScore", "kernel_scores"]

Floats = NDArray[np.float64]
MIN_SIZE, MAX_ROWS = 1024, 8192
VIDUR_DEVICES = {"a100": "A100-80GB", "a40": "A40", "h100": "H100-SXM"}
KERNEL_FILES = {
    "A100-80GB": "a100_sxm_vllm0.14.0_gemm_perf.parquet",
    "H100-SXM": "h100_sxm_vllm0.19.0_gemm_perf.parquet",
}
LAYER_GEMMS = ("qkv", "attention_out", "mlp_up", "mlp_down")


@dataclass(frozen=True)
class KernelScore:
    """Relative error over timings that were not used: `kind` says why not."""

    kind: str
    """`gemm, between rows`, `gemm, unseen matrix`, `gemm, unseen model`, or an attention."""
    group: str
    errors: Floats
    """Predicted / measured - 1."""

    @property
    def median(self) -> float:
        return float(np.median(np.abs(self.errors)))

    @property
    def p90(self) -> float:
        return float(np.quantile(np.abs(self.errors), 0.9))


def kernel_scores(folder: Path) -> list[KernelScore]:
    """Scores over all timings in `folder` (of `vidur`, `aiconfigurator_kernels`, `vllm_layers`)."""
    return [*_vidur_gemms(folder / "vidur"), *_kernel_gemms(folder / "aiconfigurator_kernels"),
            *_layer_gemms(folder / "vllm_layers"), *_layer_attention(folder / "vllm_layers"),
            *_vidur_attention(folder / "vidur")]  # fmt: skip


def _device(name: str) -> Deployment:
    """Any deployment on a device: only its roofline matters here."""
    model, accelerator = find_model("Llama-3.1-8B"), find_accelerator(name)
    settings = resolve_settings(model, accelerator, max_model_len=4096)
    return Deployment(model, accelerator, find_link(accelerator.link), settings=settings)


def _vidur_gemms(folder: Path) -> Iterator[KernelScore]:
    """One in five batch sizes of a matrix; and each model from the others of its device."""
    for prefix, device in VIDUR_DEVICES.items():
        paths = sorted(folder.glob(f"{prefix}_*_mlp.csv"))
        models = [_served(vidur.gemm_timings(vidur.read_mlp(path))) for path in paths]
        between = np.concatenate([_between_rows(model) for model in models])
        yield KernelScore("gemm, between rows", f"{device}, Vidur", between)
        unseen = []
        for index, model in enumerate(models):
            others = vidur.joined([m for i, m in enumerate(models) if i != index])
            seen = set(zip(others.n, others.k, strict=True))
            fresh = np.array([shape not in seen for shape in zip(model.n, model.k, strict=True)])
            if fresh.any():
                wanted = model.where(fresh)
                found = predicted(others, wanted, roofline_of(_device(device)))
                unseen.append(found / wanted.seconds - 1.0)
        yield KernelScore("gemm, unseen model", f"{device}, Vidur", np.concatenate(unseen))


def _kernel_gemms(folder: Path) -> Iterator[KernelScore]:
    """One in five sizes of a matrix from its neighbours; and one in five matrices."""
    for device, name in KERNEL_FILES.items():
        timings = _served(kernel_gemms(folder / name, "bf16"))
        roofline = roofline_of(_device(device))
        sizes = held_out(timings.rows, timings.n, timings.k)
        sizes &= (timings.rows > timings.rows.min()) & (timings.rows < timings.rows.max())
        group = f"{device}, aiconfigurator"
        for kind, hidden in (
            ("gemm, between rows", sizes),
            ("gemm, unseen matrix", held_out(timings.n, timings.k)),
        ):
            wanted = timings.where(hidden)
            found = predicted(timings.where(~hidden), wanted, roofline)
            yield KernelScore(kind, group, found / wanted.seconds - 1.0)


def _served(timings: GemmTimings) -> GemmTimings:
    """Matrices of the sizes that language models use."""
    large = (timings.n >= MIN_SIZE) & (timings.k >= MIN_SIZE)
    return timings.where(large & (timings.rows <= MAX_ROWS))


def _between_rows(timings: GemmTimings) -> Floats:
    """Errors of one in five sizes of each matrix, interpolated between the others."""
    hidden = held_out(timings.rows, timings.n, timings.k)
    kept, wanted = timings.where(~hidden), timings.where(hidden)
    errors = []
    for n, k in sorted(set(zip(wanted.n, wanted.k, strict=True))):
        curve = kept.of_shape(n, k)
        mine = wanted.where((wanted.n == n) & (wanted.k == k))
        if curve is not None:
            inside = (mine.rows > curve.sizes[0]) & (mine.rows < curve.end)
            mine = mine.where(inside)
            errors.append(curve.at(mine.rows) / mine.seconds - 1.0)
    return np.concatenate(errors)


def _layer_gemms(folder: Path) -> Iterator[KernelScore]:
    """One in five batch sizes of each GEMM of the vLLM layer profiles."""
    errors: dict[str, list[Floats]] = {}
    for profile in find_layer_profiles(folder):
        for tp in profile.degrees:
            dense = read_layer_profile(profile, tp).dense
            for code, name in enumerate(LAYER_GEMMS):
                if name in dense:
                    sizes, seconds = dense[name].sizes, dense[name].seconds
                    codes = np.full(sizes.size, float(code))
                    column = GemmTimings(sizes, codes, codes, seconds)
                    errors.setdefault(profile.gpu, []).append(_between_rows(column))
    for gpu, parts in errors.items():
        yield KernelScore("gemm, between rows", f"{gpu}, vLLM layers", np.concatenate(parts))


def _layer_attention(folder: Path) -> Iterator[KernelScore]:
    """The finer grid that some files hold beside the doubling one, from the latter."""
    kinds: dict[tuple[str, str], list[Floats]] = {}
    for profile in find_layer_profiles(folder):
        for tp in profile.degrees:
            for kind, errors in _off_grid(profile, tp):
                if errors.size:
                    kinds.setdefault((kind, profile.gpu), []).append(errors)
    for (kind, gpu), parts in kinds.items():
        yield KernelScore(kind, f"{gpu}, vLLM layers", np.concatenate(parts))


def _off_grid(profile: LayerProfile, tp: int) -> Iterator[tuple[str, Floats]]:
    timings = read_layer_profile(profile, tp).attention
    assert timings is not None
    assert timings.mixed is not None
    assert timings.mixed_decodes is not None
    table = read_columns(profile.folder / f"tp{tp}" / "attention.csv", (*DIMENSIONS, "time_us"))
    chunk, done, decodes, context = (table.numbers[name] for name in DIMENSIONS)
    seconds = table.numbers["time_us"] * 1e-6
    inside = (done <= timings.done[-1]) & (context <= timings.contexts[-1])
    off = ~(np.isin(chunk, timings.chunks) & np.isin(done, timings.done)) & (chunk > 0)
    off |= ~np.isin(context, timings.contexts) & (decodes > 0)
    alone = inside & off & (decodes == 0)
    found = chunk_seconds(timings, chunk[alone], done[alone])
    yield "prefill attention", found / seconds[alone] - 1.0
    only = inside & off & (chunk == 0)
    axes = (timings.decodes, timings.contexts)
    found = interpolated(axes, timings.decode, (decodes[only], context[only]))
    yield "decode attention", found / seconds[only] - 1.0
    both = inside & off & (chunk > 0) & (decodes > 0) & (decodes <= timings.mixed_decodes[-1])
    points = (chunk[both], done[both], decodes[both], context[both])
    joint = (timings.chunks, timings.done, timings.mixed_decodes, timings.contexts)
    yield "mixed attention", interpolated(joint, timings.mixed, points) / seconds[both] - 1.0


def _vidur_attention(folder: Path) -> Iterator[KernelScore]:
    """Every second value of each axis, from the others."""
    for path in sorted(folder.glob("*_attention_tp*.csv")):
        whole = vidur.attention_timings(path)
        sparse, group = _halved(whole), f"{path.name.split('_')[0].upper()}, Vidur"
        points = np.meshgrid(whole.decodes, whole.contexts, indexing="ij")
        found = interpolated((sparse.decodes, sparse.contexts), sparse.decode, points)
        hidden = ~np.isin(points[0], sparse.decodes) | ~np.isin(points[1], sparse.contexts)
        errors = (found / whole.decode - 1.0)[hidden]
        yield KernelScore("decode attention", group, errors)
        points = np.meshgrid(whole.chunks, whole.done, indexing="ij")
        timed = points[0] + points[1] <= whole.contexts[-1]
        hidden = ~np.isin(points[0], sparse.chunks) | ~np.isin(points[1], sparse.done)
        found = chunk_seconds(sparse, points[0], points[1])
        errors = (found / whole.prefill - 1.0)[hidden & timed]
        yield KernelScore("prefill attention", group, errors)


def _halved(timings: AttentionTimings) -> AttentionTimings:
    """Every second value of each axis."""
    return replace(
        timings,
        chunks=timings.chunks[::2],
        done=timings.done[::2],
        decodes=timings.decodes[::2],
        contexts=timings.contexts[::2],
        prefill=timings.prefill[::2, ::2],
        decode=timings.decode[::2, ::2],
    )
