"""The score networks: what they are told matters, nothing changed gives the recording back, the published sizes."""

import pytest
import torch
from speech import models

from gen.diffusion import MeanReverting
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track
from gen.errors import CheckpointError
from voice_conversion.emoreg.convert import convert
from voice_conversion.emoreg.edit import edit
from voice_conversion.emoreg.published import PublishedEncoder, PublishedScore
from voice_conversion.emoreg.score import Score, Voice, harmonics
from voice_conversion.features import BANDS, centres

FRAMES = 24


@pytest.fixture(scope="module")
def score():
    return models()[1].eval()


def voice_of(score, text="happy", octave=7.5, seed=0):
    random = torch.Generator().manual_seed(seed)
    tokens = score.emotion(**score.emotion.prepare([track(EmotionCurve.parse(text), [0.0] * FRAMES)])).tokens.detach()
    return Voice(torch.randn(1, FRAMES, BANDS, generator=random), torch.full((1, FRAMES), octave),
                 torch.ones(1, FRAMES), torch.randn(1, 256, generator=random) / 16, tokens)  # fmt: skip


def seeds(*numbers):
    return [torch.Generator().manual_seed(number) for number in numbers]


@torch.no_grad()
def test_the_score_sees_all_it_is_told(score):
    x, t, told = torch.randn(1, FRAMES, BANDS), torch.tensor([0.5]), voice_of(score)
    found = score(x, t, told)
    assert found.shape == x.shape
    others = [told._replace(mean=told.mean + 1), told._replace(octave=told.octave + 0.3),
              told._replace(speaker=-told.speaker), told._replace(emotion=voice_of(score, "sad").emotion)]  # fmt: skip
    for other in others:
        assert (score(x, t, other) - found).abs().max() > 1e-4


@torch.no_grad()
def test_far_from_the_data_the_score_is_that_of_the_mean(score):
    x, told = torch.randn(1, FRAMES, BANDS), voice_of(score)
    torch.testing.assert_close(score(x, torch.ones(1), told), -(x - told.mean), atol=0.05, rtol=0.05)


@torch.no_grad()
def test_velocity_of_the_truth_is_the_score_of_the_truth(score, monkeypatch):
    told, sde = voice_of(score), MeanReverting()
    x0, z, t = torch.randn(1, FRAMES, BANDS), torch.randn(1, FRAMES, BANDS), torch.tensor([0.3])
    centre, sigma = sde.marginal(x0, told.mean, t)
    gamma = sde.gamma(0.0, t)
    monkeypatch.setattr(Score, "velocity", lambda *_: gamma * z - sigma * (x0 - told.mean))
    torch.testing.assert_close(score(centre + sigma * z, t, told), -z / sigma, atol=1e-4, rtol=1e-4)


def test_harmonics_are_where_the_pitch_puts_them():
    found = harmonics(torch.full((1, 1), 7.965784), torch.ones(1, 1))[0, 0]  # 250 Hz
    at = lambda hz: found[abs(torch.as_tensor(centres()) - hz).argmin()]
    assert at(250) > 0.8 and at(500) > 0.8 and at(375) < -0.8
    assert at(7000) == 0
    assert not harmonics(torch.full((1, 4), 7.0), torch.zeros(1, 4)).any()


@pytest.mark.parametrize("solver", ["ml", "em", "pf"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_nothing_changed_gives_the_recording_back(score, solver, guidance):
    source, told = torch.randn(2, FRAMES, BANDS), voice_of(score).cat(voice_of(score, seed=1))
    made = edit(score, source, told, told, 4, solver, guidance, generators=seeds(0, 1))
    if solver == "ml":
        torch.testing.assert_close(made, source, atol=1e-3, rtol=1e-3)
    else:  # these solvers do not quite arrive, whatever the score
        exact = edit(score, source, told, told, 4, solver, generators=seeds(0, 1))
        torch.testing.assert_close(made, exact, atol=1e-3, rtol=1e-3)


def test_another_emotion_gives_another_mel_and_guidance_more_of_it(score):
    source, here, there = torch.randn(1, FRAMES, BANDS), voice_of(score, "neutral"), voice_of(score, "anger")
    change = lambda guidance: (edit(score, source, here, there, 4, "ml", guidance, generators=seeds(0)) - source).norm()
    assert 0 < change(1.0) < change(2.0)


def test_an_item_does_not_hang_on_its_batch(score):
    source = torch.randn(2, FRAMES, BANDS)
    here = voice_of(score, "neutral").cat(voice_of(score, "neutral", seed=1))
    there = voice_of(score, "sad").cat(voice_of(score, "anger", seed=1))
    both = edit(score, source, here, there, 3, generators=seeds(0, 1))
    one = lambda v: Voice(*(part[1:] for part in v))
    alone = edit(score, source[1:], one(here), one(there), 3, generators=seeds(1))
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)


def test_it_learns_and_is_kept(score, tmp_path):
    score.save_pretrained(tmp_path)
    again = Score.from_pretrained(tmp_path)
    told, x = voice_of(score), torch.randn(1, FRAMES, BANDS)
    with torch.no_grad():
        torch.testing.assert_close(again(x, torch.tensor([0.4]), told), score(x, torch.tensor([0.4]), told))
    optimiser, losses = torch.optim.Adam(again.parameters(), 1e-2), []
    mask = torch.ones(1, FRAMES, dtype=torch.bool)
    for _ in range(30):
        loss = again.loss(x.expand(8, -1, -1), Voice(*(p.expand(8, *p.shape[1:]) for p in told)),
                          mask.expand(8, -1))  # fmt: skip
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("make", "millions"),
    [(PublishedEncoder, 8.46), (PublishedScore, 117.79), (lambda: PublishedScore(reference=False), 117.11)],
)
def test_published_sizes(make, millions):
    with torch.device("meta"):
        model = make()
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return PublishedEncoder(16, 32, 2, 2, 3, 4, 8).eval(), PublishedScore(16, 16, 8).eval()


@pytest.mark.parametrize("prefixes", [("encoder.", "decoder.estimator."), ("", "estimator."), ("", None)])
def test_a_state_dict_of_any_size_converts(small, tmp_path, prefixes):
    encoder, score = small
    state = {prefixes[0] + name: value for name, value in encoder.state_dict().items()}
    if prefixes[1] is not None:
        state |= {prefixes[1] + name: value for name, value in score.state_dict().items()}
    torch.save(state, tmp_path / "vc.pt")
    convert(tmp_path / "vc.pt", tmp_path / "out")
    mel = torch.randn(1, 8, BANDS)
    with torch.no_grad():
        again = PublishedEncoder.from_pretrained(tmp_path / "out" / "encoder").eval()
        torch.testing.assert_close(again(mel), encoder(mel))
        if prefixes[1] is not None:
            told = {"vector": torch.randn(1, 16 if score.config.vector == 16 else score.config.vector),
                    "reference": mel, "reference_mean": mel}  # fmt: skip
            made = PublishedScore.from_pretrained(tmp_path / "out" / "decoder").eval()
            t = torch.tensor([0.5])
            torch.testing.assert_close(made(mel, t, mel, **told), score(mel, t, mel, **told))


def test_another_layout_is_refused(small, tmp_path):
    torch.save({"estimator.what": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="neither"):
        convert(tmp_path / "other.pt", tmp_path / "out")
    state = {"estimator." + n: v for n, v in small[1].state_dict().items()}
    state["estimator.extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "more.pt")
    with pytest.raises(CheckpointError, match=r"extra\.weight"):
        convert(tmp_path / "more.pt", tmp_path / "out")


@torch.no_grad()
def test_masked_frames_do_not_count(small):
    encoder = small[0]
    mel, mask = torch.randn(1, 16, BANDS), (torch.arange(16) < 12)[None]
    other = torch.where(mask[..., None], mel, torch.full_like(mel, 5.0))
    torch.testing.assert_close(encoder(mel, mask)[:, :12], encoder(other, mask)[:, :12], atol=1e-4, rtol=1e-4)


def test_attention_by_distance_is_what_its_definition_says(small):
    layer = small[0].encoder.encoder.attn_layers[0]
    x, mask = torch.randn(1, 16, 7), torch.ones(1, 1, 7)
    q, k, v = (getattr(layer, f"conv_{n}")(x)[0].T.unflatten(1, (2, 8)) for n in "qkv")  # (n, h, d)
    found = torch.zeros(7, 2, 8)
    for h in range(2):
        for i in range(7):
            scores = torch.stack([
                q[i, h] @ (k[j, h] + (layer.emb_rel_k[0, j - i + 4] if abs(j - i) <= 4 else 0)) / 8**0.5
                for j in range(7)])  # fmt: skip
            share = scores.softmax(0)
            found[i, h] = sum(share[j] * (v[j, h] + (layer.emb_rel_v[0, j - i + 4] if abs(j - i) <= 4 else 0))
                              for j in range(7))  # fmt: skip
    wanted = layer.conv_o(found.flatten(1).T[None])
    torch.testing.assert_close(layer(x, mask), wanted, atol=1e-5, rtol=1e-4)
