"""Prefill and decode pools on the command line."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.cache.notation import parse_link, write_link
from servetwin.catalog import find_link
from servetwin.cli.build import build_deployment, prepare
from servetwin.cli.layers import load_settings
from servetwin.cli.settings import RunSettings
from servetwin.errors import InputError
from servetwin.sim import SimOptions, simulate
from servetwin.types import Link, RequestTable

BASE: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B",
    "gpu": "H100-SXM",
    "decode_replicas": 2,
    "workload": "azure-conv",
    "requests": 40,
}


def settings(**values: Any) -> RunSettings:
    given = {name: value for name, value in (BASE | values).items() if value is not None}
    return RunSettings(**given)


def test_a_decode_pool_is_like_the_prefill_pool_where_nothing_else_is_said() -> None:
    deployment, notes = build_deployment(settings(tp=2, router="least-tokens", prefill_replicas=3))
    prefill, decode = deployment.pools
    assert (prefill.replicas, decode.replicas) == (3, 2)
    assert decode.settings == prefill.settings
    assert decode.parallelism == prefill.parallelism
    assert decode.router == "least-tokens"
    assert deployment.devices == 2 * (3 + 2)
    assert deployment.decode is not None
    assert deployment.decode.layerwise
    assert deployment.decode.transfer == find_link("InfiniBand-NDR")
    assert any("--kv-link names another" in note for note in notes)


def test_a_decode_pool_has_settings_of_its_own() -> None:
    own = {
        "gpu": "A100-80GB",
        "tp": 4,
        "router": "random",
        "max_num_seqs": 7,
        "max_num_batched_tokens": 99,
        "scheduler": "sarathi",
        "num_gpu_blocks_override": 4000,
        "max_model_len": 5000,
        "gpu_memory_utilization": 0.8,
        "kv_tier": ["host=1GB"],
    }
    values = {f"decode_{name}": value for name, value in own.items()}
    deployment, _ = build_deployment(
        settings(**values, max_num_seqs=50, kv_link="12GB/s,latency=3us", kv_transfer="after")
    )
    pool = deployment.decode
    assert pool is not None
    assert pool.accelerator.name == "A100-80GB"
    assert pool.link == find_link(pool.accelerator.link)
    assert pool.parallelism.tp == 4
    assert pool.router == "random"
    assert pool.transfer == Link("12GB/s,latency=3us", 12e9, 3e-6)
    assert not pool.layerwise
    engine = pool.settings
    assert (engine.max_num_seqs, engine.max_num_batched_tokens) == (7, 99)
    assert (engine.scheduler, engine.num_gpu_blocks_override) == ("sarathi", 4000)
    assert (engine.max_model_len, engine.gpu_memory_utilization) == (5000, 0.8)
    assert [tier.name for tier in engine.kv_tiers] == ["host"]
    assert deployment.settings.max_num_seqs == 50
    assert not deployment.settings.kv_tiers


def test_experts_over_all_devices_stay_over_all_devices() -> None:
    mixture = settings(model="Qwen/Qwen3-30B-A3B", tp=2, ep=2, decode_tp=4, kv_transfer="layerwise")
    deployment, _ = build_deployment(mixture)
    assert deployment.decode is not None
    assert deployment.decode.parallelism.ep == 4


@pytest.mark.parametrize("kv_link", [None, "PCIe5", "12.5GB/s"])
def test_a_saved_run_runs_again(kv_link: str | None) -> None:
    first = settings(decode_gpu="L4", kv_link=kv_link, decode_kv_tier=["host=1GB@20GB/s"])
    prepared = prepare(first)
    again = load_settings(prepared.config).settings
    repeated = prepare(again)
    assert repeated.config == prepared.config
    assert repeated.deployment == prepared.deployment
    assert repeated.notes == prepared.notes
    options = SimOptions(engine="reference", snapshot_interval=0)
    one, other = (
        simulate(each.deployment, each.workload, each.cost, options).requests
        for each in (prepared, repeated)
    )
    for field in fields(RequestTable):
        np.testing.assert_array_equal(
            getattr(one, field.name), getattr(other, field.name), field.name
        )


def test_another_gpu_brings_new_defaults_to_a_saved_run() -> None:
    saved = prepare(settings(decode_gpu="L4")).config
    assert saved["decode_max_model_len"] < saved["max_model_len"]
    again = prepare(load_settings({**saved, "defaulted": saved["defaulted"]}).settings).config
    assert again == saved
    layered = {name: value for name, value in saved.items() if name not in saved["defaulted"]}
    larger = prepare(RunSettings(**_given(layered | {"decode_gpu": "H100-SXM"}))).config
    assert larger["decode_max_model_len"] == larger["max_model_len"]


def _given(values: dict[str, Any]) -> dict[str, Any]:
    dropped = ("defaulted",)
    return {
        name: value for name, value in values.items() if value is not None and name not in dropped
    }


def test_a_stronger_layer_may_name_the_prefill_replicas_either_way(tmp_path: Path) -> None:
    saved = tmp_path / "summary.json"
    config = prepare(settings(prefill_replicas=3)).config
    saved.write_text(json.dumps({"schema": "servetwin.run/1", "config": config}))
    for flag in ("replicas", "prefill_replicas"):
        again = load_settings({flag: "2"}, saved).settings
        assert build_deployment(again)[0].replicas == 2


def test_one_pool_leaves_all_settings_of_two_open() -> None:
    config = prepare(settings(decode_replicas=None)).config
    assert all(config[name] is None for name in config if name.startswith("decode_"))
    assert not [name for name in config["defaulted"] if "decode" in name or name == "kv_link"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"decode_replicas": None, "decode_tp": 2}, "--decode-tp needs two pools: give --decode-r"),
        ({"decode_replicas": None, "kv_link": "PCIe4"}, "--kv-link needs two pools"),
        ({"decode_replicas": None, "prefill_replicas": 2}, "--prefill-replicas needs two pools"),
        ({"replicas": 2, "prefill_replicas": 3}, "--replicas 2 and --prefill-replicas 3 differ"),
        ({"kv_transfer": "later"}, "--kv-transfer later: did you mean after or layerwise?"),
        ({"kv_transfer": "layer-wise"}, "--kv-transfer layer-wise: did you mean layerwise?"),
        ({"kv_link": "fast"}, "unknown link 'fast'"),
        ({"kv_link": "0GB/s"}, "write 50GB/s or 50GB/s,latency=5us, or a name"),
        ({"kv_link": "5GB/s,speed=3"}, "write 50GB/s or 50GB/s,latency=5us, or a name"),
        ({"kv_link": "5GB/s,latency=x"}, "'x' is no latency: write 10us"),
        ({"decode_tp": 3}, "decode pool: tp 3 does not divide"),
        ({"decode_router": "fastest"}, "decode pool: router 'fastest' is not known"),
        ({"decode_gpu": "V100-32GB"}, "kv_cache_dtype is bf16 in the prefill pool and fp16 in"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        build_deployment(settings(**values))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["PCIe4", "InfiniBand-NDR", "25GB/s", "1.5GB/s,latency=2.5us"])
def test_a_link_is_written_as_it_is_read(text: str) -> None:
    assert write_link(parse_link(text)) == text
