"""What a person reads: tables for a terminal, figures, and a self-contained HTML page.

altair and vl-convert are imported only by `figures` and `html`, which are not imported here.
"""

from servetwin.report.terminal import print_summary, render

__all__ = ["print_summary", "render"]
