"""`python -m pointsman.evals.bench.decide`: how long one decision takes, what of it takes what, and how it grows.

Every decision is timed alone (processor time), on one core, uncached, on a prompt that was never seen before and a pool
snapshot that is new, as it is in a gateway under load. Prompts are drawn from the tokenizer's own words by Zipf's law,
with punctuation and one word that nobody has seen. Embedder and classifier are those of the default artefact; the
experts are made up, each with a head, answer lengths, prices, a latency and an energy model, so that any number of them
can be measured.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pointsman.experts.spec import (
    Capability,
    EnergyModel,
    ExpertSpec,
    ExpertState,
    LatencyModel,
    PoolView,
    Price,
    Speed,
)
from pointsman.routers.artifacts import load_router
from pointsman.routers.embed.lexical import LexicalEmbedder
from pointsman.routers.embed.static import StaticEmbedder
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights, CategoryMeans, LinearHeads
from pointsman.routers.estimators.tokens import CompletionTokens
from pointsman.routers.protocols import Embedder
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import Budget, Decision, RouteRequest, Weights

#: Caps and weights that ask for every figure there is.
EVERYTHING = Budget(
    max_ttft_ms=1e5,
    max_latency_ms=1e6,
    max_energy_j=1e6,
    max_cost_usd=10.0,
    min_quality=0.01,
    weights=Weights(latency=0.1, energy=0.1, cost=0.1, size=0.1),
)
#: The case that is taken apart.
TOKENS_HERE, EXPERTS_HERE = 100, 10
TOKENS = (10, 30, 100, 300, 1000, 3000, 8000)
#: Prompts that the words of the tokenizer are remembered from before anything is timed.
_WARM_UP = 1000
_BATCH = 50
EXPERTS = (1, 3, 10, 30, 100, 300, 1000)


@dataclass(frozen=True, slots=True)
class CallTiming:
    """Many timed calls, in microseconds of processor time, over some rounds.

    Attributes:
        p50_us: The median of the quietest round: what else runs on the machine only adds to it, by its use of caches.
        most_us: The median of the loudest round.
        p99_us: 99 % of the quietest round's calls took no longer.
        count: Calls of one round.
        rounds: Rounds.
    """

    p50_us: float
    most_us: float
    p99_us: float
    count: int
    rounds: int = 1

    @classmethod
    def of(cls, times_us: Sequence[float]) -> CallTiming:
        """From the calls of one round."""
        ordered, count = sorted(times_us), len(times_us)
        middle = ordered[count // 2]
        return cls(middle, middle, ordered[int(0.99 * (count - 1))], count)

    @classmethod
    def over(cls, rounds: Sequence[CallTiming]) -> CallTiming:
        """From several rounds."""
        quiet = min(rounds, key=lambda one: one.p50_us)
        return replace(quiet, most_us=max(one.most_us for one in rounds), rounds=len(rounds))


def timed(calls: Iterator[Callable[[], object]], count: int) -> CallTiming:
    """Time `count` calls one by one, after some to warm up; they are made ready before any clock starts."""
    for call in itertools.islice(calls, _BATCH):
        call()
    times: list[float] = []
    while len(times) < count:
        # Making a call ready takes longer than the call and would leave the processor's caches cold: so in batches.
        for call in list(itertools.islice(calls, _BATCH)):
            # Processor time: a decision waits for nothing, and what else runs on the machine is not its doing.
            start = time.thread_time_ns()
            call()
            times.append((time.thread_time_ns() - start) / 1e3)
    return CallTiming.of(times)


class Bench:
    """Routers, pools and prompts to measure with; deterministic.

    Args:
        count: Calls per figure.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._random = np.random.default_rng(0)
        default = load_router("default")
        self.embedder, self.classifier = default.embedder, default.classifier
        self.uncompiled = _uncompiled(default.embedder)
        words = np.array([word for word in _vocabulary(self.embedder) if word.isalpha()])
        self._words = words
        self._odds = 1.0 / np.arange(1, len(words) + 1)
        self._odds /= self._odds.sum()
        # A gateway has seen the common words within its first thousand prompts.
        for request in itertools.islice(self.requests(100), _WARM_UP):
            self.embedder.embed((request.text,))
            self.uncompiled.embed((request.text,))

    def router(self, experts: int, *, compiled: bool = True) -> TwoStageRouter:
        """A router that knows so many experts; without the compiled kernel where it is not wanted or not there."""
        names = _names(experts)
        categories = self.classifier.categories
        shape = (experts, len(categories))
        mean = self._random.uniform(0.2, 0.9, shape).astype(np.float32)
        heads = self._random.normal(0, 0.02, (experts, self.embedder.dim)).astype(np.float32)
        quality = BlendedQuality(
            names,
            categories,
            mean.mean(axis=1),
            BlendWeights(category=0.6, linear=0.3),
            category=CategoryMeans(mean, np.full(shape, 0.02, np.float32)),
            linear=LinearHeads(heads, mean.mean(axis=1)),
        )
        return TwoStageRouter(
            id="bench/1",
            artifact_hash="",
            embedder=self.embedder if compiled else self.uncompiled,
            classifier=self.classifier,
            quality=quality,
            tokens=self._lengths(experts),
        )

    def _lengths(self, experts: int) -> CompletionTokens:
        categories = self.classifier.categories
        lengths = self._random.uniform(50, 500, (experts, len(categories))).astype(np.float32)
        return CompletionTokens(_names(experts), categories, lengths, 2 * lengths)

    def views(self, experts: int) -> Iterator[PoolView]:
        """Snapshots of a pool of so many experts; no two in a row are the same object."""
        specs = [
            ExpertSpec(
                name,
                "fake",
                "fake",
                context_window_tokens=131_072,
                params_total_b=1.0 + index,
                price=Price(0.1 + 0.01 * index, 0.4),
                latency=LatencyModel(100.0, 0.1, 10.0),
                energy=EnergyModel(1.0, 0.01, 0.1),
                generalist=index == 0,
            )
            for index, name in enumerate(_names(experts))
        ]
        made = [
            PoolView(
                tuple((spec, ExpertState(in_flight=busy, speed=Speed(90.0, 0.1, 9.0, 1.5, 1.5))) for spec in specs)
            )
            for busy in range(4)
        ]
        return itertools.cycle(made)

    def requests(self, tokens: int, budget: Budget = Budget()) -> Iterator[RouteRequest]:  # noqa: B008 (frozen)
        """Requests of about so many tokens, each with a text of its own."""
        for number in itertools.count():
            drawn = self._random.choice(self._words, max(tokens - tokens // 10 - 4, 1), p=self._odds).tolist()
            drawn[9::10] = [f"{word}," for word in drawn[9::10]]
            # Hexadecimal digits make a word that no prompt had before; it is of about four tokens.
            text = f"{' '.join(drawn)} {self._random.bytes(4).hex()}?"
            yield RouteRequest(str(number), text, tokens, required=frozenset({Capability.CHAT}), budget=budget)

    def decision(
        self,
        tokens: int,
        experts: int,
        budget: Budget = Budget(),  # noqa: B008 (frozen)
        *,
        compiled: bool = True,
    ) -> CallTiming:
        """The whole decision."""
        router = self.router(experts, compiled=compiled)
        pairs = zip(self.requests(tokens, budget), self.views(experts), strict=False)
        return timed((partial(router.decide, request, view) for request, view in pairs), self._count)

    def selection(self, experts: int, budget: Budget = Budget()) -> CallTiming:  # noqa: B008 (frozen)
        """Stage 2 alone: all that is left where the assessment is cached."""
        router = self.router(experts)
        request = next(self.requests(100, budget))
        assessment = router.assess(request)
        return timed((partial(router.select, assessment, request, view) for view in self.views(experts)), self._count)

    def parts(self, tokens: int, experts: int) -> dict[str, CallTiming]:
        """Each step of a decision alone."""
        router = self.router(experts)
        embedder, classifier, count = self.embedder, self.classifier, self._count
        tokenizer = _static(embedder)
        texts = (request.text for request in self.requests(tokens))
        vectors = (embedder.embed((text,))[0] for text in texts)
        seen = ((vector, classifier.classify(vector)) for vector in vectors)
        return {
            "tokenise": timed((partial(tokenizer.token_ids, text) for text in texts), count),
            "tokenise and embed": timed((partial(embedder.embed, (text,)) for text in texts), count),
            "classify": timed((partial(classifier.classify, vector) for vector in vectors), count),
            "predict quality": timed((partial(router.quality.estimate, *pair) for pair in seen), count),
            "predict lengths": timed((partial(self._lengths(experts).estimate, pair[1]) for pair in seen), count),
            "select": self.selection(experts),
            "select, every cap and weight": self.selection(experts, EVERYTHING),
            "explain": self._explained(router, tokens, experts),
        }

    def _explained(self, router: TwoStageRouter, tokens: int, experts: int) -> CallTiming:
        pairs = zip(self.requests(tokens, EVERYTHING), self.views(experts), strict=False)
        decisions = (router.decide(request, view) for request, view in pairs)
        return timed((partial(_explain, decision) for decision in decisions), self._count // 4)


def _explain(decision: Decision) -> object:
    return decision.candidates, decision.rejections


def _names(experts: int) -> list[str]:
    return [f"expert-{index}" for index in range(experts)]


def _uncompiled(embedder: Embedder) -> LexicalEmbedder:
    if not isinstance(embedder, LexicalEmbedder):
        raise TypeError("the default artefact's embedder is a lexical one")
    return LexicalEmbedder.from_parts(embedder.spec(), embedder.tensors(), embedder.tokenizer_json(), kernel=None)


def _static(embedder: object) -> StaticEmbedder:
    while not isinstance(embedder, StaticEmbedder):
        embedder = embedder.static if isinstance(embedder, LexicalEmbedder) else getattr(embedder, "inner")  # noqa: B009
    return embedder


def _vocabulary(embedder: object) -> list[str]:
    vocabulary = json.loads(_static(embedder).tokenizer_json())["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)


@dataclass(frozen=True, slots=True)
class DecisionMeasurement:
    """All that is measured of a decision.

    Attributes:
        whole: The reference case, without caps, with every cap and weight, and without the compiled kernel.
        parts: Its steps.
        by_tokens: The whole decision over 10 experts, by prompt tokens.
        by_experts: The whole decision for 100 tokens, by experts in the pool.
        select_by_experts: Stage 2 alone, by experts in the pool.
    """

    whole: Mapping[str, CallTiming]
    parts: Mapping[str, CallTiming]
    by_tokens: Mapping[str, CallTiming]
    by_experts: Mapping[str, CallTiming]
    select_by_experts: Mapping[str, CallTiming]


def measure(count: int, rounds: int, progress: Callable[[float], None] = lambda _: None) -> DecisionMeasurement:
    """Measure everything, on one core, round after round.

    Args:
        count: Calls per figure and round.
        rounds: How often everything is measured.
        progress: Told the share that is done.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        bench = Bench(count)
        made = []
        for number in range(rounds):
            made.append(_round(bench))
            progress((number + 1) / rounds)
    finally:
        os.sched_setaffinity(0, cores)
    return DecisionMeasurement(
        **{name: _merged([getattr(one, name) for one in made]) for name in DecisionMeasurement.__slots__}
    )


def _round(bench: Bench) -> DecisionMeasurement:
    return DecisionMeasurement(
        whole={
            "no caps": bench.decision(TOKENS_HERE, EXPERTS_HERE),
            "every cap and weight": bench.decision(TOKENS_HERE, EXPERTS_HERE, EVERYTHING),
            "no caps, without the kernel": bench.decision(TOKENS_HERE, EXPERTS_HERE, compiled=False),
        },
        parts=bench.parts(TOKENS_HERE, EXPERTS_HERE),
        by_tokens={str(tokens): bench.decision(tokens, EXPERTS_HERE) for tokens in TOKENS},
        by_experts={str(experts): bench.decision(TOKENS_HERE, experts) for experts in EXPERTS},
        select_by_experts={str(experts): bench.selection(experts) for experts in EXPERTS},
    )


def _merged(rounds: Sequence[Mapping[str, CallTiming]]) -> dict[str, CallTiming]:
    return {key: CallTiming.over([one[key] for one in rounds]) for key in rounds[0]}


@click.command()
@click.option("--count", default=500, show_default=True, help="Decisions per figure and round.")
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file too.")
def main(count: int, rounds: int, json_path: Path | None) -> None:
    """Measure how long a decision takes on one core of this machine."""
    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("Measuring", total=1.0)
        speed = measure(count, rounds, lambda share: bars.update(bar, completed=share))
    if json_path is not None:
        json_path.write_text(json.dumps(asdict(speed), indent=2) + "\n", "utf-8")
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(_table(f"A decision: {TOKENS_HERE} tokens, {EXPERTS_HERE} experts", "budget", speed.whole))
    console.print(_table("What takes what", "step", speed.parts))
    console.print(_table(f"By prompt length, {EXPERTS_HERE} experts", "tokens", speed.by_tokens))
    console.print(_table(f"By experts, {TOKENS_HERE} tokens", "experts", speed.by_experts))
    console.print(_table("Stage 2 alone, as after a cached assessment", "experts", speed.select_by_experts))


def _table(title: str, column: str, rows: Mapping[str, CallTiming]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(column)
    for name in ("p50 µs", "loudest round", "p99 µs"):
        table.add_column(name, justify="right")
    for key, row in rows.items():
        table.add_row(key, f"{row.p50_us:.1f}", f"{row.most_us:.1f}", f"{row.p99_us:.1f}")
    return table


if __name__ == "__main__":
    main()
