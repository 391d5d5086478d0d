"""Traces in many formats -> Workload, and back; generators and arrival processes."""

from servetwin.workload.detect import detect_format
from servetwin.workload.mapping import parse_mapping
from servetwin.workload.reading import FORMATS, read
from servetwin.workload.summary import summarize
from servetwin.workload.transform import at_rate, take, with_arrivals
from servetwin.workload.writing import WRITABLE, write

__all__ = [
    "FORMATS",
    "WRITABLE",
    "at_rate",
    "detect_format",
    "parse_mapping",
    "read",
    "summarize",
    "take",
    "with_arrivals",
    "write",
]
