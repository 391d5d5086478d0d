"""Accelerators and links are found by the names that people, drivers and data give them."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import hardware
from servetwin.catalog.names import fold
from servetwin.errors import InputError
from servetwin.types import Accelerator

TABLES = Path(hardware.__file__).parent / "data"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("A100", "A100-80GB"),
        ("a100-80gb", "A100-80GB"),
        ("A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB-PCIe"),
        ("A100-PCIE-40GB", "A100-40GB-PCIe"),
        ("H100", "H100-SXM"),
        ("h100_sxm", "H100-SXM"),
        ("h100-80gb", "H100-SXM"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("H100 PCIe", "H100-PCIe"),
        ("h200_sxm", "H200"),
        ("b200_sxm", "B200"),
        ("gb200", "GB200"),
        ("b300_sxm", "B300"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("Nvidia H100 GPU", "H100-SXM"),
        ("AMD MI300X GPU", "MI300X"),
        ("AMD Instinct MI300X", "MI300X"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("RTX4090", "RTX-4090"),
        ("4090", "RTX-4090"),
        ("RTXPRO6000", "RTX-PRO-6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("A6000", "RTX-A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
        ("Tesla V100-SXM2-16GB", "V100-SXM2-16GB"),
        ("Tesla T4", "T4"),
        ("Intel PVC GPU", "Max-1550"),
        ("cpu", "CPU"),
    ],
)
def test_names_that_people_and_drivers_write(written: str, name: str) -> None:
    assert hardware.find_accelerator(written).name == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("pcie 4.0 x16", "PCIe4"),
        ("PCIE_GEN5", "PCIe5"),
        ("ib-ndr", "InfiniBand-NDR"),
        ("100GbE", "Ethernet-100G"),
        ("nvlink", "NVLink4"),
        ("xgmi", "InfinityFabric-MI300"),
    ],
)
def test_names_of_links(written: str, name: str) -> None:
    assert hardware.find_link(written).name == name


def rows_of(file: str, kind: str) -> list[dict[str, Any]]:
    rows = tomllib.loads((TABLES / file).read_text(encoding="utf-8"))[kind]
    assert isinstance(rows, list)
    return rows


@pytest.mark.parametrize(
    "row", rows_of("accelerators.toml", "accelerator"), ids=lambda r: r["name"]
)
def test_aliases_are_distinct_and_resolve(row: dict[str, Any]) -> None:
    written = [row["name"], *row["aliases"]]
    assert len({fold(name) for name in written}) == len(written), "an alias adds nothing"
    for name in written:
        for form in (name, name.upper(), name.replace("-", " "), f"{row['vendor']} {name} GPU"):
            found = hardware.find_accelerator(form if row["vendor"] != "generic" else name)
            assert found.name == row["name"]


@pytest.mark.parametrize("row", rows_of("links.toml", "link"), ids=lambda r: r["name"])
def test_link_aliases_are_distinct_and_resolve(row: dict[str, Any]) -> None:
    written = [row["name"], *row["aliases"]]
    assert len({fold(name) for name in written}) == len(written), "an alias adds nothing"
    assert {hardware.find_link(name).name for name in written} == {row["name"]}


@pytest.mark.parametrize(
    ("written", "offered"), [("H10O", "H100"), ("RTX 4080", "RTX-4090"), ("MI300Z", "MI300X")]
)
def test_unknown_gpus_offer_the_nearest(written: str, offered: str) -> None:
    with pytest.raises(InputError, match=f"unknown GPU '{written}'.*{offered}"):
        hardware.find_accelerator(written)


def test_a_name_like_no_other_points_to_the_list() -> None:
    with pytest.raises(InputError, match="catalog gpus"):
        hardware.find_accelerator("xyzzy")
    with pytest.raises(InputError, match=r"unknown link 'NVLink44'.*NVLink4"):
        hardware.find_link("NVLink44")


@given(st.text(max_size=40))
def test_any_text_is_found_or_refused_in_one_line(name: str) -> None:
    try:
        answer: object = hardware.find_accelerator(name)
    except InputError as error:
        answer = str(error)
    assert isinstance(answer, Accelerator) or len(str(answer).splitlines()) == 1


def column(path: Path, name: str) -> set[str]:
    with path.open(encoding="utf-8", newline="") as lines:
        return {row[name] for row in csv.DictReader(lines)}


def hardware_in_json(value: object) -> Iterator[str]:
    """Values of keys that name a device, anywhere in a JSON document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("hardware", "gpu_model", "device_name") and isinstance(inner, str):
                yield inner
            else:
                yield from hardware_in_json(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from hardware_in_json(inner)


def named_in_data(data: Path) -> set[str]:
    measured, profiles = data / "measured", data / "profiles"
    names = column(measured / "splitwise" / "perf_model.csv", "hardware")
    names |= column(measured / "inferencex_silicon" / "silicon_half.csv", "system")
    names |= column(measured / "kavier_a10" / "experiment2_data.csv", "GPU")
    for table in ("All_results.csv", "power_results.csv", "all_results_TTFT.csv"):
        names |= column(measured / "argonne" / table, "Hardware")
    for folder in ("mlenergy_v3", "vllm_runs", "vllm_throughput_power"):
        for path in sorted((measured / folder).rglob("*.json")):
            names |= set(hardware_in_json(json.loads(path.read_text(encoding="utf-8"))))
    for path in (profiles / "vidur").glob("*.csv"):
        stem = path.stem.removeprefix("net_")
        names.add("_".join(stem.split("_")[: 2 if path.stem.startswith("net_") else 1]))
    for path in (profiles / "aiconfigurator_kernels").glob("*.parquet"):
        names.add("_".join(path.stem.split("_")[:2]))
    names |= {path.name for path in (profiles / "vllm_layers").iterdir() if path.is_dir()}
    return names


def test_everything_the_data_names_resolves(data_dir: Path) -> None:
    names = named_in_data(data_dir)
    assert {"a100-80gb", "b300_sxm", "Intel PVC GPU", "RTXPRO6000", "a100_dgx", "B200"} <= names
    found = {name: hardware.find_accelerator(name).name for name in names}
    assert found["Nvidia A100 GPU"] == "A100-80GB"
    assert found["NVIDIA GeForce RTX 4090"] == "RTX-4090"
