"""KV tiers as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cache.notation import (
    DEFAULT_LINKS,
    assumed_speeds,
    misplaced,
    parse_link,
    parse_tier,
    write_tier,
)
from servetwin.cache.tiers import TIER_POLICIES
from servetwin.catalog import find_link
from servetwin.errors import InputError
from servetwin.types import KVTier


def test_a_tier_in_full() -> None:
    tier = parse_tier("host=64GB@25GB/s,latency=1ms,policy=S3_FIFO")
    assert tier == KVTier("host", 64 * 10**9, 25e9, 1e-3, policy="s3-fifo")
    assert parse_tier(" Host = 64 GB @ 25 GB/s , latency = 1ms,policy=s3-fifo") == tier
    assert parse_tier("cxl=1.5TiB@64GB/s") == KVTier("cxl", 3 << 39, 64e9)
    assert parse_tier("host=4000blocks@0GB/s").bandwidth == 0
    assert parse_tier("host=4000blocks").in_blocks
    assert parse_tier("host=64gb@25gb/s,latency=0") == KVTier("host", 64 * 10**9, 25e9, 0.0)


@pytest.mark.parametrize("name", DEFAULT_LINKS)
def test_defaults_are_those_of_a_link(name: str) -> None:
    tier, link = parse_tier(f"{name}=1TB"), find_link(DEFAULT_LINKS[name])
    assert (tier.bandwidth, tier.latency) == (link.bandwidth, link.latency)
    assert {"bandwidth", "latency"} <= set(link.sources)


def test_what_has_no_bandwidth_says_which_it_gets() -> None:
    given = "host=64GB@25GB/s"
    assert assumed_speeds([given, "cxl=1TB@64GB/s"]) == ""
    assert assumed_speeds([given, "ssd=1TB,latency=1ms"]) == (
        "KV tiers without a bandwidth have a usual one: ssd that of NVMe-PCIe4 (7.88 GB/s)"
    )
    told = assumed_speeds([" Host = 64GB"])
    assert "host that of PCIe5 (63 GB/s); GPUs with PCIe4, such as the A100, reach half" in told


def test_a_slower_tier_before_a_faster_one_is_told() -> None:
    tiers = [parse_tier(text) for text in ("host=1GB@25GB/s", "cxl=1GB@25GB/s", "ssd=1TB")]
    assert misplaced(tiers) == misplaced(tiers[:1]) == misplaced([]) == ""
    assert misplaced(tiers[::-1]) == (
        "KV tier ssd (7.88 GB/s) stands before cxl (25 GB/s): blocks reach the slower first"
    )


def test_a_link_gives_bandwidth_and_latency() -> None:
    link = find_link("Ethernet-100G")
    assert parse_tier("remote=1TB@100GbE") == KVTier("remote", 10**12, link.bandwidth, link.latency)


@given(
    st.builds(
        KVTier,
        name=st.sampled_from(["host", "ssd", "cxl-2"]),
        capacity=st.integers(0, 10**15),
        bandwidth=st.floats(0, 1e13) | st.sampled_from([25e9, 7.877e9, 0.0]),
        latency=st.floats(0, 3600) | st.sampled_from([1e-5, 1e-4, 0.0]),
        in_blocks=st.booleans(),
        policy=st.sampled_from(TIER_POLICIES),
    )
)
def test_what_is_written_reads_the_same(tier: KVTier) -> None:
    assert parse_tier(write_tier(tier)) == tier


def test_it_is_written_as_one_would() -> None:
    text = "host=64GB@25GB/s,latency=10us"
    assert write_tier(parse_tier(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host", "write host=64GB@25GB/s"),
        ("", "write host=64GB@25GB/s"),
        ("hots=64GB", "did you mean host?"),
        ("host=64", "'64' is no capacity"),
        ("host=-1GB", "'-1GB' is no capacity"),
        ("host=nanGB", "is no capacity"),
        ("host=1e300GB", "is no capacity"),
        ("host=1.5blocks", "is no capacity"),
        ("host=64GB@25", "bandwidth must be written 25GB/s"),
        ("host=64GB@25GB", "bandwidth must be written 25GB/s"),
        ("host=64GB@PCIe9", "did you mean PCIe"),
        ("host=64GB@25Gb/s", "'25Gb/s' is in bits: write 3.125GB/s"),
        ("host=64GB@200Gbps", "'200Gbps' is in bits: write 25GB/s"),
        ("host=64GB@200 Gbit/s", "is in bits: write 25GB/s"),
        ("ssd=64Gb", "'64Gb' is in bits: write 8GB"),
        ("ssd=64Gbits", "'64Gbits' is in bits: write 8GB"),
        ("ssd=1.2.3Tib", "is in bits: write bytes, such as 25GB"),
        ("host=64GB,latency=10", "'10' is no latency: write 10us"),
        ("host=64GB,latency=1e-5", "'1e-5' is no latency"),
        ("host=64GB,latency=", "'' is no latency"),
        ("host=64GB,latency=-1s", "'-1s' is no latency"),
        ("host=64GB,latency=nan", "'nan' is no latency"),
        ("host=64GB,size=3", "'size' is not known"),
        ("host=64GB,policy=flop-aware", "policies are vllm-lru"),
    ],
)
def test_mistakes_are_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse_tier(text)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("400Gb/s", "'400Gb/s' is in bits: write 50GB/s"),
        ("400Gbps", "'400Gbps' is in bits: write 50GB/s"),
        ("50GB/s,latency=5", "'5' is no latency"),
        ("50GBs", "'50GBs' is not understood: write 50GB/s"),
    ],
)
def test_a_link_is_in_bytes_and_its_latency_has_a_unit(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_link(text)
