"""Scenes: validation, timing of the parts, and the finished film."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from apps.scene import captions, measures
from apps.scene.pipeline import Scene, SceneGenerator, in_bars, moved
from apps.scene.task import SceneTask
from gen import media
from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.jobs.cache import Cache
from gen.jobs.plan import plan_file, plan_tasks
from gen.jobs.run import run
from gen.jobs.schema import parse_task

EXAMPLES = Path(__file__).parents[2] / "examples"
PORTRAIT, LINE = EXAMPLES / "grace_hopper.jpg", EXAMPLES / "line.opus"


def render(tmp_path, **fields) -> dict[str, Path]:
    """Extension -> file of a scene with short margins."""
    task = SceneTask(**{"portrait": PORTRAIT, "lead": 0.4, "tail": 0.4, "size": 256} | fields)
    events = []
    run(plan_tasks({"it": task}), tmp_path / "out", Cache(tmp_path / "cache"), events.append, device="cpu")
    assert events[-1].state == "rendered", events[-1].message
    return {path.name.removeprefix("it."): path for path in events[-1].files}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "give a recording"),
        ({"audio": "a.wav", "voice": "b.wav"}, "not both"),
        ({"audio": "a.wav", "captions": True}, "give it as text"),
        ({"audio": "a.wav", "mute": ["voice", "music"]}, "would be silent"),
        ({"audio": "a.wav", "under": 3}, "greater than or equal to 10"),
    ],
)
def test_impossible_tasks_are_refused(fields, says):
    with pytest.raises(InputError, match=says):
        parse_task({"kind": "scene", "portrait": "p.png", **fields})


def test_only_rendered_parts_need_weights():
    whole = SceneTask(portrait="p.png", audio="a.wav")
    names = SceneGenerator.checkpoints(whole)
    assert {whole.voice_model, whole.face_model, whole.music_model} < {*names}
    bare = SceneTask(portrait="p.mp4", voice="v.wav", music="m.mid")
    assert SceneGenerator.checkpoints(bare) == ()


def test_parts_can_come_from_other_jobs(tmp_path):
    (tmp_path / "scene.yaml").write_text(f"""
defaults: {{emotion: happy}}
jobs:
  - {{id: tune, kind: music, bars: 4, audio: false}}
  - {{id: line, kind: voice, source: {LINE}}}
  - {{id: film, kind: scene, portrait: {PORTRAIT}, voice: {{job: line}}, music: {{job: tune}}}}
""")
    item = next(item for item in plan_file(tmp_path / "scene.yaml").items if item.id == "film")
    assert set(item.needs) == {"tune", "line"} and "muser-compact" not in item.checkpoints


def test_the_emotion_moves_with_the_words():
    curve = EmotionCurve.parse("0: sad, 4: happy @ 1.3")
    later = moved(curve, lead=1.5, pace=0.5)
    assert [key.at for key in later.keyframes] == [1.5, 3.5]
    bars = in_bars(later, 2.5)
    assert bars.unit == "bars" and [key.at for key in bars.keyframes] == [0.6, 1.4]


@pytest.mark.slow
@pytest.mark.parametrize("at", [0.4, 2.12])
def test_flash_and_clap_stay_in_sync(tmp_path, at):
    film, clap = measures.clapper(tmp_path, at)
    files = render(tmp_path, portrait=film, voice=clap, mute=["music"], lead=0.6, label=False)
    assert abs(measures.offset(files["mp4"])) <= 1 / 25
    frames, fps = media.read_video(files["mp4"])
    light = np.array([frame.mean() for frame in frames])
    assert light.argmax() / fps == pytest.approx(0.6 + at, abs=1 / 25)
    samples, rate = media.read_audio(files["mp4"])
    assert len(light) / fps == pytest.approx(5.0, abs=0.05) == pytest.approx(len(samples) / rate, abs=0.05)


@pytest.mark.slow
def test_a_scene(tmp_path):
    fields = {
        "voice": LINE,
        "emotion": EmotionCurve.parse("happy"),
        "text": "Hello there. This is a line.",
        "captions": True,
        "stems": True,
    }
    files = render(tmp_path, **fields)
    marked = ("mp4", "speech.wav", "music.wav")
    assert set(files) == {"srt", "vtt", *marked, *(f"{name}.json" for name in marked)}
    levels = measures.levels(files["mp4"], files["speech.wav"], files["music.wav"])
    assert levels.whole == pytest.approx(-16, abs=1) and levels.over >= 10 and levels.peak < 0
    music, rate = media.read_audio(files["music.wav"])
    assert np.abs(music[: round(0.2 * rate)]).max() > 0.005  # leading rests of the piece are skipped
    manifest = json.loads(files["mp4.json"].read_text())
    assert manifest["ai_generated"] and manifest["label"] and "muser-compact" in manifest["checkpoints"]
    assert "Hello there." in files["srt"].read_text()
    cached = sum(1 for _ in (tmp_path / "cache").glob("??/*"))
    again = render(tmp_path, **fields | {"swell": 4.0})  # another mix renders no part again
    assert sum(1 for _ in (tmp_path / "cache").glob("??/*")) == cached + 1
    assert again["mp4"].read_bytes() != b""


def test_captions_follow_the_speech():
    active = np.zeros(1000, bool)
    active[100:400] = active[600:900] = True
    found = captions.captions("Good evening, all of you. It is late.", active, 0.01)
    assert [c.text for c in found] == ["Good evening, all of you.", "It is late."]
    assert found[0].start == 1.0 and found[-1].end == pytest.approx(9.35, abs=0.02)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert "00:00:01,000 --> " in captions.srt(found)


@pytest.mark.parametrize("text", ["word " * 80, "x" * 40, "One. Two! Three? (Four); five: six", "Ja.\n\nNein, nie."])
def test_every_word_of_a_caption_fits(text):
    parts = captions.phrased(text)
    assert " ".join(parts).split() == text.split()
    assert all(len(part) <= captions.LINE * captions.LINES or " " not in part for part in parts)
    dark = np.zeros((256, 256, 3), np.uint8)
    shown = next(captions.captioned([dark], [captions.Caption(0, 1, parts[0])], 25))
    assert shown.max() > 120 and not shown[:128].any() and not shown[:, :2].any()


def test_a_text_without_the_extra_names_the_remedy(monkeypatch):
    from apps.scene import reading

    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="or give a recording"):
        reading.read_aloud("Hello.")


def test_a_text_is_read_aloud():
    pytest.importorskip("espeakng_loader")
    from apps.scene.reading import read_aloud

    samples, rate = read_aloud("How happy I was to hear from you.")
    again, _ = read_aloud("How happy I was to hear from you.")
    assert 1.0 < len(samples) / rate < 4.0 and np.abs(samples).max() > 0.1 and np.array_equal(samples, again)


@pytest.mark.slow
def test_a_film_keeps_its_size_with_a_note(tmp_path):
    film, clap = measures.clapper(tmp_path, 0.4)
    files = render(tmp_path, portrait=film, voice=clap, mute=["music"], size=384, crop="whole")
    manifest = json.loads(files["mp4.json"].read_text())
    assert manifest["notes"] == ["the film keeps its size of 256 x 256 pixels: size, crop apply to pictures only"]
    assert next(media.read_video(files["mp4"])[0]).shape == (256, 256, 3)


def test_a_scene_crops_its_portrait_like_a_talk_film(tmp_path):
    asked = {"size": 384, "aspect": "9:16", "crop": "shoulders", "background": "#203040"}
    made = []

    def make(task, progress):
        made.append(task)
        raise InterruptedError

    scene = Scene(SceneTask(portrait="p.png", voice="v.wav", **asked), tmp_path, lambda *_: None, make)
    with pytest.raises(InterruptedError):
        scene.pictures(np.zeros(4410, np.float32), EmotionCurve.parse("happy"))
    assert {name: getattr(made[0], name) for name in asked} == asked
    with pytest.raises(InputError, match="no transparent background"):
        parse_task({"kind": "scene", "portrait": "p.png", "audio": "a.wav", "background": "none"})


def test_a_scene_may_have_the_whole_picture():
    assert SceneTask(portrait="p.png", audio="a.wav", size=0).size == 0
    with pytest.raises(InputError, match="give 0 for the whole picture"):
        parse_task({"kind": "scene", "portrait": "p.png", "audio": "a.wav", "size": 100})


@pytest.mark.parametrize("text", ["a <i>b</i> c", "1 < 2 > 0", "<font color=red>x</font>", "{\\an8}up", "a & b </b>"])
def test_subtitles_show_the_spoken_text(tmp_path, text):
    """As read by FFmpeg: style marks in the text remain text."""
    import av
    from av.subtitles.subtitle import AssSubtitle

    found = [captions.Caption(0.2, 1.5, text)]
    for ending, written in (("srt", captions.srt(found)), ("vtt", captions.vtt(found))):
        (tmp_path / f"x.{ending}").write_text(written, encoding="utf-8")
        with av.open(str(tmp_path / f"x.{ending}")) as file:
            [shown] = [one for packet in file.demux() for one in packet.decode()]
            assert isinstance(shown, AssSubtitle)
            seen = shown.ass.decode().split(",", 8)[8].replace("\u2060", "")
            assert re.sub(r"\\\{(\{\})?", "{", seen).strip() == text  # FFmpeg escapes a bare {
