"""The voice encoder, its teacher and its augmentations."""

import json

import numpy as np
import pytest
import torch

from apps.embedding import augment, hearing, speech
from apps.embedding.soft_labels import Facts, soft_labels
from gen.emotion.embedding import features
from gen.emotion.embedding.network import TERMS, collate
from gen.emotion.embedding.voice import VoiceEncoder
from gen.whisper import mel

RNG = np.random.default_rng(0)


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * hz * np.arange(int(seconds * augment.RATE)) / augment.RATE)).astype(np.float32)


def power(x: np.ndarray, low: float, high: float) -> float:
    spectrum = np.square(np.abs(np.fft.rfft(x))) / len(x)
    hz = np.fft.rfftfreq(len(x), 1 / augment.RATE)
    return float(spectrum[(hz >= low) & (hz < high)].sum())


def test_a_batch_of_voices_equals_single_voices():
    torch.manual_seed(0)
    encoder = VoiceEncoder(24, 8).eval()
    rows = [torch.randn(n, features.VOICE) for n in (61, 90, 133)]
    frames, vectors = encoder(*collate(rows))
    for own, frame, vector in zip(rows, frames, vectors):
        alone = encoder(*collate([own]))
        assert torch.allclose(alone[1][0], vector, atol=1e-5)
        assert torch.allclose(alone[0][0], frame[: -(-len(own) // 4)], atol=1e-4)


def test_the_encoder_that_ships_is_small():
    assert sum(p.numel() for p in VoiceEncoder().parameters()) < 1.5e6


def test_the_telephone_band_is_kept():
    x = RNG.standard_normal(augment.RATE).astype(np.float32)
    heard = augment.band(x, *augment.TELEPHONE)
    assert power(heard, 500, 3000) == pytest.approx(power(x, 500, 3000), rel=0.02)
    assert power(heard, 0, 150) < 0.01 * power(x, 0, 150) and power(heard, 5000, 8000) < 0.01 * power(x, 5000, 8000)


@pytest.mark.parametrize("name", ["gsm", "mulaw", "mp3"])
def test_codecs_keep_time_and_tone(name):
    heard = augment.codec(tone(700), name)
    assert heard.shape == tone(700).shape and np.isfinite(heard).all()
    assert power(heard, 650, 750) > 0.5 * power(heard, 0, 8000)


def test_noise_has_the_requested_level():
    x, noise = tone(440, 2), augment.coloured(2 * augment.RATE, 0, RNG)
    added = augment.noisy(x, noise, 20) - x
    loud = np.sqrt(np.quantile(np.square(x), 0.8))
    assert 20 * np.log10(loud / np.sqrt(np.square(added).mean())) == pytest.approx(20, abs=0.1)


def test_an_augmented_recording_reports_its_speed():
    x = tone(300, 2)
    for _ in range(8):
        heard, speed = augment.vary(x, [tone(200)], [tone(500)], RNG)
        assert len(heard) == pytest.approx(len(x) / speed, rel=0.01) and np.isfinite(heard).all()


def test_outliers_are_sounds():
    for _ in range(12):
        x = augment.outlier([tone(150, 3)], [tone(400, 3)], RNG)
        assert np.isfinite(x).all() and x.std() > 1e-3 and len(features.voice(x)) > 20


def test_augmented_rows_are_valid():
    torch.manual_seed(0)
    rows, mask = collate([torch.from_numpy(features.voice(tone(200, 2))), torch.from_numpy(features.voice(tone(300)))])
    heard = hearing.varied(rows, mask)
    assert heard.shape == rows.shape and heard.isfinite().all() and heard[..., : features.BANDS].min() >= -1
    assert not torch.equal(heard, rows)


def test_labels_are_smoothed_towards_neighbours():
    shares = hearing.labels()
    count = len(TERMS) + 1
    assert torch.allclose(shares.sum(1), torch.ones(count), atol=1e-5)
    assert (shares.argmax(1) == torch.arange(count)).all()
    anger, sad, fear = (TERMS.index(name) for name in ("anger", "sad", "fear"))
    assert shares[anger, fear] > shares[anger, sad]


def test_the_teacher_locates_a_tone():
    bands = mel(tone(1000))
    assert bands.shape == (80, 100) and bands.max() - bands.min() <= 2.0001
    assert abs(int(bands.mean(1).argmax()) - 26) <= 2


def small(folder, versions: int = 2) -> speech.Speech:
    """A cache of a few recordings with an easily separable class."""
    takes, rows, frames = [], [], []
    for group, people in (("ravdess", 6), ("emodb", 3), ("nemo", 4), ("aligned", 2)):
        for person in range(people):
            for term in range(7) if group != "aligned" else (0,):
                for key in range(2):
                    takes.append((group, f"{group}:{person}", term, 1.0, "train", str(key), 100))
    takes += [("outlier", "outlier", len(TERMS), 1.0, "train", str(k), 100) for k in range(6)]
    for take in takes:
        own = 0.2 * RNG.standard_normal((70, features.VOICE)) + np.sin(np.arange(features.VOICE) * (take[2] + 1) / 9)
        rows.append(own.astype(np.float16))
        frames.append(np.full((14, speech.SLIM), take[2], np.float32))
    for version in range(versions):
        sizes, speed = [70] * len(rows), [1.0] * len(rows)
        np.savez(folder / f"rows{version}.npz", rows=np.concatenate(rows), sizes=sizes, speed=speed)
    (folder / "takes.json").write_text(json.dumps(takes))
    pooled = np.eye(11, speech.DIRECTIONS, dtype=np.float32)[[take[2] for take in takes]]
    count = np.array([14] * len(takes))
    soft = np.eye(11, dtype=np.float32)[[take[2] for take in takes]]
    told = {"taught": count > 0, "count": count, "frames": np.concatenate(frames), "alone": soft, "pair": soft}
    np.savez(folder / "taught.npz", pooled=pooled, **told)
    return speech.Speech(folder, versions)


def test_the_teachers_frames_are_aligned_in_time(tmp_path):
    held = small(tmp_path)
    wanted, there = held.framed([0, 30], torch.tensor([[0.05, 0.4, 1.2], [0.1, 0.2, 9.0]]))
    assert (wanted[0] == held.takes[0].term).all() and (wanted[1] == held.takes[30].term).all()
    assert there.tolist() == [[True, True, True], [True, True, False]]


@pytest.mark.slow
def test_an_encoder_learns_emotions_and_its_teachers_outputs(tmp_path):
    held = small(tmp_path)
    chosen = hearing.Settings(steps=60, width=24, out=16, deep=1)
    every = np.ones(len(held.takes), bool)
    losses = lambda model: hearing.loss(model, hearing.Batches(held, every, chosen))[1]
    first = losses(hearing.student(held, every, chosen._replace(steps=0), tmp_path, "untaught"))
    model = hearing.student(held, every, chosen, tmp_path, "taught")
    last = losses(model)
    assert all(float(last[name]) < 0.9 * float(first[name]) for name in ("alone", "pair", "pooled"))
    acted = [i for i, take in enumerate(held.takes) if take.group == "nemo"]
    heard = hearing.encode(model.encoder, [held.rows(i) for i in acted])
    told = model.alone(heard).argmax(1)
    assert (told == torch.tensor([held.takes[i].term for i in acted])).float().mean() > 0.6


def test_trimmed_and_levelled_sound_gives_equal_features():
    x = np.concatenate([np.zeros(8000), tone(200), np.zeros(8000)]).astype(np.float32)
    loud, quiet = features.levelled(x), features.levelled(0.01 * x)
    assert np.allclose(loud, quiet, atol=1e-4) and len(loud) < len(x) - 8000


def test_directions_are_principal_components():
    torch.manual_seed(0)
    x = RNG.standard_normal((400, 3)) @ RNG.standard_normal((3, 40)) + 0.01 * RNG.standard_normal((400, 40))
    found = speech.directions(x.astype(np.float32), 3)
    assert found.shape == (400, 3) and np.square(found).mean() == pytest.approx(1, rel=1e-3)
    left = x - x.mean(0) - found @ np.linalg.lstsq(found, x - x.mean(0), rcond=None)[0]
    assert np.square(left).mean() < 0.01 * np.square(x).mean()


@pytest.mark.slow
def test_soft_labels_are_out_of_fold():
    """With random labels, no network predicts those of a speaker that it was not trained on."""
    person = np.array([f"ravdess:{k}" for k in range(10)] * 21)
    term = np.arange(210) % 7
    wide = RNG.standard_normal((30, 300)).astype(np.float32)
    hidden = RNG.standard_normal((210, 30)).astype(np.float32)
    x, plain = hidden @ wide, (hidden + 4 * np.eye(7, 30, dtype=np.float32)[term]) @ wide
    facts = Facts(np.array(["ravdess"] * 210), person, term, np.ones(210, bool))
    told, paired = soft_labels(plain, facts)
    assert np.allclose(told.sum(1), 1, atol=1e-4) and (told[:, :10].argmax(1) == term).mean() > 0.6
    assert (paired[:, :10].argmax(1) == term).mean() > 0.5
    assert (soft_labels(x, facts)[0][:, :10].argmax(1) == term).mean() < 0.3
