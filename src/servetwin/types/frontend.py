"""What a request passes before the engine sees it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Frontend"]


@dataclass(frozen=True)
class Frontend:
    """HTTP server and tokeniser in front of all engines. Times in picoseconds."""

    request: int
    """Of each request, however many come at once."""
    token: int
    """Of each of its input tokens."""

    def __post_init__(self) -> None:
        if self.request < 0 or self.token < 0:
            raise ValueError("the times of a frontend must not be negative")
