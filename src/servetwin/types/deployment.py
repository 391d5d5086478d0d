"""Deployment: a model on accelerators, with every engine setting resolved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from servetwin.types.failures import FailureModel
from servetwin.types.frontend import Frontend
from servetwin.types.hardware import Accelerator, KVTier, Link
from servetwin.types.model import Model
from servetwin.types.parallelism import Parallelism

__all__ = [
    "ROUTERS",
    "SCHEDULERS",
    "SCHEDULING_POLICIES",
    "DecodePool",
    "Deployment",
    "EngineSettings",
    "ReplicaGroup",
]

SCHEDULERS = ("vllm", "sarathi", "orca", "static", "slots", "single")
"""vLLM 0.19; Sarathi-Serve; Orca; FasterTransformer; llama.cpp; one request at a time."""

SCHEDULING_POLICIES = ("fcfs", "priority")
"""In order of arrival, or of priority and then of arrival; vLLM's names."""

ROUTERS = (
    "round-robin",
    "least-outstanding",
    "least-tokens",
    "power-of-two",
    "random",
    "cache-aware",
)


@dataclass(frozen=True)
class EngineSettings:
    """How one engine batches and keeps its KV cache. Sizes in tokens unless named otherwise.

    Of an engine with data-parallel ranks, limits are those of all ranks together, whereas
    vLLM's are those of one: `cost.resolve_settings` takes vLLM's and multiplies.
    """

    scheduler: str = "vllm"
    scheduling_policy: str = "fcfs"
    """Who is served first, and preempted last; `priority` with `vllm` only."""
    max_num_batched_tokens: int = 2048
    """Tokens one iteration may process; `sarathi` takes it as its chunk size."""
    max_num_seqs: int = 256
    """Requests that may run at once; `slots` takes it as the number of slots."""
    max_model_len: int = 8192
    """Longest input plus output."""
    block_size: int = 16
    """Tokens in one KV block."""
    gpu_memory_utilization: float = 0.9
    num_gpu_blocks_override: int | None = None
    weight_dtype: str = "bf16"
    kv_cache_dtype: str = "bf16"
    max_cudagraph_capture_size: int | None = None
    """Tokens up to which an iteration is a CUDA graph; None: vLLM's rule; 0: none is."""
    async_scheduling: bool = True
    """Plan an iteration while the one before it runs (vLLM's default); `vllm` only."""
    enable_prefix_caching: bool = True
    """Keep the KV blocks of inputs, where the workload names them (vLLM's default)."""
    prefix_caching_policy: str = "vllm-lru"
    """Which unused block is given up first; `cache.ENGINE_POLICIES`."""
    kv_tiers: tuple[KVTier, ...] = ()
    """Where KV blocks go that HBM evicts, the nearest first."""
    speculative_tokens: int = 0
    """Tokens drafted for each that is verified; 0 for none."""
    acceptance_length: float = 1.0
    """Mean tokens that one verification yields, the one that it computes itself included."""
    max_loras: int = 0
    """Different LoRA adapters in one batch; 0: all requests are those of the model itself."""
    max_lora_rank: int = 16
    """Rank to which all adapters are padded (vLLM's default)."""
    draft_share: float = 0.0
    """Layers that draft one token, as a share of the model's; 0: one layer."""

    @property
    def plans_ahead(self) -> bool:
        """Whether planning overlaps execution: no scheduler but vLLM's does it."""
        return self.async_scheduling and self.scheduler == "vllm"

    @property
    def by_priority(self) -> bool:
        """Whether requests are served by priority."""
        return self.scheduling_policy == "priority"

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f"scheduler must be one of {', '.join(SCHEDULERS)}")
        if self.scheduling_policy not in SCHEDULING_POLICIES:
            raise ValueError(f"scheduling_policy must be one of {', '.join(SCHEDULING_POLICIES)}")
        if self.by_priority and self.scheduler != "vllm":
            raise ValueError(f"scheduling_policy priority is vllm's, not {self.scheduler}'s")
        if (self.max_cudagraph_capture_size or 0) < 0:
            raise ValueError("max_cudagraph_capture_size must not be negative")
        if self.max_loras < 0 or (self.max_loras and self.scheduler != "vllm"):
            raise ValueError("max_loras is vllm's, and not negative")
        if self.max_lora_rank < 1:
            raise ValueError("max_lora_rank must be at least 1")
        for name in ("max_num_batched_tokens", "max_num_seqs", "max_model_len", "block_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.scheduler == "vllm" and self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) must be at least "
                f"max_num_seqs ({self.max_num_seqs}), as in vLLM"
            )
        if not 0.0 < self.gpu_memory_utilization <= 1.0:
            raise ValueError("gpu_memory_utilization must lie above 0 and at most 1")
        if self.speculative_tokens < 0 or not 0.0 <= self.draft_share <= 1.0:
            raise ValueError("speculative_tokens must not be negative, draft_share a share")
        if not 1.0 <= self.acceptance_length <= 1 + self.speculative_tokens:
            raise ValueError(
                f"acceptance_length {self.acceptance_length:g} must lie between 1 and "
                f"{1 + self.speculative_tokens}, the drafted tokens and the one behind them"
            )
        if self.num_gpu_blocks_override is not None and self.num_gpu_blocks_override < 2:
            raise ValueError("num_gpu_blocks_override must be at least 2")
        names = [tier.name for tier in self.kv_tiers]
        if len(set(names)) < len(names):
            raise ValueError(f"two KV tiers have one name: {', '.join(names)}")


@dataclass(frozen=True)
class DecodePool:
    """Engines that decode what others have prefilled, and the way KV blocks take to them."""

    accelerator: Accelerator
    link: Link
    """Between the devices of one engine."""
    transfer: Link
    """From one prefill replica to one decode replica."""
    parallelism: Parallelism = field(default_factory=Parallelism)
    settings: EngineSettings = field(default_factory=EngineSettings)
    replicas: int = 1
    router: str = "round-robin"
    layerwise: bool = True
    """Send each layer's blocks while later layers are computed, not all after the prompt."""

    def __post_init__(self) -> None:
        _check_replicas(self.replicas, self.router)

    @property
    def devices(self) -> int:
        """Devices of all its replicas together."""
        return self.replicas * self.parallelism.devices


OWN_SETTINGS = (
    *("max_model_len", "gpu_memory_utilization", "num_gpu_blocks_override"),
    *("weight_dtype", "kv_cache_dtype"),
)
"""Settings that a ReplicaGroup may have of its own: how its memory is used."""


@dataclass(frozen=True)
class ReplicaGroup:
    """Replicas of the same model and settings on other devices, behind the same router."""

    accelerator: Accelerator
    link: Link
    """Between the devices of one engine."""
    parallelism: Parallelism = field(default_factory=Parallelism)
    settings: EngineSettings | None = None
    """Where they differ from the deployment's, in nothing but `OWN_SETTINGS`."""
    replicas: int = 1
    speed: float = 1.0
    """As `Deployment.speed`."""

    def __post_init__(self) -> None:
        _check_replicas(self.replicas)
        _check_speed(self.speed)


@dataclass(frozen=True)
class Deployment:
    """What is rented and how it is configured."""

    model: Model
    accelerator: Accelerator
    link: Link
    parallelism: Parallelism = field(default_factory=Parallelism)
    settings: EngineSettings = field(default_factory=EngineSettings)
    replicas: int = 1
    """Independent engines behind the router; `also` has more."""
    router: str = "round-robin"
    decode: DecodePool | None = None
    """Where requests go with their first token; then all the above describes the prefill pool."""
    failures: FailureModel | None = None
    """How its engines fail; only a simulation has use for it."""
    frontend: Frontend | None = None
    """What requests pass on their way to the engines; None: they come to them directly."""
    speed: float = 1.0
    """Of iterations, beside what they are said to take: 0.8 on machines slower than their kind."""
    also: tuple[ReplicaGroup, ...] = ()
    """Replicas on other devices, numbered behind its own."""

    def __post_init__(self) -> None:
        _check_replicas(self.replicas, self.router)
        _check_speed(self.speed)
        for group in self.also:
            self._check_group(group)
        if self.decode is None:
            return
        for name in ("block_size", "kv_cache_dtype"):
            here, there = getattr(self.settings, name), getattr(self.decode.settings, name)
            if here != there:
                raise ValueError(
                    f"{name} is {here} in the prefill pool and {there} in the decode pool: KV "
                    "blocks can only move between engines that agree on it"
                )

    @property
    def devices(self) -> int:
        """Devices of all replicas together."""
        return sum(kind.replicas * kind.parallelism.devices for kind in self.kinds)

    @property
    def engines(self) -> int:
        """Replicas of all groups and pools together."""
        return sum(kind.replicas for kind in self.kinds)

    @property
    def pools(self) -> tuple[Deployment, ...]:
        """It alone, or its prefill pool and its decode pool, each as if it were all there is."""
        pool = self.decode
        if pool is None:
            return (self,)
        decode = Deployment(
            self.model,
            pool.accelerator,
            pool.link,
            pool.parallelism,
            pool.settings,
            pool.replicas,
            pool.router,
        )
        return replace(self, decode=None), decode

    @property
    def groups(self) -> tuple[Deployment, ...]:
        """Its own replicas and each group of others, as if they were all there is."""
        own = replace(self, also=(), decode=None)
        return (own, *(self._as_group(group) for group in self.also))

    @property
    def kinds(self) -> tuple[Deployment, ...]:
        """All groups of all pools, in the order in which replicas are numbered."""
        return tuple(kind for pool in self.pools for kind in pool.groups)

    def _check_group(self, group: ReplicaGroup) -> None:
        if group.parallelism.dp != self.parallelism.dp:
            raise ValueError("all replicas must have equally many data-parallel ranks")
        own = {name: getattr(self.settings, name) for name in OWN_SETTINGS}
        if group.settings is not None and replace(group.settings, **own) != self.settings:
            raise ValueError(f"replicas can differ in no settings but {', '.join(OWN_SETTINGS)}")

    def _as_group(self, group: ReplicaGroup) -> Deployment:
        return replace(
            self,
            accelerator=group.accelerator,
            link=group.link,
            parallelism=group.parallelism,
            settings=group.settings or self.settings,
            replicas=group.replicas,
            speed=group.speed,
            also=(),
            decode=None,
        )


def _check_replicas(replicas: int, router: str = ROUTERS[0]) -> None:
    if replicas < 1:
        raise ValueError("replicas must be at least 1")
    if router not in ROUTERS:
        raise ValueError(f"router must be one of {', '.join(ROUTERS)}")


def _check_speed(speed: float) -> None:
    if not 0.0 < speed < float("inf"):
        raise ValueError("speed must be above 0")
