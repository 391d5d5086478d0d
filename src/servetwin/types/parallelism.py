"""How one engine is spread over devices, and how its iterations travel through them."""

from __future__ import annotations

from dataclasses import dataclass

from servetwin.types.hardware import Link

__all__ = ["Parallelism", "Pipeline"]


@dataclass(frozen=True)
class Pipeline:
    """How the iterations of one engine travel through its stages."""

    microbatches: int = 1
    """Groups of requests that take turns in the stages; they share out the KV memory."""
    layers: tuple[int, ...] = ()
    """Of each stage; as even as possible where empty."""
    speeds: tuple[float, ...] = ()
    """Of each stage's devices, beside the deployment's accelerator; all 1 where empty."""
    resident: int = 0
    """Microbatches whose KV lies on the devices at once, while that of the others waits in host
    memory; 0: all."""
    host: Link | None = None
    """Between each device and host memory; needed where not all are resident."""

    def __post_init__(self) -> None:
        if self.microbatches < 1:
            raise ValueError("microbatches must be at least 1")
        if any(layers < 1 for layers in self.layers):
            raise ValueError("each stage needs at least 1 layer")
        if not all(0.0 < speed < float("inf") for speed in self.speeds):
            raise ValueError("the speed of a stage must be above 0")
        if self.resident and not 2 <= self.resident <= self.microbatches:
            raise ValueError(
                f"resident must lie between 2 (one computes, one is fetched) and the "
                f"{self.microbatches} microbatches"
            )
        if self.swaps and self.host is None:
            raise ValueError("microbatches that are not resident need a link to host memory")

    @property
    def swaps(self) -> bool:
        """Whether KV goes back and forth between devices and host memory."""
        return 0 < self.resident < self.microbatches


@dataclass(frozen=True)
class Parallelism:
    """How one engine is spread over devices.

    `dp` ranks of data-parallel attention share the experts of one engine; `ep` says over
    how many devices whole experts are spread (1: experts are sliced by `tp`).
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    pipeline: Pipeline | None = None
    """None: one iteration at a time is in the stages."""

    def __post_init__(self) -> None:
        for name in ("tp", "pp", "ep", "dp"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.pipeline is None:
            return
        for name in ("layers", "speeds"):
            given = len(getattr(self.pipeline, name))
            if given not in (0, self.pp):
                raise ValueError(f"{given} {name} are given for {self.pp} pipeline stages")

    @property
    def devices(self) -> int:
        """Devices that one engine occupies."""
        return self.tp * self.pp * self.dp
