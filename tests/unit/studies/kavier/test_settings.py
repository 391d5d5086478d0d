"""Flags become runs."""

import pytest

from servetwin.errors import InputError
from servetwin.studies.kavier.settings import sweep_of

BASE: dict[str, str | None] = {"llm": "Llama-3-8B", "gpu": "A10", "trace": "x.csv"}


def test_a_run_takes_the_defaults_of_the_original() -> None:
    (run,) = sweep_of(BASE).runs
    assert run.described() == {
        "llm": "Llama-3-8B",
        "gpu": "A10",
        "trace": "x.csv",
        "kv_cache": "on",
        "export_rate": 0.1,
        "flush_size": 1000,
        "prefix_cache_min_tokens": 1024,
        "max_cached_prompts": 10,
        "cache_scope": "session",
        "prefix_cache_policy": "none",
        "cache_variant": "per-session",
        "model": "kavier",
        "correction": "none",
    }


def test_lists_make_every_combination() -> None:
    sweep = sweep_of({**BASE, "kv_cache": "[on, off]", "export_rate": "[pick 0.1, 1]"})
    assert [(run.kv_cache, run.export_rate) for run in sweep.runs] == [
        (True, 0.1),
        (True, 1.0),
        (False, 0.1),
        (False, 1.0),
    ]
    assert sweep.varied == ("kv_cache", "export_rate")


def test_no_prefix_cache_runs_once() -> None:
    sweep = sweep_of(
        {
            **BASE,
            "prefix_cache_min_tokens": "[pick 1024, 4092, none]",
            "max_cached_prompts": "[pick 8, 16]",
            "prefix_cache_policy": "prefill",
        }
    )
    sizes = [(run.prefix_cache_min_tokens, run.max_cached_prompts) for run in sweep.runs]
    assert sizes == [(1024, 8), (1024, 16), (4096, 8), (4096, 16), (1_000_000, 8)]
    assert "4092" in sweep.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("llm", None, "--llm is missing"),
        ("trace", "", "--trace is missing"),
        ("kv_cache", "maybe", "choose on or off"),
        ("export_rate", "0", "seconds above 0"),
        ("export_rate", "inf", "seconds above 0"),
        ("export_rate", "nan", "seconds above 0"),
        ("export_rate", "-1", "seconds above 0"),
        ("export_rate", "fast", "seconds above 0"),
        ("flush_size", "0", "a whole number"),
        ("flush_size", "1.5", "a whole number"),
        ("max_cached_prompts", "-3", "a whole number"),
        ("prefix_cache_min_tokens", "1e3", "a whole number"),
        ("cache_scope", "planet", "cache_scope 'planet' is not known"),
        ("prefix_cache_policy", "decode", "prefix_cache_policy 'decode' is not known"),
        ("cache_variant", "x", "--cache_variant 'x' is not known"),
        ("flush_size", "9" * 5000, "from 1 to 999,999,999"),
        ("model", "magic", "choose kavier or servetwin"),
        ("llm", "[]", "names no value"),
    ],
)
def test_what_is_wrong_is_told(name: str, text: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep_of({**BASE, name: text})


def test_too_many_runs_are_refused() -> None:
    many = "[" + ",".join(str(n) for n in range(1, 50)) + "]"
    with pytest.raises(InputError, match="at most 1,000"):
        sweep_of({**BASE, "max_cached_prompts": many, "prefix_cache_min_tokens": many})
    # All of them would not fit into memory: they are counted, not made.
    lists = dict.fromkeys(("flush_size", "max_cached_prompts", "prefix_cache_min_tokens"), many)
    lists |= {"llm": many, "gpu": many, "trace": many}
    with pytest.raises(InputError, match="make 13,841,287,201 runs"):
        sweep_of(lists)
