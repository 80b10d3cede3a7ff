"""The piano is in tune, follows velocity and pedal, ends in silence, and never clips."""

import numpy as np
import pytest
import symusic

from gen import checkpoints
from gen.loudness import CEILING
from music import synth
from music.training import piano as soundfont

RATE = 44100


def score(notes, pedals=()):
    """Notes of (start s, end s, pitch, velocity) and pedals of (down s, up s) on one track."""
    made = symusic.Score(960)
    track = symusic.Track(name="piano")
    tick = lambda seconds: round(seconds * 1920)
    for start, end, pitch, velocity in notes:
        track.notes.append(symusic.Note(tick(start), tick(end - start), int(pitch), int(velocity)))
    for down, up in pedals:
        track.controls.append(symusic.ControlChange(tick(down), 64, 127))
        track.controls.append(symusic.ControlChange(tick(up), 64, 0))
    made.tracks.append(track)
    return made


def level(sound: np.ndarray) -> float:
    return 10 * np.log10(np.mean(sound.astype(float) ** 2) + 1e-20)


def cents(sound: np.ndarray, pitch: int) -> float:
    """Deviation from equal temperament of the first three partials, weighted by amplitude."""
    size = 1 << 18
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    off, weight = [], []
    for k in (1, 2, 3):
        ideal = k * 440 * 2 ** ((pitch - 69) / 12) * size / RATE
        low, high = int(ideal * 2 ** (-60 / 1200)), int(ideal * 2 ** (60 / 1200))
        at = low + spectrum[low:high].argmax()
        off.append(1200 * np.log2(at / ideal))
        weight.append(spectrum[at])
    return float(np.average(off, weights=weight))


@pytest.mark.parametrize("keys", [range(24, 109, 9), pytest.param(range(21, 109), marks=pytest.mark.slow)], ids=len)
def test_keys_are_in_tune(keys):
    step = 0.45
    sound = synth.render(score([(i * step, i * step + 0.42, p, 80) for i, p in enumerate(keys)])).mean(0)
    for i, pitch in enumerate(keys):
        begin = int((i * step + 0.02) * RATE)
        off = cents(sound[begin : begin + int(0.4 * RATE)], pitch)
        assert abs(off) < (5 if pitch == 69 else 10 if 36 <= pitch <= 96 else 25), f"key {pitch}: {off:+.1f} cents"


@pytest.mark.parametrize("pitch", [30, 60, 96])
def test_harder_is_louder(pitch):
    levels = [level(synth.render(score([(0, 0.4, pitch, v)]))) for v in range(7, 128, 12)]
    assert (np.diff(levels) > 0).all()
    assert levels[-1] - levels[0] > 25


def test_harder_is_brighter():
    def treble(velocity):
        power = np.abs(np.fft.rfft(synth.render(score([(0, 0.4, 60, velocity)])).mean(0))) ** 2
        return power[int(len(power) * 2000 / (RATE / 2)) :].sum() / power.sum()

    assert (np.diff([treble(v) for v in (20, 45, 60, 80, 95, 120)]) > 0).all()


def test_registers_are_even():
    levels = [level(synth.render(score([(0, 0.4, p, 80)]))) for p in range(36, 85, 4)]
    assert np.abs(np.diff(levels)).max() < 4
    assert max(levels) - min(levels) < 8


def test_dampers_silence_and_the_pedal_holds():
    notes = [(0, 0.3, 60, 80)]
    dry, wet = synth.render(score(notes)), synth.render(score(notes, [(0.1, 2.0)]))
    middle = slice(int(1.0 * RATE), int(1.4 * RATE))
    assert level(wet[:, middle]) - level(dry[:, middle]) > 15
    assert level(dry[:, middle]) < level(dry[:, : RATE // 4]) - 35
    assert level(dry[:, -RATE // 20 :]) < -100
    assert level(wet[:, -RATE // 20 :]) < -100


def test_pedal_survives_a_midi_file(tmp_path):
    piece = score([(0, 0.3, 60, 80), (0.4, 0.6, 64, 70)], [(0.1, 1.5)])
    piece.dump_midi(tmp_path / "a.mid")
    np.testing.assert_allclose(synth.render(tmp_path / "a.mid"), synth.render(piece), atol=1e-3)


def test_pedals_and_controllers_are_one():
    controlled, pedalled = score([(0, 0.3, 60, 80)], [(0.1, 1.5)]), score([(0, 0.3, 60, 80)])
    pedalled.tracks[0].pedals.append(symusic.Pedal(192, 2688))
    np.testing.assert_allclose(synth.played(controlled), synth.played(pedalled), atol=1e-6)


def test_a_key_struck_again_cuts_its_old_sound():
    keys = synth.played(score([(0, 0.4, 60, 80), (1, 1.4, 60, 80), (0.5, 2, 62, 80)], [(0, 3)]))
    np.testing.assert_allclose(keys[:, :4], [(0, 1, 60, 80), (0.5, 3, 62, 80), (1, 3, 60, 80)], atol=1e-6)


def test_no_click_where_a_note_ends():
    sound = synth.render(score([(0, 0.5, p, 90) for p in (36, 55, 64, 72, 81)])).mean(0)
    treble = np.abs(np.diff(sound, 4))  # a step stands out here
    before, at = treble[int(0.40 * RATE) : int(0.49 * RATE)], treble[int(0.495 * RATE) : int(0.53 * RATE)]
    assert at.max() < 1.2 * before.max()


def test_same_piece_same_samples():
    piece = score([(i * 0.2, i * 0.2 + 0.3, 48 + 5 * i, 50 + 6 * i) for i in range(8)], [(0, 1)])
    np.testing.assert_array_equal(synth.render(piece), synth.render(piece))


def test_loud_never_clips_and_quiet_stays_quiet():
    from scipy.signal import resample_poly

    chords = [(0.25 * i, 0.25 * i + 0.24, p, 1) for i in range(12) for p in (29, 36, 41, 48, 53, 60, 65, 72, 77, 84)]
    loud, quiet = (synth.render(score([(a, b, p, v) for a, b, p, _ in chords], [(0, 3)])) for v in (127, 40))
    assert loud.dtype == np.float32
    assert np.abs(loud).max() <= 10 ** (CEILING / 20) + 1e-6
    assert np.abs(resample_poly(loud, 4, 1, axis=1)).max() < 10 ** (-1 / 20)
    assert level(loud) - level(quiet) > 6


def test_other_rates_and_nothing_to_play():
    sound = synth.render(score([(0, 0.5, 69, 80)]), rate=22050)
    assert abs(sound.shape[1] / 22050 - synth.render(score([(0, 0.5, 69, 80)])).shape[1] / RATE) < 0.01
    assert not synth.render(score([])).any()


def test_stream_and_config_agree():
    piano = synth.bank()
    loud = np.abs(piano.stream).max(1)
    assert len(loud) == (piano.begins + piano.frames).max()
    assert loud.max() < 32767
    for begin in piano.begins.ravel():
        assert loud[begin : begin + 4].max() < 0.05 * loud[begin : begin + 2000].max()
        assert loud[max(0, begin - 2048) : max(1, begin - 1100)].max() < 40  # the sample before has died away


def test_serial_numbers_are_fixed():
    ogg = (checkpoints.folder("piano") / "piano.ogg").read_bytes()[:40000]
    pages = ogg[: ogg.rindex(b"OggS")]
    assert soundfont.with_serial(pages, 1) == pages
    other = soundfont.with_serial(pages, 77)
    assert other != pages
    assert soundfont.with_serial(other, 1) == pages
