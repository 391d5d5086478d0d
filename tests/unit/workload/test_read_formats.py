"""Every format, by hand-made files whose columns are known exactly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from servetwin.types import BlockHashes, Workload
from servetwin.units import NOT_YET, PS_PER_MS, PS_PER_NS, PS_PER_S
from servetwin.workload import detect_format, read


def saved(folder: Path, text: str, name: str = "trace") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def ids_of(hashes: BlockHashes | None, request: int) -> list[int]:
    assert hashes is not None
    return hashes.ids[hashes.offsets[request] : hashes.offsets[request + 1]].tolist()


def columns(workload: Workload) -> tuple[list[int], list[int], list[int]]:
    return (
        workload.arrival.tolist(),
        workload.input_tokens.tolist(),
        workload.output_tokens.tolist(),
    )


def test_azure_times_are_exact_and_relative_to_the_first(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-12-31 23:59:59.9999999,374,44\n2024-01-01 00:00:00.0000001,396,109\n",
    )
    assert detect_format(path) == "azure"
    assert columns(read(path)) == ([0, 200 * PS_PER_NS], [374, 396], [44, 109])


def test_azure_2024_timestamps_name_their_zone(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-05-10 00:00:00.009930+00:00,1,2\n2024-05-10 02:00:01.009930+02:00,3,4\n",
    )
    assert read(path).arrival.tolist() == [0, PS_PER_S]


def test_requests_out_of_order_are_sorted_stably_with_their_hashes(tmp_path: Path) -> None:
    rows = [(5, 600, 1, [7, 8]), (0, 10, 2, [1]), (5, 20, 3, []), (0, 30, 4, [2])]
    lines = [
        f'{{"timestamp": {t}, "input_length": {i}, "output_length": {o}, "hash_ids": {ids}}}'
        for t, i, o, ids in rows
    ]
    workload = read(saved(tmp_path, "\n".join(lines)))
    assert columns(workload) == (
        [0, 0, 5 * PS_PER_MS, 5 * PS_PER_MS],
        [10, 30, 600, 20],
        [2, 4, 1, 3],
    )
    assert [ids_of(workload.block_hashes, i) for i in range(4)] == [[1], [2], [7, 8], []]


def test_mooncake_blocks_have_512_tokens_and_may_be_absent(tmp_path: Path) -> None:
    line = '{"timestamp": 0.5, "input_length": 513, "output_length": 9, "hash_ids": [3, 4]}\n'
    workload = read(saved(tmp_path, line))
    assert workload.arrival.tolist() == [PS_PER_MS // 2]
    assert workload.block_hashes is not None
    assert (workload.block_hashes.block_tokens, workload.block_hashes.scope) == (512, "global")
    bare = read(saved(tmp_path, '{"timestamp": 0, "input_length": 513, "output_length": 9}'))
    assert bare.block_hashes is None


def test_vidur_seconds_keep_every_picosecond(tmp_path: Path) -> None:
    text = (
        "request,arrived_at,num_prefill_tokens,num_decode_tokens,pd_ratio\n"
        "a,0.000000000001,5,6,x\nb,86400.123456789012,7,8,\nc,7775999.9999999999994,1,1,\n"
    )
    arrivals = read(saved(tmp_path, text)).arrival.tolist()
    assert arrivals == [1, 86_400_123_456_789_012, 7_775_999_999_999_999_999]


def test_vidur_lengths_alone_arrive_at_zero(tmp_path: Path) -> None:
    path = saved(tmp_path, "num_prefill_tokens,num_decode_tokens\r\n5,6\r\n\r\n7,8\r\n")
    assert columns(read(path)) == ([0, 0], [5, 7], [6, 8])


def test_kavier_prefill_alone_counts_as_one_output_token(tmp_path: Path) -> None:
    text = "session_id,turn_id,ts,num_input_tokens,num_output_tokens,\n64,0,0,64,0\n128,0,1.5,128,3"
    workload = read(saved(tmp_path, text))
    assert columns(workload) == ([0, 3 * PS_PER_S // 2], [64, 128], [1, 3])
    assert workload.session_id is not None
    assert workload.session_id.tolist() == [64, 128]


@pytest.mark.parametrize("listed", ["json", "parquet"])
def test_kavier_token_lists_give_chained_blocks(tmp_path: Path, listed: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shared = list(range(16))
    tokens = [[*shared, 1, 2], [*shared, 1, 2], [9, *shared[1:], 1, 2], [*shared, 3]]
    cells = tokens if listed == "parquet" else [str(ids) for ids in tokens]
    table = pa.table(
        {
            "num_input_tokens": [len(ids) for ids in tokens],
            "num_output_tokens": [1, 2, 3, 4],
            "session_id": ["x", "y", "x", "z"],
            "input_tokens": cells,
        }
    )
    path = tmp_path / "trace"
    pq.write_table(table, path)
    assert detect_format(path) == "kavier"
    workload = read(path)
    assert workload.session_id is not None
    assert workload.session_id.tolist() == [0, 1, 0, 2]
    found = [ids_of(workload.block_hashes, i) for i in range(4)]
    assert found[0] == found[1] == [0, 1]
    assert found[2] == [2, 3], "equal tokens behind another prefix are another block"
    assert found[3] == [0, 4], "a partial block differs from other partial blocks"


def test_dejavu_pairs(tmp_path: Path) -> None:
    assert columns(read(saved(tmp_path, "[[557, 55],\n [96, 0]]"))) == ([0, 0], [557, 96], [55, 1])


def test_token_ids_lines_and_chained_sub_requests(tmp_path: Path) -> None:
    lines = [
        '{"session_id": "late", "arrival_time_ns": 2000, "sub_requests": [{"input_toks": 5,'
        ' "output_toks": 6, "tool_duration_ns": 7}, {"input_toks": 8, "output_toks": 9}]}',
        '{"input_toks": 3, "output_toks": 4, "arrival_time_ns": 1500.5, "input_tok_ids": [1,2,3]}',
        '{"session_id": "late", "arrival_time_ns": 1000, "sub_requests": [{"input_toks": 1,'
        ' "output_toks": 1, "tool_duration_ns": 1}]}',
    ]
    path = saved(tmp_path, "\n".join(lines))
    assert detect_format(path) == "token-ids"
    workload = read(path)
    arrivals = [1_000_000, 1_500_500, 2_000_000, NOT_YET]
    assert columns(workload) == (arrivals, [1, 3, 5, 8], [1, 4, 6, 9])
    assert workload.parent is not None
    assert workload.parent.tolist() == [-1, -1, -1, 2]
    assert workload.think_time is not None
    assert workload.think_time.tolist() == [0, 0, 0, 7_000]
    assert workload.session_id is not None
    assert workload.session_id.tolist() == [0, 1, 0, 0]
    assert ids_of(workload.block_hashes, 1) == [0]


def test_flat_token_id_lines_have_no_sessions(tmp_path: Path) -> None:
    workload = read(saved(tmp_path, '{"input_toks": 3, "output_toks": 4, "arrival_time_ns": 5}'))
    assert workload.session_id is None
    assert workload.parent is None
    assert workload.block_hashes is None


AGENTIC = """
{"block_size": 64, "hash_id_scope": "local", "requests": [
 {"t": 0.0, "type": "n", "in": 130, "out": 7, "hash_ids": [1, 2], "api_time": 2, "think_time": 0},
 {"t": 5.0, "type": "subagent", "requests": [
   {"t": 0.0, "type": "s", "in": 64, "out": 5, "hash_ids": [9], "api_time": 1, "think_time": 0},
   {"t": 4.0, "type": "s", "in": 70, "out": 6, "hash_ids": [9], "api_time": 1, "think_time": 3}]},
 {"t": 6.5, "type": "subagent", "requests": [
   {"t": 6.5, "type": "s", "in": 71, "out": 0, "api_time": 1, "think_time": 0}]},
 {"t": 12.0, "type": "s", "in": 140, "out": 8, "hash_ids": [1, 2], "think_time": 10.0},
 {"t": 20.0, "type": "s", "in": 150, "out": 9, "hash_ids": [1, 2], "think_time": 6.25}]}
"""


def test_agentic_conversations_chain_and_sub_agents_branch(tmp_path: Path) -> None:
    workload = read(saved(tmp_path, AGENTIC))
    assert workload.input_tokens.tolist() == [130, 64, 70, 71, 140, 150]
    assert workload.output_tokens.tolist() == [7, 5, 6, 1, 8, 9]
    assert workload.arrival.tolist() == [0] + [NOT_YET] * 5
    assert workload.parent is not None
    # Both sub-agents follow request 0; the first ends at 10 s, the second at 7.5 s.
    assert workload.parent.tolist() == [-1, 0, 1, 0, 2, 4]
    assert workload.think_time is not None
    seconds = (workload.think_time / PS_PER_S).tolist()
    assert seconds == [0, 3.0, 3.0, 4.5, 2.0, 6.25]
    assert workload.session_id is not None
    assert set(workload.session_id.tolist()) == {0}
    assert workload.block_hashes is not None
    assert (workload.block_hashes.block_tokens, workload.block_hashes.scope) == (64, "session")


def test_a_folder_of_agentic_sessions_is_one_workload(tmp_path: Path) -> None:
    saved(tmp_path, AGENTIC, "b.json")
    one = '{"requests": [{"in": 1, "out": 2}, {"in": 3, "out": 4, "t": 7}]}'
    saved(tmp_path, one, "a.json")
    saved(tmp_path, "not read", "README.md")
    assert detect_format(tmp_path) == "agentic"
    workload = read(tmp_path)
    assert len(workload) == 8
    assert workload.session_id is not None
    assert workload.session_id.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert workload.parent is not None
    assert workload.parent.tolist() == [-1, 0, -1, 2, 3, 2, 4, 6]
    assert workload.think_time is not None
    assert workload.think_time.tolist()[1] == 7 * PS_PER_S


def test_the_name_of_a_file_does_not_matter_and_a_format_can_be_forced(tmp_path: Path) -> None:
    path = saved(tmp_path, "[[1, 2]]", "looks_like.csv")
    assert detect_format(path) == "dejavu"
    both = "arrived_at,num_prefill_tokens,num_decode_tokens,num_input_tokens,num_output_tokens\n"
    path = saved(tmp_path, both + "0,1,2,3,4\n")
    assert read(path, format="kavier").input_tokens.tolist() == [3]
    assert read(path, format="vidur").input_tokens.tolist() == [1]


def test_whole_numbers_written_as_decimals_count(tmp_path: Path) -> None:
    path = saved(tmp_path, "num_prefill_tokens,num_decode_tokens\n12.0,1e3\n +7 , 8\n")
    assert columns(read(path)) == ([0, 0], [12, 7], [1000, 8])


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = saved(tmp_path, "\ufeffnum_prefill_tokens,num_decode_tokens\n1,2\n")
    assert len(read(path)) == 1


def test_batches_join_seamlessly(tmp_path: Path) -> None:
    n = (1 << 16) + 3
    rows = "\n".join(f"{i},{i % 977 + 1},{i % 13 + 1}" for i in range(n))
    path = saved(tmp_path, f"arrived_at,num_prefill_tokens,num_decode_tokens\n{rows}\n")
    workload = read(path)
    np.testing.assert_array_equal(workload.arrival, np.arange(n) * PS_PER_S)
    np.testing.assert_array_equal(workload.input_tokens, np.arange(n) % 977 + 1)


def test_importing_the_room_imports_nothing_heavy() -> None:
    code = "import sys, servetwin.workload; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pyarrow", "scipy", "numba", "pandas"} & set(done.stdout.split())
