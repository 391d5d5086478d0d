"""Times of lone requests: by hand, and against the simulator."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import count_parameters
from servetwin.cost.memory import kv_bytes
from servetwin.errors import InputError
from servetwin.sim import SimOptions, simulate
from servetwin.sim.closed_form import (
    Kavier,
    Requests,
    Servetwin,
    find_kavier_gpu,
    find_kavier_model,
    kavier_gpus,
    kavier_models,
    run_closed_form,
)
from servetwin.sim.closed_form.traffic import pairs_seen
from servetwin.sim.reference.cost import duration
from servetwin.sim.reference.state import Batch, Request, Work
from servetwin.units import PS_PER_S
from support.cases import iteration_costs
from support.closed_form import KAVIER, column, deployment, ours, workload

# Kavier's formulas


@given(st.sampled_from(sorted(kavier_models())), st.sampled_from(sorted(kavier_gpus())),
       st.integers(0, 100_000), st.integers(0, 2000))  # fmt: skip
def test_kavier_is_its_formula(model, gpu, given_tokens, made_tokens):
    """In rational numbers, to half a picosecond a token."""
    m, g = find_kavier_model(model), find_kavier_gpu(gpu)
    subject = Kavier(m, g)
    arithmetic = Fraction(2 * int(m.active)) / (Fraction(g.tflops) * 10**12 * Fraction(3, 10))
    memory = Fraction(m.bytes * int(m.active)) / (
        Fraction(g.bandwidth_gb_s) * 10**9 * Fraction(6, 10)
    )
    token = max(arithmetic, memory)
    prefill = (Fraction(1, 40) + given_tokens * arithmetic) * PS_PER_S
    assert abs(subject.prefill(column(given_tokens))[0] - prefill) <= 0.51 * given_tokens
    for kv_cache, steps in ((True, made_tokens), (False, made_tokens * (made_tokens + 1) // 2)):
        decode = subject.decode(column(given_tokens), column(made_tokens), kv_cache)[0]
        assert abs(decode - steps * token * PS_PER_S) <= 0.51 * steps


def test_kavier_library_is_found_by_any_spelling():
    assert find_kavier_gpu("a100").name == "A100-80GB"
    assert find_kavier_gpu("a100 40gb").name == "A100-40GB"
    assert find_kavier_model("LLAMA_3 8b").name == "Llama-3-8B"
    assert find_kavier_model("Llama-3-8B").kv_bytes_per_token == 2 * 32 * 4096 * 2
    assert find_kavier_model("mixtral-8x7b-instruct-v0.1").active == 13e9


def test_kavier_library_names_what_is_near():
    with pytest.raises(InputError, match=r"no model 'Llama-3-9B'.*Llama-3-8B"):
        find_kavier_model("Llama-3-9B")
    with pytest.raises(InputError, match=r"no GPU 'TPU'.*known: A10,"):
        find_kavier_gpu("TPU")


def test_kavier_says_what_does_not_fit():
    bloom = Kavier(find_kavier_model("BLOOM-176B"), find_kavier_gpu("A10"))
    assert any("352 GB" in note and "24 GB" in note for note in bloom.notes)
    llama = Kavier(find_kavier_model("Llama-3-8B"), find_kavier_gpu("A10"))
    assert not any("GB" in note for note in llama.notes)


# ours


@pytest.mark.parametrize(
    ("model", "engine"),
    [
        ("meta-llama/Meta-Llama-3-8B", {}),
        ("meta-llama/Meta-Llama-3-8B", {"max_num_batched_tokens": 700}),
        ("meta-llama/Meta-Llama-3-8B", {"scheduler": "single"}),
        ("mistralai/Mistral-7B-v0.1", {"scheduler": "sarathi"}),
        ("google/gemma-2-9b", {"scheduler": "static"}),
    ],
)
def test_servetwin_equals_a_simulation_without_company(model, engine):
    target, cost = deployment(model, **engine)
    rng = np.random.default_rng(5)
    rows = zip(rng.integers(1, 6000, 80), rng.integers(1, 2000, 80), strict=True)
    asked = workload((1, 1), (4096, 1), (4095, 3), (700, 2), (701, 2), *rows)
    found = run_closed_form(asked, Servetwin(target, cost)).to_run_result().requests
    expected = simulate(target, asked, cost, SimOptions(snapshot_interval=0)).requests
    np.testing.assert_array_equal(found.first_token, expected.first_token)
    np.testing.assert_array_equal(found.finish, expected.finish)


@given(iteration_costs(), st.integers(1, 50), st.integers(1, 300), st.integers(1, 60),
       st.integers(0, 400))  # fmt: skip
def test_servetwin_is_the_sum_of_its_iterations(cost, budget, prompt, output, cached):
    """Against the reference's cost function, iteration by iteration; it knows no tables."""
    cost = replace(cost, attention=None)
    target, derived = deployment(max_num_batched_tokens=budget, max_num_seqs=1)
    model = Servetwin(target, replace(derived, iteration=cost))
    done, prefill = min(cached, prompt - 1), 0
    while done < prompt:
        now = min(budget, prompt - done)
        prefill += iteration(cost, now, done, decode=False, samples=done + now == prompt)
        done += now
    decode = sum(
        iteration(cost, 1, prompt + step, decode=True, samples=True) for step in range(output - 1)
    )
    assert model.prefill_after_hit(column(prompt), cached)[0] == prefill
    assert model.decode(column(prompt), column(output))[0] == decode


def iteration(cost, tokens: int, done: int, *, decode: bool, samples: bool) -> int:
    batch = Batch()
    request = Request(0, 0, done + tokens, 1)
    batch.work.append(Work(request, tokens, done, decode, samples, False))
    return duration(cost, batch)


def test_without_kv_cache_every_token_is_another_prefill():
    model = ours()
    asked, made = column(1, 100, 3000), column(1, 7, 40)
    found = model.decode(asked, made, kv_cache=False)
    for row in range(3):
        again = np.arange(asked[row] + 1, asked[row] + made[row])
        assert found[row] == model.prefill(again).sum()
    assert found[0] == 0
    assert found[2] > model.decode(asked, made)[2]


def test_a_hit_saves_the_shared_part_alone():
    model = ours()
    whole, rest = model.prefill(column(4000)), model.prefill_after_hit(column(4000), 1024)
    assert 0 < rest[0] < whole[0]
    one = model.prefill_after_hit(column(1024), 1024)[0]
    assert one == model.prefill_after_hit(column(1024), 1023)[0]


def test_a_hit_does_not_count_as_work_of_the_gpu():
    model, given_tokens, one = ours(), column(8000), column(1)
    plain = Requests(given_tokens, one, model.prefill(given_tokens), 0 * one)
    hit = Requests(
        given_tokens, one, model.prefill_after_hit(given_tokens, 7900), 0 * one, column(7900)
    )
    assert model.phases(hit).head[0] < model.phases(plain).head[0] < 1


def test_grouped_heads_are_cheaper_to_cache_than_kavier_thinks():
    assert KAVIER.cache.token == 4 * ours().cache.token


# windows

WINDOWED = ["google/gemma-3-27b-it", "openai/gpt-oss-20b", "mistralai/Mistral-7B-v0.1"]


@pytest.mark.parametrize("name", WINDOWED)
def test_decode_reads_no_more_than_the_window(name):
    """Step by step: layers with a window read min(context, window) tokens, the others all."""
    target, derived = deployment(name)
    cost, model = derived.iteration, Servetwin(target, derived)
    window = cost.window
    assert window == target.model.sliding_window > 0
    assert cost.decode_window_ctx > 0
    fixed = cost.base + int(cost.linear[1]) + int(cost.head[1]) + cost.decode_seq
    for given_tokens, made in ((1, 2 * window), (window - 3, 7), (window, 5), (3 * window, 40)):
        contexts = [given_tokens + step for step in range(1, made)]
        expected = sum(
            fixed + cost.decode_ctx * c + cost.decode_window_ctx * min(c, window) for c in contexts
        )
        assert model.decode(column(given_tokens), column(made))[0] == expected


@pytest.mark.parametrize("name", [*WINDOWED, "meta-llama/Meta-Llama-3-8B"])
def test_the_cache_is_that_of_the_memory_plan(name):
    target, derived = deployment(name)
    model = Servetwin(target, derived)
    lengths = np.array([0, 1, 100, 1024, 4096, 5000, 60_000])
    expected = [kv_bytes(target.model, int(n)) for n in lengths]
    np.testing.assert_allclose(model.cache.of(lengths.astype(np.float64)), expected, rtol=1e-12)


@given(st.integers(0, 60), st.integers(0, 70))
def test_pairs_within_a_window(tokens, window):
    """Each token sees itself by half and what is before it, in a window of so many."""
    seen = [min(at + 0.5, float(window)) for at in range(tokens)]
    assert pairs_seen(np.array([float(tokens)]), window)[0] == sum(seen)


def test_utilisation_counts_what_the_windows_leave():
    """Far beyond the window a decode step moves weights, a full cache of few layers, and W."""
    target, derived = deployment("google/gemma-3-27b-it")
    model, length = Servetwin(target, derived), 100_000
    asked, made = column(length), column(2)
    times = Requests(asked, made, model.prefill(asked), model.decode(asked, made))
    phases = model.phases(times)
    counted = count_parameters(target.model)
    weights = derived.memory.weights * counted.active / counted.total
    moved = weights + kv_bytes(target.model, length + 1)
    expected = moved / target.accelerator.bandwidth / (times.decode[0] / PS_PER_S)
    assert phases.first[0] == pytest.approx(expected, rel=1e-6)
    assert 0.5 < phases.first[0] < 1
    assert phases.head[0] < 1


def test_a_long_request_fits_where_its_windows_are_small():
    target, derived = deployment("google/gemma-3-27b-it")
    model = Servetwin(target, derived)
    blocks = derived.memory.capacity_blocks * target.settings.block_size
    assert blocks < model.max_tokens <= target.settings.max_model_len
    assert kv_bytes(target.model, model.max_tokens) <= derived.memory.kv
