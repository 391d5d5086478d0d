"""The hardware half of the catalog: figures, names, sources and the pages made from them."""

from __future__ import annotations

import importlib.util
import itertools
import time
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from servetwin.catalog import hardware
from servetwin.units import GIB

REPOSITORY = Path(__file__).resolve().parents[3]
TABLES = Path(hardware.__file__).parent / "data"

BY_NAME = {entry.name: entry for entry in hardware.accelerators()}

SPARSE_TFLOPS: dict[str, dict[str, float]] = {
    "A10": {"bf16": 250},
    "A40": {"bf16": 299.4},
    "A100-40GB": {"bf16": 624},
    "A100-40GB-PCIe": {"bf16": 624},
    "A100-80GB": {"bf16": 624},
    "A100-80GB-PCIe": {"bf16": 624},
    "RTX-3080": {"bf16": 119},
    "RTX-3090": {"bf16": 142},
    "RTX-A6000": {"bf16": 309.7},
    "L4": {"bf16": 242, "fp8": 485},
    "L40": {"bf16": 362.1, "fp8": 724},
    "L40S": {"bf16": 733, "fp8": 1466},
    "RTX-4090": {"bf16": 330.4, "fp8": 660.6},
    "RTX-6000-Ada": {"bf16": 728.5, "fp8": 1457},
    "H100-SXM": {"bf16": 1979, "fp8": 3958},
    "H100-PCIe": {"bf16": 1513, "fp8": 3026},
    "H100-NVL": {"bf16": 1671, "fp8": 3341},
    "H20": {"bf16": 296, "fp8": 592},
    "GH200": {"bf16": 1979, "fp8": 3958},
    "H200": {"bf16": 1979, "fp8": 3958},
    "B200": {"bf16": 4500, "fp8": 9000, "fp4": 18000},
    "GB200": {"bf16": 5000, "fp8": 10000, "fp4": 20000},
    "B300": {"bf16": 4500, "fp8": 9000, "fp4": 18000},
    "GB300": {"bf16": 5000, "fp8": 10000, "fp4": 20000},
    "RTX-5090": {"bf16": 419, "fp8": 838, "fp4": 3352},
    "RTX-PRO-6000": {"bf16": 1000, "fp8": 2000, "fp4": 4000},
    "RTX-PRO-6000-WS": {"bf16": 1007.6, "fp8": 2015.2, "fp4": 4030.4},
    "MI300X": {"bf16": 2614.9, "fp8": 5229.8},
    "MI325X": {"bf16": 2614.9, "fp8": 5229.8},
}
"""Figures that datasheets print for structured sparsity, often larger than the dense ones."""

NOMINAL_GB = {
    "V100-SXM2-16GB": 16,
    "T4": 16,
    "A10": 24,
    "A100-40GB": 40,
    "A100-80GB": 80,
    "L4": 24,
    "RTX-4090": 24,
    "H100-SXM": 80,
    "H200": 141,
    "B200": 192,
    "B300": 288,
    "MI300X": 192,
    "RTX-PRO-6000": 96,
}


def test_figures_come_in_a_sensible_order() -> None:
    for entry in hardware.accelerators():
        rates = [entry.flops[dtype] for dtype in hardware.DTYPES if dtype in entry.flops]
        assert rates == sorted(rates), f"{entry.name}: narrower types must not be slower"
        assert rates[0] > 1e12
        assert rates[-1] < 2e16
        assert 1e11 < entry.bandwidth < 1e13
        assert 8 * GIB < entry.memory < 300 * GIB
        if entry.idle_watts is not None and entry.max_watts is not None:
            assert 0 < entry.idle_watts < 0.3 * entry.max_watts
        if entry.price_per_hour is not None:
            assert 0.1 < entry.price_per_hour < 20


@pytest.mark.parametrize("name", SPARSE_TFLOPS)
def test_no_figure_counts_structured_sparsity(name: str) -> None:
    for dtype, sparse in SPARSE_TFLOPS[name].items():
        dense = BY_NAME[name].flops[dtype] / 1e12
        assert dense < 0.8 * sparse, f"{name} {dtype}: {dense} is the sparse figure"


@pytest.mark.parametrize("name", NOMINAL_GB)
def test_memory_is_what_the_driver_leaves_of_the_nominal_size(name: str) -> None:
    assert 0.90 * NOMINAL_GB[name] * GIB < BY_NAME[name].memory <= 1.0 * NOMINAL_GB[name] * GIB


MATRIX_UNITS = {
    "V100-SXM2-16GB": (80, 1024, 1.530),
    "T4": (40, 1024, 1.590),
    "A10": (72, 1024, 1.695),
    "A40": (84, 1024, 1.740),
    "A100-80GB": (108, 2048, 1.410),
    "RTX-3080": (68, 512, 1.710),
    "RTX-3090": (82, 512, 1.695),
    "RTX-A6000": (84, 1024, 1.800),
    "L40": (142, 512, 2.490),
    "RTX-4090": (128, 512, 2.520),
    "RTX-6000-Ada": (142, 1024, 2.505),
    "H100-SXM": (132, 4096, 1.830),
    "RTX-5090": (170, 512, 2.407),
    "RTX-PRO-6000-WS": (188, 1024, 2.617),
    "MI250": (208, 1024, 1.700),
    "MI300X": (304, 2048, 2.100),
    "Max-1550": (128, 4096, 1.600),
}
"""Cores, dense 16-bit operations of one core a clock (fp32 accumulate), boost clock in GHz."""


@pytest.mark.parametrize("name", MATRIX_UNITS)
def test_matrix_rate_follows_from_cores_and_clock(name: str) -> None:
    cores, operations, clock = MATRIX_UNITS[name]
    flops = BY_NAME[name].flops
    rate = flops["bf16"] if "bf16" in flops else flops["fp16"]
    assert rate == pytest.approx(cores * operations * clock * 1e9, rel=0.005)


def test_figures_that_others_build_on() -> None:
    h100 = hardware.find_accelerator("H100")
    assert h100.flops == {"fp32": 66.9e12, "bf16": 989.4e12, "fp8": 1978.9e12}
    a100 = hardware.find_accelerator("A100")
    assert (a100.flops["bf16"], a100.bandwidth, a100.max_watts) == (312e12, 2039e9, 400)
    assert "fp8" not in a100.flops
    assert hardware.find_accelerator("RTX 4090").memory == 25250627584
    assert hardware.find_link("PCIe4").bandwidth == 31.508e9
    assert hardware.find_link("NVLink4").latency == 0.6e-6


def test_every_figure_names_its_source() -> None:
    for entry in hardware.accelerators():
        optional = ("idle_watts", "max_watts", "price_per_hour")
        stated = [key for key in optional if getattr(entry, key) is not None]
        assert set(entry.sources) == {*entry.flops, "bandwidth", "memory", "link", *stated}
        assert all(len(source) > 5 for source in entry.sources.values())
    for link in hardware.links():
        assert set(link.sources) == {"bandwidth", "latency"}
        assert all(len(source) > 5 for source in link.sources.values())


@pytest.mark.parametrize("file", ["accelerators.toml", "links.toml"])
def test_no_source_is_left_over(file: str) -> None:
    table = tomllib.loads((TABLES / file).read_text(encoding="utf-8"))
    used: set[str] = set()
    for row in table.get("accelerator", table.get("link", [])):
        used |= {row.get("source", "unsourced"), *row["sources"].values()}
    assert set(table["sources"]) - {"unsourced"} == used - {"unsourced"}


def test_links_of_accelerators_exist() -> None:
    for entry in hardware.accelerators():
        assert entry.link in hardware.link_names()


def test_each_generation_of_a_link_is_faster() -> None:
    for family in (
        ("PCIe3", "PCIe4", "PCIe5", "PCIe6"),
        ("NVLink2", "NVLink3", "NVLink4", "NVLink5"),
        ("NVSwitch1", "NVSwitch2", "NVSwitch3", "NVSwitch4"),
        ("InfiniBand-EDR", "InfiniBand-HDR", "InfiniBand-NDR", "InfiniBand-XDR"),
        ("Ethernet-10G", "Ethernet-25G", "Ethernet-100G", "Ethernet-400G"),
    ):
        rates = [hardware.find_link(name).bandwidth for name in family]
        assert all(slow < fast for slow, fast in itertools.pairwise(rates))


GOOD_ROW = """
[sources]
paper = "a paper"
[[accelerator]]
name = "X1"
aliases = []
vendor = "X"
tflops = { bf16 = 10 }
bandwidth_gb_s = 100
memory_mib = 1024
link = "PCIe4"
source = "paper"
sources = { memory = "paper" }
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('vendor = "X"', 'vendor = "X"\nmax_wats = 3', "X1: unknown key max_wats"),
        ('vendor = "X"\n', "", "X1: missing vendor"),
        ("bf16 = 10", "bf17 = 10", "X1: unknown dtype"),
        ('memory = "paper"', 'memory = "rumour"', r"X1: \[sources\] does not define"),
        ('memory = "paper"', 'fp8 = "paper"', "X1: source of a figure it lacks"),
        ("bf16 = 10", "bf16 = -10", "X1: flops must"),
    ],
)
def test_faults_of_a_table_are_told(old: str, new: str, complaint: str) -> None:
    (_, entry), *_ = hardware.parse_accelerators(GOOD_ROW)
    assert entry.memory == 1024 * 2**20
    with pytest.raises(ValueError, match=complaint):
        hardware.parse_accelerators(GOOD_ROW.replace(old, new))


def test_loading_both_tables_is_quick() -> None:
    texts = [
        (TABLES / name).read_text(encoding="utf-8") for name in ("accelerators.toml", "links.toml")
    ]
    best = min(timed_parse(*texts) for _ in range(5))
    assert best < 0.015, f"{best * 1e3:.1f} ms"


def timed_parse(accelerators: str, links: str) -> float:
    start = time.process_time()
    hardware.parse_accelerators(accelerators)
    hardware.parse_links(links)
    return time.process_time() - start


def tables_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "catalog_tables", REPOSITORY / "tools" / "catalog_tables.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_of_the_reference_are_current() -> None:
    for name, page in tables_tool().PAGES.items():
        written = (REPOSITORY / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == page(), "run python tools/catalog_tables.py"
