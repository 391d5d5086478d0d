"""Deployment -> CostModel: what an iteration costs, and where the memory goes."""

from servetwin.cost.checks import check_deployment, check_fits, lower_max_model_len
from servetwin.cost.defaults import resolve_settings
from servetwin.cost.derive import derive
from servetwin.cost.frontends import usual_frontend
from servetwin.cost.memory import kv_bytes, plan_memory
from servetwin.cost.ranks import rank_limits

__all__ = [
    "check_deployment",
    "check_fits",
    "derive",
    "kv_bytes",
    "lower_max_model_len",
    "plan_memory",
    "rank_limits",
    "resolve_settings",
    "usual_frontend",
]
