"""Traces in many formats -> Workload, and back; generators and arrival processes."""

from servetwin.workload.adapters import draw_adapters, parse_adapters
from servetwin.workload.detect import detect_format
from servetwin.workload.generate import GeneratorSpec, Sessions, generate
from servetwin.workload.mapping import parse_mapping
from servetwin.workload.marconi import marconi_equivalent
from servetwin.workload.notation import parse_arrivals, parse_lengths
from servetwin.workload.presets import PRESETS, preset
from servetwin.workload.priorities import draw_priorities, parse_priorities
from servetwin.workload.reading import FORMATS, read
from servetwin.workload.summary import summarize
from servetwin.workload.transform import at_rate, take, with_arrivals, without_long
from servetwin.workload.writing import WRITABLE, write

__all__ = [
    "FORMATS",
    "PRESETS",
    "WRITABLE",
    "GeneratorSpec",
    "Sessions",
    "at_rate",
    "detect_format",
    "draw_adapters",
    "draw_priorities",
    "generate",
    "marconi_equivalent",
    "parse_adapters",
    "parse_arrivals",
    "parse_lengths",
    "parse_mapping",
    "parse_priorities",
    "preset",
    "read",
    "summarize",
    "take",
    "with_arrivals",
    "without_long",
    "write",
]
