"""Which budgets of tokens the pools study tries, and what else follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.cli.build_workload import build_workload
from servetwin.cli.pool_sizes import GRID, Sides, Tokens, numbers, sides_of
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.studies.pool_split.tuning import Side

SMALL = {"model": "meta-llama/Llama-3.1-8B", "gpu": "A100-80GB", "isl": "500", "osl": "20"}


def sides(tokens: Tokens = Tokens(), **fields: Any) -> Sides:  # noqa: B008  # frozen
    settings = RunSettings.model_validate({**SMALL, "requests": 20, **fields})
    return sides_of(settings, 3, tokens, build_workload(settings))


def built(side: Side, tokens: int) -> list[tuple[int, int]]:
    """Budget and sequences of one engine of each pool."""
    engines = side.engines(tokens)
    assert engines is not None
    pools = (pool.settings for pool in engines.deployment.pools)
    return [(pool.max_num_batched_tokens, pool.max_num_seqs) for pool in pools]


def test_the_sequences_yield_to_the_budget_but_not_those_of_the_decode_pool() -> None:
    whole, splits = sides().sides
    assert built(whole, 128) == [(128, 128)]
    assert built(whole, 4096) == [(4096, 256)]
    assert built(splits, 128) == [(128, 128), (2048, 256)]
    assert built(splits, 4096) == [(4096, 256), (2048, 256)]
    assert [layout.name for layout in splits.layouts] == [
        "1 prefill + 2 decode",
        "2 prefill + 1 decode",
    ]


def test_what_is_chosen_for_the_decode_pool_stays() -> None:
    _, splits = sides(decode_max_num_batched_tokens=512, decode_max_num_seqs=64).sides
    assert built(splits, 1024) == [(1024, 256), (512, 64)]


def test_both_sides_try_the_same_budgets_and_refine_them() -> None:
    for side in sides().sides:
        assert (side.grid, side.refined, side.own) == (GRID, True, True)
    assert "with less than 256 tokens, so many requests at once" in sides().notes[-1]


def test_chosen_sequences_bound_the_budgets() -> None:
    found = sides(max_num_seqs=512)
    for side in found.sides:
        assert side.grid == tuple(tokens for tokens in GRID if tokens >= 512)
    assert "no budgets below 512 were tried" in found.notes[-1]


def test_sequences_of_a_saved_run_are_not_chosen() -> None:
    saved = sides(
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        defaulted=[
            "max_num_seqs",
            "max_num_batched_tokens",
        ],
    )
    assert saved.sides[0].grid == GRID
    assert built(saved.sides[0], 128) == [(128, 128)]


def test_a_chosen_budget_is_the_only_one() -> None:
    for side in sides(max_num_batched_tokens=1000).sides:
        assert (side.grid, side.refined) == ((), False)
        assert {layout.tokens for layout in side.layouts} == {1000}


def test_schedulers_that_do_not_cut_prompts_have_one_budget() -> None:
    assert [side.grid for side in sides(scheduler="orca").sides] == [(), ()]
    assert [side.grid for side in sides(scheduler="sarathi").sides] == [GRID, GRID]


def test_budgets_are_named_for_either_side() -> None:
    whole, splits = sides(Tokens(aggregated="512,256")).sides
    assert (whole.grid, whole.refined, whole.own) == ((256, 512), False, False)
    assert (splits.grid, splits.refined, splits.own) == (GRID, True, True)
    _, splits = sides(Tokens(prefill="4096")).sides
    assert (splits.grid, splits.refined, splits.own) == ((4096,), False, False)


def test_aggregated_engines_of_the_decode_pool_are_tuned_too() -> None:
    first, second, splits = sides(gpu="H100-SXM", decode_gpu="A100-80GB").sides
    assert built(first, 512) == [(512, 512)]
    assert built(second, 512) == [(512, 256)]
    assert second.layouts[0].name == "6 aggregated (A100-80GB)"
    engines = second.engines(512)
    assert engines is not None
    assert engines.deployment.accelerator.name == "A100-80GB"
    assert len(splits.layouts) == 2


def test_budgets_that_do_not_fit_are_left_out_unless_they_are_named() -> None:
    """So many tokens of activations leave a small device no room for KV blocks."""
    tight: dict[str, Any] = {"gpu": "L4", "gpu_memory_utilization": 0.8}
    whole, _ = sides(**tight).sides
    assert whole.engines(GRID[-1]) is None
    assert whole.engines(GRID[0]) is not None
    named, _ = sides(Tokens(aggregated=str(GRID[-1])), **tight).sides
    with pytest.raises(InputError):
        named.engines(GRID[-1])


def test_numbers() -> None:
    assert numbers("--rates", "2,1,2", float) == [1.0, 2.0]
    for text in ("0,1", "", "1,", "inf", "x"):
        with pytest.raises(InputError, match="must be numbers above 0 between commas"):
            numbers("--rates", text, float)
