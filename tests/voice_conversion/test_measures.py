"""Measures against cases whose answer is known; the judge's features; the corpus."""

import numpy as np
import pytest
import torch
from speech import voice, write_data

from voice_conversion import corpus as recordings
from voice_conversion import features, measures
from voice_conversion.average_voice import (
    AverageVoice,
    SpokenCrops,
    dictionary,
    learned_units,
    unit_labels,
    unit_of,
)
from voice_conversion.features import HOP, RATE
from voice_conversion.judge import EMOTIONS, FEATURES, Judge, describe


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [("Kids are talking", "kids are talking", 0), ("a b c", "a c", 1), ("a b", "x b y", 2), ("it's me", "", 2)],
)
def test_word_errors(said, heard, errors):
    assert measures.word_errors(said, heard) == errors


def test_alignment_undoes_a_stretch():
    rows = np.random.default_rng(0).normal(size=(20, 3)).cumsum(0)
    i, j = measures.align(rows, np.repeat(rows, 2, axis=0))
    assert (np.abs(2 * i - j) <= 1).all() and i[-1] == 19 and j[-1] == 39


def test_a_recording_is_at_no_distance_from_itself():
    sound = voice(0.8)
    assert measures.against(sound, sound) == pytest.approx((0, 0, 0), abs=1e-6)
    far = measures.against(sound, voice(0.8, 180.0))
    assert far.mcd > 1 and far.pitch > 2


def test_kendall():
    assert measures.kendall([1, 2, 3]) == 1
    assert measures.kendall([1, 2, 0]) == pytest.approx(-1 / 3)


def test_the_judge_hears_the_same_at_any_level_and_is_kept(tmp_path):
    torch.manual_seed(0)
    judge, sound = Judge(8, 2).eval(), voice(1.0)
    heard = judge.hear(sound)
    assert heard.shape == (len(EMOTIONS),) and heard.sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(judge.hear(0.3 * sound), heard, atol=1e-3)
    judge.save_pretrained(tmp_path)
    np.testing.assert_allclose(Judge.from_pretrained(tmp_path).eval().hear(sound), heard, atol=1e-5)


def test_features_of_a_whisper_are_numbers():
    samples = recordings.levelled(np.random.default_rng(0).normal(0, 0.05, RATE).astype(np.float32))
    found = describe(features.mel(torch.from_numpy(samples)[None])[0].numpy(), features.track(samples))
    assert found.shape == (FEATURES,) and np.isfinite(found).all()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of three acted and two aligned clips."""
    rows = [("neutral", "", "1", "01"), ("angry", "strong", "1", "01"), ("calm", "normal", "2", "01")]
    return write_data(tmp_path_factory.mktemp("data"), rows, ("af_alloy", "af_sky"), 0.6)


def test_a_corpus_is_read_once(data, tmp_path):
    corpus = recordings.build(data, tmp_path)
    assert [c.emotion for c in corpus.clips] == ["neutral", "angry", "calm", "neutral", "neutral"]
    assert [c.level for c in corpus.clips[:3]] == [1.0, 1.25, 0.75]
    assert [c.part for c in corpus.clips[3:]] == ["train", "test"]
    assert corpus.clips[0].text == corpus.clips[1].text != corpus.clips[2].text
    assert len(corpus.hz) == len(corpus.mel) == len(corpus.phone) == len(corpus.wave) / HOP
    phones = [corpus.phones[p] for p in corpus.phone[corpus.rows(corpus.clips[3])]]
    assert phones[0] == "_" and "a" in phones and "b" in phones and "ˈ" not in phones
    assert features.loudness(corpus.samples(corpus.clips[0])) == pytest.approx(features.LOUD, rel=0.03)
    before = (tmp_path / "mel.npy").stat().st_mtime_ns
    recordings.build(data, tmp_path)
    assert (tmp_path / "mel.npy").stat().st_mtime_ns == before


def test_a_dictionary_is_the_commonest_of_medians():
    mel = np.zeros((9, 80), np.float32)
    mel[3:6], mel[8] = 2.04, -1.0
    table = dictionary(mel, np.array([0, 0, 0, 1, 1, 1, -1, -1, 2]), 4)
    np.testing.assert_allclose(table[:3, 0], [0, 2.0, -1.0], atol=1e-6)
    assert table[3, 0] == pytest.approx(np.log(features.FLOOR))


def test_units_are_found_without_an_aligner():
    centres = torch.tensor([[0.0, 0], [5, 5], [0, 5]])
    frames = (centres[:, None] + 0.1 * torch.randn(3, 50, 2, generator=torch.Generator().manual_seed(0))).flatten(0, 1)
    units = unit_of(frames, learned_units(frames, 3, seed=1))
    assert len({tuple(units[i : i + 50].tolist()) for i in (0, 50, 100)}) == 3
    assert all(len(set(units[i : i + 50].tolist())) == 1 for i in (0, 50, 100))


def test_a_corpus_gets_units_in_the_place_of_phones(data, tmp_path):
    corpus = recordings.build(data, tmp_path)
    torch.manual_seed(0)
    phone = unit_labels(corpus, AverageVoice(4, 16, 1).eval(), 6)
    told = np.concatenate([phone[corpus.rows(c)] for c in corpus.clips if c.part != "test"])
    assert told.min() == 0 and told.max() <= 5 and len(set(told.tolist())) > 3
    assert (phone[corpus.rows(corpus.clips[4])] == -1).all()
    mel, units = SpokenCrops(corpus, phone, "train", 16).batch(3)
    assert mel.shape == (3, 16, 80) and units.shape == (3, 16) and mel.isfinite().all()


def test_the_average_voice_is_learned():
    torch.manual_seed(0)
    model = AverageVoice(2, 16, 1)
    model.table[1] = -3.0
    mel, phone = torch.randn(4, 12, 80), torch.randint(2, (4, 12))
    mel = mel + 4 * phone[..., None]
    optimiser, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(25):
        loss, values = model.loss(mel, phone)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(values["error"].item())
    assert losses[-1] < 0.3 * losses[0]
    unknown = torch.where(torch.arange(12) < 6, phone, -1)
    assert model.loss(mel, unknown)[0].isfinite()
