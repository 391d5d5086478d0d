"""A request in the engine, the pool of KV blocks, and one planned iteration."""

from __future__ import annotations

from dataclasses import dataclass, field

from servetwin.units import NOT_YET

__all__ = ["Batch", "BlockPool", "Request", "Work"]


@dataclass(eq=False)
class Request:
    """One request. Token counts include what planned iterations will have done."""

    number: int
    input_tokens: int
    output_tokens: int
    arrival: int
    """At this pool."""
    priority: int = 0
    adapter: int = -1
    """Which LoRA adapter it needs, -1 for none."""
    computed: int = 0
    """Tokens whose KV exists, or will once the planned iterations have run."""
    generated: int = 0
    """Output tokens, of which the last `in_flight` are still to be sampled."""
    in_flight: int = 0
    prompt_end: int = 0
    """Tokens to compute before the next one can be sampled; set on admission."""
    blocks: int = 0
    cached_tokens: int = 0
    """Input tokens that were found in the cache on first admission."""
    kv_transfer: int = 0
    """Picoseconds in which its blocks came from tiers below HBM."""
    prompt_begun: int = NOT_YET
    """When the plan was made that began the prompt, since the last admission."""
    prompt_done: int = 0
    """Tokens that were computed before."""
    marks: tuple[int, int, int, int] = (0, 0, 0, 0)
    """What `attribution.Clock` read then, or at the last token."""
    prefill_time: int = 0
    decode_time: int = 0
    preempted_time: int = 0
    prefill_stage_wait: int = 0
    decode_stage_wait: int = 0
    prefill_outage: int = 0
    decode_outage: int = 0
    slot: int = -1
    hands_over: bool = False
    """Goes on to a decode pool with its first token, which is its last here."""
    remote: bool = False
    """Its prompt was computed by a prefill replica, whose KV it has or will have."""
    joined: int = NOT_YET
    """When the plan was made that holds its first decode there."""
    handover_transfer: int = 0
    """Picoseconds in which that KV came, or waited for the link."""
    first_scheduled: int = NOT_YET
    first_token: int = NOT_YET
    last_token: int = NOT_YET
    finish: int = NOT_YET
    preemptions: int = 0
    delivered: int = 0
    """Tokens that the user had when its engine last failed; they are computed again."""
    retries: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """Where priorities count, the smaller is served first, and preempted last."""
        return self.priority, self.arrival, self.number

    @property
    def sampled(self) -> int:
        """Output tokens that an iteration has sampled, since the request last began."""
        return self.generated - self.in_flight

    @property
    def known_tokens(self) -> int:
        """Input and output so far: what must be computed before the next token."""
        return self.input_tokens + self.generated

    @property
    def decoding(self) -> bool:
        """Whether its prompt is computed, or will be by an iteration in flight."""
        return self.computed >= self.prompt_end > 0

    @property
    def exhausted(self) -> bool:
        """Whether its last token is sampled, or will be by an iteration in flight."""
        return self.generated == self.output_tokens


@dataclass
class BlockPool:
    """KV blocks of one replica without prefix caching: only numbers, since all are alike.

    `prefix.PrefixPool` is the one with it.
    """

    capacity: int
    block_size: int
    used: int = 0
    peak: int = 0

    @property
    def free(self) -> int:
        return self.capacity - self.used

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def cached(self, request: Request) -> int:  # noqa: ARG002 (there is no cache)
        """Tokens that `request`, which waits, would find computed."""
        return 0

    def needs(self, request: Request, tokens: int) -> int:  # noqa: ARG002
        """Free blocks that `request`, which waits, would take to hold `tokens` tokens."""
        return self.blocks_for(tokens)

    def begin(self, request: Request) -> None:
        """Give an admitted `request` the blocks that it finds computed."""

    def load(self, request: Request, tokens: int) -> int | None:  # noqa: ARG002
        """Take the blocks for `tokens` tokens, and have those loaded that come sooner so.

        Return when they are here, or None where nothing is worth loading.
        """
        return None

    def fill(self, request: Request) -> None:
        """The full blocks of what `request` has computed can be found from now on."""

    def grow(self, request: Request, tokens: int) -> None:
        """Give `request` the blocks that `tokens` tokens need, if it has fewer."""
        more = max(0, self.blocks_for(tokens) - request.blocks)
        request.blocks += more
        self.used += more

    def release(self, request: Request) -> None:
        self.used -= request.blocks
        request.blocks = 0

    def lose(self) -> None:
        """All that the blocks held is gone, and nobody has any."""
        self.used = 0

    def check_integrity(self, owners: list[Request]) -> None:
        assert 0 <= self.used <= self.capacity
        assert self.used == sum(request.blocks for request in owners)


@dataclass(frozen=True)
class Work:
    """What one iteration does for one request: `tokens` computed behind `done` others."""

    request: Request
    tokens: int
    done: int
    decode: bool
    samples: bool
    padding: bool = False
    """Computed in step with the others, though the request has all its tokens."""


@dataclass
class Batch:
    """One planned iteration."""

    work: list[Work] = field(default_factory=list)
    duration: int = 0
    waited: int = 0
    """What it takes longer since others are in the stages."""
    outage: int = 0
    """From its beginning until it began for the last time, since its engine failed."""
    preempted: bool = False
    """Whether somebody had to go for it."""

    def take_back(self, request: Request) -> int:
        """Strike what the iteration was to do for `request`; return how many tokens that was."""
        struck = [item for item in self.work if item.request is request]
        self.work = [item for item in self.work if item.request is not request]
        samples = sum(item.samples for item in struck)
        request.generated -= samples
        request.in_flight -= samples
        return sum(item.tokens for item in struck)

    @property
    def adapters(self) -> set[int]:
        """The LoRA adapters that it needs."""
        return {item.request.adapter for item in self.work} - {-1}

    @property
    def adapted(self) -> int:
        """Tokens that need one."""
        return sum(item.tokens for item in self.work if item.request.adapter >= 0)

    @property
    def prefill_tokens(self) -> int:
        return sum(item.tokens for item in self.work if not item.decode)

    @property
    def contexts(self) -> int:
        """KV tokens that its decodes read, padding included."""
        return sum(item.done + 1 for item in self.work if item.decode)

    @property
    def sequences(self) -> int:
        """Sequences that it decodes, padding included."""
        return sum(item.decode for item in self.work)

    @property
    def decodes(self) -> int:
        """Decode tokens that somebody waits for."""
        return sum(item.decode and not item.padding for item in self.work)
