"""Training of the Whisper voice encoder: vectors from blocks, shares from vectors, and the map into the fixed space."""

import json

import numpy as np
import pytest
import torch

from apps.embedding import ear
from apps.embedding.speech import Speech
from gen.emotion.embedding.ear import FILE, SIZE, embedder, fitted
from gen.emotion.embedding.features import VOICE
from gen.emotion.embedding.network import TERMS

CLASSES = 7


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A cached corpus with easily separable classes at two levels, and noises."""
    rng, cache = np.random.default_rng(0), tmp_path_factory.mktemp("cache")
    way, takes, rows = rng.standard_normal((CLASSES + 1, SIZE)), [], []
    people = [f"ravdess:Actor_{k:02d}" for k in range(1, 21)] + ["emodb:09", "emodb:11", "nemo:TP0"]
    for person in people:
        own = rng.standard_normal(SIZE)
        for term in range(CLASSES):
            for level in (0.75, 1.3):
                takes.append((person.split(":")[0], person, term, level, "train", f"{term}", 100))
                rows.append(3 + way[term] + 0.3 * own + 0.3 * rng.standard_normal(SIZE))
    for k in range(12):
        takes.append(("outlier", "outlier", len(TERMS), 1.0, "train", str(k), 100))
        rows.append(3 + 2 * way[CLASSES] + 0.3 * rng.standard_normal(SIZE))
    (cache / "takes.json").write_text(json.dumps(takes))
    np.savez(
        cache / "rows0.npz",
        rows=np.zeros((len(takes), VOICE), np.float16),
        sizes=[1] * len(takes),
        speed=[1.0] * len(takes),
    )
    np.savez(
        cache / "ear.npz",
        take=np.arange(len(takes)),
        varied=np.zeros(len(takes), bool),
        rows=np.array(rows, np.float16),
    )
    return cache


@pytest.mark.slow
def test_the_encoder_is_trained_and_saved(heard, tmp_path, monkeypatch):
    monkeypatch.setattr(ear, "FOLDS", 2)
    facts = ear._train("emotion-embedding", heard, tmp_path, 60, 30)
    assert facts["clips"] == 4 * 2 * CLASSES and facts["nets"]["alone"]["recall of seven"].value > 0.9
    from safetensors.torch import load_file

    model = fitted(embedder(), {key: value.float() for key, value in load_file(tmp_path / FILE).items()})
    speech, blocks = Speech(heard, 1), ear.listen(heard)
    rows = torch.from_numpy(blocks.rows.astype(np.float32))[:, None]
    with torch.no_grad():
        vectors = model.voice(rows, torch.ones(len(rows), 1, dtype=torch.bool))[1]
        known = model.known(vectors)
        told = model.read(model(heard=vectors).mu).terms.argmax(1).numpy()
    term = np.array([take.term for take in speech.takes])
    assert (told == term)[term < CLASSES].mean() > 0.5
    assert known[term < CLASSES].mean() > 0.9 > 0.1 > known[term >= CLASSES].mean()


def test_without_a_reference_shares_come_from_the_voice_alone(heard):
    speech, blocks = Speech(heard, 1), ear.listen(heard)
    found = ear.ear_of(speech, blocks, np.array([take.group != "outlier" for take in speech.takes]), nets=1)
    vectors = found.into(torch.from_numpy(blocks.rows[:5].astype(np.float32)))
    alone, both = (found.shares(vectors, vectors.mean(0).expand(5, -1), torch.full((5,), n)) for n in (0, 1))
    for shares in (alone, both):
        torch.testing.assert_close(shares.sum(1), torch.ones(5))
    assert not torch.allclose(alone, both)
    assert vectors.shape == (5, ear.VECTOR)
