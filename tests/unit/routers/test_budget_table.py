"""Every row of the table of caps and weights leads somewhere: columns, sources and sentences exist."""

import subprocess
import sys
from dataclasses import fields
from operator import attrgetter

import pytest

from pointsman.experts.spec import ExpertState
from pointsman.routers.budget import CAPS, WEIGHTS, Budget, Cap, Weight, Weights, caps_of
from pointsman.routers.selection.filters.caps import within_caps
from tests.unit.routers.pools import figures_of, request, spec

each_cap = pytest.mark.parametrize("cap", CAPS, ids=lambda cap: cap.name)
each_weight = pytest.mark.parametrize("weight", WEIGHTS, ids=lambda weight: weight.name)
FIGURES = figures_of((spec("a"), ExpertState()), (spec("b"), ExpertState()))


def test_every_number_of_a_budget_is_a_cap() -> None:
    numbers = [field.name for field in fields(Budget) if field.type == "float | None"]
    assert [cap.name for cap in CAPS] == numbers


def test_every_weight_but_that_of_quality_prices_something_and_is_0_unless_stated() -> None:
    unpriced = [weight.name for weight in WEIGHTS if not weight.figure]
    assert unpriced == ["quality"]
    assert Weights() == Weights(1.0, *[0.0] * (len(WEIGHTS) - 1))


@each_cap
def test_a_cap_reads_a_column_and_tells_it(cap: Cap) -> None:
    assert attrgetter(cap.figure)(FIGURES).shape == (2,)
    if cap.source:
        assert attrgetter(cap.source)(FIGURES.estimates(0))
    words = {"amount": 1.5, "cap": 1.0, "tokens": 256.0, "source": "stated", "queue": ""}
    for sentence in (cap.broken, cap.unknown):
        assert "{" not in sentence.format(**words)
    assert "{cap" in cap.broken
    assert bool(cap.unknown) == bool(cap.unknown_rule)


@each_weight
def test_a_weight_reads_a_column(weight: Weight) -> None:
    if weight.figure:
        assert attrgetter(weight.figure)(FIGURES).shape == (2,)


@pytest.mark.parametrize("row", [*CAPS, *WEIGHTS], ids=lambda row: row.name)
def test_what_a_row_means_is_a_sentence(row: Cap | Weight) -> None:
    assert row.help[0].isupper()
    assert row.help.endswith(".")
    assert row.header == row.header.lower()


def test_a_table_may_hold_one_cap_alone() -> None:
    (cap,) = [cap for cap in caps_of(Budget) if cap.name == "min_quality"]
    kind = within_caps([cap])
    assert kind.applying(request(Budget()), FIGURES) is None
    (only,) = kind.applying(request(Budget(min_quality=0.9)), FIGURES)
    assert not only.passes(FIGURES).any()


def test_settings_read_the_table_without_numpy() -> None:
    code = "import sys, pointsman.gateway.settings; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
