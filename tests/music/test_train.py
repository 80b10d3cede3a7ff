"""Training learns, stops on time and resumes after a kill; its checkpoint generates."""

import json

import numpy as np
import pytest
import torch
from corpora import write_data
from grids import VOCABULARY, random_grid

from gen.emotion.spec import EmotionCurve
from music.labels import curve_of
from music.muser.condition import at_bar
from music.muser.prior import FAR
from music.pipeline import MusicGenerator
from music.tokens import encode
from music.training import train as subject
from music.training.corpus import Piece
from music.training.losses import Data, autoencoder_loss, prior_loss, with_end
from music.training.train import Settings, build

TINY = {"size": "tiny", "batch": "2", "length": "48", "device": "cpu"}
CHOSEN = Settings(**TINY | {"rate": "0.01"})


def pieces(count=4, bars=2):
    made = []
    for seed in range(count):
        rows = encode(random_grid(np.random.default_rng(seed), bars, 0.2), VOCABULARY)
        made.append(Piece(rows, np.full((bars, 2), (-1) ** seed * 0.5, np.float32), True, "emopia", "train"))
    return made


def fit(model, loss, steps):
    """The mean negative log-likelihood of the first and of the last ten of ``steps``."""
    optimiser, seen = torch.optim.AdamW(model.parameters(), 0.01), []
    for _ in range(steps):
        value, told = loss()
        value.backward()
        optimiser.step()
        optimiser.zero_grad()
        seen.append(told["nll"])
    return np.mean(seen[:10]), np.mean(seen[-10:])


@pytest.mark.slow
def test_both_networks_learn_four_pieces_by_heart(monkeypatch):
    monkeypatch.setattr("music.training.corpus.transpose", lambda rows, by, vocabulary: rows)
    autoencoder, prior = build(CHOSEN)
    data = Data(pieces(), {"emopia": 1.0}, CHOSEN, seed=0)
    first, last = fit(autoencoder, lambda: autoencoder_loss(autoencoder, data, CHOSEN, 0.1), 80)
    assert last < 0.5 * first
    autoencoder.eval().requires_grad_(False)
    first, last = fit(prior, lambda: prior_loss(prior, autoencoder, data, CHOSEN, 0.1), 80)
    assert last < 0.6 * first


def test_a_curve_holds_each_feeling_until_it_changes():
    feeling = np.array([[0.5, -0.2]] * 3 + [[-1, 1]] * 2, np.float32)
    curve = curve_of(feeling, dominance=0.3)
    assert len(curve.keyframes) == 2 and curve.unit == "bars"
    np.testing.assert_allclose(curve.sample(np.arange(5)).vad, np.column_stack((feeling, np.full(5, 0.3))), atol=1e-6)


def test_conditions_are_dropped_for_whole_passages():
    model, _ = build(CHOSEN)
    data = Data(pieces(), {"emopia": 1.0}, CHOSEN, seed=0)
    batch = data.batch()
    told = {drop: data.conditions(model, batch, drop).tokens for drop in (0.0, 1.0)}
    assert (told[1.0] == model.emotion.null).all()
    assert not (told[0.0] == model.emotion.null).all(-1).any()


def test_each_step_is_told_its_bar():
    tokens = torch.arange(6.0).view(1, 3, 2)
    assert at_bar(tokens, torch.tensor([[0, 0, 2, 1]]))[0].tolist() == [[0, 1], [0, 1], [4, 5], [2, 3]]


def test_an_end_comes_after_pieces_that_end():
    _, prior = build(CHOSEN)
    codes = torch.tensor([[[prior.bar], [1], [2], [prior.bar], [3]], [[prior.bar], [4], [5], [0], [0]]])
    bar, left = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    lengths = torch.tensor([5, 3])
    found, mask, bars, to_go = with_end(prior, codes, lengths, bar, left, torch.tensor([True, False]))
    assert found[0, 5, 0] == prior.end and found.shape == (2, 6, 1)
    assert mask.sum(1).tolist() == [6, 3]
    assert bars[0].tolist() == [0, 0, 0, 0, 1, 1]  # the bar that the step before stands in
    assert to_go[0].tolist() == [2, 1, 1, 1, 0, 0]  # bars to begin, before each step
    assert FAR > 0


# --------------------------------------------------------------------- the run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


class Killed(BaseException):
    """Stops a run immediately."""


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_step_and_ends_with_a_checkpoint(data, tmp_path, monkeypatch):
    monkeypatch.setattr("gen.training.SAVE_EVERY", 0.2)
    record, lines = subject.Run.record, []

    def dies(self, **values):
        record(self, **values)
        lines.append(self.step)
        if len(lines) == 2:
            raise Killed

    monkeypatch.setattr(subject.Run, "record", dies)
    with pytest.raises(Killed):
        subject.train(data, tmp_path, 0.08, Settings(**TINY | {"autoencoder_share": "0.2"}))
    monkeypatch.setattr(subject.Run, "record", record)
    saved = torch.load(tmp_path / "autoencoder.pt", weights_only=True)
    assert 0 < saved["step"] <= lines[-1] and not (tmp_path / "prior.pt").exists()
    (tmp_path / "autoencoder.part").write_bytes(b"half a state")
    before = len(log(tmp_path))
    subject.train(data, tmp_path, 0.08, Settings(**TINY | {"autoencoder_share": "0.2"}))
    after = log(tmp_path)[before:]
    assert min(line["step"] for line in after if line["model"] == "autoencoder") > saved["step"]
    done = {name: torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("autoencoder", "prior")}
    assert done["autoencoder"]["elapsed"] >= 0.08 * 60 * 0.2
    assert done["prior"]["step"] > 0 and {line["model"] for line in after} == {"autoencoder", "prior"}
    monkeypatch.setattr("gen.checkpoints.roots", lambda: [tmp_path])
    made = MusicGenerator.from_pretrained(tmp_path / "checkpoint")
    (piece,) = made.compose([EmotionCurve.parse("happy")], 1, [0])
    assert piece.valid()
    trained = done["autoencoder"]["model"]["decoder_in.weight"]
    torch.testing.assert_close(made.autoencoder.decoder_in.weight.data, trained, atol=2e-3, rtol=2e-3)


def test_settings_that_nobody_knows_are_refused():
    with pytest.raises(ValueError, match="quantiser"):
        Settings(quantiser="fsq")
