"""How fast is a decision, what in it takes the time, and how does it grow?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pointsman.evals.bench.decide import EXPERTS_HERE, TOKENS_HERE, CallTiming, measure
from pointsman.evals.studies.drawing import BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.study import Study, StudyContext

#: Aims: (what, prompt tokens, experts, microseconds).
_AIMS = (("a short prompt", 100, 10, 60.0), ("a long prompt", 8000, 10, 500.0), ("a large pool", 100, 1000, 450.0))


def _run(ground: StudyContext) -> str:
    speed = measure(100 if ground.quick else 500, 1 if ground.quick else 5, ground.progress)
    _draw(ground.figures / "decision_speed.svg", speed.by_tokens, speed.by_experts, speed.select_by_experts)
    one, every, plain = speed.whole.values()
    aims = []
    for what, tokens, experts, aim_us in _AIMS:
        row = speed.by_tokens[str(tokens)] if experts == EXPERTS_HERE else speed.by_experts[str(experts)]
        case = f"{what}: {tokens:,} tokens, {experts:,} experts"
        aims.append((case, _us(aim_us), _us(row.p50_us), _us(row.most_us), _us(row.p99_us)))
    parts = [(name, _us(row.p50_us), _us(row.p99_us)) for name, row in speed.parts.items()]
    by_tokens = [(f"{int(key):,}", _us(row.p50_us), _us(row.p99_us)) for key, row in speed.by_tokens.items()]
    by_experts = [
        (f"{int(key):,}", _us(row.p50_us), _us(speed.select_by_experts[key].p50_us))
        for key, row in speed.by_experts.items()
    ]
    return f"""One decision (`decide`: assess and select, nothing cached) takes **{_us(one.p50_us)}** at the median for
{TOKENS_HERE} tokens and {EXPERTS_HERE} experts on one core, {_us(every.p50_us)} when a budget asks for every figure,
and {_us(plain.p50_us)} where the package was installed without a C compiler, so that numpy does what the kernel does.

{_table(("case", "aim", "p50", "p50 of the loudest round", "p99"), aims)}

Measured: {one.rounds} rounds of {one.count} calls per figure, each call timed alone, in processor time of one pinned
core of the machine that wrote this page. That machine does other work at the same time, so p50 and p99 are those of the
quietest round, and the loudest round's p50 stands beside them. Every prompt is new and ends with a word that no prompt
had before; its other words are drawn from the tokenizer's by Zipf's law and have mostly been seen, as in a gateway that
has run for a minute. Three words in ten have letters beyond ASCII, far more than in English: the kernel leaves them to
Python. Every pool snapshot is new. Embedder and classifier are the default artefact's; the experts are
made up, each with a head on the vector, means per category, answer lengths, prices, and a latency and an energy model.

![Time of a decision by prompt length and by experts](figures/decision_speed.svg)

Time grows with the prompt up to the 2,048 characters that the embedder reads, some 400 to 600 tokens, and hardly
beyond: longer prompts are clipped to head and tail. Over experts it is nearly flat up to a hundred: the work is on
arrays, and what is not asked for (estimates without caps, words without a reader) is not worked out. Where the
assessment is cached, stage 2 is all that is left.

## What takes what

{_table(("step", "p50", "p99"), parts)}

*tokenise and embed* includes *tokenise*. *explain* is what a reader of the decision pays, afterwards: {EXPERTS_HERE}
candidates with their figures, and a sentence per rejection.

## How it grows

{_table(("prompt tokens", "p50", "p99"), by_tokens)}

{_table(("experts", "decision p50", "stage 2 alone p50"), by_experts)}

`python -m pointsman.evals.bench.decide` prints the same for your machine.
"""


def _us(us: float) -> str:
    return f"{us:.0f} µs"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _draw(
    path: Path,
    by_tokens: Mapping[str, CallTiming],
    by_experts: Mapping[str, CallTiming],
    selects: Mapping[str, CallTiming],
) -> None:
    figure, (left, right) = axes(2, (7.0, 2.6), sharey=True)
    for ax, rows, label in (
        (left, by_tokens, f"prompt tokens ({EXPERTS_HERE} experts)"),
        (right, by_experts, f"experts ({TOKENS_HERE} prompt tokens)"),
    ):
        places = [int(key) for key in rows]
        ax.fill_between(
            places, [row.p50_us for row in rows.values()], [row.most_us for row in rows.values()], color=BLUE, alpha=0.2
        )
        ax.plot(places, [row.p50_us for row in rows.values()], "o-", color=BLUE, ms=3, label="decision, p50")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(label, fontsize=8)
        ax.grid(alpha=0.2)
    right.plot(
        [int(key) for key in selects], [row.p50_us for row in selects.values()], "s-", color=ORANGE, ms=3,
        label="stage 2 alone, p50",
    )  # fmt: skip
    for ax, tokens_or_experts, aims_us in ((left, (100, 8000), (60, 500)), (right, (10, 1000), (60, 450))):
        ax.plot(tokens_or_experts, aims_us, "v", color=GREY, ms=6, label="aim")
    left.set_ylabel("processor time, µs", fontsize=8)
    right.legend(fontsize=7, frameon=False)
    save(figure, path)


STUDY = Study("decision_speed", "A decision in a twentieth of a millisecond", (), _run)
