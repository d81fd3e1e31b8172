"""The numpy forward pass: the cache changes nothing, neighbours change nothing, and transformers agrees."""

from __future__ import annotations

import numpy as np
import pytest

from pointsman.experts.embedded.decoder import Decoder
from pointsman.experts.embedded.weights import CheckpointError, read_config, read_tensors
from pointsman.experts.nano import GENERALIST, MODEL_NAMES, MODELS_DIR

RNG = np.random.default_rng(5)
TOKENS = RNG.integers(0, 4096, size=(1, 150))
each_kind = pytest.mark.parametrize("name", ["nano-code", GENERALIST])


def logits_at_once(decoder: Decoder, tokens: np.ndarray) -> np.ndarray:
    cache = decoder.new_cache()
    cache.add()
    return decoder.forward(tokens, cache, slice(0, 1), all_positions=True)[0]


@each_kind
def test_slices_and_single_steps_give_what_one_pass_gives(name: str) -> None:
    decoder = Decoder.load(MODELS_DIR / name)
    whole = logits_at_once(decoder, TOKENS)
    cache = decoder.new_cache()
    cache.add()
    row = slice(0, 1)
    parts = [decoder.forward(TOKENS[:, part], cache, row)[0] for part in (slice(0, 100), slice(100, 140))]
    steps = [decoder.forward(TOKENS[:, i : i + 1], cache, row)[0] for i in range(140, 150)]
    assert np.abs(np.array([*parts, *steps]) - whole[[99, 139, *range(140, 150)]]).max() < 1e-3


@each_kind
def test_a_sequence_does_not_notice_its_neighbours(name: str) -> None:
    decoder = Decoder.load(MODELS_DIR / name)
    cache = decoder.new_cache()
    for row, length in enumerate((30, 140, 5)):
        cache.add()
        decoder.forward(TOKENS[:, :length], cache, slice(row, row + 1))
    cache.remove(0)  # the others move up
    step = decoder.forward(np.array([[TOKENS[0, 140]], [TOKENS[0, 5]]]), cache, slice(0, 2))
    whole = logits_at_once(decoder, TOKENS)
    assert np.abs(step - whole[[140, 5]]).max() < 1e-3


@each_kind
def test_a_future_token_changes_nothing_before_it(name: str) -> None:
    decoder = Decoder.load(MODELS_DIR / name)
    other = TOKENS.copy()
    other[0, -1] = (other[0, -1] + 1) % 4096
    first, second = logits_at_once(decoder, TOKENS), logits_at_once(decoder, other)
    assert np.abs(first[:-1] - second[:-1]).max() < 1e-4
    assert np.abs(first[-1] - second[-1]).max() > 1e-2


@pytest.mark.train
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_transformers_computes_the_same_logits(name: str) -> None:
    torch = pytest.importorskip("torch", reason="parity needs torch (extra `train`)")
    transformers = pytest.importorskip("transformers", reason="parity needs transformers (extra `train`)")
    model = transformers.AutoModelForCausalLM.from_pretrained(MODELS_DIR / name, dtype=torch.float32)
    with torch.no_grad():
        reference = model(torch.from_numpy(TOKENS)).logits[0].numpy()
    assert np.abs(logits_at_once(Decoder.load(MODELS_DIR / name), TOKENS) - reference).max() < 2e-3


@pytest.mark.train
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_transformers_reads_the_same_tokens_and_chat_template(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="parity needs transformers (extra `train`)")
    pytest.importorskip("jinja2", reason="chat templates need jinja2")
    from pointsman.experts.embedded.text import TextCodec
    from pointsman.experts.nano.tokenizer import render_chat

    theirs = transformers.AutoTokenizer.from_pretrained(MODELS_DIR / name)
    turns = [
        ("system", "Be brief."),
        ("user", "def f(x):\n    return x * 17  # é"),
        ("assistant", "ok"),
        ("user", "go"),
    ]
    messages = [{"role": role, "content": content} for role, content in turns]
    rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == render_chat(turns, add_generation_prompt=True)
    assert theirs(rendered, add_special_tokens=False)["input_ids"] == TextCodec(MODELS_DIR / name).encode(rendered)


def test_a_sequence_may_fill_the_context_and_no_more() -> None:
    decoder = Decoder.load(MODELS_DIR / "nano-code")
    cache = decoder.new_cache()
    cache.add()
    decoder.forward(np.zeros((1, 1023), np.int64), cache, slice(0, 1))
    decoder.forward(np.zeros((1, 1), np.int64), cache, slice(0, 1))
    with pytest.raises(ValueError, match="1025 tokens"):
        decoder.forward(np.zeros((1, 1), np.int64), cache, slice(0, 1))


def test_an_emptied_cache_gives_its_memory_back() -> None:
    decoder = Decoder.load(MODELS_DIR / "nano-code")
    cache = decoder.new_cache()
    small = cache.nbytes
    for _ in range(4):
        cache.add()
    decoder.forward(np.zeros((1, 600), np.int64), cache, slice(3, 4))
    assert cache.nbytes > 8 * small
    for _ in range(4):
        cache.remove(0)
    assert cache.nbytes == small


def test_what_is_no_checkpoint_is_refused(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    with pytest.raises(CheckpointError, match="GPT2LMHeadModel"):
        read_config(tmp_path)
    cut = tmp_path / "model.safetensors"
    cut.write_bytes((MODELS_DIR / "nano-code" / "model.safetensors").read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(cut)
