"""What `--cost` names -> a CostModel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from servetwin.cost import derive
from servetwin.cost.kinds import cost_of_kinds
from servetwin.errors import InputError
from servetwin.types import CostModel, Deployment, Workload

__all__ = ["build_cost"]

DERIVED, INSTALLED = "derived", "aiconfigurator"


def build_cost(
    chosen: str, deployment: Deployment, workload: Workload, typical_context: int
) -> CostModel:
    """Cost from the roofline, from a folder of kernel timings, or from an installed package.

    Raises InputError where `chosen` is none of these, or holds nothing for the deployment.
    """
    return cost_of_kinds(deployment, lambda kind: _of_kind(chosen, kind, workload, typical_context))


def _of_kind(
    chosen: str, deployment: Deployment, workload: Workload, typical_context: int
) -> CostModel:
    lengths = workload.input_tokens.astype(np.int64) + workload.output_tokens
    if chosen == DERIVED:
        return derive(deployment, typical_context, lengths=lengths)
    from servetwin.cost.profiles import Tuning, contexts_of, cost_from_profiles

    contexts = contexts_of(workload.input_tokens, workload.output_tokens)
    return cost_from_profiles(
        deployment,
        _folder(chosen),
        typical_context,
        lengths=lengths,
        tuning=Tuning(contexts=contexts),
    )


def _folder(chosen: str) -> Path:
    folder = Path(chosen)
    if folder.is_dir():
        return folder
    if chosen == INSTALLED:
        from servetwin.cost.profiles import installed_tables

        tables = installed_tables()
        if tables is None:
            raise InputError(
                "--cost aiconfigurator: the package is not installed, or holds no kernel tables: "
                "pip install aiconfigurator, or name a folder of them"
            )
        return tables
    raise InputError(
        f"--cost {chosen}: 'derived', 'aiconfigurator', or a folder of kernel timings is needed; "
        f"there is no such folder"
    )
