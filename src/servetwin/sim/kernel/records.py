"""The records that the kernel's arrays are made of, and what each of their fields means.

All fields of a replica, or of a seat, lie in a few cache lines.
"""

from __future__ import annotations

import numpy as np

from servetwin.cache.kernel.features import OPTIONAL

__all__ = [
    "BRIDGE",
    "CHUNK",
    "FAULT",
    "GATE",
    "PLAIN_SETTINGS",
    "PREFIX",
    "RARE",
    "REPLICA",
    "SEAT",
    "SETTINGS",
    "SNAPSHOT",
    "WORLD",
]


def _record(wide: str, narrow: str = "") -> np.dtype[np.void]:
    fields = [(name, "i8") for name in wide.split()]
    fields += [(name, "i4") for name in narrow.split()]
    return np.dtype(fields, align=True)


SETTINGS = _record(
    # `lag`: iterations between a plan and knowing its outcome. `grows`: KV blocks are taken
    # as contexts grow. `caching`: inputs share blocks. `tiers`: how many lie below
    # HBM. `hands_over`: to a decode pool; `fetches`: from a prefill pool. `tabled`: attention
    # has tables. `speculating`: decodes have one. `shift`: log2 of the block size, or -1.
    # `stages`: how many of them `engines` have, whose lanes the replicas are; 0 where each has
    # devices of its own. `fails`: engines do. `by_priority`: requests are served so. `loras`:
    # adapters in one batch. `kinds` of replicas there are, and these are the settings of `kind`;
    # 0 where all are alike. `restart` and `restore_block` as `Failures` has them.
    "scheduler lag grows caching tiers hands_over fetches tabled speculating "
    "budget max_seqs max_total capacity block_size shift "
    "ring_mask replicas leaves router interval gaps closed_loop "
    "base linear_slope head_slope decode_seq decode_ctx prefill_chunk prefill_attn "
    "window decode_window_ctx prefill_window_attn "
    "stages engines swap fails by_priority loras lora_base lora_adapter lora_token "
    "kinds kind restart restore_block"
)

RARE = (
    *("caching", "tiers", "hands_over", "fetches", "tabled", "speculating"),
    *("stages", "fails", "by_priority", "loras", "kinds"),
)
"""Settings that are 0 in a run without any of the rarer features."""

WITH_THEM = (
    "engines",
    "swap",
    "lora_base",
    "lora_adapter",
    "lora_token",
    "kind",
    "restart",
    "restore_block",
)
"""Settings that nobody asks for in such a run."""

PLAIN_SETTINGS = _record(
    " ".join(name for name in SETTINGS.names or () if name not in (*RARE, *WITH_THEM))
)
"""Of such a run: the kernel is compiled without code for what it has no setting for."""

OPTIONAL.update(RARE, WITH_THEM)

WORLD = _record(
    # `root`: next request with an arrival of its own. `overrun`: some time has passed the end
    # of the clock.
    "root roots heap_size events end overrun snapshot_limit"
)

GATE = _record(
    # What comes into a pool: `loads` are under way; `turn` and the 64 bits of `random` are
    # the router's.
    "loads turn random"
)

BRIDGE = _record(
    # Between pools: `leaving` requests have a hand-over to come; the rest is the link's.
    "leaving block_ps latency_ps layers"
)

FAULT = _record(
    # `next` is when an engine next fails, is detected or is back, `kind` which of these, and
    # `engine` whose; `known` engines are known to be down. The last five are what
    # `sim.failures.LOSSES` counts, the others what `Failures` says.
    "detect lag replicated neighbour reroute "
    "next kind engine known interrupted prompts prompt_tokens output_tokens rerouted"
)

CHUNK = _record(
    # Prompt tokens of a seat in the plan `step`, the last that had some, and in the plan before.
    "step",
    "tokens before",
)

REPLICA = _record(
    # The plan that was made last has number `step` and was made at `now`; it and the
    # `jump` - 1 plans after it decode the same `batch` sequences, whose contexts sum to
    # `contexts` in the first. The next boundary lies `first` after `now`, the one after
    # that `second` later, and each further one `growth` later than the one before.
    "now step batch live contexts free jump first second growth cost iterations split_chunks "
    # Tokens of that plan, and of the one before it, which runs until the next boundary.
    "prefill_tokens pairs window_pairs chunks samples "
    "staged_cost staged_prefill staged_decode staged_context "
    "done_prefill done_decode done_iterations done_context "
    # What prompts add to an iteration: of that plan, of the one before, of all that ended.
    "priced staged_priced done_priced "
    # With stages: what that plan takes longer since others are in them, and all that ended did.
    "waited done_waited "
    "seen_prefill seen_decode seen_iterations seen_context snapshot peak "
    # Finished requests whose seats and blocks return at the next boundary.
    "leaving_blocks "
    # With failures: blocks in use before that plan, and when the iteration under way began.
    "blocks_before begun "
    # With prefix caching: blocks that the jump's further plans have taken already, and
    # requests admitted so far. `anonymous` heads the blocks in use that nobody can find.
    "ahead admitted "
    # With tiers: further plans of the jump that have taken their blocks.
    "caught",
    "seats leaving leaving_count idle open queue_head queue_tail queue_length "
    "order_tail vacant prefills anonymous "
    # Seats that load or have loaded, and the first and last of the latter.
    "loading ready_head ready_tail "
    # Seats whose first decode in this pool is in that plan: the last ones in `prefilling`.
    "joining "
    # `doomed`: a failure will interrupt the iteration under way, whose tokens never come.
    # `redoing` of the `live` sequences decode tokens that their users have. `parked`: down, and
    # idle since. `astray` heads requests without a seat whose last token was to come.
    "doomed redoing parked astray "
    # With priorities: somebody in the running list was left out of the plan.
    "late "
    # With LoRA adapters: different ones that the `adapted` of the `batch` sequences need, others
    # that prompts of the plan need, for so many tokens; who was set aside.
    "adapters adapted prompt_adapters prompt_adapted aside aside_tail "
    # With replicas of several kinds: which settings are its own.
    "kind",
)

SEAT = _record(
    # A decoding request had `context` tokens in plan `joined`; plan `leave` is the first
    # without it.
    "joined leave "
    # For `attribution`: when the prompt began or the last token came, and where the
    # replica's sums stood.
    "mark mark_priced mark_prefill",
    # `remote`: its prompt was computed in another pool. `late`: see `kernel/priority.py`.
    "mark_done request input output generated target computed blocks context phase remote "
    "ring_next ring_prev order_next order_prev late",
)

PREFIX = _record(
    # Of the blocks of its input, a seat has `named` ids from `Caches.ids[first]` on, and has
    # given `filled` of them to its blocks. `order` ascends along the running list.
    "first order",
    "named filled",
)

SNAPSHOT = np.dtype(
    [
        ("running", "i4"),
        ("waiting", "i4"),
        ("kv_blocks", "i8"),
        ("prefill_tokens", "i8"),
        ("decode_tokens", "i8"),
        ("iterations", "i8"),
        ("context_tokens", "i8"),
    ]
)
