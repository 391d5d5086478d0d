"""What a person reads: tables for a terminal, figures, and a self-contained HTML page.

altair and vl-convert are imported only by figures and pages, which are not imported here.
"""

from servetwin.report.terminal import print_load_curve, print_summary, render

__all__ = ["print_load_curve", "print_summary", "render"]
