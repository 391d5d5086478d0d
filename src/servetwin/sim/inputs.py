"""What both simulators read: one run in integers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from servetwin.cache.tiers import TierLimits, tier_limits
from servetwin.cost.stages import lane_blocks
from servetwin.errors import InputError
from servetwin.sim.failures import Failures
from servetwin.sim.groups import EngineGroup, check_groups, groups_of, joined
from servetwin.sim.pools import TransferLink, transfer_link
from servetwin.sim.prefixes import Prefixes
from servetwin.sim.stages import Stages, lane_settings, stages_of
from servetwin.types import Deployment, EngineSettings, IterationCost, Workload
from servetwin.types.cost import CostModel
from servetwin.units import ceil_div

__all__ = [
    "DecodeInputs",
    "SimInputs",
    "TooManyRowsError",
    "block_bytes",
    "prepare",
]


class TooManyRowsError(InputError):
    """The timeline would fill the memory: its interval is too short for this run."""


@dataclass(frozen=True)
class SimInputs:
    """One run: requests, one engine's limits and costs, and the replicas around it."""

    workload: Workload
    settings: EngineSettings
    cost: IterationCost
    capacity_blocks: int
    max_total_tokens: int
    """A request whose input and output together exceed this cannot run here."""
    replicas: int
    """Those of other kinds (`also`) among them."""
    router: str
    seed: int
    snapshot_interval: int
    """Picoseconds between snapshots; 0 for none."""
    token_gaps: bool
    prefixes: Prefixes | None = None
    """What the inputs share; None where nothing is cached."""
    tiers: tuple[TierLimits, ...] = ()
    """Below the HBM of each replica, the nearest first; none without `prefixes`."""
    also: tuple[EngineGroup, ...] = ()
    """Of the last replicas, those of other kinds; cost and limits above are of the first ones."""
    decode: DecodeInputs | None = None
    """Where requests go with their first token; all the above is of the prefill pool then."""
    stages: Stages | None = None
    """What the replicas share, which then are lanes; None where each has devices of its own."""
    failures: Failures | None = None
    """Engines that fail; those of a decode pool have theirs."""

    def __post_init__(self) -> None:
        check_groups(self)
        pools = (self,) if self.decode is None else (self, self.decode.engine)
        if any(pool.settings.max_loras for pool in pools):
            alone = self.failures is None and self.decode is None and not self.tiers
            if not alone:
                raise InputError(
                    "LoRA adapters are not simulated yet with pools, KV tiers or engines that fail"
                )

    @cached_property
    def groups(self) -> tuple[SimInputs, ...]:
        """Its kinds of replicas, each as if it were alone."""
        return groups_of(self)

    @property
    def engines(self) -> int:
        """Engines of the pool: its replicas, or all lanes of a pipeline as one."""
        return self.stages.engines if self.stages else self.replicas

    @property
    def staged(self) -> bool:
        """Whether a pool has stages."""
        return bool(self.stages or (self.decode and self.decode.engine.stages))

    @property
    def lag(self) -> int:
        """Iterations between planning one and knowing its outcome: 1 with async scheduling."""
        return int(self.settings.plans_ahead)

    @property
    def plain(self) -> bool:
        """Whether it has none of the rarer features, which the kernel then leaves out."""
        settings, cost, alone = self.settings, self.cost, self.decode is None and not self.also
        tables = cost.attention is not None or cost.speculation is not None
        others = self.prefixes is not None or self.stages is not None or self.failures is not None
        loras = self.workload.adapter is not None and settings.max_loras > 0
        return alone and not (tables or others or settings.by_priority or loras)

    def outlasts_clock(self) -> InputError:
        """The error of a run that goes on beyond `units.CLOCK_END_PS`."""
        return InputError(
            f"{self.workload.source}: the run lasts longer than the 106 days of the clock: "
            "take fewer requests, shorter think times or a faster deployment"
        )

    def fits(self, input_tokens: int, output_tokens: int) -> bool:
        """Whether a request could ever run, alone in an empty deployment."""
        if self.decode is None:
            return any(group.holds(input_tokens, output_tokens) for group in self.groups)
        whole = output_tokens == 1 or self.decode.engine.holds(input_tokens, output_tokens)
        return whole and self.holds(input_tokens, 1)

    def holds(self, input_tokens: int, output_tokens: int) -> bool:
        """Whether a request could ever run, alone on an empty engine of the first kind."""
        total = input_tokens + output_tokens
        stored = total - 1  # the last token is sampled, and never becomes an input
        blocks = -(-stored // self.settings.block_size)
        return total <= self.max_total_tokens and blocks <= self.capacity_blocks


@dataclass(frozen=True)
class DecodeInputs:
    """The decode pool of a run, and the links to it."""

    engine: SimInputs
    """Of the same workload; its `decode` is None."""
    link: TransferLink


def prepare(
    deployment: Deployment,
    workload: Workload,
    cost: CostModel,
    *,
    seed: int = 0,
    snapshot_interval: int = 0,
    token_gaps: bool = True,
    prefixes: Prefixes | None = None,
    decode_prefixes: Prefixes | None = None,
) -> SimInputs:
    """Reduce a deployment to the integers that a simulator needs."""

    def watched(pool: SimInputs, seed: int) -> SimInputs:
        return replace(pool, seed=seed, snapshot_interval=snapshot_interval, token_gaps=token_gaps)

    inputs = watched(_prepare_pool(deployment, workload, cost, prefixes), seed)
    if deployment.decode is None:
        return inputs
    if cost.decode is None:
        raise ValueError("the cost has none of the decode pool")
    target = deployment.pools[1]
    engine = _prepare_pool(target, workload, cost.decode, decode_prefixes)
    link = transfer_link(
        deployment.decode,
        deployment.model.layers,
        block_bytes(target, cost.decode),
        ceil_div(int(workload.input_tokens.max()), engine.settings.block_size),
    )
    # Its router draws other numbers than the one before it.
    return replace(inputs, decode=DecodeInputs(watched(engine, seed ^ 1), link))


def _prepare_pool(
    deployment: Deployment, workload: Workload, cost: CostModel, prefixes: Prefixes | None
) -> SimInputs:
    pairs = zip(deployment.groups, (cost, *cost.also), strict=True)
    return joined([_prepare_group(group, workload, own, prefixes) for group, own in pairs])


def _prepare_group(
    deployment: Deployment, workload: Workload, cost: CostModel, prefixes: Prefixes | None
) -> SimInputs:
    settings = lane_settings(deployment)
    capacity = lane_blocks(deployment, cost.memory.capacity_blocks)
    pipeline = deployment.parallelism.pipeline
    tables = cost.iteration.attention
    if tables is not None and tables.max_decodes < settings.max_num_seqs:
        raise ValueError("the cost's tables of attention are of a deployment of fewer sequences")
    limit = settings.max_model_len
    if settings.scheduler == "slots":
        # llama.cpp divides its context among the slots beforehand.
        per_slot = capacity // settings.max_num_seqs * settings.block_size
        limit = min(limit, per_slot)
    return SimInputs(
        workload=workload,
        settings=settings,
        cost=cost.iteration,
        capacity_blocks=capacity,
        max_total_tokens=limit,
        replicas=deployment.replicas * (pipeline.microbatches if pipeline else 1),
        router=deployment.router,
        seed=0,
        snapshot_interval=0,
        token_gaps=True,
        prefixes=prefixes,
        tiers=_tiers(deployment, cost, prefixes),
        stages=stages_of(deployment, cost),
    )


def _tiers(
    deployment: Deployment, cost: CostModel, prefixes: Prefixes | None
) -> tuple[TierLimits, ...]:
    if prefixes is None:
        return ()
    settings = deployment.settings
    return tier_limits(settings.kv_tiers, block_bytes(deployment, cost), prefixes.blocks.distinct)


def block_bytes(deployment: Deployment, cost: CostModel) -> float:
    """Bytes of one KV block on all devices that share it: those of one data-parallel rank."""
    layout = deployment.parallelism
    tokens = deployment.settings.block_size
    return cost.memory.kv_per_token * tokens * layout.tp * layout.pp
