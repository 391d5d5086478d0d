"""The studies by name: what `servetwin study` lists, without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STUDIES", "Study"]


@dataclass(frozen=True)
class Study:
    """A module whose `app`, a typer program, runs the study."""

    module: str
    help: str
    """One line."""
    room: str = "studies"
    """Where the module lies: in `cli` where the study takes the flags of `simulate`."""


STUDIES = {
    "fidelity": Study("fidelity.command", "Predictions against every measured set, with errors."),
    "fidelity-series": Study("fidelity.series", "Measured runs of vLLM, second by second."),
    "prefix-cache": Study("prefix_cache", "Hits of a prefix cache, by its size and its policy."),
    "pools": Study("pool_split", "The best split into prefill and decode pools.", "cli"),
    "kavier": Study("kavier.command", "Requests one by one, with Kavier's flags and sweeps."),
    "kavier-1.1": Study(
        "kavier_experiments.prefill_accuracy", "Kavier: predicted prefill against measured."
    ),
    "kavier-1.2": Study(
        "kavier_experiments.decode_accuracy", "Kavier: predicted decode against measured."
    ),
    "kavier-1.3": Study(
        "kavier_experiments.export_rate", "Kavier: cost of a simulation by export rate."
    ),
    "kavier-2": Study(
        "kavier_experiments.kv_cache", "Kavier: hours and energy with and without KV cache."
    ),
    "kavier-3": Study(
        "kavier_experiments.prefix_sizes", "Kavier: prompt caches, by prefix and cache size."
    ),
    "dejavu-baseline": Study(
        "dejavu.baseline", "DéjàVu: a pipeline that serves prompts and tokens."
    ),
    "dejavu-disaggregated": Study(
        "dejavu.disaggregated", "DéjàVu: a pipeline for prompts, and one for tokens."
    ),
    "dejavu-plan": Study("dejavu.plan", "DéjàVu: the fastest layouts of 1 to 16 machines."),
    "dejavu-plot": Study("dejavu.plot", "DéjàVu: a plan as bars, and its largest speed-ups."),
    "dejavu-fig17": Study("dejavu.fig17", "DéjàVu: OPT-66B on machines of 4 A100-80GB."),
    "dejavu-fig18": Study("dejavu.fig18", "DéjàVu: OPT-30B on machines of 4 V100-16GB."),
    "dejavu-fig19": Study("dejavu.fig19", "DéjàVu: BLOOM-176B on machines of 4 A100-80GB."),
    "dejavu-failures": Study(
        "dejavu.failures", "DéjàVu: failing machines, with and without KV replicas."
    ),
}
"""In the order in which they are listed."""
