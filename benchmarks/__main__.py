"""All benchmarks, one after another: `make bench`, or `python -m benchmarks [--quick]`.

Names choose some of them: `python -m benchmarks closed_form`. The benchmark `kavier` runs
only when it is named, since it compares with the original, which has to be installed (see
benchmarks/kavier.py), and so does `own_profiler`, which needs PyTorch. Exit status 1 where a
goal is not met.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib import import_module
from pathlib import Path

OWN = ("simulator", "prefix_caching", "kv_tiers", "cache", "closed_form", "pipeline", "commands")
NAMES = (*OWN, "kavier", "own_profiler")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"no benchmark '{name}': choose from {', '.join(NAMES)}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    figures = []
    for name in arguments.names or OWN:
        for figure in import_module(f"benchmarks.{name}").measure(arguments.quick):
            print(figure, flush=True)
            figures.append(figure)
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(figure) for figure in figures], indent=1))
    return int(not all(figure.met for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
