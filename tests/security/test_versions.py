"""What is asked for by version, because an older one had a hole; and what is not fetched while starting."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def required(name: str) -> list[Requirement]:
    """Every requirement of a package, of the gateway and of each extra."""
    stated = [
        *PROJECT["dependencies"],
        *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
    ]
    found = [Requirement(line) for line in stated]
    return [one for one in found if one.name.lower() == name]


@pytest.mark.parametrize(
    ("name", "holes"),
    [
        # A stolen payload; an SQL injection before the check of keys; commands from API input.
        ("litellm", ["1.82.7", "1.82.8", "1.83.6", "1.81.16", "1.74.2"]),
        # A Host header that changes the path an application sees.
        ("starlette", ["0.49.0", "1.0.0"]),
    ],
)
def test_no_version_with_a_known_hole_can_be_installed(name: str, holes: list[str]) -> None:
    wanted = required(name)
    assert wanted
    for requirement in wanted:
        assert not [hole for hole in holes if requirement.specifier.contains(hole)], str(requirement)
        assert requirement.specifier.contains(version(name))


def test_serving_needs_no_heavy_or_unlisted_package() -> None:
    needed = {Requirement(line).name.lower() for line in PROJECT["dependencies"]}
    assert not needed & {"litellm", "torch", "transformers", "aiohttp", "httpx", "requests"}


def test_litellm_uses_the_cost_map_that_it_ships_and_fetches_nothing() -> None:
    """With a broken map to fetch, it fell back in silence; with an attacker's, it would have believed it."""
    pytest.importorskip("litellm")
    code = """
import asyncio, sys
reached = []

def heard(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        reached.append((event, args))

sys.addaudithook(heard)
from pointsman.experts.backends.litellm import LiteLLMExpert
from pointsman.experts.spec import ExpertSpec
litellm = asyncio.run(LiteLLMExpert(ExpertSpec("a", "litellm", "openai/gpt-4o"))._load())
assert litellm.model_cost["gpt-4o"]["input_cost_per_token"] > 0
assert not reached, reached
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LITELLM_")}
    ran = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
