"""The fuzzer's targets in short: what hypothesis bends out of the seeds, and a short guided run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS

#: Where (in 1/65535 of the length), how much goes, and what comes in its place.
EDITS = st.lists(
    st.tuples(
        st.integers(0, 65535),
        st.integers(0, 20),
        st.sampled_from(WORDS) | st.binary(max_size=6),
    ),
    max_size=6,
)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_themselves_pass(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=500, deadline=None)
def test_whatever_comes_of_a_seed_holds(name: str, data: st.DataObject) -> None:
    said = bytearray(data.draw(st.sampled_from(SEEDS[name]) | st.binary(max_size=200)))
    for where, gone, put in data.draw(EDITS):
        at = where * len(said) // 65535
        said[at : at + gone] = put
    TARGETS[name](bytes(said))


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="the extra fuzz is absent")
def test_a_guided_run_finds_nothing() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "30000"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("nothing found") == len(TARGETS)
