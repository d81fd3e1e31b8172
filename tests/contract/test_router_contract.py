"""What every router promises, whichever it is: held against the packaged one and one fitted on the spot."""

from pathlib import Path

import pytest

from pointsman.experts.spec import ExpertSpec, ExpertState, PoolView
from pointsman.routers.artifacts import DEFAULT_DIR, load_artifact, load_router
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.training.fit import fit_router
from pointsman.routers.types import Decision, Reason, RouteRequest
from tests.unit.routers.tiny import tiny_data, tiny_embedder

VIEW = PoolView(
    (
        (ExpertSpec("nano-code", "fake", "m"), ExpertState()),
        (ExpertSpec("coder", "fake", "m"), ExpertState(in_flight=3)),
        (ExpertSpec("unknown-to-all", "fake", "m", params_total_b=70.0), ExpertState()),
        (ExpertSpec("nano-general", "fake", "m", generalist=True), ExpertState(healthy=False)),
    )
)
TEXTS = ("def add(a, b):", "what is 2 + 2", "", " ", "\x00\ud7ff𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \u202e", "word " * 50_000, "日本語の質問です")


@pytest.fixture(scope="module", params=["default", "fitted"])
def router(request: pytest.FixtureRequest) -> RouterProtocol:
    if request.param == "default":
        return load_router("default")
    return fit_router(tiny_data(), embedder=tiny_embedder(), max_iter=10).router()


def ask(text: str) -> RouteRequest:
    return RouteRequest("r1", text, 12)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_gets_a_decision(router: RouterProtocol, text: str):
    decision = router.decide(ask(text), VIEW)
    assert isinstance(decision, Decision)
    assert decision.expert in {"nano-code", "coder", "unknown-to-all"}
    assert sum(decision.classification.posterior.values()) == pytest.approx(1.0, abs=1e-4)
    assert len(decision.candidates) == 4
    assert len(decision.rejections) == 3
    assert set(decision.fallbacks) | {decision.expert} == {"nano-code", "coder", "unknown-to-all"}


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_same_question_gets_the_same_decision(router: RouterProtocol, text: str):
    assert repr(router.decide(ask(text), VIEW)) == repr(router.decide(ask(text), VIEW))


def test_decide_is_select_after_assess(router: RouterProtocol):
    asked = ask("def add(a, b):")
    assert repr(router.decide(asked, VIEW)) == repr(router.select(router.assess(asked), asked, VIEW))


def test_an_assessment_does_not_look_at_budget_or_pool(router: RouterProtocol):
    asked = ask("def add(a, b):")
    other = RouteRequest("r2", "def add(a, b):", 900, max_completion_tokens=3, allowed=frozenset())
    assert repr(router.assess(asked)) == repr(router.assess(other))


def test_decisions_name_their_router(router: RouterProtocol):
    decision = router.decide(ask("hello"), VIEW)
    assert decision.router == router.id
    assert decision.artifact_hash == router.artifact_hash
    assert len(router.artifact_hash) == 64


def test_no_admissible_expert_is_a_refusal_with_all_reasons(router: RouterProtocol):
    nobody = RouteRequest("r1", "hello", 12, allowed=frozenset())
    decision = router.decide(nobody, VIEW)
    assert (decision.expert, decision.reason) == (None, Reason.INFEASIBLE)
    assert [rejection.expert for rejection in decision.rejections] == [spec.name for spec, _ in VIEW.entries]


def test_the_packaged_artefact_is_small_and_complete():
    files = {path.name: path.stat().st_size for path in Path(DEFAULT_DIR).iterdir()}
    assert set(files) == {"manifest.json", "weights.safetensors", "tokenizer.json"}
    assert sum(files.values()) < 20e6
    manifest = load_artifact("default").manifest
    assert manifest["experts"] == ["nano-clinical", "nano-code", "nano-general", "nano-math", "nano-prose"]
    assert not {"routellm", "routerbench_part"} & set(manifest["training"]["data"])
