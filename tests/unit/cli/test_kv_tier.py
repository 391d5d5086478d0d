"""--kv-tier: flags, files and a saved configuration mean the same tiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin.cli.build import build_deployment, resolved
from servetwin.cli.layers import load_settings
from servetwin.errors import InputError

BASE = {"model": "Llama-3.1-8B", "gpu": "A100-80GB"}
GIVEN = ["host=64GB@25GB/s,latency=10us", "ssd=1TB"]
IN_FULL = ["host=64GB@25GB/s,latency=10us", "ssd=1TB@7.877GB/s,latency=0.1ms"]


def config_of(flags: dict[str, Any], config: Path | None = None, *assignments: str) -> Any:
    settings = load_settings({**BASE, **flags}, config, assignments).settings
    return resolved(settings, build_deployment(settings)[0])


def test_a_saved_configuration_gives_the_same_tiers(tmp_path: Path) -> None:
    config = config_of({"kv_tier": GIVEN})
    assert config["kv_tier"] == IN_FULL
    saved = tmp_path / "summary.json"
    saved.write_text(json.dumps({"schema": "servetwin.run/1", "config": config}))
    assert config_of({}, saved) == config
    assert config_of({"kv_tier": GIVEN[1:]}, saved)["kv_tier"] == IN_FULL[1:]
    assert config_of({}, saved, "kv_tier=null")["kv_tier"] is None


def test_one_tier_needs_no_list(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"kv_tier: {GIVEN[0]}\n")
    assert config_of({}, file)["kv_tier"] == IN_FULL[:1]
    assert config_of({}, None, f"kv_tier={GIVEN[0]}")["kv_tier"] == IN_FULL[:1]
    assert config_of({"kv_tier": []})["kv_tier"] is None


def test_a_run_says_which_bandwidth_it_assumes() -> None:
    def notes(*tiers: str) -> list[str]:
        settings = load_settings({**BASE, "kv_tier": list(tiers)}, None, ()).settings
        return [note for note in build_deployment(settings)[1] if "bandwidth" in note]

    assert len(notes("host=64GB", "ssd=1TB")) == 1
    assert notes("host=64GB@PCIe4") == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"kv_tier": ["hots=64GB"]}, "did you mean host"),
        ({"kv_tier": ["host=1GB", "host=2GB"]}, "two KV tiers have one name"),
        ({"kv_tier": GIVEN, "enable_prefix_caching": False}, "needs prefix caching"),
        ({"kv_tier": ["host=1GB"] * 9}, "--kv-tier"),
    ],
)
def test_mistakes_are_told_in_one_line(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        config_of(flags)
