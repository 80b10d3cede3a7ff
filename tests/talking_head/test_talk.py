"""From files to a video: the task, the generator, the command line."""

import json

import av
import numpy as np
import pytest
from faces import LINE, PICTURE, basis, speaker, tone, tracker

from gen import media
from gen.emotion.spec import Emotion, EmotionCurve
from gen.errors import InputError
from gen.jobs.schema import parse_task
from talking_head.pipeline import TalkGenerator
from talking_head.task import TalkTask


def generator() -> TalkGenerator:
    return TalkGenerator(tracker(), basis(), speaker())


def task(**fields) -> TalkTask:
    return TalkTask(**({"portrait": PICTURE, "audio": LINE, "size": 256} | fields))


@pytest.mark.parametrize("seconds", [1.0, 0.61])
def test_the_video_is_as_long_as_the_sound(tmp_path, seconds):
    media.write_audio(tmp_path / "a.wav", tone(seconds, 22_050), 22_050)
    paths = generator().render(task(audio=tmp_path / "a.wav", export=("arkit", "json", "glb")), tmp_path, {"x": 1},
                               lambda done, text: None)  # fmt: skip
    assert [path.name for path in paths] == ["talk.mp4", "talk.arkit.csv", "talk.motion.json", "talk.glb"]
    with av.open(str(paths[0])) as video:
        assert sum(1 for _ in video.decode(video=0)) == round(seconds * 25)
        assert float(video.streams.video[0].average_rate) == 25
    assert len(media.read_audio(paths[0])[0]) / 22_050 == pytest.approx(seconds, abs=0.1)
    assert len(paths[1].read_text().splitlines()) == 1 + round(seconds * 25)
    assert json.loads((tmp_path / "talk.mp4.json").read_text()) == {"x": 1}


def test_progress_goes_to_the_end(tmp_path):
    media.write_audio(tmp_path / "a.wav", tone(0.4), 16_000)
    seen = []
    generator().render(task(audio=tmp_path / "a.wav"), tmp_path, {}, lambda done, text: seen.append(done))
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_the_whole_picture_keeps_its_size_and_the_note_can_go():
    motion = generator().speak(tone(0.2), 16_000, EmotionCurve.parse("happy"))
    pixels = media.read_image(PICTURE)
    plain, noted = (list(generator().frames(pixels, motion, size=0, label=label)) for label in (False, True))
    assert plain[0].shape == pixels.shape
    off = np.abs(plain[0].astype(int) - noted[0])
    assert off[:300].max() == 0 and off.max() > 30


def test_sound_that_is_no_frame_long_is_refused():
    with pytest.raises(InputError, match="shorter than a frame"):
        generator().speak(np.zeros(10, np.float32), 16_000, EmotionCurve.parse("sad"))


def test_task_checks_its_fields():
    made = parse_task({"kind": "talk", "portrait": "a.png", "audio": "b.wav", "emotion": "0: sad, 2: happy @ 1.3"})
    assert made.size == 512 and len(made.emotion.keyframes) == 2
    for wrong in ({"size": 100}, {"size": 2000}, {"head_motion": 3}, {"export": ["fbx"]}):
        with pytest.raises(InputError):
            parse_task({"kind": "talk", "portrait": "a.png", "audio": "b.wav"} | wrong)


def test_reading_says_what_moves():
    assert "mouthSmile" in TalkGenerator.reading(Emotion.parse("happy"))
    assert TalkGenerator.reading(Emotion.parse("neutral")) == "a face at rest"


def test_checkpoints_are_named():
    assert TalkGenerator.checkpoints(task()) == ("emote-compact", "face-tracker", "face-basis")
