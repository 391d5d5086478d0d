"""What a run left behind: metrics, files and traces, alike for simulated and measured runs.

pyarrow and pydantic are imported only by the functions that need them.
"""

from servetwin.results.files import read_run, write_run
from servetwin.results.load import LoadPoint, knee, load_point
from servetwin.results.metrics import compute
from servetwin.results.slo import Slo, parse_slo
from servetwin.results.summary import summary

__all__ = [
    "LoadPoint",
    "Slo",
    "compute",
    "knee",
    "load_point",
    "parse_slo",
    "read_run",
    "summary",
    "write_run",
]
