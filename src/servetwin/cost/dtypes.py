"""Number formats: the bytes they take and the unit that multiplies them."""

from __future__ import annotations

from servetwin.errors import InputError, nearest
from servetwin.types import Accelerator

__all__ = [
    "KV_DTYPES",
    "WEIGHT_DTYPES",
    "cache_bytes",
    "compute_dtype",
    "half_dtype",
    "is_quantized",
    "kv_dtype",
    "peak_flops",
    "weight_bytes",
    "weight_dtype",
]

WEIGHT_DTYPES: dict[str, float] = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    # One fp32 scale for each 128 x 128 block, as DeepSeek-V3 publishes.
    "fp8": 1.0 + 4 / 128**2,
    # One fp16 scale for each output channel; 4096 inputs are typical.
    "int8": 1.0 + 2 / 4096,
    # NVFP4: one fp8 scale for each 16 values.
    "fp4": 0.5 + 1 / 16,
    # One 8-bit exponent for each 32 values.
    "mxfp4": 0.5 + 1 / 32,
    # AWQ and GPTQ with groups of 128: an fp16 scale and a 4-bit zero each.
    "int4": 0.5 + 2.5 / 128,
}
"""Bytes of one weight, its share of the scales included."""

KV_DTYPES: dict[str, float] = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
"""Bytes of one cached element. One scale for each layer is too little to count."""

_SPELLINGS = {
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "fp8_block": "fp8",
    "w8a8": "int8",
    "awq": "int4",
    "awq_marlin": "int4",
    "gptq": "int4",
    "gptq_marlin": "int4",
    "bitsandbytes": "int4",
    "nvfp4": "fp4",
    "modelopt": "fp8",
    "modelopt_fp4": "fp4",
}


def weight_dtype(name: str) -> str:
    """Canonical weight format of a vLLM `--quantization` or `--dtype` value.

    Raises InputError for a name that is not known.
    """
    return _canonical(name, WEIGHT_DTYPES, "quantization")


def kv_dtype(name: str) -> str:
    """Canonical cache format of a vLLM `--kv-cache-dtype` value other than `auto`."""
    return _canonical(name, KV_DTYPES, "kv-cache-dtype")


def _canonical(name: str, known: dict[str, float], option: str) -> str:
    folded = name.casefold().replace("-", "_")
    folded = _SPELLINGS.get(folded, folded)
    if folded in known:
        return folded
    hint = nearest(name, [*known, *_SPELLINGS]) or f"known: {', '.join(known)}"
    raise InputError(f"{option} '{name}' is not known: {hint}")


def weight_bytes(dtype: str) -> float:
    """Bytes of one weight of a linear layer."""
    return WEIGHT_DTYPES[dtype]


def cache_bytes(dtype: str) -> float:
    """Bytes of one cached element."""
    return KV_DTYPES[dtype]


def is_quantized(dtype: str) -> bool:
    """Whether embeddings, output head, norms and routers stay in bf16 beside this format."""
    return dtype not in ("fp32", "bf16", "fp16")


def half_dtype(accelerator: Accelerator) -> str:
    """The 16-bit format to serve in: fp16 on devices older than bf16 (V100, T4), else bf16."""
    lacks = "fp16" in accelerator.flops and "bf16" not in accelerator.flops
    return "fp16" if lacks else "bf16"


def compute_dtype(accelerator: Accelerator, dtype: str) -> tuple[str, str]:
    """Format in which the device multiplies weights of `dtype`, and a note or "".

    int4 is always widened to 16 bits first (Marlin kernels); so is every format for which
    the device names no peak.
    """
    wanted = {"fp16": "bf16", "int4": "bf16", "mxfp4": "fp4"}.get(dtype, dtype)
    if wanted in accelerator.flops:
        return wanted, ""
    fallback = next(
        name for name in ("bf16", "fp16", "fp32", *accelerator.flops) if name in accelerator.flops
    )
    if wanted in ("bf16", "fp32"):
        return fallback, ""
    return fallback, (
        f"the catalog knows no {wanted} arithmetic of {accelerator.name}: {dtype} weights are "
        f"stored small and computed in {fallback}"
    )


def peak_flops(accelerator: Accelerator, dtype: str) -> float:
    """Dense FLOP/s with which the device multiplies weights of `dtype`."""
    return accelerator.flops[compute_dtype(accelerator, dtype)[0]]
