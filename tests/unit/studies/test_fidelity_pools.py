"""Measured runs with two pools: what their rows say, and who sends the first token."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servetwin.catalog import find_link
from servetwin.studies.fidelity.intervals import ratios_of
from servetwin.studies.fidelity.points import Point, closed_loop, deploy, in_pools, one
from servetwin.studies.fidelity.predict import predict
from servetwin.studies.fidelity.sets.inferencex_pools import engine_of, load, users_of
from servetwin.studies.fidelity.sets.vllm_series_pools import load as load_series
from servetwin.types import Parallelism
from servetwin.workload.lengths import Fixed

ROW = {
    "id": "a",
    "silicon_data_source": "db-dump; config_id=1; silicon_concurrency=96",
    "backend": "trtllm",
    "model_path": "deepseek-ai/DeepSeek-R1",
    "system": "gb200",
    "mode": "disagg",
    "isl": "1024",
    "osl": "1024",
    "gemm_quant_mode": "nvfp4",
    "moe_quant_mode": "nvfp4",
    "prefill_num_workers": "2",
    "prefill_tp_size": "1",
    "prefill_attention_dp_size": "4",
    "prefill_moe_ep_size": "4",
    "decode_batch_size": "8",
    "decode_num_workers": "3",
    "decode_tp_size": "2",
    "decode_attention_dp_size": "4",
    "decode_moe_ep_size": "8",
    "silicon_ttft_ms": "300",
    "silicon_tpot_ms": "10",
}


def written(folder: Path, *changes: dict[str, str]) -> Path:
    with (folder / "silicon_half.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(ROW))
        table.writeheader()
        table.writerows({**ROW, **change} for change in changes)
    return folder


def test_a_row_says_how_its_pools_are_built(tmp_path: Path) -> None:
    [point] = load(written(tmp_path, {})).points
    deployment, pool = point.deployment, point.deployment.decode
    assert pool is not None
    assert (deployment.replicas, pool.replicas) == (2, 3)
    assert deployment.parallelism == Parallelism(dp=4, ep=4)
    assert pool.parallelism == Parallelism(tp=2, dp=4, ep=8)
    assert deployment.devices == 2 * 4 + 3 * 8
    assert users_of(ROW) == 8 * 3 * 4 == int(point.tags["users"])
    assert len(point.workload()) == 10 * 96
    assert point.measured["tpot"] == pytest.approx([0.010])
    assert not point.fitted


def test_links_follow_from_the_number_of_gpus(tmp_path: Path) -> None:
    wide = {"decode_num_workers": "9", "silicon_ttft_ms": "301"}
    other = {"system": "h100_sxm", "silicon_ttft_ms": "302", "decode_tp_size": "4"}
    points = load(written(tmp_path, {}, wide, other)).points
    pools = [point.deployment.decode for point in points]
    assert [pool and pool.transfer.name for pool in pools] == [
        "NVSwitch4",
        "InfiniBand-NDR",
        "InfiniBand-NDR",
    ]
    assert [pool and pool.link.name for pool in pools] == [
        "NVSwitch4",
        "NVSwitch4",
        "InfiniBand-NDR",
    ]


def test_rows_that_say_too_little_are_left_out_by_reason(tmp_path: Path) -> None:
    silent = {"prefill_num_workers": "", "decode_num_workers": "", "decode_batch_size": ""}
    again = {**silent, "id": "b"}
    unknown = {**silent, "id": "c", "silicon_tpot_ms": "11"}
    found = load(written(tmp_path, {}, {"id": "d"}, again, unknown, {"mode": "agg"}))
    assert len(found.points) == 1
    assert sorted(found.left_out.values()) == [1, 2]
    assert found.left_out["listed twice"] == 2


def test_a_dense_model_has_no_experts() -> None:
    row = {**ROW, "model_path": "Qwen/Qwen3-32B", "decode_moe_ep_size": "2"}
    assert engine_of(row, "decode") == Parallelism(tp=2, dp=4)


def test_one_series_of_pools(tmp_path: Path) -> None:
    folder = tmp_path / "figure_5" / "A6000"
    folder.mkdir(parents=True)
    lines = ["time_s\tthroughput", "1\t0", "2\t100", "3\t50", "4\t0"]
    for name in ("PDD", "MD"):
        (folder / f"{name}_throughput.tsv").write_text("\n".join(lines))
    [point] = load_series(tmp_path).points
    assert point.measured["throughput"] == [50.0]  # 150 tokens in 3 s
    assert point.deployment.devices == 2


def pools_point(waits: bool) -> Point:
    engine = deploy("meta-llama/Llama-3.1-8B", "A100-80GB", max_model_len=4096)
    return Point(
        group="g",
        label="p",
        deployment=in_pools(engine, engine, find_link("Ethernet-10G")),
        workload=closed_loop(4, 40, Fixed(1000), Fixed(20)),
        measured=one(ttft=1.0, tpot=1.0, e2e=1.0),
        first_token_waits=waits,
    )


def test_who_sends_the_first_token_moves_time_from_tpot_to_ttft(tmp_path: Path) -> None:
    early = predict(pools_point(False), tmp_path).values
    late = predict(pools_point(True), tmp_path).values
    moved = float(late["ttft"][0] - early["ttft"][0])
    assert moved > 0.02  # 1,000 tokens of KV over 1.25 GB/s take more than that
    assert early["tpot"][0] - late["tpot"][0] == pytest.approx(moved / 19)
    assert late["e2e"] == early["e2e"]


def test_no_interval_rests_on_pools() -> None:
    row = {
        "set": "inferencex",
        "gpu": "B200",
        "model": "openai/gpt-oss-120b",
        "weights": "",
        "level": "derived",
        "metric": "tpot",
        "engine": "vLLM",
        "fitted": "False",
        "values": "1",
        "measured": "2",
        "predicted": "1",
    }
    assert len(ratios_of([row])) == 1
    assert ratios_of([{**row, "set": "inferencex-pools"}]) == []


def test_the_measured_set(data_dir: Path) -> None:
    found = load(data_dir / "measured" / "inferencex_silicon")
    assert len(found.points) == 104
    assert sum(found.left_out.values()) == 597 - 104
    for point in found.points:
        layout = replace(point.deployment, decode=None).parallelism
        assert layout.ep <= layout.tp * layout.dp
        assert np.isfinite(point.measured["ttft"]).all()
