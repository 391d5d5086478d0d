"""Microbatches in a pipeline of stages, as DéjàVu's two simulators see them.

A stage takes a fixed time for a prompt and for one token of a microbatch. In a `Ring` all
stages serve both; in a `Split` some serve prompts and the others tokens. Two semantics:
`original` repeats the published simulators bit for bit, `causal` puts events in order of
time. docs/background/dejavu.md defines both.
"""

from servetwin.sim.pipeline.arrivals import grouped_arrivals
from servetwin.sim.pipeline.job import SEMANTICS, Failures, Load, Pipeline, Ring, Split, ready_us
from servetwin.sim.pipeline.running import PipelineRun, run_pipeline

__all__ = [
    "SEMANTICS",
    "Failures",
    "Load",
    "Pipeline",
    "PipelineRun",
    "Ring",
    "Split",
    "grouped_arrivals",
    "ready_us",
    "run_pipeline",
]
