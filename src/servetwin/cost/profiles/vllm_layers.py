"""Importer of vLLM layer profiles: `GPU/MODEL/VARIANT/meta.yaml` and `tpN/*.csv`.

servetwin's own profiler (`calibrate.profiler`) writes the same layout, with rows of its own:
`kv_write`, `residual_add`, `all_reduce` and `host`.

The profile holds one layer. `layernorm` is timed once though a layer has two; `lm_head` and
`sampler` run once for each sampled sequence; `act_fn` reads what `gate_up_proj` wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.profiles.grids import doubling, fill_grid
from servetwin.cost.profiles.reading import Columns, read_columns
from servetwin.cost.profiles.timings import (
    AttentionTimings,
    Curve,
    ExpertTimings,
    LayerTimings,
    SkewTimings,
)
from servetwin.errors import InputError

__all__ = ["DIMENSIONS", "OWN", "LayerProfile", "find_layer_profiles", "read_layer_profile"]

Floats = NDArray[np.float64]
US = 1e-6

OWN = "servetwin"
"""What key `profiler` of meta.yaml says where our own profiler wrote it."""

DENSE = {
    "qkv_proj": "qkv",
    "o_proj": "attention_out",
    "gate_up_proj": "mlp_up",
    "down_proj": "mlp_down",
    "act_fn": "activation",
    "rotary_emb": "rotary",
    "layernorm": "norm",
    "qk_norm": "qk_norm",
    "gate": "router",
    "embedding": "embedding",
    "final_layernorm": "final_norm",
    "kv_write": "kv_write",
    "residual_add": "residual",
    "all_reduce": "all_reduce",
}
"""Names of the profiler, and ours."""

SAMPLED = {"lm_head": "head", "sampler": "sampler", "host": "host"}

NEEDED = ("qkv", "attention_out", "norm")
MLP = ("mlp_up", "mlp_down", "activation")
DIMENSIONS = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")


@dataclass(frozen=True)
class LayerProfile:
    """A profile that lies on the disk, not yet read."""

    folder: Path
    """Holds meta.yaml, and a folder tpN for each degree of tensor parallelism."""
    gpu: str
    model: str
    variant: str
    degrees: tuple[int, ...]
    meta: Mapping[str, Any]


def find_layer_profiles(folder: Path) -> list[LayerProfile]:
    """Every profile below `folder`, or around it where `folder` is a tpN of one."""
    places = sorted(folder.rglob("meta.yaml"))
    if not places and (folder.parent / "meta.yaml").is_file():
        places = [folder.parent / "meta.yaml"]
    return [_described(place) for place in places]


def _described(path: Path) -> LayerProfile:
    import yaml

    try:
        meta = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(meta, dict):
        raise InputError(f"{path}: a mapping with 'hardware' and 'model' is needed")
    for key in ("hardware", "model"):
        if not isinstance(meta.get(key), str):
            raise InputError(f"{path}: key '{key}': the name of a {key} is needed")
    tables = path.parent.glob("tp*/dense.csv")
    degrees = sorted(int(t.parent.name[2:]) for t in tables if t.parent.name[2:].isdigit())
    if not degrees:
        raise InputError(f"{path.parent}: no tpN/dense.csv beside meta.yaml")
    variant = str(meta.get("variant", path.parent.name))
    return LayerProfile(path.parent, meta["hardware"], meta["model"], variant, tuple(degrees), meta)


def read_layer_profile(profile: LayerProfile, tp: int) -> LayerTimings:
    """Read the tables of one degree of tensor parallelism.

    Raises InputError where a table is malformed or lacks what a layer needs. `moe.csv` is
    looked for in tp1 too, where the profiler puts it: its experts are whole.
    """
    folder = profile.folder / f"tp{tp}"
    if tp in (profile.meta.get("unfinished") or ()):
        raise InputError(
            f"{folder}: the profile is not finished; give the same `servetwin calibrate profile` "
            "command again, which goes on where it ended"
        )
    dense = _curves(folder / "dense.csv", "tokens", DENSE)
    moe = next(
        (p for p in (folder / "moe.csv", profile.folder / "tp1/moe.csv") if p.is_file()), None
    )
    for name in NEEDED if moe else (*NEEDED, *MLP):
        if name not in dense:
            theirs = next(key for key, ours in DENSE.items() if ours == name)
            raise InputError(f"{folder / 'dense.csv'}: column 'layer': no rows of '{theirs}'")
    sampled = _curves(folder / "per_sequence.csv", "sequences", SAMPLED)
    return LayerTimings(
        source=f"layer timings of {profile.model} ({profile.variant}, tp {tp}) on "
        f"{_circumstances(profile)}",
        dense=dense,
        host=sampled.pop("host", None),
        graphs=profile.meta.get("graphs") is not False,
        sampled=sampled,
        attention=_attention(folder / "attention.csv"),
        experts=_experts(moe) if moe else None,
        skew=_skew(profile.meta, tp),
    )


def _circumstances(profile: LayerProfile) -> str:
    meta = profile.meta
    if meta.get("profiler") != OWN:
        return f"{profile.gpu} under vLLM {meta.get('vllm_version', 'of unknown version')}"
    where = ", ".join(str(meta.get(key, "unknown")) for key in ("device", "driver"))
    version = meta.get("torch", "of unknown version")
    return f"{profile.gpu} ({where}) by servetwin's profiler under torch {version}"


def _curves(path: Path, size: str, names: Mapping[str, str]) -> dict[str, Curve]:
    table = read_columns(path, (size, "time_us"), ("layer",))
    curves = {}
    for theirs, ours in names.items():
        rows = table.where((table.labels["layer"] == theirs) & (table.numbers["time_us"] > 0))
        sizes, first = np.unique(rows.numbers[size], return_index=True)
        if sizes.size >= 2:
            curves[ours] = Curve(sizes, rows.numbers["time_us"][first] * US)
    return curves


def _attention(path: Path) -> AttentionTimings:
    """Read the grid that doubles; some files hold a second, incomplete one beside it."""
    table = read_columns(path, (*DIMENSIONS, "time_us"))
    chunk, decodes = table.numbers["prefill_chunk"], table.numbers["n_decode"]
    alone = table.where(decodes == 0)
    decoding = table.where(chunk == 0)
    both = table.where((chunk > 0) & (decodes > 0))
    chunks, dones = (doubling(alone.numbers[name]) for name in DIMENSIONS[:2])
    many, contexts = (doubling(decoding.numbers[name]) for name in DIMENSIONS[2:])
    mixed_many = doubling(both.numbers["n_decode"])
    grid = chunks, dones, mixed_many, contexts
    return AttentionTimings(
        chunks,
        dones,
        many,
        contexts,
        _full(alone, (chunks, dones), DIMENSIONS[:2]),
        _full(decoding, (many, contexts), DIMENSIONS[2:]),
        _full(both, grid, DIMENSIONS) if len(both) else None,
        mixed_many if len(both) else None,
    )


def _full(table: Columns, axes: tuple[Floats, ...], names: tuple[str, ...]) -> Floats:
    """Seconds on the grid; raises InputError for the first point that is missing."""
    points = [table.numbers[name] for name in names]
    grid = fill_grid(axes, points, table.numbers["time_us"] * US)
    holes = np.argwhere(~(grid > 0))
    if min(axis.size for axis in axes) < 2 or holes.size:
        hole = [axis[i] for axis, i in zip(axes, holes[0], strict=True)] if holes.size else []
        place = ", ".join(f"{n} = {v:g}" for n, v in zip(names, hole, strict=False))
        raise InputError(
            f"{table.path}: the doubling grid of {', '.join(names)} is incomplete: no row with "
            f"{place or 'at least two values of each'}"
        )
    return grid


def _experts(path: Path) -> ExpertTimings:
    table = read_columns(path, ("tokens", "activated_experts", "time_us"))
    tokens, active = (np.unique(table.numbers[n]) for n in ("tokens", "activated_experts"))
    points = [table.numbers["tokens"], table.numbers["activated_experts"]]
    grid = fill_grid((tokens, active), points, table.numbers["time_us"] * US)
    # Few tokens cannot reach many experts: those corners take the next larger batch's time,
    # which hardly depends on the tokens there.
    for row in range(tokens.size - 2, -1, -1):
        grid[row] = np.where(np.isnan(grid[row]), grid[row + 1], grid[row])
    if np.isnan(grid).any() or min(grid.shape) < 2:
        raise InputError(f"{path}: the grid of tokens and activated_experts is incomplete")
    return ExpertTimings(tokens, active, grid, per_token=int(active[0]))


def _skew(meta: Mapping[str, Any], tp: int) -> SkewTimings | None:
    """Share that the profiler fitted to skewed batches, where it timed any."""
    fit = meta.get("skew_fit")
    if not isinstance(fit, dict) or not fit.get("enabled"):
        return None
    share = fit.get("per_tp", {}).get(tp, {}).get("alpha_default")
    return SkewTimings(float(share)) if isinstance(share, int | float) and share >= 0 else None
