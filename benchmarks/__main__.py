"""All benchmarks, one after another: `make bench`, or `python -m benchmarks [--quick]`.

Exit status 1 where a goal is not met.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

from benchmarks import cache, commands, simulator


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    figures = []
    for measure in (simulator.measure, cache.measure, commands.measure):
        for figure in measure(arguments.quick):
            print(figure, flush=True)
            figures.append(figure)
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(figure) for figure in figures], indent=1))
    return int(not all(figure.met for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
