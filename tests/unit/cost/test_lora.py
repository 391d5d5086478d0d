"""LoRA adapters in memory and time."""

from __future__ import annotations

import pytest

from servetwin.cli.build import build_deployment
from servetwin.cli.settings import RunSettings
from servetwin.cost import derive
from servetwin.cost.lora import adapter_bytes, with_adapters
from servetwin.types import Deployment


def deployment(**engine: object) -> Deployment:
    given = {"model": "meta-llama/Llama-3.1-8B", "gpu": "A100-80GB", "max_loras": 4}
    return build_deployment(RunSettings(**(given | engine)))[0]  # type: ignore[arg-type]


def test_an_adapter_of_llama_8b() -> None:
    # qkv 6144 + 4096, out 4096 + 4096, up 28672 + 4096, down 4096 + 14336; 32 layers, 16 bits.
    widths = 10240 + 8192 + 32768 + 18432
    assert adapter_bytes(deployment()) == 2 * 16 * widths * 32
    assert adapter_bytes(deployment(max_lora_rank=64)) == 4 * adapter_bytes(deployment())


def test_their_memory_is_taken_from_the_cache() -> None:
    with_four, without = derive(deployment(), 1000), derive(deployment(max_loras=0), 1000)
    taken = with_four.memory.runtime - without.memory.runtime
    assert taken == 4 * adapter_bytes(deployment())
    assert without.memory.kv - with_four.memory.kv == taken
    assert without.memory.capacity_blocks > with_four.memory.capacity_blocks


def test_what_they_add_to_an_iteration() -> None:
    one = derive(deployment(max_loras=0), 1000).iteration
    assert (one.lora_base, one.lora_adapter, one.lora_token) == (0, 0, 0)
    given = deployment()
    more = with_adapters(one, given)
    assert more.lora_base == 4 * 32 * 2 * 2_000_000
    seconds = adapter_bytes(given) / given.accelerator.bandwidth
    assert more.lora_adapter == pytest.approx(seconds * 1e12, abs=1)
    assert more.lora_token > 0
    wide = with_adapters(one, deployment(max_lora_rank=32))
    assert wide.lora_adapter == pytest.approx(2 * more.lora_adapter, abs=1)
    others = [name for name in one.__dataclass_fields__ if not name.startswith("lora")]
    assert all(getattr(more, name) is getattr(one, name) for name in others)
