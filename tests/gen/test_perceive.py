"""Emotions perceived in files, used in jobs, and stored as user-defined emotions; with the shipped weights."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from gen.cli import main
from gen.emotion import lexicon, own
from gen.emotion.embedding.perceive import perceive
from gen.emotion.resolve import resolve
from gen.emotion.spec import Emotion, EmotionCurve, Keyframe
from gen.emotion.track import track
from gen.errors import InputError
from gen.jobs.plan import plan_file, plan_tasks
from gen.jobs.schema import parse_task
from gen.media import read_image, write_audio, write_image, write_midi, write_video
from gen.notes import collect

RATE = 16_000
PORTRAIT = Path(__file__).parents[2] / "examples" / "grace_hopper.jpg"


@pytest.fixture
def voice(tmp_path):
    """A sound file: a buzz with an amplitude modulation of 2 Hz."""

    def make(name: str = "voice.wav", seconds: float = 2.0, hz: float = 170.0):
        t = np.arange(int(seconds * RATE)) / RATE
        wave = 0.2 * np.sign(np.sin(2 * np.pi * (hz * t + 3 * np.sin(5 * t)))) * np.sin(2 * np.pi * t) ** 2
        write_audio(tmp_path / name, wave.astype(np.float32)[None], RATE)
        return tmp_path / name

    return make


@pytest.fixture
def tune(tmp_path):
    import symusic

    score = symusic.Score(480)
    track = symusic.Track(program=0)
    for i in range(64):
        track.notes.append(symusic.Note(i * 240, 240, 60 + (0, 4, 7, 12)[i % 4], 80))
    score.tracks.append(track)
    write_midi(tmp_path / "tune.mid", score)
    return tmp_path / "tune.mid"


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFEKT_EMOTIONS", str(tmp_path / "emotions"))
    yield tmp_path / "emotions"
    lexicon.terms.cache_clear()


def check(found):
    assert sum(share for _, share in found.emotion.mix) == pytest.approx(1, abs=0.01)
    assert all(share == round(share, 3) for _, share in found.emotion.mix) or found.kind == "text"
    assert all(-1 <= axis <= 1 for axis in found.vad) and 0 <= found.emotion.intensity <= 2
    assert Emotion.parse(str(found.emotion)) == found.emotion
    json.dumps(found.facts(curve=True))


def test_a_voice_is_perceived(voice):
    found = perceive(voice())
    check(found)
    assert found.kind == "voice" and 0 < found.confidence <= 1 and len(found.moments) == 1


def test_a_long_voice_is_read_in_windows_without_pauses(voice):
    path = voice(seconds=9)
    found = perceive(path)
    assert len(found.moments) == 4
    assert len(found.curve().keyframes) == 4
    check(found)


def test_music_is_perceived(tune):
    found = perceive(tune)
    check(found)
    assert found.kind == "music" and {name for name, _ in found.emotion.mix} <= set(lexicon.QUADRANTS)


def test_a_face_is_perceived_without_confidence(tmp_path):
    np.savez(tmp_path / "face.npz", coefs=np.random.default_rng(0).uniform(0, 0.4, (60, 52)), fps=25.0)
    found = perceive(tmp_path / "face.npz")
    check(found)
    assert found.kind == "face" and found.confidence is None


def test_a_text_is_perceived_by_sentence(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("I was so sad. The table is brown. Then, joy!")
    found = perceive(path)
    check(found)
    assert [m.at for m in found.moments] == [0, 2]


def test_files_without_content_are_refused(tmp_path):
    write_audio(tmp_path / "silence.wav", np.zeros((1, RATE), np.float32), RATE)
    noise = np.random.default_rng(0).normal(0, 0.1, (1, RATE)).astype(np.float32)
    write_audio(tmp_path / "noise.wav", noise, RATE)
    (tmp_path / "dry.txt").write_text("The table is 2 m long.")
    for name, why in (("silence.wav", "silent"), ("noise.wav", "no voice"), ("dry.txt", "no emotion word")):
        with pytest.raises(InputError, match=f"nothing to perceive.*{why}"):
            perceive(tmp_path / name)


@pytest.mark.parametrize(("name", "why"), [("face.mp4", "not found"), ("gone.wav", "not found"), ("x.npz", "npz")])
def test_unreadable_files_name_the_reason(tmp_path, name, why):
    if name == "x.npz":
        (tmp_path / name).write_bytes(b"junk")
    with pytest.raises(InputError, match=why):
        perceive(tmp_path / name)


@pytest.mark.slow
def test_faces_in_pictures_and_videos_are_perceived(tmp_path):
    pixels = read_image(PORTRAIT)
    still = perceive(PORTRAIT)
    check(still)
    write_video(tmp_path / "still.mp4", iter([pixels[:, : pixels.shape[1] // 2 * 2]] * 8), 25.0)
    moving = perceive(tmp_path / "still.mp4")
    assert still.kind == moving.kind == "face" and still.confidence is None
    assert np.allclose(still.vad, moving.vad, atol=0.3)
    write_image(tmp_path / "wall.png", np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(InputError, match=r"nothing to perceive.*face"):
        perceive(tmp_path / "wall.png")


def test_a_reference_of_the_speaker_is_used(voice, tune):
    path, others = voice(), [voice("low.wav", hz=110), voice("high.wav", hz=240)]
    alone, referred = perceive(path), perceive(path, others)
    check(referred)
    assert referred != alone
    assert perceive(path, others[::-1]) == referred
    with pytest.raises(InputError, match="is not a voice: omit"):
        perceive(tune, others)
    with pytest.raises(InputError, match="is not a voice recording"):
        perceive(path, [tune])


def test_perceive_on_the_command_line(tune, capsys):
    assert main(["perceive", str(tune), "--json", "--curve"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "music"
    assert main(["perceive", "gone.wav"]) == 2
    assert main(["perceive", str(tune), "--reference", str(tune)]) == 2


def test_an_emotion_of_a_file_is_parsed_and_perceived(tmp_path):
    (tmp_path / "a.txt").write_text("How sad. How happy.")
    for given in ({"from": str(tmp_path / "a.txt")}, f"from: {tmp_path / 'a.txt'}"):
        curve = EmotionCurve.parse(given)
        assert EmotionCurve.parse(str(curve)) == curve
        read = resolve(curve)
        assert resolve(read) is read
        assert np.allclose(read.sample([0.0]).weights, EmotionCurve.parse("sad 0.5 + happy 0.5").sample([0.0]).weights)
    going = EmotionCurve.parse({"from": str(tmp_path / "a.txt"), "follow": True})
    assert EmotionCurve.parse(str(going)) == going
    assert [str(key.emotion) for key in resolve(going).keyframes] == ["sad", "happy"]


def test_a_curve_of_a_voice_may_have_a_reference(voice):
    path, others = voice(), [voice("low.wav", hz=110), voice("high.wav", hz=240)]
    curve = EmotionCurve.parse({"from": path, "reference": others})
    assert EmotionCurve.parse(str(curve)) == curve
    assert EmotionCurve.parse(f"from: {path} against {others[0]}, {others[1]}") == curve
    assert resolve(curve).keyframes[0].emotion == perceive(path, others).emotion
    with pytest.raises(InputError, match="a reference needs a file"):
        EmotionCurve.parse({"keyframes": [{"at": 0, "emotion": "sad"}], "reference": others})


@pytest.mark.usefixtures("tone_kind")
def test_a_job_takes_its_emotion_from_a_file(tmp_path):
    plan, heard = tmp_path / "jobs.yaml", tmp_path / "a.txt"
    plan.write_text(
        textwrap.dedent("""
        jobs:
          - {id: a, kind: tone, emotion: {from: a.txt}}
          - {id: b, kind: tone, emotion: {from: {job: a}}}
    """)
    )
    heard.write_text("sad")
    first = {item.id: item for item in plan_file(plan).items}
    assert first["b"].needs == ("a",)
    heard.write_text("happy!")
    assert plan_file(plan).items[0].key != first["a"].key
    assert main(["render", str(plan), "--out", str(tmp_path / "out"), "--json"]) in (0, 4)
    assert any((tmp_path / "out").glob("a.*"))


@pytest.mark.usefixtures("tone_kind")
def test_a_missing_file_is_an_error_of_the_plan(tmp_path):
    (tmp_path / "jobs.yaml").write_text("jobs:\n  - {id: a, kind: tone, emotion: {from: gone.wav}}\n")
    with pytest.raises(InputError, match="gone"):
        plan_file(tmp_path / "jobs.yaml")


@pytest.mark.usefixtures("tone_kind")
def test_a_user_defined_emotion_is_used_by_name(own_folder, voice, tune, capsys):
    assert main(["emotion", "make", "tidewise", str(voice()), str(tune)]) == 0
    emotion = Emotion.parse("tidewise 0.6 + sad 0.4")
    assert dict(emotion.mix)["tidewise"] == 0.6
    assert emotion.weights().sum() == pytest.approx(1, abs=1e-3)
    task = parse_task({"kind": "tone", "emotion": "tidewise"})
    before = plan_tasks({"x": task}).items[0].key
    own.make("tidewise", [tune])
    with collect() as notes:
        own.make("tidewise", [tune])
    assert notes == ["'tidewise' was there: its clips are replaced"]
    assert plan_tasks({"x": task}).items[0].key != before
    assert (own_folder / "tidewise.safetensors").is_file()


@pytest.mark.parametrize("name", ["sad", "Two Words", "../x"])
def test_a_name_must_be_new_and_a_word(own_folder, tune, name):
    with pytest.raises(InputError):
        own.make(name, [tune])


def test_the_map_from_emotions_to_the_space_is_continuous():
    from gen.emotion.embedding import priors

    prior = priors.Priors(*priors.read("emotion-embedding"))

    def place(text: str):
        samples = EmotionCurve.parse(text).sample([0.0])
        given = [torch.from_numpy(part)[None] for part in samples]
        return prior(*given)[0, 0], prior.sd(given[0], given[2])[0, 0]

    apart = (place("happy")[0] - place("sad")[0]).norm()
    for one, other in (
        ("happy @ 0.5", "happy @ 0.51"),
        ("happy 0.5 + sad 0.5", "happy 0.51 + sad 0.49"),
        ("v=0.5 a=0.3", "v=0.51 a=0.3"),
        ("happy @ 0", "sad @ 0"),
    ):
        assert (place(one)[0] - place(other)[0]).norm() < 0.06 * apart
        assert torch.allclose(place(one)[1], place(other)[1], atol=0.05)


def test_the_typical_clip_of_a_quadrant_has_no_offset():
    """Calm music is far from the word's prior: this offset belongs to the word, not to the clip."""
    from safetensors.torch import load_file

    from gen.checkpoints import folder
    from gen.emotion.embedding.perceive import _gaps, _place
    from gen.emotion.track import unit_prior

    held = load_file(folder("emotion-embedding") / "priors.safetensors")
    for index, name in enumerate(lexicon.QUADRANTS):
        emotion = Emotion.parse(name)
        mean, var = (held[f"quadrants.{part}"][index].float() for part in ("mean", "var"))
        place = _place(emotion, emotion.point(), mean, var)
        assert np.allclose(place.mean, unit_prior(emotion), atol=1e-3)
    assert max(np.abs(_gaps()[name]).max() for name in lexicon.CANONICAL) < 1e-3
    assert np.linalg.norm(_gaps()["calm"]) > 5


def test_generators_that_read_numbers_are_told_the_perceived_point(tmp_path):
    draw = np.random.default_rng(1)
    np.savez(tmp_path / "face.npz", coefs=draw.uniform(0, 0.4, (60, 52)) * (draw.random(52) < 0.4), fps=25.0)
    found = perceive(tmp_path / "face.npz")
    key = Keyframe(at=0.0, emotion=found.emotion, embedding=found.embedding)
    told = track(EmotionCurve(keyframes=(key,)), [0.0]).in_numbers()
    assert found.emotion.intensity > 0.25
    np.testing.assert_allclose((told.vad * told.intensity[:, None])[0], found.vad, atol=0.01)


def test_sounds_without_speech_have_low_confidence(tmp_path):
    rng, t = np.random.default_rng(0), np.arange(3 * RATE) / RATE
    chords = sum(np.sin(2 * np.pi * 220 * 2 ** (np.floor(2 * t) % 5 * 2 / 12 + k / 12) * t) for k in (0, 4, 7))
    for name, sound in {"chords": chords, "hiss": rng.standard_normal(len(t))}.items():
        write_audio(tmp_path / f"{name}.wav", (0.1 * sound).astype(np.float32)[None], RATE)
        try:
            with collect() as said:
                found = perceive(tmp_path / f"{name}.wav")
        except InputError as error:
            assert "voice" in str(error)  # not even a pitch
            continue
        assert found.confidence < 0.3 and any("not speech" in sentence for sentence in said)
