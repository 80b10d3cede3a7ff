"""Pieces based on user files, and additional outputs: kept tracks, transferred elements, stems, instruments."""

import io
import struct

import numpy as np
import pytest
import soundfile
import symusic
from grids import VOCABULARY
from test_controls import tonal
from test_generate import WIDE, generator

from gen import media
from gen.errors import InputError
from gen.jobs.schema import parse_task
from gen.marks.verify import embedded
from gen.notes import collect
from music import instruments, synth
from music.score import read_song, shortened, to_score
from music.task import TAKEN
from music.tokens import POSITIONS, encode, violation
from music.transfer import exchanged, transferred


def band(path, bars=40, tracks=12, waltz=0):
    """Twelve tracks, drums and a pedal, in 4/4; first some bars in three where it is a ``waltz``."""
    score, begin = symusic.Score(96), waltz * 3 * 96
    score.time_signatures.append(symusic.TimeSignature(0, 3 if waltz else 4, 4))
    score.time_signatures.append(symusic.TimeSignature(begin, 4, 4))
    score.tempos.append(symusic.Tempo(0, 100.0))
    for number in range(tracks):
        part = symusic.Track(name=f"part {number}", program=number * 8)
        for beat in range(bars * 4):
            part.notes.append(symusic.Note(begin + beat * 96, 48, 40 + number * 4 + beat % 3, 70))
        part.controls.append(symusic.ControlChange(0, 64, 127))
        score.tracks.append(part)
    drums = symusic.Track(name="drums", is_drum=True)
    for beat in range(bars * 4):
        drums.notes.append(symusic.Note(begin + beat * 96, 24, 36, 90))
    score.tracks.append(drums)
    score.dump_midi(path)
    return media.read_midi(path)


def events(track):
    return sorted((n.start, n.duration, n.pitch, n.velocity) for n in track.notes)


def rendered(task, folder, **changes):
    """The files of a task by ending, and what was noted."""
    with collect() as notes:
        paths = generator(**changes).render(
            parse_task({"kind": "music", "candidates": 1} | task),
            folder,
            {"ai_generated": True},
            lambda share, what: None,
        )
    return {path.name.removeprefix("piece-0"): path for path in paths}, list(notes)


@pytest.mark.parametrize("waltz", [0, 5])
def test_a_file_that_goes_on_keeps_its_tracks(tmp_path, waltz):
    before = band(tmp_path / "a.mid", waltz=waltz)
    files, notes = rendered({"emotion": "happy", "bars": 2, "continue": tmp_path / "a.mid", "audio": False}, tmp_path)
    after = media.read_midi(files[".mid"])
    kept = {track.name: track for track in after.tracks}
    for track in before.tracks:
        assert events(kept[track.name]) == events(track) and kept[track.name].program == track.program
        assert kept[track.name].is_drum == track.is_drum
    ends = 40 * 4 * 96 + waltz * 3 * 96
    new = [event for name in ("right hand", "left hand") for event in events(kept[name])]
    assert new and min(new)[0] >= ends and max(start + size for start, size, _, _ in new) <= ends + 2 * 4 * 96
    assert any("13 tracks are kept" in sentence for sentence in notes)


def test_only_the_end_of_a_file_is_read_on_the_grid(tmp_path):
    band(tmp_path / "a.mid", bars=30)
    whole, end = read_song(tmp_path / "a.mid"), read_song(tmp_path / "a.mid", 4)
    assert len(end.grid.tempo) == 4 and len(whole.grid.tempo) == 30
    last = whole.grid.notes[whole.grid.notes[:, 0] >= 26 * POSITIONS] - np.array([26 * POSITIONS, 0, 0, 0])
    np.testing.assert_array_equal(end.grid.notes, last)
    assert end.ticks(np.array([4 * POSITIONS]))[0] == 30 * 4 * 96
    part = shortened(end.score, 28 * 4 * 96)
    assert part.tempos[0].time == 0 and part.end() == 2 * 4 * 96 - 48


def test_elements_come_from_other_pieces():
    one, other = tonal(0), tonal(1, 3)
    np.testing.assert_array_equal(transferred(one, {}).notes, one.notes)
    rhythm = other._replace(notes=other.notes[other.notes[:, 0] % 8 == 0])
    made = transferred(one, {"rhythm": rhythm})
    assert set(made.notes[:, 0] % POSITIONS) == {0, 8} and len(made.tempo) == len(one.tempo)
    assert set(made.notes[:, 1]) <= set(one.notes[:, 1])
    loud = other._replace(notes=np.column_stack((other.notes[:, :3], np.full(len(other.notes), 33.0))))
    made = transferred(one, {"velocity": loud})
    assert set(made.notes[:, 3]) == {33.0}
    np.testing.assert_array_equal(made.notes[:, :3], one.notes[:, :3])
    pitch = other._replace(notes=other.notes + np.array([0, 1, 0, 0]), chords=["C#_M"] * 12)
    made = transferred(one, {"pitch": pitch})
    assert set(made.notes[:, 1]) <= set(pitch.notes[:, 1]) and made.chords[0] == "C#_M"
    assert set(made.notes[:, 0]) == set(one.notes[:, 0])
    assert transferred(one, {"tempo": other._replace(tempo=np.full(3, 61.0))}).tempo.tolist() == [61.0] * 8


@pytest.mark.parametrize(
    "changes",
    [
        {"quantizer": WIDE, "encoder": None},
        {"quantizer": "slot_vq"},
    ],
)
def test_what_is_taken_is_in_the_piece(tmp_path, changes):
    """Networks whose codes name their elements by ids, others by slices of the latent."""
    media.write_midi(tmp_path / "a.mid", to_score(tonal(3)))
    task = {"emotion": "sad", "bars": 2, "take_rhythm": tmp_path / "a.mid", "audio": False}
    files, _ = rendered(task, tmp_path, **changes)
    notes = [event for track in media.read_midi(files[".mid"]).tracks for event in events(track)]
    if changes.get("encoder", 0) is None:
        assert {start % 1920 // 120 for start, *_ in notes} == set(tonal(3).notes[:, 0] % POSITIONS)
    assert notes


def test_slices_of_latents_are_exchanged():
    model = generator(quantizer="ema_vq", marks_bars=False).autoencoder
    one, other = (encode(tonal(seed, 2), VOCABULARY).astype(np.int64) for seed in (0, 1))
    told = model.emotion.null.expand(1, 1, -1)
    rows = [exchanged(model, one, {part: other} if part else {}, told, 0) for part in (None, *TAKEN)]
    assert all(violation(x) is None for x in rows)
    assert not all(np.array_equal(rows[0], x) for x in rows[1:])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"take_pitch": "a.mid", "melody": "a.mid"}, "one of them"),
        ({"take_tempo": "a.mid", "tempo": 90}, "tempo"),
        ({"stream": True, "key": "C"}, "key"),
        ({"font": "a.sf2"}, "instrument"),
        ({"instrument": "kazoo"}, "kazoo"),
        ({"instrument": "0"}, "128"),
    ],
)
def test_what_does_not_go_together_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        parse_task({"kind": "music", "emotion": "happy"} | given)


def test_stems_are_the_hands_of_the_piece(tmp_path):
    files, _ = rendered({"emotion": "happy", "bars": 2, "stems": True}, tmp_path)
    whole, right, left = (media.read_midi(files[f"{name}.mid"]) for name in ("", "-right", "-left"))
    both = sorted(event for score in (right, left) for track in score.tracks for event in events(track))
    assert both == sorted(event for track in whole.tracks for event in events(track))
    assert set(files) == {f"{name}.{end}" for name in ("", "-right", "-left") for end in ("mid", "wav")}
    assert all(embedded(path)["ai_generated"] for path in files.values())


def test_a_piece_is_as_long_as_a_film(tmp_path):
    media.write_audio(tmp_path / "film.wav", np.zeros(round(9.3 * 16000), np.float32), 16000)
    files, _ = rendered({"emotion": "happy", "film": tmp_path / "film.wav"}, tmp_path)
    sound, rate = media.read_audio(files[".wav"], mono=False)
    assert sound.shape[1] / rate == pytest.approx(9.3, abs=0.001)


def test_a_stream_does_not_hold_the_piece_in_memory(tmp_path):
    out = synth.Blocks(8000)
    for at in range(20):
        out.add(np.zeros((2, 40_000), np.float32), 20_000)
        out.take(at == 19)
        assert out.sound.shape[1] < 100_000


# ---------------------------------------------------------------- sound


def test_parts_of_a_sound_become_the_whole(monkeypatch):
    monkeypatch.setattr(synth.watermark, "embed", lambda samples, rate, first: samples)
    rate, rng = 8000, np.random.default_rng(0)
    parts = [rng.normal(0, 0.5, (2, 30_000)).astype(np.float32) for _ in range(4)]
    whole, out, blocks = np.zeros((2, 90_000), np.float32), synth.Blocks(rate), []
    for at, part in enumerate(parts):
        whole[:, at * 20_000 : at * 20_000 + 30_000] += part
        out.add(part, 20_000)
        blocks.append(out.take(at == 3))
    found = np.concatenate(blocks, 1)
    np.testing.assert_allclose(found, synth.limit(whole, rate), atol=1e-5)


def test_a_stream_is_a_whole_marked_piece():
    from gen.marks.watermark import detect

    made, task = generator(), parse_task({"kind": "music", "emotion": "sad", "bars": 5, "stream": True})
    blocks = [*made.stream(task)]
    assert len(blocks) >= 2 and detect(np.concatenate(blocks, 1), made.rate).found
    again = [*made.stream(task)]
    assert all(np.array_equal(a, b) for a, b in zip(blocks, again, strict=True))


def test_a_wav_of_unknown_length_says_what_it_is():
    head = media.wav_head(44100, 2, {"ai_generated": True, "a": "é"})
    data = head + np.zeros((100, 2), "<i2").tobytes()
    assert head[:4] == b"RIFF" and b'"ai_generated": true' in head and data[-404:-400] == b"\xff" * 4
    assert struct.unpack("<HHI", head[20:28]) == (1, 2, 44100)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("strings", 48),
        ("guitar", 24),
        ("Celesta", 8),
        ("harp", 46),
        ("1", 0),
        ("128", 127),
        ("string ensemble 2", 49),
    ],
)
def test_instruments_by_name(text, number):
    assert instruments.program(text) == number


def test_an_instrument_follows_the_notes():
    pytest.importorskip("midirenderer")
    sounds = {}
    for program in (0, 48):
        for level in (0.5, 1.0):
            grid = tonal(0, 2)
            grid.notes[:, 3] = np.rint(grid.notes[:, 3] * level)
            sounds[program, level], rate = instruments.render(to_score(grid, program=program))
    seconds = 2 * 240 / 100
    assert all(seconds + 1 < x.shape[1] / rate < seconds + 4 for x in sounds.values())
    power = {name: float(np.square(x).mean()) for name, x in sounds.items()}
    assert power[48, 0.5] < 0.5 * power[48, 1.0] and not np.allclose(power[0, 1.0], power[48, 1.0], rtol=0.05)


def compressed(font: bytes) -> bytes:
    """An SF2 as SF3: its samples as Ogg Vorbis."""
    found = {name: (at, size) for name, at, size in instruments._chunks(font)}
    base, size = found[b"shdr"]
    headers, parts, at = [], [], 0
    pcm = np.frombuffer(font[found[b"smpl"][0] :][: found[b"smpl"][1]], np.int16)
    for header in struct.iter_unpack("<20s5IBbHH", font[base : base + size]):
        name, start, end, loop, loop_end, rate, *rest, kind = header
        if end > start:
            buffer = io.BytesIO()
            soundfile.write(buffer, pcm[start:end], rate, format="OGG", subtype="VORBIS")
            data = buffer.getvalue()
            parts.append(data)
            loop, loop_end, start, end = loop - start, loop_end - start, at, at + len(data)
            at, kind = end, kind | instruments.COMPRESSED
        headers.append(struct.pack("<20s5IBbHH", name, start, end, loop, loop_end, rate, *rest, kind))
    old = font[found[b"smpl"][0] - 8 : sum(found[b"smpl"])]
    new = b"smpl" + at.to_bytes(4, "little") + b"".join(parts) + b"\0" * (at % 2)
    out = font.replace(font[base : base + size], b"".join(headers)).replace(old, new)
    place = out.index(b"sdta") - 4
    out = out[:place] + (4 + len(new)).to_bytes(4, "little") + out[place + 4 :]
    return out[:4] + (len(out) - 8).to_bytes(4, "little") + out[8:]


def test_compressed_fonts_sound_alike(tmp_path):
    pytest.importorskip("midirenderer")
    (tmp_path / "a.sf3").write_bytes(compressed(instruments.default_font().read_bytes()))
    plain, _ = instruments.render(to_score(tonal(0, 1), program=48))
    packed, _ = instruments.render(to_score(tonal(0, 1), program=48), tmp_path / "a.sf3")
    assert np.corrcoef(plain[0], packed[0])[0, 1] > 0.9


def test_what_is_no_font_is_refused(tmp_path):
    pytest.importorskip("midirenderer")
    (tmp_path / "a.sf2").write_bytes(b"RIFF....WAVE")
    with pytest.raises(InputError, match="SoundFont"):
        instruments.render(to_score(tonal(0, 1)), tmp_path / "a.sf2")
    with pytest.raises(InputError, match="not there"):
        instruments.render(to_score(tonal(0, 1)), tmp_path / "b.sf2")
