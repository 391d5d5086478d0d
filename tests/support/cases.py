"""Random simulator inputs, small enough for the reference and nasty enough for the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from servetwin.cache import ENGINE_POLICIES, PolicyOptions
from servetwin.sim.inputs import SimInputs
from servetwin.sim.prefixes import find_prefixes
from servetwin.types import AttentionTables, BlockHashes, EngineSettings, IterationCost, Workload
from servetwin.units import NOT_YET

LONGEST_OUTPUT = 40_000


@dataclass(frozen=True)
class Shape:
    """What is fixed; everything else is drawn."""

    scheduler: str
    router: str
    caching: bool = False
    policy: str | None = None
    """Of the prefix caches; None draws one."""


def try_examples(
    check: Callable[..., None], inputs: st.SearchStrategy[SimInputs], count: int, number: int
) -> None:
    """Call `check` with `count` drawn inputs, other ones for another `number`.

    Without it, every strategy of one test would be drawn from with the same seed.
    """
    examples = given(inputs=inputs)(check)
    seed(number)(settings(max_examples=count)(examples))()


def iteration_costs() -> st.SearchStrategy[IterationCost]:
    """Small round numbers, so that boundaries and arrivals often coincide."""

    @st.composite
    def build(draw: st.DrawFn) -> IterationCost:
        size = draw(st.integers(2, 40))
        steps = draw(st.lists(st.integers(0, 5), min_size=size - 1, max_size=size - 1))
        linear = np.concatenate([[0], 1 + np.cumsum(steps)]).astype(np.int64)
        heads = draw(st.lists(st.integers(0, 3), min_size=1, max_size=8))
        window = draw(st.sampled_from([0, 0, 5, 40]))
        base = draw(st.integers(0, 20))
        return IterationCost(
            base=base,
            linear=linear * draw(st.sampled_from([1, 1000])),
            linear_slope=draw(st.integers(0, 7)),
            head=np.concatenate([[0], np.cumsum(heads)]).astype(np.int64),
            head_slope=draw(st.integers(0, 3)),
            decode_seq=draw(st.integers(0, 3)),
            decode_ctx=draw(st.sampled_from([0, 1, 3])),
            prefill_chunk=draw(st.integers(0, 3)),
            prefill_attn=draw(st.sampled_from([0, 100, 3000])),
            window=window,
            decode_window_ctx=draw(st.integers(0, 2)) if window else 0,
            prefill_window_attn=draw(st.sampled_from([0, 900])) if window else 0,
            attention=draw(st.one_of(st.none(), attention_tables())),
            speculation=draw(st.one_of(st.none(), st.none(), drafts(base))),
        )

    return build()


MOST_SEATS = 10


@st.composite
def drafts(draw: st.DrawFn, base: int) -> NDArray[np.int64]:
    """What drafted tokens add or spare; an iteration lasts 1 ps all the same."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    table = rng.integers(-base, 16, MOST_SEATS + 1)
    table[0] = 0
    return table


@st.composite
def attention_tables(draw: st.DrawFn) -> AttentionTables:
    """Tables with few knots, near and far, and any values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))

    def knots(first: int, most: int, step: int) -> NDArray[np.int64]:
        steps = rng.integers(1, step + 1, draw(st.integers(1, most)))
        return first + np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)

    contexts, decodes = knots(int(rng.integers(0, 20)), 4, 60), knots(0, 3, 6)
    chunks, depths = knots(1, 3, 20), knots(1, 3, 90)
    rows = (MOST_SEATS + 1, contexts.size)
    offset, slope = rng.integers(0, 40, rows), rng.integers(0, 4, rows)
    offset[0] = slope[0] = 0
    shape = (chunks.size, depths.size, decodes.size, contexts.size)
    joint = rng.integers(0, 500, shape)
    return AttentionTables(contexts, offset, slope, chunks, depths, decodes, joint)


@st.composite
def workloads(draw: st.DrawFn, *, long_outputs: bool, crowded: bool) -> Workload:
    n = draw(st.integers(12 if crowded else 1, 24))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    most_input = draw(st.sampled_from([1, 17, 60, 200]))
    most_output = draw(st.sampled_from([40, 120] if crowded else [1, 5, 40, 120]))
    inputs = rng.integers(1, most_input + 1, n)
    outputs = rng.integers(1, most_output + 1, n)
    if long_outputs:
        outputs[rng.integers(0, n)] = rng.integers(LONGEST_OUTPUT // 2, LONGEST_OUTPUT + 1)
    spread = draw(st.sampled_from([0, 10, 300] if crowded else [0, 10, 300, 20_000]))
    arrival = np.sort(rng.integers(0, spread + 1, n) * draw(st.sampled_from([1, 10])))
    parent = np.full(n, -1, np.int32)
    think = np.zeros(n, np.int64)
    if draw(st.booleans()):
        for number in range(1, n):
            if rng.random() < 0.6:
                parent[number] = rng.integers(0, number)
                think[number] = rng.choice([0, 1, 50, 1000])
        arrival = np.where(parent >= 0, NOT_YET, arrival)
    return Workload(
        arrival=arrival.astype(np.int64),
        input_tokens=inputs.astype(np.int32),
        output_tokens=outputs.astype(np.int32),
        parent=parent,
        think_time=think,
    )


@st.composite
def with_prefixes(draw: st.DrawFn, workload: Workload, block_size: int) -> Workload:
    """Name blocks of the inputs: paths in random trees, one for all or one for each session."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    sizes = [block_size, 2 * block_size] + [block_size // 2] * (block_size % 2 == 0)
    size = draw(st.sampled_from(sizes))
    branches = draw(st.integers(1, 4))
    scope = draw(st.sampled_from(["global", "session"]))
    sessions = rng.integers(0, 3, len(workload)).astype(np.int32)
    partial_ends = draw(st.booleans())
    numbers: dict[tuple[int, ...], int] = {}
    ids: list[int] = []
    counts = []
    for session, tokens in zip(sessions, workload.input_tokens, strict=True):
        count = int(tokens + (size - 1 if partial_ends else 0)) // size
        if rng.random() < 0.1:
            count = int(rng.integers(0, count + 1))
        # Low branches are taken more often, so that prefixes are shared.
        path = np.minimum(rng.geometric(0.7, count), branches).tolist()
        root = int(session) if scope == "global" and draw(st.booleans()) else 0
        steps = [(root, *path[: end + 1]) for end in range(count)]
        ids += [numbers.setdefault(step, 7 * len(numbers)) for step in steps]
        counts.append(count)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    hashes = BlockHashes(offsets, np.array(ids, np.int64), size, scope)
    return replace(workload, block_hashes=hashes, session_id=sessions)


POLICY_OPTIONS = st.builds(
    PolicyOptions,
    alpha=st.sampled_from([0.0, 1.0, 20.0]),
    crossover_tokens=st.sampled_from([1.0, 1e9]),
    small_share=st.sampled_from([0.1, 0.5]),
)


@st.composite
def sim_inputs(draw: st.DrawFn, shape: Shape, *, long_outputs: bool = False) -> SimInputs:
    crowded = shape.scheduler in ("vllm", "sarathi") and draw(st.integers(0, 3)) < 3
    workload = draw(workloads(long_outputs=long_outputs, crowded=crowded))
    seats = draw(st.integers(4 if crowded else 1, MOST_SEATS))
    least = seats if shape.scheduler == "vllm" else 1
    block_size = draw(st.sampled_from([1, 3, 8, 16]))
    settings = EngineSettings(
        scheduler=shape.scheduler,
        max_num_batched_tokens=draw(st.integers(least, least + 40)),
        max_num_seqs=seats,
        max_model_len=1_000_000,
        block_size=block_size,
        async_scheduling=draw(st.booleans()),
        enable_prefix_caching=shape.caching,
        # Drawn as evenly as lengths are: hypothesis likes first choices too much.
        prefix_caching_policy=shape.policy or ENGINE_POLICIES[int(workload.input_tokens.sum()) % 5],
    )
    prefixes = None
    if shape.caching:
        workload = draw(with_prefixes(workload, block_size))
        prefixes = find_prefixes(workload, settings, options=draw(POLICY_OPTIONS))
    total = workload.input_tokens.astype(np.int64) + workload.output_tokens - 1
    needs = -(-total // block_size)
    if shape.scheduler == "slots":
        capacity = int(needs.max()) * seats
        limit = int(needs.max()) * block_size
    else:
        # Room for the largest request, sometimes less, and not for many at once.
        least = max(1, int(needs.max()) - draw(st.sampled_from([0, 0, 0, 1])))
        capacity = least + draw(st.integers(0, 2 * int(np.median(needs)) + 1))
        limit = 1_000_000
    cost = draw(iteration_costs())
    interval = draw(st.sampled_from([0, 7, 100, 5000])) if not long_outputs else 10**6
    if cost.linear[1] >= 1000:
        interval *= 1000  # or nearly all the time goes into millions of equal rows
    return SimInputs(
        workload=workload,
        settings=settings,
        cost=cost,
        capacity_blocks=capacity,
        max_total_tokens=limit,
        replicas=draw(st.integers(1, 2 if crowded else 4)),
        router=shape.router,
        seed=draw(st.integers(0, 2**63 - 1)),
        snapshot_interval=interval,
        token_gaps=draw(st.sampled_from([True, True, False])),
        prefixes=prefixes,
    )
