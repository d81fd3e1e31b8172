"""The recipe's parts: splits that hold, conversations that invent nothing, checkpoints in HF's shape, honest claims."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pointsman.experts.nano import GENERALIST, MODEL_NAMES, MODELS_DIR, SPECIALISTS
from pointsman.experts.nano.training.conversations import conversations_of
from pointsman.experts.nano.training.corpora import DOMAINS, CorpusDocument, Split, load_code, load_documents
from pointsman.experts.nano.training.outcomes import draw_prompts
from pointsman.experts.nano.training.recipe import RetrainingRecipe
from pointsman.experts.nano.training.schedule import phase_at, rate_at
from pointsman.experts.nano.training.scoring import quality, score_answers, score_texts


def sampled(documents: list[CorpusDocument], count: int) -> list[str]:
    rng = np.random.default_rng(17)
    chosen = rng.choice(len(documents), size=min(count, len(documents)), replace=False)
    return [documents[index].text[:1500] for index in chosen]


@pytest.fixture(scope="module")
def code() -> list[CorpusDocument]:
    return load_code()


def test_every_split_of_the_standard_library_is_filled(code: list[CorpusDocument]) -> None:
    shares = {split: sum(d.split is split for d in code) / len(code) for split in Split}
    assert 0.85 < shares[Split.TRAIN] < 0.95
    assert shares[Split.HELDOUT] > 0.04
    assert shares[Split.VALIDATION] > 0.01


def test_no_test_and_no_installed_package_is_among_the_code(code: list[CorpusDocument]) -> None:
    assert not [d.source for d in code if {"test", "tests", "site-packages"} & set(d.source.split("/"))]


def test_questions_and_answers_come_from_the_document() -> None:
    text = (
        "class Stack:\n"
        '    """A stack of things, last in first out, without a limit."""\n\n'
        "    def push(self, thing):\n"
        '        """Put a thing on top of all the others."""\n'
        "        self.things.append(thing)\n"
    )
    document = CorpusDocument("code", "stack.py", "stack.py", text, Split.TRAIN)
    pairs = [pair for seed in range(30) for pair in conversations_of(document, seed)]
    assert len({user for user, _ in pairs}) > 5
    for user, answer in pairs:
        assert "Stack" in user or "push" in user.lower() or "thing" in user
        body = answer.removeprefix("```python\n").removesuffix("\n```")
        assert all(line.strip() in text for line in body.splitlines())


def test_worked_answers_lose_their_annotations() -> None:
    text = "Question: What do 2 hats at $3 cost?\nAnswer: They cost 2*3 = $<<2*3=6>>6.\n#### 6"
    document = CorpusDocument("math", "math-train", text, text, Split.TRAIN)
    pairs = [pair for seed in range(20) for pair in conversations_of(document, seed)]
    assert all("<<" not in part for pair in pairs for part in pair)
    assert ("What do 2 hats at $3 cost?", "They cost 2*3 = $6.\n#### 6") in pairs
    assert any("2*3" in user.replace(" ", "") and answer.endswith("#### 6") for user, answer in pairs)


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    for job in RetrainingRecipe().jobs:
        assert rate_at(job, 0, 0.0) < 0.2
        assert rate_at(job, job.warmup_steps, job.decay_from) == 1
        assert rate_at(job, job.steps, 1.0) == pytest.approx(job.decay_to if job.decay_from < 1 else 1)
        assert phase_at(job, 0.0) is job.phases[0]
        assert phase_at(job, 0.9999) is job.phases[-1]


def test_the_ceilings_of_the_recipe_fit_into_an_hour_on_two_cores() -> None:
    jobs = {job.name: job for job in RetrainingRecipe().jobs}
    ends: dict[str, float] = {}
    cores = [0.0, 0.0]
    for job in jobs.values():
        core = min(range(2), key=cores.__getitem__)
        begins = max(cores[core], ends.get(job.after or "", 0.0))
        ends[job.name] = cores[core] = begins + job.ceiling_minutes
    assert max(cores) <= 50  # minutes; the rest is for reading, tokenising and scoring


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_checkpoint_has_every_file_and_the_stated_size(name: str) -> None:
    folder = MODELS_DIR / name
    files = {file.name for file in folder.iterdir()}
    assert files == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen3MoeForCausalLM" if name == GENERALIST else "Qwen3ForCausalLM"]
    assert 2e6 < (folder / "model.safetensors").stat().st_size / 2 < 8e6


def test_the_checkpoints_share_one_tokenizer_and_stay_below_their_limit() -> None:
    assert len({(MODELS_DIR / name / "tokenizer.json").read_bytes() for name in MODEL_NAMES}) == 1
    assert sum(file.stat().st_size for file in MODELS_DIR.rglob("*") if file.is_file()) < 60_000_000


def claimed() -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = json.loads((MODELS_DIR / "heldout_bpb.json").read_text(encoding="utf-8"))[
        "bits_per_byte"
    ]
    return table


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_table_says_that_each_specialist_wins_its_domain_clearly(domain: str) -> None:
    table = claimed()
    own = table[SPECIALISTS[domain]][domain]
    others = [scores[domain] for name, scores in table.items() if name != SPECIALISTS[domain]]
    assert own < min(others) - 0.1


@pytest.mark.slow
def test_the_code_specialist_wins_held_out_code_here_and_now(code: list[CorpusDocument]) -> None:
    bits = score_texts(sampled([d for d in code if d.split is Split.HELDOUT], 12))
    means = {name: float(values.mean()) for name, values in bits.items()}
    assert min(means, key=means.__getitem__) == "nano-code"
    assert means["nano-code"] < sorted(means.values())[1] - 0.1
    # Other files (each Python's own), shorter pieces: near the table, not equal to it.
    assert means["nano-code"] == pytest.approx(claimed()["nano-code"]["code"], abs=0.8)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("domain", ["math", "clinical", "prose"])
def test_the_other_specialists_win_held_out_text_here_and_now(domain: str) -> None:
    documents = [d for d in load_documents() if d.domain == domain and d.split is Split.HELDOUT]
    bits = score_texts(sampled(documents, 12))
    means = {name: float(values.mean()) for name, values in bits.items()}
    assert min(means, key=means.__getitem__) == SPECIALISTS[domain]


@pytest.mark.shared
def test_prompts_of_the_outcome_table_are_split_by_document() -> None:
    documents = load_documents()
    prompts = draw_prompts(documents, 20, 10)
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts) == 4 * 30
    held = [d.text for d in documents if d.split is Split.HELDOUT]
    seen = [d.text for d in documents if d.split is not Split.HELDOUT]
    for prompt in prompts:
        if prompt.kind == "fragment":
            assert any(prompt.text in text for text in (held if prompt.split == "test" else seen))


def test_a_text_that_stands_in_both_splits_is_only_trained_on() -> None:
    # Real speeches thank the same people in the same words; here one short document is in both splits whole.
    shared = "and I thank the Members of this Congress for their patience with me tonight, each and every one"
    documents = [
        CorpusDocument("prose", "speeches", name, shared, split)
        for name, split in (("one", Split.TRAIN), ("other", Split.HELDOUT))
    ]
    prompts = draw_prompts(documents, 200, 200)
    texts = {split: {p.text for p in prompts if p.split == split} for split in ("train", "test")}
    assert texts["train"]
    assert not texts["train"] & texts["test"]
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts)


def test_a_loss_does_not_depend_on_what_is_scored_beside_it() -> None:
    texts = ["import os\n", "x", "def f(a, b):\n    return a + b\n" * 12]
    together = score_texts(texts, names=["nano-code"])["nano-code"]
    alone = [score_texts([text], names=["nano-code"])["nano-code"][0] for text in texts]
    assert together == pytest.approx(alone, rel=1e-4)


def test_an_empty_text_has_no_loss() -> None:
    bits = score_texts(["", "import os\n"], names=["nano-code"])["nano-code"]
    assert np.isnan(bits[0])
    assert bits[1] > 0


def test_the_context_counts_for_an_answer_and_is_not_counted_in_it() -> None:
    answer = "```python\nimport os\n```"
    bits = score_answers([("import os", answer), ("What is 2*3?", answer)], names=["nano-code"])["nano-code"]
    assert bits[0] < bits[1]


def test_quality_falls_from_one_to_zero() -> None:
    assert quality(np.array([0.0, 1.0, 60.0])) == pytest.approx([1.0, 0.5, 0.0], abs=1e-9)
    assert np.isnan(quality(np.array([np.nan]))).all()
