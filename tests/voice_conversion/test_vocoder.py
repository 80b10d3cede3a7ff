"""The vocoder's parts against definitions; its sound against the mel it was asked for."""

import numpy as np
import pytest
import torch
from speech import voice

from voice_conversion import features, vocoder
from voice_conversion.features import HOP, RATE
from voice_conversion.vocoder import Vocoder


@pytest.fixture(scope="module")
def spoken():
    samples = features.cut(voice(1.0))
    wave = torch.from_numpy(samples)[None]
    hz = features.track(samples)
    octave = torch.from_numpy(features.filled(hz))[None]
    return wave, features.mel(wave), octave, torch.from_numpy((hz > 0).astype(np.float32))[None]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Vocoder(16, 2, projections=3).eval()


def test_spectra_give_back_their_wave(spoken):
    wave = spoken[0]
    again = vocoder.overlap_add(vocoder.spectrum(wave))
    torch.testing.assert_close(again[:, 512:-512], wave[:, 512:-512], atol=1e-5, rtol=1e-4)


def test_pulses_hold_all_harmonics_alike():
    hz = torch.full((1, RATE), 200.0)
    wave = vocoder.pulse_train(hz, torch.cumsum(hz.double() / RATE, 1))
    assert wave.square().mean().item() == pytest.approx(1.0, rel=0.03)
    spectrum = torch.fft.rfft(wave[0]).abs()
    peaks = spectrum[200:11000:200]
    assert (peaks.max() / peaks.min()).item() < 1.2
    assert spectrum[300].item() < 0.01 * peaks.mean().item()


def test_sources_are_equally_strong():
    made = vocoder.sources(torch.full((1, 200), 7.3), torch.Generator().manual_seed(0))
    power = [part.abs().square().mean().item() for part in made]
    np.testing.assert_allclose(power, power[1], rtol=0.1)


def test_minimum_phase_is_causal():
    gain = torch.linspace(0, -3, 513).expand(1, 1, -1)
    response = torch.fft.irfft(torch.polar(gain.exp(), vocoder.minimum_phase(gain)))[0, 0]
    assert response[:256].square().sum() > 0.999 * response.square().sum()


def test_a_phase_goes_on_where_the_last_phrase_ended():
    octave = torch.linspace(7, 7.5, 40)[None]
    _, whole = vocoder.pitch_phase(octave)
    _, second = vocoder.pitch_phase(octave[:, 20:], float(whole[0, 20 * HOP - 1]))
    assert (second - whole[:, 20 * HOP :]).abs().max() < 0.05


def test_untrained_filters_already_sound_like_the_mel(model, spoken):
    with torch.no_grad():
        made = model(*spoken[1:], generator=torch.Generator().manual_seed(0))
    assert made.shape == spoken[0].shape
    away = (features.mel(made) - spoken[1]).abs()[:, 4:-4, :70]
    assert away.mean().item() < 0.35


def test_projections_bring_the_mel_nearer(model, spoken):
    errors = []
    for count in (0, 1, 4):
        with torch.no_grad():
            made = model(*spoken[1:], projections=count, generator=torch.Generator().manual_seed(0))
        errors.append((features.mel(made) - spoken[1]).abs().mean().item())
    assert errors[0] > errors[1] > errors[2]


def test_the_pitch_is_the_one_asked_for(model, spoken):
    _, mel, octave, voiced = spoken
    with torch.no_grad():
        made = model(mel, octave, voiced)[0].numpy()
    heard, wanted = features.track(made), 2 ** octave[0].numpy()
    both = (heard > 0) & (voiced[0].numpy() > 0)
    assert both.sum() > 20
    assert np.median(np.abs(np.log2(heard[both] / wanted[both]))) < 0.02


def test_a_batch_is_its_items(model, spoken):
    mel, octave, voiced = (torch.cat((x, x.flip(1))) for x in spoken[1:])
    with torch.no_grad():
        together = model.read(mel, octave, voiced)
        alone = model.read(mel[1:], octave[1:], voiced[1:])
    for both, one in zip(together, alone):
        torch.testing.assert_close(both[1:], one, atol=1e-4, rtol=1e-4)


def test_it_is_kept(model, spoken, tmp_path):
    model.save_pretrained(tmp_path)
    again = Vocoder.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        one, other = (m.read(*spoken[1:])[0] for m in (model, again))
    torch.testing.assert_close(one, other)


def test_it_learns_a_sound(tmp_path, spoken):
    from gen.training import Run
    from voice_conversion.vocoder_training import loss

    class One:
        random = np.random.default_rng(0)

        def batch(self, size):
            return spoken[0][:, : 32 * HOP], *(x[:, :32] for x in spoken[1:])

    torch.manual_seed(0)
    model = Vocoder(16, 1)
    run = Run("vocoder", model, tmp_path, 1.0, 1e-2, precision=None)
    losses = []
    for _ in range(12):
        losses.append(float(run._advance(lambda: loss(model, One(), 1))["energy"].detach()))
        run.step += 20
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
