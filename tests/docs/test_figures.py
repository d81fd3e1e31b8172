"""The figures of the README are those of the results that it names, rounded."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import ROOT

#: A row of the README and the row of the results that it rounds.
QUALITY = {
    "MMLU-Pro, 28 experts": "mmlu_pro, 28 experts",
    "MMLU-Pro, six experts that are close": "mmlu_pro, close pool of six",
    "ulab9, nine experts": "ulab9, nine experts",
    "RouterBench (three sets), eleven experts": "routerbench_part, eleven experts",
}
SPEED = {
    "a model that the caller names": "named model",
    "`auto`, the same question again": "auto, decision held",
    "`auto`, a fresh prompt: embedded, classified, selected for": "auto, fresh prompt",
    "sglang-router (round robin)": "sglang-router 0.3.2, round_robin",
    "vllm-router (round robin)": "vllm-router 0.1.17, round_robin",
    "nginx, a plain proxy": "nginx, plain proxy",
}


def row(page: str, name: str) -> list[str]:
    """The cells after the first of the first row of that name."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", text, re.MULTILINE)
    assert found is not None, f"{page} has no row {name}"
    return found[1].split(" | ")


@pytest.mark.parametrize(("shown", "measured"), QUALITY.items())
def test_what_routing_gains(shown: str, measured: str) -> None:
    ours, single, gap = row("README.md", shown)
    _, exactly, single_exactly, _, gap_exactly, *_ = row("docs/results/router_quality.md", measured)
    assert [ours, single] == [f"{float(exactly):.3f}", f"{float(single_exactly):.3f}"]
    percents = re.findall(r"[-\u2212]?[\d.]+", gap)
    assert [float(one.replace("\u2212", "-")) for one in percents] == [
        float(one) for one in re.findall(r"-?[\d.]+", gap_exactly)
    ][: len(percents)]


@pytest.mark.parametrize(("shown", "measured"), SPEED.items())
def test_how_fast_it_is(shown: str, measured: str) -> None:
    rate, cpu = row("README.md", shown)
    rate_exactly, _, cpu_exactly, *_ = row("docs/results/speed.md", measured)
    assert rate == f"{round(int(rate_exactly.replace(',', '')), -2):,}"
    assert cpu == f"{cpu_exactly} µs"
