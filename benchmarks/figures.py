"""One line of a benchmark's table."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure"]


@dataclass(frozen=True)
class Figure:
    """A measured value beside its goal."""

    name: str
    value: float
    unit: str
    goal: str
    met: bool

    def __str__(self) -> str:
        verdict = "ok" if self.met else "NOT MET"
        return f"{self.name:<42} {self.value:>8.4g} {self.unit:<8} {self.goal:<8} {verdict}"


def at_least(name: str, value: float, goal: float, unit: str) -> Figure:
    return Figure(name, value, unit, f">= {goal:g}", value >= goal)


def at_most(name: str, value: float, goal: float, unit: str) -> Figure:
    return Figure(name, value, unit, f"<= {goal:g}", value <= goal)
