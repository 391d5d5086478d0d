"""Vidur's CSV and aiconfigurator's tables: small ones, and what is wrong with bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import resolve_settings
from servetwin.cost.profiles import Tuning, cost_from_profiles, installed_tables
from servetwin.cost.profiles.vidur import DENSE
from servetwin.errors import InputError
from servetwin.types import Deployment, IterationCost

VIDUR = [name for names in DENSE.values() for name in names]


EAGER = Tuning(operation_us=0.0)
"""Kernels alone: nothing waits for the host that launches them."""


def deployment(model: str = "Llama-3.1-8B", gpu: str = "A100-80GB") -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    settings = resolve_settings(
        found, accelerator, max_model_len=4096, max_cudagraph_capture_size=0
    )
    return Deployment(found, accelerator, find_link(accelerator.link), settings=settings)


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = [",".join(header), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def iteration(folder: Path, wanted: Deployment | None = None) -> IterationCost:
    return cost_from_profiles(wanted or deployment(), folder, 1000, tuning=EAGER).iteration


@pytest.fixture
def vidur(tmp_path: Path) -> Path:
    """Llama-3-8B's shapes, 0.1 ms for every kernel and 0.001 ms more for a token."""
    medians = [f"time_stats.{name}.median" for name in VIDUR]
    header = ("n_head", "n_kv_head", "n_embd", "n_expanded_embd", "num_tokens",
              "num_tensor_parallel_workers", *medians)  # fmt: skip
    rows = [
        (32, 8, 4096, 14336, tokens, 1, *[0.1 + tokens / 1000] * len(VIDUR))
        for tokens in (1, 64, 128, 8192)
    ]
    write(tmp_path / "a100_Some-8B_mlp.csv", header, rows)
    return tmp_path


def test_vidur_counts_norms_twice_and_the_embedding_once(vidur: Path) -> None:
    model = cost_from_profiles(deployment(), vidur, 1000, tuning=EAGER)
    kernels = 32 * (4 + 3 + 2) + 1
    attention_launches = model.iteration.linear[64] - kernels * 164_000_000
    assert 0 < attention_launches < 10**9
    assert model.source == "Vidur timings a100_Some-8B_mlp.csv (tp 1) of A100-80GB"
    assert "attention" in model.notes[-1]


def test_vidur_of_another_model_has_its_gemms_interpolated(vidur: Path) -> None:
    model = cost_from_profiles(deployment("Qwen3-32B"), vidur, 1000)
    assert "Qwen/Qwen3-32B was not timed: GEMMs are interpolated between shapes" in model.notes


def test_vidur_of_another_device_or_format(vidur: Path) -> None:
    with pytest.raises(InputError, match=r"no timings of H100-SXM; there are some of: a100"):
        iteration(vidur, deployment(gpu="H100-SXM"))
    with pytest.raises(InputError, match=r"Vidur timed 16-bit weights, not fp8"):
        iteration(vidur, deployment("Qwen3-32B-FP8"))
    path = vidur / "a100_Some-8B_mlp.csv"
    path.write_text(path.read_text().replace("0.164", "soon", 1))
    with pytest.raises(InputError, match=r"_mlp\.csv:3: column 'time_stats\.\w+\.median': 'soon'"):
        iteration(vidur)


GEMM = ("device", "gemm_dtype", "m", "n", "k", "latency")
ATTENTION = ("kv_cache_dtype", "batch_size", "isl", "num_heads", "num_key_value_heads",
             "head_dim", "step", "latency")  # fmt: skip
A100 = "NVIDIA A100-SXM4-80GB"


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """GEMMs of 1 ps for each product; decodes of 1 us for each 16 tokens of context."""
    sizes, shapes = (1, 64, 4096), (1024, 4096, 16384, 65536)
    rows = [
        (A100, "bfloat16", m, n, k, m * n * k * 1e-9) for m, n, k in product(sizes, shapes, shapes)
    ]
    write(tmp_path / "a100_gemm_perf.txt", GEMM, rows)
    heads = (32, 8, 128)
    decodes = [
        ("bfloat16", batch, 1, *heads, step, batch * (step + 1) / 16e3)
        for batch, step in product((1, 2, 4), (15, 31, 63, 127))
    ]
    write(tmp_path / "a100_generation_attention_perf.txt", ATTENTION, decodes)
    prompts = [("bfloat16", 1, isl, *heads, 0, 0.01 + isl * isl * 1e-7) for isl in (16, 512, 4096)]
    write(tmp_path / "a100_context_attention_perf.txt", ATTENTION, prompts)
    return tmp_path


def test_kernel_tables_of_the_models_heads(kernels: Path) -> None:
    found = iteration(kernels)
    assert found.attention is not None
    us = 32 * 10**6  # of all layers, in picoseconds
    assert found.attention.decode(2, 2 * 48) == pytest.approx(6 * us, rel=1e-6)
    assert found.attention.decode(4, 4 * 1024) == pytest.approx(256 * us, rel=1e-6)
    fresh = found.attention.mixed(4096, 4096 * 4096, 0, 0)
    assert fresh == pytest.approx((10 + 4096 * 4096 * 1e-4) * us, rel=1e-3)
    assert iteration(kernels, deployment("Llama-2-13b")).attention is None


def test_kernel_tables_of_another_device_or_format(kernels: Path) -> None:
    with pytest.raises(InputError, match=r"no kernel tables of H100-SXM; there are some of: A100"):
        iteration(kernels, deployment(gpu="H100-SXM"))
    with pytest.raises(InputError, match=r"'gemm_dtype': no rows of fp8; there are: bfloat16"):
        iteration(kernels, deployment("Qwen3-32B-FP8"))


def test_prompts_timed_on_their_own_are_found_behind_a_past(kernels: Path) -> None:
    """Twice the pairs take twice the time beyond the launch."""
    tables = iteration(kernels).attention
    assert tables is not None
    fresh = tables.mixed(512, 512 * 512, 0, 0) - tables.mixed(16, 16 * 16, 0, 0)
    later = tables.mixed(512, 2 * 512 * 512, 0, 0) - tables.mixed(16, 16 * 16, 0, 0)
    assert later == pytest.approx(2 * fresh, rel=0.1)


def test_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servetwin.cost.profiles.kernels.PACKAGES", ("no_such_package",))
    assert installed_tables() is None
