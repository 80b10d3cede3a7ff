"""From files to a video: the task, the generator, the command line."""

import json

import av
import numpy as np
import pytest
from faces import LINE, PICTURE, basis, expression, networks, speaker, tone, tracker
from PIL import Image

from gen import media
from gen.cli import build_parser, main
from gen.emotion.spec import Emotion, EmotionCurve
from gen.errors import CheckpointError, InputError
from gen.jobs.jobfile import JobFile
from gen.jobs.schema import parse_task
from gen.notes import collect
from talking_head.models import write_class
from talking_head.pipeline import TalkGenerator
from talking_head.task import TalkTask


def generator() -> TalkGenerator:
    return TalkGenerator(tracker(), basis(), speaker())


def task(**fields) -> TalkTask:
    return TalkTask(**({"portrait": PICTURE, "audio": LINE, "size": 256} | fields))


@pytest.mark.parametrize("seconds", [1.0, 0.61])
def test_the_video_is_as_long_as_the_sound(tmp_path, seconds):
    media.write_audio(tmp_path / "a.wav", tone(seconds, 22_050), 22_050)
    paths = generator().render(
        task(audio=tmp_path / "a.wav", export=("arkit", "json", "glb")), tmp_path, {"x": 1}, lambda done, text: None
    )
    assert [path.name for path in paths] == ["talk.mp4", "talk.arkit.25fps.csv", "talk.motion.json", "talk.glb"]
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


def test_the_whole_picture_keeps_its_size():
    motion = generator().speak(tone(0.2), 16_000, EmotionCurve.parse("happy"))
    pixels = media.read_image(PICTURE)
    assert next(generator().frames(pixels, motion, size=0)).shape == pixels.shape


def test_a_portrait_is_prepared_once_for_all_emotions():
    warm, pixels = generator(), media.read_image(PICTURE)
    shown = [warm.portrait(pixels, size) for size in (128, 256, 128, 256)]
    assert shown[0] is shown[2] and shown[1] is shown[3] and len(warm.portraits) == 2
    assert warm.portrait(pixels, 128, background=np.zeros((8, 8, 3), np.uint8)) is not shown[0]
    motion = [warm.speak(tone(0.1), 16_000, EmotionCurve.parse(word)) for word in ("happy", "angry")]
    drawn = [next(warm.frames(pixels, one, size=128)) for one in motion]
    assert np.array_equal(drawn[1], next(generator().frames(pixels, motion[1], size=128)))
    assert not np.array_equal(*drawn)


def test_a_keyframe_after_the_end_is_noted():
    with collect() as notes:
        generator().speak(tone(0.5), 16_000, EmotionCurve.parse("0: sad, 0.4: happy"))
        generator().speak(tone(0.5), 16_000, EmotionCurve.parse("0: sad, 4: happy"))
    assert notes == ["the recording ends at 0.5 s: the keyframe at 4 s is not reached"]


def test_sound_that_is_no_frame_long_is_refused():
    with pytest.raises(InputError, match="shorter than a frame"):
        generator().speak(np.zeros(10, np.float32), 16_000, EmotionCurve.parse("sad"))


def test_task_checks_its_fields():
    made = parse_task({"kind": "talk", "portrait": "a.png", "audio": "b.wav", "emotion": "0: sad, 2: happy @ 1.3"})
    assert made.size == 512 and len(made.emotion.keyframes) == 2
    for wrong in (
        {"size": 100},
        {"size": 3000},
        {"aspect": "4:5"},
        {"fps": 24},
        {"head_motion": 3},
        {"export": ["fbx"]},
    ):
        with pytest.raises(InputError):
            parse_task({"kind": "talk", "portrait": "a.png", "audio": "b.wav"} | wrong)


def test_reading_says_what_moves():
    assert "mouth smile +" in TalkGenerator.reading(Emotion.parse("happy"))
    assert TalkGenerator.reading(Emotion.parse("neutral")) == "a face at rest"


def test_checkpoints_are_named():
    assert TalkGenerator.checkpoints(task()) == ("emote-compact", "face-tracker", "face-basis", "person-mask")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    for name, network in zip(("speech", "emote"), networks()):
        network.save_pretrained(folder / name)
    expression().save_pretrained(folder / "expression")
    write_class(folder, "EmoteSpeaker")
    return folder


def test_the_command_line_takes_files_and_names_one(model, tmp_path):
    media.write_audio(tmp_path / "a.wav", tone(0.4), 16_000)
    given = [
        "talk",
        str(PICTURE),
        str(tmp_path / "a.wav"),
        "--emotion",
        "happy @ 1.3",
        "--size",
        "256",
        "--model",
        str(model),
        "--export",
        "arkit",
        "--out",
        str(tmp_path / "here" / "x.mp4"),
    ]
    assert main(given) == 0
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {"x.mp4", "x.arkit.25fps.csv"}
    manifest = json.loads((tmp_path / "here" / "x.mp4.json").read_text())
    assert manifest["ai_generated"] and manifest["task"]["emotion"] and "grace_hopper" not in json.dumps(manifest)


def test_a_picture_without_a_face_is_one_failed_item(model, tmp_path, capsys):
    media.write_audio(tmp_path / "a.wav", tone(0.2), 16_000)
    media.write_image(tmp_path / "wall.png", np.full((200, 200, 3), 120, np.uint8))
    given = ["talk", str(tmp_path / "wall.png"), str(tmp_path / "a.wav"), "--model", str(model), "--out", str(tmp_path)]
    assert main(given) == 4
    (error,) = tmp_path.glob("*.error.json")
    assert "no face was found" in error.read_text()


def test_an_upstream_emote_needs_flame(tmp_path):
    networks()[1].save_pretrained(tmp_path / "emote")
    write_class(tmp_path, "UpstreamSpeaker")
    with pytest.raises(CheckpointError, match="no speech encoder"):
        TalkGenerator.from_pretrained(tmp_path, "face-tracker", "face-basis")


def test_a_number_of_several_is_given_in_words_too(tmp_path):
    given = build_parser(["talk"]).parse_args(["talk", "a.jpg", "b.wav", "--vram", "16"])
    assert parse_task({"kind": "talk", "portrait": "a.jpg", "audio": "b.wav", "vram": given.vram}).vram == 16
    (tmp_path / "t.csv").write_text(f"portrait,audio,vram\n{PICTURE},{LINE},16")
    (tmp_path / "t.yaml").write_text("jobs: [{id: a, kind: talk, model: dice-video, source: {csv: t.csv}}]")
    assert JobFile(tmp_path / "t.yaml").tasks["a.1"].vram == 16


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, ["the picture of 1600 x 1800 pixels was reduced to 1138 x 1280"]), (301, ["reduced from 301"]), (300, [])],
)
def test_a_picture_that_is_made_smaller_is_said(size, said):
    large = np.asarray(Image.fromarray(media.read_image(PICTURE)).resize((1600, 1800)))
    with collect() as notes:
        generator().prepare(large, size)
    assert len(notes) == len(said) and all(part in sentence for part, sentence in zip(said, notes))
