"""Fit the efficiency curves of `servetwin.cost` to public kernel timings.

    python tools/fit_efficiency.py DATA_DIR [--write]

Prints the errors quoted in docs/background/cost.md; with --write, replaces the packaged
table. The fit itself is `servetwin.calibrate.efficiency`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.calibrate.efficiency import fit_all, middle
from servetwin.cost import kernel_tables as tables
from servetwin.cost.curves import GemmCurve
from servetwin.cost.kernel_fit import HARDWARE, gemm_seconds, relative_error

Floats = NDArray[np.float64]
TARGET = Path(__file__).resolve().parent.parent / "src/servetwin/cost/data/efficiency.toml"
HEADER = """\
# Efficiency curves, written by tools/fit_efficiency.py; servetwin/cost/curves.py says what
# each coefficient means, docs/background/cost.md how far off the curves are.
# Shares refer to the peaks in the catalog: fit again when those change.
"""


def report(title: str, predicted: Floats, measured: Floats) -> None:
    median, p90, bias = relative_error(predicted, measured)
    print(
        f"{title:52s} n={measured.size:6d}  median {median:6.1%}  p90 {p90:6.1%}  bias {bias:+.1%}"
    )


def report_default(folder: Path, devices: dict[str, Any]) -> None:
    """What a device without data must expect: the median of the others, on each in turn."""
    for device, hardware in HARDWARE.items():
        curves = [GemmCurve(**devices[name]["gemm"]) for name in HARDWARE if name != device]
        table = tables.gemm_table(folder, device, hardware.gemm_source)
        predicted = gemm_seconds(middle(curves), hardware.roof(), table)
        report(f"gemm {device} from the other devices", predicted, table.seconds)


def to_toml(tree: dict[str, Any]) -> str:
    """Enough of TOML for this table: sections, inline curves, four digits."""
    lines = [HEADER]

    def value(item: Any) -> str:
        if isinstance(item, str):
            return f'"{item}"'
        if isinstance(item, list):
            return "[" + ", ".join(map(value, item)) + "]"
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{key} = {value(v)}" for key, v in item.items()) + " }"
        return f"{float(f'{item:.4g}')!r}"

    sections = {key: entry for key, entry in tree.items() if key != "device"}
    sections |= {f"device.{name}": entry for name, entry in tree["device"].items()}
    for name, entry in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {value(item)}" for key, item in entry.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds profiles/")
    parser.add_argument("--write", action="store_true", help="replace the packaged table")
    options = parser.parse_args()
    folder = options.data / "profiles"
    tree = fit_all(folder, report=report)
    report_default(folder, tree["device"])
    if options.write:
        TARGET.write_text(to_toml(tree), encoding="utf-8")
        print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
