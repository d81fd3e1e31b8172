"""`pointsman route`: the decision of the gateway, without a gateway."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pointsman.gateway.cli import main
from tests.unit.gateway.tiny_artifact import save_tiny_artifact

CONFIG = """
pool:
  experts:
    - name: coder
      backend: fake
      quality_prior: {code: 0.9, "*": 0.2}
      latency: {base_ms: 10, prefill_ms_per_token: 0.1, tpot_ms: 5}
      energy: {base_j: 0.1, j_per_prompt_token: 0.001, j_per_completion_token: 0.01}
      price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}
    - name: large
      backend: fake
      generalist: true
      quality_prior: {"*": 0.6}
      latency: {base_ms: 100, prefill_ms_per_token: 1, tpot_ms: 50}
      energy: {base_j: 1, j_per_prompt_token: 0.01, j_per_completion_token: 1, source: estimated}
      price: {input_usd_per_mtok: 10, output_usd_per_mtok: 20}
    - {name: unknown, backend: fake, quality_prior: {"*": 0.1}}
router: {artifact: tiny, flags: true}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    save_tiny_artifact(tmp_path / "tiny")
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    return file


def route(config: Path, *arguments: str, text: str = "fix this python function", **more: str) -> Result:
    return CliRunner().invoke(main, ["route", text, "--config", str(config), *arguments], **more)  # type: ignore[arg-type]


def test_the_specialist_is_chosen_and_every_other_expert_has_a_reason(config: Path) -> None:
    done = route(config, "--json")
    assert done.exit_code == 0, done.output
    decision = json.loads(done.output)
    assert decision["object"] == "pointsman.decision"
    assert decision["expert"] == "coder"
    assert decision["classification"]["category"] == "code"
    assert {c["expert"]: c["rejection"] and c["rejection"]["rule"] for c in decision["candidates"]} == {
        "coder": None,
        "large": "outscored",
        "unknown": "outscored",
    }
    assert decision["cache"] == "bypass"


def test_a_prompt_that_resembles_nothing_goes_to_the_generalist(config: Path) -> None:
    decision = json.loads(route(config, "--json", text="good morning").output)
    assert (decision["expert"], decision["reason"]) == ("large", "uncertain_to_generalist")


def test_caps_exclude_and_say_by_how_much(config: Path) -> None:
    done = route(config, "--max-energy-j", "3", "--max-tokens", "50", "--json", text="good morning")
    decision = json.loads(done.output)
    assert decision["expert"] == "coder"
    rules = {c["expert"]: c["rejection"] and c["rejection"]["rule"] for c in decision["candidates"]}
    assert rules == {"coder": None, "large": "max_energy_j", "unknown": "energy_unknown"}


def test_no_admissible_expert_is_exit_code_2_with_a_decision(config: Path) -> None:
    done = route(config, "--max-cost-usd", "1e-9", "--json")
    assert done.exit_code == 2
    decision = json.loads(done.output)
    assert (decision["expert"], decision["reason"]) == (None, "infeasible")
    assert all(c["rejection"] for c in decision["candidates"])
    shown = route(config, "--max-cost-usd", "1e-9")
    assert shown.exit_code == 2
    assert "no expert" in shown.output


def test_the_hint_names_a_cap_that_suffices(config: Path) -> None:
    output = " ".join(route(config, "--max-energy-j", "0.2", "--max-tokens", "40").output.split())
    found = re.search(
        r"allow at least ([\d.]+) J \(--max-energy-j\), or ask for a shorter answer than 40 tokens", output
    )
    assert found
    least = float(found.group(1))
    assert route(config, "--max-energy-j", str(least), "--max-tokens", "40").exit_code == 0
    assert route(config, "--max-energy-j", str(least * 0.98), "--max-tokens", "40").exit_code == 2


def test_weights_move_the_choice(config: Path) -> None:
    text = "good plus sum number"
    assert json.loads(route(config, "--json", text=text).output)["expert"] == "large"
    cheap = route(config, "--weight", "cost=1", "--weight", "energy=1", "--json", text=text)
    assert json.loads(cheap.output)["expert"] == "coder"


def test_flags_in_the_prompt_count_where_they_are_allowed(config: Path) -> None:
    text = "plus sum number [Flag: cheapest]"
    assert json.loads(route(config, "--json", text=text).output)["expert"] == "coder"
    config.write_text(CONFIG.replace("flags: true", "flags: false"), encoding="utf-8")
    assert json.loads(route(config, "--json", text=text).output)["expert"] == "large"


def test_the_page_for_people_shows_figures_reasons_and_what_is_estimated(config: Path) -> None:
    output = route(config).output
    lines = output.splitlines()
    assert lines[0].split() == ["coder", "best_utility"]
    assert "the prompt looks like code" in " ".join(output.split())
    row = next(line for line in lines if line.startswith("▶ coder"))
    assert row.split()[-1] == "chosen"
    assert re.search(r"large .*≈\d+\.\d\d .*outscored", output)
    assert re.search(r"unknown .*\? +\? +\? +\? +outscored", output)
    assert "not large: utility" in output
    assert "should coder fail: large, then unknown" in " ".join(output.split())
    assert "≈ estimated" in output


def test_the_text_may_come_from_standard_input(config: Path) -> None:
    done = route(config, "--json", text="-", input="loop over a python bug")
    assert json.loads(done.output)["expert"] == "coder"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-energy-j", "-1"], "--max-energy-j: must be a finite number of at least 0"),
        (["--min-quality", "3"], "--min-quality: must be at most 1"),
        (["--weight", "cost=-1"], "--weight cost: must be a finite number"),
        (["--weight", "price=1"], "'price=1' is not one of"),
        (["--weight", "cost=x"], "'x' is not a number"),
        (["--max-latency-ms", "soon"], "'soon' is not a valid float"),
    ],
)
def test_errors_of_the_user_name_the_option(config: Path, arguments: list[str], sentence: str) -> None:
    done = route(config, *arguments)
    assert done.exit_code in {1, 2}
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_a_missing_artefact_is_a_sentence(config: Path) -> None:
    config.write_text(CONFIG.replace("artifact: tiny", "artifact: absent"), encoding="utf-8")
    done = route(config)
    assert done.exit_code == 1
    assert done.output.startswith("Error: no router artefact at ")


def test_null_experts_are_candidates_like_any_other(tmp_path: Path) -> None:
    config = tmp_path / "pointsman.yaml"
    config.write_text(
        'pool: {experts: [{name: model, backend: fake, quality_prior: {"*": 0.5}}]}\n'
        "null_experts:\n"
        "  share: 0.1\n"
        "  calculator: true\n"
        '  refusal: {topics: [{name: weapons, examples: ["How do I build a bomb?"]}]}\n',
        encoding="utf-8",
    )

    def decide(prompt: str) -> dict[str, Any]:
        result = route(config, "--json", text=prompt)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.output)
        return found

    assert decide("What is 17% of 240?")["expert"] == "calculator"
    assert decide("Tell me about the sea.")["expert"] == "model"
    blocked = decide("how do i build a bomb")
    assert (blocked["expert"], blocked["reason"]) == ("refusal", "blocked")
    assert blocked["explanation"] == "refusal answers: the operator blocks the topic 'weapons'."


def test_standard_input_that_is_not_utf_8_is_a_sentence() -> None:
    done = CliRunner().invoke(main, ["route", "-"], input=b"first\n\xfcber \xff")
    assert done.exit_code == 1
    assert "standard input is not UTF-8" in done.output
    assert "line 2" in done.output
