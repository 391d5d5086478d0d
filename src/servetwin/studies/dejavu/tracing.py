"""Chrome traces of DéjàVu's simulators, which Perfetto (ui.perfetto.dev) opens.

First the published simulators' events, in their form and order: each stage is a process,
each visit of a microbatch a slice. Behind them the transfers of KV caches, which those do not
draw, as asynchronous slices of a process of their own. Times are µs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from servetwin.sim.pipeline import PipelineRun, Split, causal, original, ready_us
from servetwin.sim.pipeline.original import Visit
from servetwin.units import PS_PER_US

__all__ = ["COLOURS", "write_trace"]

COLOURS = (
    "thread_state_uninterruptible",
    "thread_state_iowait",
    "thread_state_running",
    "thread_state_runnable",
    "thread_state_unknown",
    "background_memory_dump",
    "light_memory_dump",
    "detailed_memory_dump",
    "vsync_highlight_color",
    "generic_work",
    "good",
    "bad",
    "terrible",
)
"""Names that trace viewers know, by stage; they repeat beyond the thirteenth."""

Event = dict[str, Any]
Put = Callable[[Event], None]


def write_trace(run: PipelineRun, path: Path) -> None:
    """Run the reference again, and write what it does as it does it."""
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        put = _writer(file)
        for event in _stages(run):
            put(event)
        transfers = _original(run, put) if run.semantics == "original" else _causal(run, put)
        for event in transfers:
            put(event)
        file.write("]\n")


def _writer(file: IO[str]) -> Put:
    first = True

    def put(event: Event) -> None:
        nonlocal first
        file.write(("" if first else ",\n") + json.dumps(event))
        first = False

    return put


def _stages(run: PipelineRun) -> Iterator[Event]:
    pipeline = run.pipeline
    if not isinstance(pipeline, Split):
        names = [f"Stage {i}" for i in range(pipeline.stages)]
    else:
        names = [f"Prompt Pipeline, Stage {i}" for i in range(pipeline.prompt_stages)]
        names += [f"Token Pipeline, Stage {i}" for i in range(pipeline.token_stages)]
    for pid, name in enumerate(names):
        yield _process(pid, name)


def _process(pid: int, name: str) -> Event:
    return {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}}


def _slice(run: PipelineRun, visit: Visit, start: float, duration: float) -> Event:
    name = f"p{visit.request}" if visit.round < 0 else f"t{visit.request},{visit.round}"
    pipeline = run.pipeline
    first = pipeline.prompt_stages if isinstance(pipeline, Split) and visit.round >= 0 else 0
    return {
        "pid": visit.stage,
        "ts": start,
        "dur": duration,
        "ph": "X",
        "name": name,
        "cname": COLOURS[(visit.stage - first) % len(COLOURS)],
    }


def _original(run: PipelineRun, put: Put) -> Iterator[Event]:
    pipeline = run.pipeline

    def visited(visit: Visit) -> None:
        duration = pipeline.prompt_us if visit.round < 0 else pipeline.token_us
        put(_slice(run, visit, visit.start, duration))

    moves: list[tuple[int, int, float, float]] = []
    if isinstance(pipeline, Split):
        begins, _ = ready_us(run.load, pipeline)
        for request, begin in enumerate(begins.tolist()):
            for stage in range(pipeline.prompt_stages):
                start = begin + stage * (pipeline.prompt_us + pipeline.cache_us)
                visited(Visit(stage, start, request, -1))
                end = start + pipeline.prompt_us
                moves.append((request, stage, end, end + pipeline.cache_us))
    original.reference(pipeline, run.load, visited)
    return _transfers(run, moves)


def _causal(run: PipelineRun, put: Put) -> Iterator[Event]:
    pipeline, prompts = run.pipeline, run.load.prompt_us
    moves: list[tuple[int, int, float, float]] = []
    stages = pipeline.prompt_stages if isinstance(pipeline, Split) else 0
    hops = stages if isinstance(pipeline, Split) and not pipeline.shared_link else 0

    def visited(visit: Visit) -> None:
        prompt = pipeline.prompt_us if prompts is None else float(prompts[visit.request])
        start = visit.start / PS_PER_US
        put(_slice(run, visit, start, prompt if visit.round < 0 else pipeline.token_us))
        if visit.stage < hops and isinstance(pipeline, Split):
            end = start + prompt
            moves.append((visit.request, visit.stage, end, end + pipeline.cache_us))

    def moved(transfer: causal.Transfer) -> None:
        request, start, end = transfer
        if not hops:
            moves.append((request, 0, start / PS_PER_US, end / PS_PER_US))

    causal.reference(pipeline, run.load, visited, moved)
    return _transfers(run, moves)


def _transfers(run: PipelineRun, moves: list[tuple[int, int, float, float]]) -> Iterator[Event]:
    """Asynchronous slices of the moves (request, from stage, start, end) that take time."""
    pid = run.pipeline.machines
    moves = [move for move in moves if move[3] > move[2]]
    if moves:
        yield _process(pid, "KV transfers")
    for number, (request, stage, start, end) in enumerate(moves):
        about = {"cat": "kv", "name": f"c{request}", "id": number, "pid": pid, "tid": stage}
        yield {"ph": "b", "ts": start, **about, "args": {"request": request, "from_stage": stage}}
        yield {"ph": "e", "ts": end, **about}
