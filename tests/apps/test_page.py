"""The page of a folder: it has every result, every link has a file, and nothing is loaded from elsewhere."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
import symusic

from apps import page
from gen import media
from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.provenance import manifest
from music.task import MusicTask
from talking_head.task import TalkTask


class Links(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href")]


@pytest.fixture
def folder(tmp_path):
    """Three pieces, two of one emotion, and a film, as rendered; one name has characters that need escaping in URLs."""
    source = tmp_path / "source.wav"
    media.write_audio(source, np.zeros(100, np.float32), 16000)
    score = symusic.Score(480)
    score.tracks.append(symusic.Track())
    score.tracks[0].notes.append(symusic.Note(time=0, duration=480, pitch=60, velocity=90))
    sound = 0.1 * np.ones(8000, np.float32)
    for emotion, name in (("happy", "piano/happy+#1"), ("happy", "piano/twin"), ("happy @ 0.5", "piano/happy-0.5")):
        facts = manifest(MusicTask(emotion=EmotionCurve.parse(emotion)), 0, "cpu", ())
        media.write_midi(tmp_path / "out" / f"{name}.mid", score, facts)
        media.write_audio(tmp_path / "out" / f"{name}.wav", sound, 8000, facts)
    facts = manifest(TalkTask(portrait=source, audio=source, emotion="0: sad, 2: happy"), 0, "cpu", ())
    frames = [np.zeros((64, 64, 3), np.uint8)] * 5
    media.write_video(tmp_path / "out" / "turn.mp4", frames, 25, manifest=facts)
    return tmp_path / "out"


def test_the_page_has_every_result_and_no_external_url(folder):
    text = page.write(folder, "A & B").read_text()
    links = Links(text).found
    assert {unquote(link.split("#t=")[0]) for link in links} == {
        "piano/happy+#1.mid",
        "piano/happy+#1.wav",
        "piano/happy-0.5.mid",
        "piano/happy-0.5.wav",
        "piano/twin.mid",
        "piano/twin.wav",
        "turn.mp4",
    }
    assert all((folder / unquote(link.split("#t=")[0])).is_file() for link in links)
    assert "http" not in re.sub(r"http://www.w3.org", "", text) and "A &amp; B" in text
    assert "Happy, by intensity" in text and "More" in text and text.count("<audio") == 4


def test_an_emotion_of_a_file_is_shown_as_such(folder):
    source = folder.parent / "source.wav"
    facts = manifest(MusicTask(emotion={"from": source}), 0, "cpu", ())
    media.write_audio(folder / "borrowed.wav", np.ones(800, np.float32), 8000, facts)
    assert "Piano, as in a file" in page.write(folder, "x").read_text()


@pytest.mark.parametrize("text", ["[1, 2]", '"a"', "{", '{"task": 3}', '{"task": {"kind": ["talk"]}}', "\xff"])
def test_a_foreign_json_file_is_ignored(folder, text):
    media.write_audio(folder / "x.wav", np.ones(800, np.float32), 8000)
    (folder / "x.wav.json").write_text(text, encoding="latin-1")
    assert "x.wav" not in page.write(folder, "x").read_text()


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no rendered results"):
        page.write(tmp_path, "x")


def test_films_and_sounds_of_other_formats_have_players(folder):
    source = folder.parent / "source.wav"
    facts = manifest(TalkTask(portrait=source, audio=source, emotion="0: happy, 2: sad"), 0, "cpu", ())
    media.write_video(folder / "back.webm", [np.zeros((64, 64, 3), np.uint8)] * 5, 25, manifest=facts)
    facts = manifest(MusicTask(emotion=EmotionCurve.parse("sad")), 0, "cpu", ())
    media.write_audio(folder / "sad.mp3", 0.1 * np.ones(48000, np.float32), 48000, facts)
    text = page.write(folder, "x").read_text()
    assert 'src="back.webm#t=0.1"' in text and re.search('<audio [^>]*src="sad.mp3"', text)
