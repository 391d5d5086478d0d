"""Which of several values wins, and how a bad one is told."""

import json
from pathlib import Path

import pytest

from servetwin.cli.layers import load_settings
from servetwin.errors import InputError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_set_over_file_over_defaults(tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "tp: 2\npp: 2\nep: 2\nseed: 5\n")
    loaded = load_settings({"tp": "8"}, config, ["tp=4", "pp=4"]).settings
    assert (loaded.tp, loaded.pp, loaded.ep, loaded.dp, loaded.seed) == (8, 4, 2, 1, 5)


def test_a_pasted_line_is_weaker_than_flags_and_stronger_than_the_file(tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "max-num-seqs: 16\ntp: 1\nblock_size: 32\n")
    flags = {"engine_args": "vllm serve gpt2 -tp 2 --max-num-seqs 64 --enable-eplb", "tp": "4"}
    loaded = load_settings(flags, config)
    settings = loaded.settings
    assert (settings.tp, settings.max_num_seqs, settings.block_size) == (4, 64, 32)
    assert settings.model == "gpt2"
    assert loaded.unknown == ("--enable-eplb",)


def test_parts_of_a_table_are_merged(tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "slo: ttft=1s,tpot=50ms\nmap: {input: a}\n")
    settings = load_settings({}, config, ["slo.ttft=2s", "slo.p=0.9", "map.output=b"]).settings
    assert settings.slo == {"ttft": "2s", "tpot": "50ms", "p": "0.9"}
    assert settings.map == {"input": "a", "output": "b"}


def test_null_undoes_a_weaker_value(tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "rps: 4\nslo: {ttft: 1s, tpot: 50ms}\n")
    settings = load_settings({}, config, ["rps=null", "slo.ttft=null"]).settings
    assert settings.rps is None
    assert settings.slo == {"tpot": "50ms"}


@pytest.mark.parametrize(
    ("file", "flags", "kept"),
    [
        ("trace: a.csv\nformat: azure\n", {"workload": "azure-conv"}, {"workload": "azure-conv"}),
        ("workload: azure-conv\nisl: 5\n", {"trace": "a.csv"}, {"trace": "a.csv"}),
        ("trace: a.csv\n", {"isl": "5", "osl": "6"}, {"isl": "5", "osl": "6"}),
        ("workload: azure-conv\n", {"isl": "5"}, {"workload": "azure-conv", "isl": "5"}),
    ],
)
def test_another_source_of_requests_replaces_the_files(
    tmp_path: Path, file: str, flags: dict[str, str], kept: dict[str, str]
) -> None:
    settings = load_settings(flags, write(tmp_path / "run.yaml", file)).settings
    sources = settings.model_dump(include={"trace", "format", "workload", "isl", "osl"})
    assert {name: value for name, value in sources.items() if value is not None} == kept


def test_a_summary_gives_its_config(tmp_path: Path) -> None:
    content = {"schema": "servetwin.run/1", "config": {"tp": 2, "rps": None}, "metrics": {}}
    config = write(tmp_path / "summary.json", json.dumps(content))
    assert load_settings({}, config).settings.tp == 2


def test_numbers_may_stand_where_text_is_meant(tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "isl: 512\nsweep_rps: [1, 2.5]\nslo: {p: 0.9}\n")
    settings = load_settings({}, config).settings
    assert (settings.isl, settings.sweep_rps) == ("512", [1.0, 2.5])
    assert settings.slo == {"p": "0.9"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tp: 1\nmax_num_seq: 4\n", r"run\.yaml:2: max_num_seq: unknown setting; did you mean max"),
        ("gpu: a\n\ntp: 1.5\n", r"run\.yaml:3: tp 1\.5: must be a whole number"),
        ("rps: -1\n", r"run\.yaml:1: rps -1: must be above 0"),
        ("rps: .nan\n", r"run\.yaml:1: rps nan: must be a finite number"),
        ("replicas: 0\n", r"run\.yaml:1: replicas 0: must be at least 1"),
        ("sweep_rps: [1, -2]\n", r"run\.yaml:1: sweep_rps -2: must be above 0"),
        ("tp: 1\nrps: yes\n", r"run\.yaml:2: rps true: must not be true or false \(as YAML reads"),
        ("replicas: on\n", r"run\.yaml:1: replicas true: must not be true or false"),
        ("pue: no\n", r"run\.yaml:1: pue false: must not be true or false"),
        ("model: yes\n", r"run\.yaml:1: model true: must not be true or false"),
        ("sweep_rps: [2, yes]\n", r"run\.yaml:1: sweep_rps: must not be true or false"),
        ("slo: {ttft: yes}\n", r"run\.yaml:1: slo\.ttft true: must be text"),
        ("slo: [1]\n", r"run\.yaml:1: slo: must be written name=value"),
        ("slo: ttft\n", r"run\.yaml:1: slo 'ttft': must be written name=value"),
        ("reference: perhaps\n", r"run\.yaml:1: reference 'perhaps': must be true or false"),
        ("tp: 1\ntp: 2\n", r"run\.yaml:2: 'tp' stands twice, first in line 1"),
        ("tp: [1\n", r"run\.yaml:2: not YAML: "),
        ("tp: !!python/object:os.system x\n", r"run\.yaml:1: not YAML: could not determine"),
        ("- tp\n", r"run\.yaml: must hold settings as `name: value`"),
        ("", r"run\.yaml: must hold settings"),
        ("model: {a: b}\n", r"run\.yaml:1: model: must be text"),
        ("trace: a\nworkload: b\n", r"run\.yaml:2: workload and .*:1: trace exclude each other"),
        ("seed: !!timestamp x\n", r"run\.yaml: not YAML that can be read"),
        ("seed: !!bool x\n", r"run\.yaml: not YAML that can be read"),
        ("seed: !!int ''\n", r"run\.yaml: not YAML that can be read"),
        ("[" * 100_000, r"run\.yaml: not YAML that can be read"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_settings({}, write(tmp_path / "run.yaml", text))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("tp", "--set tp: must be written name=value"),
        ("=1", "--set =1: must be written name=value"),
        ("tpp=1", "--set tpp: unknown setting; did you mean"),
        ("tp.a=1", "--set tp.a=1: only map and slo have parts"),
        ("draft_share=30%", "--set draft_share '30%': must be a number, a share between 0 and 1"),
        ("tp=x", "--set tp 'x': must be a whole number"),
    ],
)
def test_a_bad_assignment(assignment: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_settings({}, None, [assignment])


def test_a_missing_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_settings({}, tmp_path / "none.yaml")
    binary = tmp_path / "run.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text"):
        load_settings({}, binary)
    broken = write(tmp_path / "run.json", '{"tp": }')
    with pytest.raises(InputError, match=r"run\.json:1: not JSON"):
        load_settings({}, broken)
