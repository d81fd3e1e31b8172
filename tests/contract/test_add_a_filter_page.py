"""docs/add-a-filter.md: what it adds to a copy of the package is there, in every place that the page names."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/add-a-filter.md").read_text(encoding="utf-8")
FILTER, FILTER_LINES, SCORER, SCORER_LINES, CAP, WEIGHT = re.findall(
    r"^```(?:python|diff)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)
BUDGET = (ROOT / "routers/budget.py").read_text(encoding="utf-8")
EDITED = ("budget.py", "selection")

EXPERT = {"backend": "fake", "quality_prior": {"*": 0.5}, "capabilities": ["chat", "tools"]}
CONFIG = {
    "pool": {
        "experts": [
            {**EXPERT, "name": "small", "params_total_b": 7, "local": True},
            {**EXPERT, "name": "large-preview", "params_total_b": 70, "local": False},
            {**EXPERT, "name": "sizeless", "local": False},
        ]
    }
}
TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]


class Copy:
    """The package with the changes of the page; all that they do not touch is linked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.routers = folder / "pointsman" / "routers"
        self.routers.mkdir(parents=True)
        (folder / "pointsman" / "__init__.py").write_text("", encoding="utf-8")
        for package in ("gateway", "experts", "evals"):
            (folder / "pointsman" / package).symlink_to(ROOT / package)
        for child in (ROOT / "routers").iterdir():
            if child.name not in EDITED:
                (self.routers / child.name).symlink_to(child)
        for file in [ROOT / "routers" / "budget.py", *(ROOT / "routers" / "selection").rglob("*.py")]:
            self.write(str(file.relative_to(ROOT / "routers")), file.read_text(encoding="utf-8"))
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        file = self.routers / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def add(self, name: str, after: str, text: str) -> None:
        old = (self.routers / name).read_text(encoding="utf-8")
        assert old.count(after) == 1, after
        self.write(name, old.replace(after, after + text))

    def change(self, name: str, diff: str) -> None:
        """Add each line that the diff adds, after the line before it."""
        lines = diff.splitlines()
        for before, line in itertools.pairwise(lines):
            if line.startswith("+"):
                self.add(name, f"\n{before[1:]}\n", f"{line[1:]}\n")

    def python(self, *arguments: str, stdin: str = "") -> str:
        env = {**os.environ, "PYTHONPATH": str(self.folder)}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder, env=env, input=stdin, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode in {0, 2}, done.stderr
        return done.stdout + done.stderr

    def route(self, *options: str) -> dict[str, dict[str, Any]]:
        """The candidates of a decision by name."""
        arguments = ("route", "hello", "--config", "config.yaml", "--json", *options)
        told = json.loads(self.python("-m", "pointsman.gateway.cli", *arguments))
        return {one["expert"]: one for one in told["candidates"]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    copy = Copy(tmp_path_factory.mktemp("copy"))
    copy.write("selection/filters/previews.py", FILTER)
    copy.change("selection/filters/chain.py", FILTER_LINES)
    copy.write("selection/scorers/home.py", SCORER)
    copy.change("selection/scorers/utility.py", SCORER_LINES)
    last_cap = re.findall(r"^    min_quality: .*?^    \)\n", BUDGET, re.MULTILINE | re.DOTALL)
    last_weight = re.findall(r"^    readability: .*?^    \)\n", BUDGET, re.MULTILINE | re.DOTALL)
    copy.add("budget.py", *last_cap, CAP)
    copy.add("budget.py", *last_weight, WEIGHT)
    return copy


def test_the_options_and_the_settings_are_there(copy: Copy) -> None:
    told = copy.python("-m", "pointsman.gateway.cli", "route", "--help")
    assert "--max-params-b" in told
    assert "Hard cap on the number of parameters in billions." in " ".join(told.split())
    keys = json.loads(copy.python("-m", "pointsman.gateway.cli", "config-schema"))["$defs"]
    assert keys["BudgetSettings"]["properties"]["max_params_b"]["anyOf"][0] == {"exclusiveMinimum": 0, "type": "number"}
    assert keys["WeightSettings"]["properties"]["load"]["description"] == "Price of the calls in flight."


def test_the_cap_refuses_with_its_sentences(copy: Copy) -> None:
    found = copy.route("--max-params-b", "10")
    assert found["small"]["chosen"]
    assert found["large-preview"]["rejection"] == {
        "rule": "max_params_b",
        "detail": "it has 70 billion parameters, over the cap of 10",
        "transient": False,
    }
    assert found["sizeless"]["rejection"]["rule"] == "size_unknown"
    refused = copy.python("-m", "pointsman.gateway.cli", "route", "x", "--config", "config.yaml", "--max-params-b", "1")
    assert "not small: it has 7 billion parameters, over the cap of 1." in " ".join(refused.split())
    wrong = """
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.budget import parse_budget
from pointsman.routers.budget import Budget
print(parse_budget({"max_params_b": 3}, {}, Budget())[0] == parse_budget(None, {b"x-pointsman-max-params-b": b"3"}, Budget())[0])
try:
    parse_budget({"max_params_b": 0}, {}, Budget())
except RequestRefused as refused:
    print(refused.param)
"""  # noqa: E501
    assert copy.python("-", stdin=wrong).split() == ["True", "routing.max_params_b"]


def test_the_weight_and_the_scorer_are_terms(copy: Copy) -> None:
    found = copy.route("--weight", "load=0.5")
    assert {name: one["terms"]["home"] for name, one in found.items()} == {
        "small": 0.05,
        "large-preview": 0.0,
        "sizeless": 0.0,
    }
    assert all(one["terms"]["load"] == -0.5 for one in found.values()), "idle experts are all as busy as the busiest"
    assert found["small"]["chosen"]


def test_the_filter_rejects_and_a_refusal_names_the_field_of_the_cap(copy: Copy) -> None:
    asked = """
import json
from pointsman.experts.spec import Capability, ExpertSpec, PoolView
from pointsman.gateway.refusals import refusal_of
from pointsman.routers.artifacts import load_router
from pointsman.routers.budget import Budget
from pointsman.routers.types import RouteRequest
can = frozenset({Capability.CHAT, Capability.TOOLS})
def spec(name):
    return ExpertSpec(name=name, backend="fake", model=name, capabilities=can, params_total_b=7.0)
def decide(budget, *names):
    request = RouteRequest("r", "hello", 10, required=frozenset({Capability.TOOLS}), budget=budget)
    return load_router("default").decide(request, PoolView.of(*map(spec, names)))
kept = decide(Budget(), "a", "a-preview")
refused = refusal_of(decide(Budget(max_params_b=1.0), "a", "b"))
barred = dict(kept.explanation.barred)
print(json.dumps([kept.expert, barred, kept.rejections[0].detail, refused.param, refused.reason]))
"""
    assert json.loads(copy.python("-", stdin=asked)) == [
        "a",
        {"a-preview": "preview"},
        "it is a preview, and the request calls tools",
        "routing.max_params_b",
        "max_params_b",
    ]


def test_the_pages_get_their_rows(copy: Copy) -> None:
    page = copy.folder / "page.md"
    names = ("caps", "weights", "rules", "terms")
    page.write_text("".join(f"<!-- table: {name} -->\n<!-- end of table -->\n" for name in names), encoding="utf-8")
    copy.python("-m", "pointsman.gateway.cli.routing_reference", "page.md")
    rows = page.read_text(encoding="utf-8")
    for row in ("max_params_b", "load", "preview", "size_unknown", "home"):
        assert f"| `{row}` |" in rows


def test_the_client_has_the_field(copy: Copy) -> None:
    pytest.importorskip("langchain_openai", reason="needs the extra 'langchain'")
    asked = """
from pointsman.gateway.clients.langchain import ChatPointsman
print(ChatPointsman(base_url="http://127.0.0.1:1/v1", max_params_b=10)._get_request_payload("hi")["routing"])
"""
    assert copy.python("-", stdin=asked).strip() == "{'max_params_b': 10.0}"
