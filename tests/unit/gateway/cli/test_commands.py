"""The command: quick to help, light to import, and plain about the user's errors."""

import json
import os
import resource
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from pointsman.gateway.cli import main
from pointsman.gateway.cli.config import schema_text
from pointsman.gateway.cli.config_reference import reference_text
from pointsman.gateway.settings import ExpertSettings
from pointsman.gateway.settings.load import DEFAULT_FILE

ROOT = Path(__file__).parents[4]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
HEAVY = {"fastapi", "numpy", "pydantic", "sklearn", "torch", "litellm", "uvicorn", "redis", "rich", "yaml", "pyarrow"}


def pointsman(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pointsman.gateway.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


def test_help_lists_every_entry_point_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pointsman.gateway.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n"), done.stdout
    for point in entry_points(group="pointsman.commands"):
        assert f"  {point.name} " in done.stdout


def test_help_is_quick() -> None:
    # CPU time, and the best of a few: the machine may be busy with other things.
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert pointsman("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.6


@pytest.mark.parametrize("command", ["serve", "route", "check-config", "config-schema"])
def test_every_command_explains_itself(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert "Usage: " in done.output


def test_an_unknown_command_is_a_sentence() -> None:
    done = pointsman("sevre")
    assert done.returncode == 2
    assert "No such command 'sevre'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", [DEFAULT_FILE, *EXAMPLES], ids=lambda file: file.name)
def test_shipped_configurations_pass(file: Path) -> None:
    done = CliRunner().invoke(main, ["check-config", str(file)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{file}: OK\n")
    names = [line.split(":")[0].strip() for line in done.output.splitlines()[1:]]
    pool = yaml.safe_load(file.read_text(encoding="utf-8"))["pool"]
    wanted = [expert["name"] for expert in pool.get("experts", [])]
    wanted += [entry["model_name"] for entry in pool.get("model_list", [])]
    assert names == [*wanted, "time limits"]
    assert "600 s for the head of an answer, 600 s of silence within one" in done.output


def test_time_limits_of_ones_own_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    experts = "[{name: a, backend: fake, head_timeout_s: 20}, {name: b, backend: fake}]"
    file.write_text(f"server: {{idle_timeout_s: 30}}\npool: {{experts: {experts}}}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["check-config", str(file)])
    assert "600 s for the head of an answer, 30 s of silence within one; a 20 s and 30 s" in done.output
    file.write_text(file.read_text().replace("idle_timeout_s: 30", "idle_timeout_s: 30, expert_idle_timeout_s: 70"))
    assert "70 s of silence" in CliRunner().invoke(main, ["check-config", str(file)]).output


def test_a_broken_configuration_is_all_its_problems_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("server: {prot: 80}\nbudgets: {min_quality: 2}\n", encoding="utf-8")
    done = pointsman("check-config", str(file))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"{file}: 2 problems",
        "  server.prot: unknown key (did you mean port?) (line 1)",
        "  budgets.min_quality: should be less than or equal to 1, got 2 (line 2)",
    ]


def test_check_config_looks_for_the_keys_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(ROOT / "deploy" / "examples" / "mixed.yaml")
    names = ("VLLM_API_KEY", "OPENAI_API_KEY", "SEARCH_API_KEY", "SUPPORT_API_KEY")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(main, ["check-config", "--keys", file])
    assert done.exit_code == 1
    # Of callers' keys the holder is named, and not what stands in `key_env`: it might be the key.
    assert all(name in done.output for name in names[:2])
    assert done.output.count("that key_env names is not set") == len(names[2:])
    for name in names:
        monkeypatch.setenv(name, "secret-value")
    done = CliRunner().invoke(main, ["check-config", "--keys", file])
    assert done.exit_code == 0
    assert "secret-value" not in done.output


def test_a_pool_without_generalist_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("pool: {experts: [{name: a, backend: fake}]}", encoding="utf-8")
    assert "no expert is a generalist" in CliRunner().invoke(main, ["check-config", str(file)]).output


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "deploy" / "config.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run: pointsman config-schema > deploy/config.schema.json"


def test_the_schema_is_closed_and_describes_every_key() -> None:
    schema = json.loads(CliRunner().invoke(main, ["config-schema"]).output)
    objects = [schema, *schema["$defs"].values()]
    objects = [node for node in objects if node.get("type") == "object"]
    assert len(objects) > 10
    for node in objects:
        assert node["additionalProperties"] is False, node["title"]
        for name, field in node.get("properties", {}).items():
            assert field.get("description"), f"{node['title']}.{name} has no description"


def test_the_reference_in_the_docs_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert page.endswith(reference_text().rstrip() + "\n"), "run: make reference"
    for name in json.loads(schema_text())["$defs"]["ExpertSettings"]["properties"]:
        assert f"| `{name}` |" in page


def test_the_schema_does_not_depend_on_the_run() -> None:
    texts = [pointsman("config-schema", env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")]
    assert texts[0] == texts[1] == schema_text()


@pytest.mark.parametrize(
    ("backend", "options", "fits"),
    [
        ("fake", {"ttft_ms": 5, "fault": "break"}, True),
        ("fake", {"fault": "explode"}, False),
        ("fake", {"verify_tls": True}, False),
        ("replay", {"source": "a.jsonl"}, True),
        ("replay", {}, False),
        ("replay", None, False),
        ("fake", None, True),
        ("litellm", {"params": {"api_version": "x"}}, True),
        ("no_such", {}, False),
    ],
)
def test_the_schema_holds_options_to_their_backend(backend: str, options: dict[str, Any] | None, fits: bool) -> None:
    expert = {"name": "a", "backend": backend, **({} if options is None else {"options": options})}
    tree = {"pool": {"experts": [expert]}}
    assert jsonschema.Draft202012Validator(json.loads(schema_text())).is_valid(tree) is fits


def test_the_schema_knows_what_the_tree_knows() -> None:
    properties = json.loads(schema_text())["$defs"]["ExpertSettings"]["properties"]
    assert set(properties) == set(ExpertSettings.model_fields)


def test_an_artefact_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text("pool: {experts: [{name: a, backend: fake}]}\nrouter: {artifact: nowhere}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["check-config", str(file)])
    assert done.exit_code == 1
    assert "router.artifact" in done.output


def test_known_as_takes_a_name_as_people_write_it(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    named = "pool: {{experts: [{{name: a, known_as: {name}, backend: fake, generalist: true}}]}}\n"
    for name in ('"Claude 3.5 Sonnet"', "groß", "org/model:tag"):
        file.write_text(named.format(name=name), encoding="utf-8")
        assert CliRunner().invoke(main, ["check-config", str(file)]).exit_code == 0, name
    for name in ('" a"', '"a\\nb"', '""'):
        file.write_text(named.format(name=name), encoding="utf-8")
        assert "known_as" in CliRunner().invoke(main, ["check-config", str(file)]).output, name
