"""A trained prior learns how clips reach it; whatever words tell it stays as it was, to the bit."""

import numpy as np
import torch
from corpora import write_data
from grids import VOCABULARY

from gen.emotion.spec import Embedding, EmotionCurve, Keyframe
from gen.emotion.track import track
from music.labels import Labeller
from music.muser.prior import Prior
from music.pipeline import MusicGenerator
from music.training import corpus, residual
from music.training.residual import Settings
from music.training.train import Settings as Whole
from music.training.train import build, export


def test_a_prior_learns_to_hear_of_clips(tmp_path, monkeypatch):
    data, start = write_data(tmp_path / "data", songs=1), tmp_path / "start"
    autoencoder, prior = build(Whole(size="tiny", device="cpu", conditioner="vad"))
    export(autoencoder, prior, start)
    corpus.labeller_of(data).save(start / "labeller.json")
    settings = Settings(model=str(start), batch=2, length=48, rate=0.01)
    monkeypatch.setattr(residual.likelihoods, "__defaults__", (2,))
    residual.train(data, tmp_path / "out", 0.03, settings)
    before, after = (
        Prior.from_pretrained(place / "prior").float().eval() for place in (start, tmp_path / "out" / "checkpoint")
    )
    weights = after.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in before.state_dict().items())
    assert weights["emotion.residual.weight"].abs().max() > 0
    words = [track(EmotionCurve.parse(text), [0.0]) for text in ("sad", "v=0.4 a=0.8 @ 1.3")]
    tokens = lambda model, tracks: model.emotion(**model.emotion.prepare(tracks)).tokens
    assert torch.equal(tokens(before, words), tokens(after, words))
    mean = (words[0].embedding[0] + np.linspace(-1, 1, 256)).tolist()
    key = Keyframe(at=0.0, emotion="sad", embedding=Embedding(mean=mean, variance=mean))
    clips = [track(EmotionCurve(keyframes=(key,)), [0.0])]
    assert not torch.equal(tokens(after, clips), tokens(after, words[:1]))
    assert "own" in (tmp_path / "out" / "log.jsonl").read_text()
    made = MusicGenerator(autoencoder.float(), after, VOCABULARY, critic=Labeller.load(start / "labeller.json"))
    assert len(made.compose([EmotionCurve(keyframes=(key,))], 2, [0], candidates=1)) == 1
