"""The studies by name: what `servetwin study` lists, without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STUDIES", "Study"]


@dataclass(frozen=True)
class Study:
    """A module of this folder whose `app`, a typer program, runs the study."""

    module: str
    help: str
    """One line."""


STUDIES = {
    "prefix-cache": Study("prefix_cache", "Hits of a prefix cache, by its size and its policy."),
    "kavier-1.1": Study(
        "kavier_experiments.prefill_accuracy", "Kavier: predicted prefill against measured."
    ),
    "kavier-1.2": Study(
        "kavier_experiments.decode_accuracy", "Kavier: predicted decode against measured."
    ),
}
"""In the order in which they are listed."""
