"""The page docs/reference/models.md: `python -m servetwin.catalog.reference` prints it."""

from __future__ import annotations

import math
from collections import Counter
from itertools import groupby

from servetwin.catalog.huggingface import SUPPORTED
from servetwin.catalog.models import ModelEntry, model_entries
from servetwin.catalog.parameters import count_parameters
from servetwin.types import AttentionKind, Model

__all__ = ["models_page"]

_INTRODUCTION = """\
# Models

<!-- Printed by `python -m servetwin.catalog.reference`; change the data files instead. -->

Every model that `--model` knows by name. Case, spaces, dashes and underscores do not
matter, the publisher may be left out, and so may an ending such as `-Instruct`, `-Chat`,
`-it` or `-hf`. Any other model of a supported architecture can be named by the path of its
`config.json`; supported values of `model_type` are:

{supported}

Parameters are counted from the shapes, without vision towers and multi-token prediction;
*active* is what one token passes through, vocabulary tables included. Attention gives
query heads, key-value heads and head size, and the kinds of the layers where they are not
all full. The weight type is that of most weights, followed by the parts left in 16 bits;
embedding, head, norms and routers always are.

A source that says *config.json of …* names the published file. Not every such file was
opened: the shapes are held to it through the published number of parameters, which most
models meet to the last one (`tests/unit/catalog/test_parameters.py`). *Unsourced* marks
what nothing but likeness to another model supports.
"""

_KINDS = {
    AttentionKind.FULL: "full",
    AttentionKind.SLIDING: "sliding",
    AttentionKind.LATENT: "latent",
    AttentionKind.SPARSE_LATENT: "sparse latent",
    AttentionKind.LINEAR: "linear",
}


def models_page() -> str:
    """Write the page in Markdown, one table a family."""
    parts = [_INTRODUCTION.format(supported=", ".join(f"`{kind}`" for kind in SUPPORTED))]
    for family, entries in groupby(model_entries(), key=lambda entry: entry.family):
        parts.append(_family_table(family, list(entries)))
    return "\n".join(parts)


def _family_table(family: str, entries: list[ModelEntry]) -> str:
    lines = [
        f"## {family}",
        "",
        "| model | parameters | active | layers | attention | context | weights | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        model = entry.build()
        count = count_parameters(model)
        also = "".join(f"<br>{alias}" for alias in entry.aliases)
        cells = (
            f"**{entry.name}**{also}",
            _short_count(count.total),
            _short_count(count.active) if model.mixture else "",
            str(model.layers),
            _attention(model),
            f"{model.max_model_len:,}",
            _weights(model),
            entry.source,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _short_count(count: int) -> str:
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if count >= 0.9995 * size:
            value = count / size
            return f"{value:.{max(0, 2 - int(math.log10(value)))}f} {unit}"
    return f"{count:,}"


def _weights(model: Model) -> str:
    if not model.wide_parts:
        return model.dtype
    parts = ", ".join(part.replace("_", " ") for part in model.wide_parts)
    return f"{model.dtype}; 16 bits: {parts}"


def _attention(model: Model) -> str:
    if model.latent is not None:
        latent = model.latent
        heads = f"{model.heads}, latent {latent.kv_lora_rank} + {latent.rope_head_dim}"
    else:
        heads = f"{model.heads}/{model.kv_heads} of {model.head_dim}"
    kinds = Counter(model.attention)
    if set(kinds) <= {AttentionKind.FULL, AttentionKind.LATENT}:
        return heads
    counts = ", ".join(f"{number} {_KINDS[kind]}" for kind, number in kinds.items())
    window = f" (window {model.sliding_window:,})" if model.sliding_window else ""
    top = f" (top {model.sparse_top_k:,})" if model.sparse_top_k else ""
    return f"{heads}; {counts}{window}{top}"


if __name__ == "__main__":
    print(models_page(), end="")
