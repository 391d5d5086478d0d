"""All benchmarks, one after another."""

import sys

from benchmarks import simulator

if __name__ == "__main__":
    sys.exit(simulator.main())
