"""Features, networks, losses and training of the embedding: invariances, and that training learns."""

import numpy as np
import pytest
import torch
from same import same_weights

from apps.embedding import corpus, export, losses, train
from apps.embedding.batches import middles
from apps.embedding.corpus import Clip
from apps.embedding.export import HeldOutPredictions, between, crossed, embed, export_space, references, whiten, within
from apps.embedding.measures import calibration_error, chance, precision, probe, recall
from gen import training
from gen.emotion.conditioner import BankConditioner, DirectionConditioner, GaussianConditioner
from gen.emotion.embedding import features
from gen.emotion.embedding.direction import DirectionSpace
from gen.emotion.embedding.features import MODALITIES
from gen.emotion.embedding.network import TERMS, EmotionEmbedder, Reference, collate
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from gen.errors import InputError
from gen.evaluate.bootstrap import interval
from music import reading
from talking_head.face import motion
from voice_conversion.training.corpus import TEST, VALID

RNG = np.random.default_rng(0)
VECTOR = 192
TINY = {"space": 32, "width": 16, "pooled": 16, "voice_width": 16, "vector": 8}


def spoken(hz: float = 180.0, seconds: float = 1.0) -> np.ndarray:
    """A buzz with amplitude modulation."""
    t = np.arange(int(seconds * features.RATE)) / features.RATE
    return (0.2 * np.sign(np.sin(2 * np.pi * hz * t)) * np.sin(np.pi * t / seconds)).astype(np.float32)


@pytest.mark.parametrize("hz", [90.0, 180.0, 320.0, 420.0])
def test_pitch_is_found(hz):
    rows = features.voice(spoken(hz))
    height = rows[rows[:, -1] > 0.5, features.BANDS + 1]
    assert 150 * 2 ** np.median(height) == pytest.approx(hz, rel=0.03)


def test_voice_features_are_independent_of_level():
    assert np.allclose(features.voice(spoken()), features.voice(0.05 * spoken()), atol=0.02)


def test_silence_is_refused():
    with pytest.raises(InputError, match="silent"):
        features.voice(np.zeros(features.RATE, np.float32))


def test_music_features_are_independent_of_key_except_pitch_height():
    notes = np.column_stack([np.arange(30) / 3, np.arange(30) / 3 + 0.3, RNG.integers(50, 70, 30), np.full(30, 80)])
    moved = notes + np.array([0, 0, 5, 0])
    one, other = reading.rows(notes), reading.rows(moved)
    height = [0]
    assert np.allclose(np.delete(one, height, 1), np.delete(other, height, 1), atol=1e-5)
    assert one.shape == (10, features.MUSIC)


def test_face_features_drop_position_and_untracked_values():
    rows = motion.rows(np.ones((10, 52)), np.tile([0.1, 0, 0, 5, 6, 70], (10, 1)))
    assert not rows[:, features.UNMEASURED].any() and np.allclose(rows[:, 52:], 0, atol=1e-5)


def clip(kind: str, seconds: float = 2.0) -> torch.Tensor:
    size = int(seconds / features.SECONDS[kind]) + 1
    return torch.from_numpy(RNG.standard_normal((size, features.SIZES[kind]))).float()


@pytest.mark.parametrize("kinds", [("voice",), ("face",), ("music",), ("voice", "face")])
def test_a_batch_equals_single_items(kinds):
    torch.manual_seed(0)
    model = EmotionEmbedder(**TINY).eval()
    rows = {kind: [clip(kind), clip(kind, 3.5)] for kind in kinds}
    both = model(**{kind: collate(own) for kind, own in rows.items()})
    for i in range(2):
        alone = model(**{kind: collate([own[i]]) for kind, own in rows.items()})
        assert torch.allclose(alone.mu[0], both.mu[i], atol=1e-4)
    assert torch.allclose(both.mu.mean(1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(both.mu.var(1, correction=0), torch.ones(2), atol=1e-2)


def test_a_face_changes_the_prediction_of_a_voice():
    model = EmotionEmbedder(**TINY).eval()
    voice, face = collate([clip("voice")]), collate([clip("face")])
    assert not torch.allclose(model(voice=voice).mu, model(voice=voice, face=face).mu, atol=1e-3)


def test_saving_and_loading_is_exact(tmp_path):
    model = EmotionEmbedder(**TINY).eval()
    model.save_pretrained(tmp_path)
    again = EmotionEmbedder.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    rows = collate([clip("music", 9)])
    same_weights(again, model)
    torch.testing.assert_close(again(music=rows).mu, model(music=rows).mu, atol=1e-4, rtol=1e-4)


def test_contrast_rewards_equal_labels():
    near = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    alike = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2))
    none = torch.zeros(4, 4, dtype=torch.bool)
    mixed = near[[0, 2, 1, 3]]
    assert losses.contrastive(near, alike, none) < losses.contrastive(mixed, alike, none)
    hard = ~alike.bool()
    assert losses.contrastive(mixed, alike, hard) > losses.contrastive(mixed, alike, none)


def test_reversal_only_negates_the_gradient():
    x = torch.ones(3, requires_grad=True)
    y = losses.reverse(x, 0.5)
    y.sum().backward()
    assert torch.equal(y, x) and torch.equal(x.grad, torch.full((3,), -0.5))


def test_divergence_and_order():
    assert losses.divergence(torch.zeros(2, 4), torch.zeros(2, 4)) == 0
    mu, axis = torch.tensor([[0.0, 0], [1, 0]]), torch.tensor([[1.0, 0]])
    right = losses.ordered(mu, axis, torch.tensor([0]), torch.tensor([1]))
    assert right < losses.ordered(mu, axis, torch.tensor([1]), torch.tensor([0]))


def test_test_and_validation_people_are_disjoint():
    assert not TEST & VALID


def test_measures_on_trivial_cases():
    true = np.array([0, 0, 0, 1])
    assert recall(np.zeros(4, int), true) == 0.5
    assert calibration_error(np.array([[0.75, 0.25]] * 4), true) == pytest.approx(0)
    x = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert precision(x, x, labels, labels).mean() == 1
    assert 0.3 < chance(labels, np.tile(labels, 20)) < 0.45
    value = interval(recall, true, true, groups=np.array([0, 0, 1, 1]))
    assert tuple(value) == (1, 1, 1)
    who, texts = np.arange(40) % 2, np.arange(40) // 4
    seen = RNG.standard_normal((40, 5)) + 4 * who[:, None]
    assert probe(seen, who, texts).all()


def corpus_of(count: int) -> dict[str, list[Clip]]:
    """A small corpus with an easily separable class."""
    voices, faces, music = [], [], []

    def rows(f, k, n=40):
        return (RNG.standard_normal((n, f)) + 2 * np.sin(np.arange(f) * (k + 1))).astype(np.float16)

    for group, people in (("ravdess", 3), ("emodb", 2), ("nemo", 2)):
        for person in range(people):
            for term in range(7):
                for key in range(count):
                    for level in (0.75, 1.25) if group == "ravdess" and term else (1.0,):
                        part = ("train", "valid", "test")[key] if key < 3 else "train"
                        facts = term, -1, level, f"{group}:{person}", group, part, str(key)
                        voices.append(Clip(rows(VECTOR, term, 3).astype(np.float32), *facts))
    for group in ("mead", "neurosync", "grid", "painted"):
        for term in range(8):
            faces.append(Clip(rows(features.FACE, term), term, -1, 1.0, f"{group}:x", group, "train", ""))
    for song in range(24):
        part = ("train", "valid", "test")[song // 4 % 3]
        music.append(Clip(rows(features.MUSIC, song % 4, 20), -1, song % 4, 1.0, f"s{song}", "emopia", part, str(song)))
    return {"voice": voices, "face": faces, "music": music}


def test_the_cache_returns_the_data(tmp_path):
    clips = corpus_of(3)["music"]
    corpus._save(clips, tmp_path / "music.npz")
    for one, other in zip(clips, corpus._load(tmp_path / "music.npz"), strict=True):
        assert np.array_equal(one.rows, other.rows) and one[1:] == other[1:]


@pytest.mark.slow
def test_training_learns_and_conditioners_load_its_files(tmp_path):
    torch.manual_seed(0)
    clips = corpus_of(4)
    model = train.space(clips, train.Settings(steps=30), tmp_path, None)[0]
    whiten(model, clips)
    export_space(
        model, clips, HeldOutPredictions.predict(model, [c for c in clips["voice"] if c.part == "valid"]), tmp_path
    )
    assert (model.temperature != 1).all()
    held = [c for c in clips["voice"] if c.part == "test"]
    told = model.read(embed(model, "voice", held)).terms.argmax(1)
    assert (told == torch.tensor([c.term for c in held])).float().mean() > 0.5
    assert sum(p.stat().st_size for p in tmp_path.glob("diffusion*")) < 4.5e6
    priors, curve = str(tmp_path / "priors.safetensors"), EmotionCurve.parse("happy 0.5 + sad 0.5 @ 0.7")
    for conditioner in (
        GaussianConditioner(8, priors=priors),
        BankConditioner(8, priors=priors),
        DirectionConditioner(8, priors=str(tmp_path)),
    ):
        tokens = conditioner(**conditioner.prepare([track(curve, [0.0])])).tokens
        assert tokens.shape == (1, 1, 8) and tokens.isfinite().all()
    assert set(DirectionSpace.load(tmp_path).regions) <= set(TERMS)
    assert model.config.space == 256 and len(MODALITIES) == 3


def test_the_folds_estimate_recall_and_confidence_out_of_fold():
    term = np.tile(np.arange(7), 40)
    person = np.array(["ravdess:a", "ravdess:b", "nemo:c", "nemo:d"])[np.arange(280) % 4]
    right = np.where(np.char.startswith(person, "nemo"), (term + 1) % 7, term)
    logits = 4 * np.eye(10)[right]
    found = train.heard(logits, HeldOutPredictions(logits, logits, term, person))
    assert [found["recall"][name][0] for name in ("all sets", "ravdess", "nemo")] == [0.5, 1, 0]
    assert found["speakers"] == 4 and found["calibration error"] > 0.1


def test_cross_validated_calibration_detects_overconfidence():
    random = np.random.default_rng(0)
    true, people = random.integers(0, 4, 4000), np.arange(4000) % 4
    told = np.where(random.random(4000) < 0.6, true, random.integers(0, 4, 4000))
    logits = 5 * np.eye(4)[told]
    assert calibration_error(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), true) > 0.25
    assert crossed(logits, true, people) < 0.05  # corrected by the other speakers


def test_a_reference_has_an_effect_if_given():
    torch.manual_seed(0)
    model = EmotionEmbedder(**TINY).eval()
    heard, middle = torch.randn(2, 8), torch.randn(2, 8)
    alone = model(heard=heard).mu
    against = lambda *counts: model(Reference(middle, torch.tensor(counts)), heard).mu
    torch.testing.assert_close(against(0, 0), alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(against(5, 5), alone, atol=1e-3)
    assert not torch.allclose(against(5, 5), against(50, 50), atol=1e-3)
    assert torch.allclose(against(5, 0), torch.stack((against(5, 5)[0], alone[1])), atol=1e-5)


def test_a_voice_enters_as_its_encoder_vector():
    torch.manual_seed(0)
    model = EmotionEmbedder(**TINY).eval()
    voice = collate([clip("voice"), clip("voice", 3)])
    assert torch.allclose(model(voice=voice).mu, model(heard=model.voice(*voice)[1]).mu, atol=1e-5)


def test_sounds_without_speech_flatten_the_shares():
    torch.manual_seed(0)
    model = EmotionEmbedder(**TINY).eval()
    centre = torch.randn(8)
    near = lambda: (centre + 0.3 * torch.randn(3, 8)).numpy()
    voices = [Clip(near(), 0, -1, 1.0, "a", "ravdess", "train", "") for _ in range(40)]
    noises = -centre + 0.3 * torch.randn(30, 8)
    export.fit_speech_head(model, voices, noises)
    assert model.known(torch.from_numpy(voices[0].rows)).min() > 0.7 > 0.3 > model.known(noises).max()
    reading = model.read(model(heard=noises).mu)
    plain, spread = (model.probabilities(reading, known=known)[0] for known in (None, model.known(noises)))
    assert torch.allclose(spread.sum(1), torch.ones(30), atol=1e-5)
    assert (spread.max(1).values < plain.max(1).values).all()


def test_references_are_other_clips_of_the_same_speaker():
    voices = corpus_of(4)["voice"]
    middle, found = middles(voices), references(voices, 1000)
    for i in (0, 11, 40):
        others = [middle[j] for j, c in enumerate(voices) if c.person == voices[i].person and j != i]
        assert np.allclose(found.middle[i], np.mean(others, 0), atol=1e-4) and found.count[i] == len(others)
    plain = references(voices, 1000, neutral=True)
    others = [middle[j] for j, c in enumerate(voices) if c.person == voices[0].person and c.term == 0 and j]
    assert np.allclose(plain.middle[0], np.mean(others, 0), atol=1e-4)


def failing(function, at: int):
    """``function``, interrupted at its ``at``-th call."""
    calls = iter(range(1, at))

    def called(*given):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return function(*given)

    return called


@pytest.mark.slow
def test_training_resumes(tmp_path, monkeypatch):
    clips = corpus_of(2)
    chosen = train.Settings(steps=3)
    straight = train.space(clips, chosen, tmp_path / "a", None)[0]
    with monkeypatch.context() as patch:
        patch.setattr(training, "SAVE_EVERY", 0)
        patch.setattr(train, "loss", failing(train.loss, at=3))
        with pytest.raises(KeyboardInterrupt):
            train.space(clips, chosen, tmp_path / "b", None)
    again = train.space(clips, chosen, tmp_path / "b", None)[0]
    for one, other in zip(straight.parameters(), again.parameters()):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="other settings"):
        train.space(clips, chosen._replace(rate=1.0), tmp_path / "b", None)


def test_discrepancy_of_equal_distributions_is_small():
    torch.manual_seed(0)
    one, like, unlike = torch.randn(200, 4), torch.randn(200, 4), torch.randn(200, 4) + 2
    assert abs(losses.discrepancy(one, like)) < 0.05 < 0.5 < losses.discrepancy(one, unlike)


def test_harmony_separates_major_from_minor_in_any_key():
    def scale(steps, tonic):
        pitch = tonic + np.array([*steps, 12, 0, steps[2], steps[4], 0])
        at = np.arange(len(pitch)) / 2
        return np.column_stack([at, at + 0.5, pitch, np.full(len(pitch), 80)])

    for tonic in (48, 55, 61):
        major = reading._harmony(scale((0, 2, 4, 5, 7, 9, 11), tonic))
        minor = reading._harmony(scale((0, 2, 3, 5, 7, 8, 10), tonic))
        assert major[2] > 0 > minor[2]
    cluster = np.column_stack([np.arange(12), np.arange(12) + 1.0, np.arange(48, 60), np.full(12, 80)]).astype(float)
    assert np.isfinite(reading._harmony(cluster)).all()


def test_kept_axes_are_those_where_emotions_differ():
    torch.manual_seed(0)
    spoken, played = torch.randn(5, 32), torch.randn(4, 32) + 3
    kept = between(spoken, played)
    assert torch.allclose(kept @ kept, kept, atol=1e-5) and torch.linalg.matrix_rank(kept) == 7
    for own in (spoken - spoken.mean(0), played - played.mean(0)):
        assert torch.allclose(own @ kept, own, atol=1e-4)
    apart = spoken.mean(0) - played.mean(0)
    assert (apart @ kept).norm() < 0.9 * apart.norm()


@torch.no_grad()
def test_whitening_does_not_change_predictions():
    torch.manual_seed(0)
    model = EmotionEmbedder(**TINY).eval()
    rows = collate([clip("voice"), clip("voice", 3)])
    before = model(voice=rows)
    told = model.read(before.mu)
    term = torch.arange(60) % 3
    mu = torch.randn(60, 32) + term[:, None]
    middle, spread = mu.mean(0), within(mu, term, term % 2)
    model.whiten(middle, spread)
    after = model(voice=rows)
    assert not torch.allclose(after.mu, before.mu, atol=0.01)
    for one, other in zip(model.read(after.mu), told):
        assert torch.allclose(one, other, atol=1e-3)
