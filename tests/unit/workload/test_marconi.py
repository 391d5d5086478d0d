"""The equivalent of Kavier's unpublished trace keeps what was published of it."""

from functools import cache

import numpy as np
import pytest

from servetwin.cache.prompt_cache import PromptCache
from servetwin.sim.closed_form import (
    ClosedFormOptions,
    ClosedFormResult,
    Kavier,
    find_kavier_gpu,
    find_kavier_model,
    run_closed_form,
)
from servetwin.types import Workload
from servetwin.workload import marconi_equivalent, read, write
from servetwin.workload.marconi import BLOCK_TOKENS

# Prefix size, cache size, hit ratio in %, prefill hours: Experiment 3.
EXPERIMENT_3 = [
    (1024, 2, 1.32, 122.83),
    (1024, 4, 2.52, 121.78),
    (1024, 8, 5.14, 119.41),
    (1024, 16, 11.21, 113.31),
    (1024, 32, 23.96, 97.48),
    (1024, 64, 57.70, 43.21),
    (2048, 8, 4.72, 119.21),
    (2048, 16, 9.75, 113.14),
    (4096, 8, 4.56, 118.56),
    (4096, 16, 8.44, 113.08),
]
# Hours of prefill, decode, and decode without KV cache: Experiment 2.
EXPERIMENT_2 = {
    "Llama-3-8B": (50.14, 117.20, 58_006.02),
    "Llama-2-13B": (81.06, 190.45, 94_259.84),
    "Granite-20B": (124.36, 293.01, 145_015.13),
    "MPT-30B": (186.20, 439.52, 217_522.70),
}


@cache
def trace() -> Workload:
    return marconi_equivalent()


def run(gpu: str, model: str = "Llama-3-8B", **options: object) -> ClosedFormResult:
    form = Kavier(find_kavier_model(model), find_kavier_gpu(gpu))
    return run_closed_form(trace(), form, ClosedFormOptions(**options))  # type: ignore[arg-type]


def test_totals_are_exact() -> None:
    outputs = trace().output_tokens.astype(np.int64)
    assert len(trace()) == 96_870
    assert int(trace().input_tokens.sum(dtype=np.int64)) == 1_041_916_164
    assert int(outputs.sum()) == 30_616_900
    assert int((outputs * (outputs + 1) >> 1).sum()) == 15_152_631_064


def test_the_same_requests_every_time() -> None:
    again = marconi_equivalent()
    assert np.array_equal(again.input_tokens, trace().input_tokens)
    assert np.array_equal(again.output_tokens, trace().output_tokens)
    assert again.session_id is not None
    assert trace().session_id is not None
    assert np.array_equal(again.session_id, trace().session_id)


@pytest.mark.parametrize("model", EXPERIMENT_2)
def test_hours_of_experiment_2(model: str) -> None:
    prefill, decode, without = EXPERIMENT_2[model]
    on, off = run("A100", model), run("A100", model, kv_cache=False)
    assert on.prefill_hours == pytest.approx(prefill, abs=0.02)
    assert on.decode_hours == pytest.approx(decode, abs=0.02)
    assert off.decode_hours == pytest.approx(without, abs=0.05)


@pytest.mark.parametrize(("prefix", "prompts", "ratio", "hours"), EXPERIMENT_3)
def test_hits_and_hours_of_experiment_3(
    prefix: int, prompts: int, ratio: float, hours: float
) -> None:
    found = run("A10", prompt_cache=PromptCache(prefix, prompts, sharing="shared-lru"))
    assert 100 * found.hit_ratio == pytest.approx(ratio, abs=0.0051)
    assert found.prefill_hours == pytest.approx(hours, abs=0.005)


def test_hours_without_cache_of_experiment_3() -> None:
    assert run("A10").prefill_hours == pytest.approx(124.15, abs=0.02)


def test_a_session_keeps_to_one_kind_of_prompts() -> None:
    workload = trace()
    assert workload.session_id is not None
    assert workload.block_hashes is not None
    kind = np.searchsorted([1024, 2048, 4096], workload.input_tokens, side="right")
    lowest, highest = np.full(len(workload), 9), np.full(len(workload), -1)
    np.minimum.at(lowest, workload.session_id, kind)
    np.maximum.at(highest, workload.session_id, kind)
    used = highest >= 0
    assert np.array_equal(lowest[used], highest[used])
    counts = np.diff(workload.block_hashes.offsets)
    assert np.array_equal(counts, workload.input_tokens // BLOCK_TOKENS)


def test_it_can_be_written_and_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name, format, drop in (
        ("counts.csv", "kavier", True),
        ("counts.parquet", "kavier", True),
        ("full.parquet", "servetwin", False),
    ):
        write(trace(), tmp_path / name, format, drop=drop)
        again = read(tmp_path / name)
        assert np.array_equal(again.input_tokens, trace().input_tokens)
        assert np.array_equal(again.output_tokens, trace().output_tokens)
        assert (again.block_hashes is None) == drop
