"""The nouns of servetwin. Every room speaks in these; none of them computes a result."""

from servetwin.types.attention import AttentionTables
from servetwin.types.cost import CostModel, IterationCost, MemoryPlan
from servetwin.types.deployment import (
    ROUTERS,
    SCHEDULERS,
    SCHEDULING_POLICIES,
    DecodePool,
    Deployment,
    EngineSettings,
    ReplicaGroup,
)
from servetwin.types.failures import FailureModel
from servetwin.types.frontend import Frontend
from servetwin.types.hardware import Accelerator, KVTier, Link
from servetwin.types.model import AttentionKind, LatentAttention, Mixture, Model
from servetwin.types.parallelism import Parallelism, Pipeline
from servetwin.types.result import (
    RequestTable,
    RunResult,
    Status,
    Timeline,
    TokenGaps,
)
from servetwin.types.workload import BlockHashes, Workload

__all__ = [
    "ROUTERS",
    "SCHEDULERS",
    "SCHEDULING_POLICIES",
    "Accelerator",
    "AttentionKind",
    "AttentionTables",
    "BlockHashes",
    "CostModel",
    "DecodePool",
    "Deployment",
    "EngineSettings",
    "FailureModel",
    "Frontend",
    "IterationCost",
    "KVTier",
    "LatentAttention",
    "Link",
    "MemoryPlan",
    "Mixture",
    "Model",
    "Parallelism",
    "Pipeline",
    "ReplicaGroup",
    "RequestTable",
    "RunResult",
    "Status",
    "Timeline",
    "TokenGaps",
    "Workload",
]
