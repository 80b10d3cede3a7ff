"""The format of a result: from its field, or from the extension of its name; they never differ."""

from pathlib import Path

import av
import pytest

from gen import media
from gen.cli import main
from gen.errors import InputError
from gen.jobs.formats import formats, with_format
from gen.jobs.plan import plan_file
from gen.jobs.schema import parse_task
from gen.marks.verify import verify

EXAMPLES = Path(__file__).parent.parent / "examples"
PORTRAIT, LINE = EXAMPLES / "grace_hopper.jpg", EXAMPLES / "line.opus"


def test_the_extension_of_a_name_is_the_format(tmp_path):
    (tmp_path / "jobs.yaml").write_text(f"""
jobs:
  - {{id: a, kind: music, emotion: sad, out: "{{id}}.mp3"}}
  - {{id: b, kind: voice, emotion: sad, source: {LINE}, out: b.flac}}
  - {{id: c, kind: talk, portrait: {PORTRAIT}, audio: {LINE}, out: c.mov, codec: hevc}}
  - {{id: d, kind: talk, portrait: {PORTRAIT}, audio: {LINE}, background: none}}
  - {{id: e, kind: music, emotion: sad, out: e.mid}}
""")
    items = {item.id: item for item in plan_file(tmp_path / "jobs.yaml").items}
    assert [items[id].task.format for id in "abcde"] == ["mp3", "flac", "mov", "auto", "wav"]
    assert [items[id].name for id in "abc"] == ["a", "b", "c"] and items["d"].task.ending == "webm"
    assert formats("voice") == ["wav", "flac", "mp3", "opus"] and "auto" not in formats("talk")


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("kind: voice, emotion: sad, source: a.wav, out: b.mp3, format: flac", "ends in .mp3, but its format is flac"),
        ("kind: voice, emotion: sad, source: a.wav, out: b.mp4", "voice cannot be written as .mp4"),
        ("kind: talk, portrait: a.png, audio: a.wav, format: webm, codec: hevc", "webm cannot hold hevc"),
        ("kind: talk, portrait: a.png, audio: a.wav, out: a.gif, codec: av1", "gif cannot hold av1"),
        ("kind: talk, portrait: a.png, audio: a.wav, background: none, format: mp4", "transparency needs"),
        ("kind: scene, portrait: a.png, voice: a.wav, subtitles: true", "give it as text"),
        ("kind: scene, portrait: a.png, text: Hello., subtitles: true, format: gif", "gif cannot hold subtitles"),
    ],
)
def test_conflicting_options_are_refused_when_planning(tmp_path, job, said):
    (tmp_path / "jobs.yaml").write_text(f"jobs: [{{id: a, {job}}}]")
    with pytest.raises(InputError, match=said):
        plan_file(tmp_path / "jobs.yaml")


def test_the_name_alone(tmp_path):
    assert with_format("music", "x.opus", {}) == {"format": "opus"} and with_format("music", "x.mid", {}) == {}
    assert parse_task({"kind": "music", "emotion": "sad"}).format == "wav"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.opus"])
def test_sound_from_the_command_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    where = ["--out", f"made/{name}", "--device", "cpu"]
    assert main(["music", "--emotion", "happy", "--bars", "1", "--candidates", "1", *where]) == 0
    assert main(["voice", str(LINE), "--emotion", "sad", "--out", f"voice/{name}", "--device", "cpu"]) == 0
    assert main(["voice", str(LINE), "--emotion", "neutral @ 0", "--out", f"same/{name}", "--device", "cpu"]) == 0
    for path in (tmp_path / folder / name for folder in ("made", "voice", "same")):
        assert len(media.read_audio(path)[0]) and not verify(path)["altered"] and verify(path)["manifest"]
    assert (tmp_path / "made" / "a.mid").is_file() and not (tmp_path / "made" / "a.wav").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "more"), [("a.webm", ["--background", "none"]), ("a.png", [])])
def test_films_from_the_command_line(tmp_path, monkeypatch, name, more):
    monkeypatch.chdir(tmp_path)
    media.write_audio("line.wav", media.read_audio(LINE, 16_000)[0][:8000], 16_000)
    command = ["talk", str(PORTRAIT), "line.wav", "--emotion", "0: sad, 0.3: happy", "--size", "256"]
    assert main([*command, *more, "--out", f"made/{name}", "--device", "cpu"]) == 0
    if name == "a.png":
        made = sorted((tmp_path / "made" / "a").iterdir())
        assert len([path for path in made if path.suffix == ".png"]) == 12 and verify(made[0])["manifest"]
        return
    with av.open(str(tmp_path / "made" / name)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 12
        titles = [one["metadata"]["title"] for one in film.chapters()] if name != "a.gif" else []
    assert titles == ([] if name == "a.gif" else ["sad", "happy"])
    assert verify(tmp_path / "made" / name)["manifest"]["task"]["format"] == name[2:]
