"""The public traces, by counts and sums that are known from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from servetwin.units import NOT_YET, PS_PER_MS, PS_PER_NS
from servetwin.workload import detect_format, read, summarize

TRACES = [
    ("traces/azure_llm_2023/AzureLLMInferenceTrace_conv.csv", "azure", 19_366),
    ("traces/azure_llm_2023/AzureLLMInferenceTrace_code.csv", "azure", 8_819),
    ("traces/mooncake/conversation_trace.jsonl", "mooncake", 12_031),
    ("traces/mooncake/synthetic_trace.jsonl", "mooncake", 3_993),
    ("traces/sharegpt_lengths/sharegpt_8k_filtered_stats_llama2_tokenizer.csv", "vidur", 30_731),
    (
        "traces/arxiv_summarization/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv",
        "vidur",
        28_257,
    ),
    ("traces/agentic_sessions", "agentic", 487),
    ("measured/kavier_a10/input_decode_accuracy.csv", "kavier", 11),
    ("measured/kavier_a10/input_prefill_accuracy.csv", "kavier", 9),
    ("measured/vllm_runs/workloads_example_trace.jsonl", "token-ids", 10),
    ("measured/vllm_runs/workloads_sharegpt-llama-3.1-8b-300-sps10.jsonl", "token-ids", 300),
    ("measured/vllm_runs/workloads_sharegpt-qwen3-32b-300-sps10.jsonl", "token-ids", 300),
    ("reference/dejavu/trace16p.json", "dejavu", 16),
    ("reference/dejavu/trace256.json", "dejavu", 256),
]


@pytest.mark.parametrize(("file", "format", "requests"), TRACES)
def test_public_traces_are_recognised_and_complete(
    data_dir: Path, file: str, format: str, requests: int
) -> None:
    path = data_dir / file
    if not path.exists():
        pytest.skip(f"no {file} in the data folder")
    assert detect_format(path) == format
    workload = read(path)
    assert len(workload) == requests
    assert summarize(workload)["requests"] == requests


def test_azure_conversation_times_against_numpy(data_dir: Path) -> None:
    path = data_dir / "traces/azure_llm_2023/AzureLLMInferenceTrace_conv.csv"
    workload = read(path)
    stamps = np.loadtxt(path, dtype="U32", delimiter=",", skiprows=1, usecols=0)
    nanoseconds = stamps.astype("datetime64[ns]").astype(np.int64)
    expected = (nanoseconds - nanoseconds[0]) * PS_PER_NS
    np.testing.assert_array_equal(workload.arrival, expected)
    counts = np.loadtxt(path, dtype=np.int32, delimiter=",", skiprows=1, usecols=(1, 2))
    np.testing.assert_array_equal(workload.input_tokens, counts[:, 0])
    np.testing.assert_array_equal(workload.output_tokens, counts[:, 1])
    assert round(summarize(workload)["rps"], 2) == 5.53


def test_mooncake_blocks_against_the_published_number_of_unbounded_hits(data_dir: Path) -> None:
    known = json.loads((data_dir / "reference/mooncake_lru_hits.json").read_text())
    path = data_dir / "traces/mooncake/conversation_trace.jsonl"
    workload = read(path)
    found = summarize(workload)["block_hashes"]
    assert found["references"] == known["block_references"]
    hits = known["hits_by_capacity_blocks"]["unbounded"]
    assert found["references"] - found["distinct"] == hits
    records = [json.loads(line) for line in path.read_text().splitlines()]
    expected = [record["timestamp"] * PS_PER_MS for record in records]
    np.testing.assert_array_equal(workload.arrival, expected)
    assert workload.block_hashes is not None
    flat = [block for record in records for block in record["hash_ids"]]
    np.testing.assert_array_equal(workload.block_hashes.ids, flat)


def test_token_ids_share_blocks_exactly_where_they_share_prefixes(data_dir: Path) -> None:
    path = data_dir / "measured/vllm_runs/workloads_sharegpt-llama-3.1-8b-300-sps10.jsonl"
    workload = read(path)
    prompts = [json.loads(line)["input_tok_ids"] for line in path.read_text().splitlines()]
    prefixes = {
        tuple(prompt[: end + 16]) for prompt in prompts for end in range(0, len(prompt), 16)
    }
    assert summarize(workload)["block_hashes"]["distinct"] == len(prefixes)


def test_agentic_sessions_are_chains_with_the_recorded_totals(data_dir: Path) -> None:
    folder = data_dir / "traces/agentic_sessions"
    workload = read(folder)
    files = sorted(folder.glob("*.json"))
    assert workload.session_id is not None
    assert workload.parent is not None
    assert int(np.count_nonzero(workload.arrival != NOT_YET)) == len(files)
    for session, file in enumerate(files):
        totals = json.loads(file.read_text())["totals"]["combined_tokens"]
        mine = workload.session_id == session
        assert int(workload.input_tokens[mine].sum(dtype=np.int64)) == totals["input"]
        assert len(read(file)) == int(np.count_nonzero(mine))
