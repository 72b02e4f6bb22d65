"""Sentence encoders: the vectors of sentence-transformers in other batches, the same whatever stands beside a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import encoders
from models.encoders import Encoder, EncoderError, Profile, profile, profiles

TEXTS = [
    "Title: The Last Lighthouse\nYear: 1987\nPlot: A keeper finds a map.",
    "Title: Up the Hill",
    "Title: Long\nPlot: " + "a man walks through the snow and thinks of his sister " * 40,
    "",
    "Title: Ταξίδι 旅 🎬",
]


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder(profile("minilm"), "cpu")


def exact(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """What sentence-transformers itself gives, in float32."""
    return encoder._model.encode(texts, normalize_embeddings=True)


def test_profiles_are_complete() -> None:
    known = profiles()
    assert {"minilm", "qwen3-embedding-8b"} <= set(known)
    assert known["qwen3-embedding-8b"].query_prompt.endswith("\nQuery:")


def test_vectors_are_those_of_sentence_transformers(minilm: Encoder) -> None:
    found = minilm.encode(TEXTS)
    assert found.vectors.dtype == np.float32 and found.vectors.shape == (5, 384) == (5, minilm.dims)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert ((found.vectors * exact(minilm, TEXTS)).sum(axis=1) > encoders.COSINE_MIN).all()
    # [CLS] and [SEP] are tokens, too.
    assert found.tokens[3] == 2 and found.tokens[2] == minilm.tokens == 256
    assert found.are_cut.tolist() == [False, False, True, False, False]


def test_full_precision_gives_the_same_to_rounding(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "is_reduced", False)
    assert np.allclose(minilm.encode(TEXTS).vectors, exact(minilm, TEXTS), atol=1e-5)
    assert minilm.agreement(TEXTS) == 1.0


def test_agreement_with_full_precision_is_measured(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "is_reduced", True)
    assert encoders.COSINE_MIN < minilm.agreement(TEXTS) < 1.0
    assert minilm.is_reduced


def test_batches_and_order_change_rounding_alone(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    together = minilm.encode(TEXTS).vectors
    alone = np.concatenate([minilm.encode([text]).vectors for text in TEXTS])
    backwards = minilm.encode(TEXTS[::-1]).vectors[::-1]
    monkeypatch.setattr(minilm, "batch_tokens", 1)
    single = minilm.encode(TEXTS).vectors
    for other in (alone, backwards, single):
        assert ((together * other).sum(axis=1) > encoders.COSINE_MIN).all()


def test_batches_hold_every_text_once_within_the_limit() -> None:
    lengths = np.random.default_rng(0).integers(2, 257, size=500)
    batches = list(encoders._batches(lengths, 2048))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(lengths[rows].max() * len(rows) <= 2048 for rows in batches)
    assert max(len(rows) for rows in encoders._batches(np.full(10, 300), 100)) == 1


def test_query_gets_the_prompt(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "profile", replace(minilm.profile, query_prompt="Query: "))
    assert np.allclose(minilm.encode_queries(["snow"]).vectors, minilm.encode(["Query: snow"]).vectors)


def test_nothing_to_encode(minilm: Encoder) -> None:
    found = minilm.encode([])
    assert found.vectors.shape == (0, 384) and len(found.tokens) == len(found.are_cut) == 0


def test_out_of_memory_halves_the_batches_and_says_so(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, sizes = minilm._forward, []

    def small_memory(ids: list[list[int]]) -> np.ndarray:
        if len(ids) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        sizes.append(len(ids))
        return forward(ids)

    monkeypatch.setattr(minilm, "_forward", small_memory)
    monkeypatch.setattr(minilm, "batch_tokens", 2048)
    told: list[str] = []
    texts = [f"Title: Film {k}" for k in range(9)]
    found = minilm.encode(texts, told.append).vectors
    assert ((found * exact(minilm, texts)).sum(axis=1) > encoders.COSINE_MIN).all()
    assert sum(sizes) == 9 and minilm.batch_tokens < 2048
    assert told[0] == "minilm: out of memory; batches are halved, to 1,024 tokens"

    def no_memory(ids: list[list[int]]) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(minilm, "_forward", no_memory)
    with pytest.raises(EncoderError, match="out of memory with one text"):
        minilm.encode(texts)


def test_vectors_that_are_no_numbers_are_refused(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_forward", lambda ids: np.full((len(ids), 384), np.nan, np.float32))
    with pytest.raises(EncoderError, match="gave no vector for a text of 5 tokens"):
        minilm.encode(["snow is here"])


def test_other_errors_are_not_taken_for_a_lack_of_memory(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ids: list[list[int]]) -> np.ndarray:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(minilm, "_forward", broken)
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="shapes differ"):
        minilm.encode(["snow"])
    assert torch.get_num_threads() == threads


# -- models that are not here, or not whole ----------------------------------------------------------------


def test_unknown_names_and_missing_models_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncoderError, match="no encoder is called 'bert': choose among minilm"):
        profile("bert")
    with pytest.raises(EncoderError, match="holds no model"):
        Encoder(profile(str(tmp_path)), "cpu")
    with pytest.raises(EncoderError, match="package no_such_package is not installed"):
        encoders.locate(replace(profile("minilm"), model="no_such_package"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        EncoderError, match="marquee-test/absent is not in the Hugging Face cache and cannot be fetched"
    ):
        encoders.locate(replace(profile("qwen3-embedding-8b"), model="marquee-test/absent"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nsource = 'package'", r"\[a\] model is missing"),
        ("a = 1", "a is no table"),
        ("[a", "profiles.toml: "),
    ],
)
def test_wrong_profiles_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text(text)
    with pytest.raises(EncoderError, match=message):
        profiles(file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tokens = 0", "tokens: 0 cannot be used"),
        ("tokens = '9'", "tokens: '9' cannot be used"),
        ("source = 'x'", "source: 'x' is not"),
        ("more = 1", "more: no such key"),
    ],
)
def test_wrong_keys_are_named(tmp_path: Path, line: str, message: str) -> None:
    key = line.split(" ")[0]
    good = [
        each
        for each in encoders.PROFILES_FILE.read_text().split("[qwen3")[0].splitlines()
        if not each.startswith(f"{key} ")
    ]
    file = tmp_path / "profiles.toml"
    file.write_text("\n".join([*good, line]))
    with pytest.raises(EncoderError, match=rf"profiles.toml: \[minilm\] {message}"):
        profiles(file)


@pytest.fixture(scope="module")
def small_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of the kind of Qwen3-Embedding: a decoder, padding on the left, last-token pooling, normalised. Its weights are random."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    folder = tmp_path_factory.mktemp("qwen")
    words = ["<pad>", "<end>", "<unk>", "a", "b", "c", "d", "e", "f", "Query", ":", "snow"]
    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", padding_side="left"
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    Qwen3Model(config).save_pretrained(folder / "base")
    fast.save_pretrained(folder / "base")
    body = Transformer(str(folder / "base"), max_seq_length=32)
    SentenceTransformer(modules=[body, Pooling(32, pooling_mode="lasttoken"), Normalize()], device="cpu").save(
        str(folder / "model")
    )
    return folder / "model"


def test_decoder_with_last_token_pooling_and_padding_on_the_left(small_qwen: Path) -> None:
    encoder = Encoder(profile(str(small_qwen)), "cpu")
    assert (encoder.dims, encoder.tokens) == (32, 32)
    texts = ["a b c", "d", "a b c d e f a b c d e f", "snow " * 50]
    found = encoder.encode(texts)
    assert found.tokens.tolist() == [4, 2, 13, 32] and found.are_cut.tolist() == [False, False, False, True]
    assert ((found.vectors * exact(encoder, texts)).sum(axis=1) > encoders.COSINE_MIN).all()
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    assert ((found.vectors * alone).sum(axis=1) > encoders.COSINE_MIN).all()


def test_fingerprint_follows_the_models_bytes_and_the_profile(small_qwen: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(small_qwen, tmp_path / "copy"))
    own: Profile = profile(str(small_qwen))
    first = encoders.fingerprint(own, small_qwen)
    assert encoders.fingerprint(own, copy) == first
    assert encoders.fingerprint(replace(own, version="2"), copy) != first
    assert encoders.fingerprint(replace(own, tokens=9), copy) != first
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert encoders.fingerprint(own, copy) != first
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(EncoderError, match=rf"the model in {copy} cannot be loaded"):
        Encoder(profile(str(copy)), "cpu").encode(["A film"])
