"""``affekt talk --model dice`` and ``--model dice-video``: the same task as EMOTE's."""

import av
import numpy as np
import pytest
import torch
from faces import LINE, PICTURE, expression, picture, tone

from gen import media
from gen.emotion.spec import EmotionCurve
from gen.errors import CheckpointError, InputError
from gen.jobs.plan import plan_file
from talking_head.models import class_name, write_class
from talking_head.motion.dice.model import MotionDenoiser
from talking_head.motion.dice.sizes import sizes
from talking_head.motion.emote.sizes import sizes as emote_sizes
from talking_head.motion.speech import SpeechEncoder
from talking_head.pipeline import TalkGenerator
from talking_head.task import TalkTask
from talking_head.video.pipeline import DiceVideo
from talking_head.video.talk import VideoTalk


def task(**fields) -> TalkTask:
    return TalkTask(**({"portrait": PICTURE, "audio": LINE, "size": 256} | fields))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    media.write_audio(path, tone(0.6, 22_050), 22_050)
    return path


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    """A tiny checkpoint of the motion model."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("motion")
    MotionDenoiser(**sizes("tiny", speech=24)).save_pretrained(place / "motion")
    SpeechEncoder(**emote_sizes("tiny")["speech"]).save_pretrained(place / "speech")
    expression().save_pretrained(place / "expression")
    write_class(place, "DiceSpeaker")
    return place


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A tiny checkpoint of the video network."""
    place = tmp_path_factory.mktemp("video")
    DiceVideo.build("tiny").save(place)
    return place


def rendered(asked: TalkTask, folder) -> list[np.ndarray]:
    generator = TalkGenerator.from_pretrained(*TalkGenerator.checkpoints(asked))
    paths = generator.render(asked, folder, {"x": 1}, lambda done, text: None)
    assert paths[0].name == "talk.mp4" and paths[0].with_name("talk.mp4.json").is_file()
    with av.open(str(paths[0])) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def test_names_stand_for_checkpoints():
    name = lambda model: TalkGenerator.checkpoints(task(model=model))[0]
    assert [name(m) for m in ("emote", "dice", "dice-video")] == ["emote-compact", "dice-compact", "dice-talk"]
    assert name("some/folder") == "some/folder"


def test_a_photograph_speaks_by_diffusion(motion, sound, tmp_path):
    asked = task(
        model=str(motion),
        audio=sound,
        emotion="0: sad, 0.3: happy @ 1.4",
        emotion_scale=2.0,
        steps=2,
        export=("arkit",),
    )
    frames = rendered(asked, tmp_path)
    assert len(frames) == 15 and frames[0].shape == (256, 256, 3)
    assert len((tmp_path / "talk.arkit.25fps.csv").read_text().splitlines()) == 16


@pytest.mark.slow
def test_every_frame_is_drawn_by_the_video_network(video, sound, tmp_path):
    frames = rendered(task(model=str(video), audio=sound, steps=1), tmp_path)
    assert len(frames) == 15 and frames[0].shape == (256, 256, 3)
    with pytest.raises(InputError, match="omit it: the model renders the whole face"):
        rendered(task(model=str(video), audio=sound, head_motion=1.0), tmp_path)


@pytest.mark.slow
def test_the_whole_photograph_gets_its_face_back(video, tmp_path):
    media.write_audio(tmp_path / "a.wav", tone(0.1), 16_000)
    asked = task(model=str(video), audio=tmp_path / "a.wav", steps=1, size=0, label=False)
    pixels, frames = media.read_image(PICTURE), rendered(asked, tmp_path)
    h, w = (n // 2 * 2 for n in pixels.shape[:2])
    assert frames[0].shape == (h, w, 3)
    assert np.abs(frames[0][:8].astype(int) - pixels[:8, :w]).mean() < 6  # the border is not the face's


def test_without_converted_weights_it_says_what_to_do():
    with pytest.raises(CheckpointError, match="affekt checkpoints convert dice-talk --from"):
        TalkGenerator.from_pretrained(*TalkGenerator.checkpoints(task(model="dice-video")))


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("emotion_scale: 3", "emotion_scale.*--model dice"),
        ("steps: 4", "steps"),
        ("vram: 10", "vram"),
        ("vram: 16", "omit it"),
    ],
)
def test_what_a_model_does_not_have_is_said_by_plan(tmp_path, field, says):
    path = tmp_path / "f.yaml"
    path.write_text(f"jobs:\n  - {{id: a, kind: talk, portrait: {PICTURE}, audio: {LINE}, {field}}}\n")
    with pytest.raises(InputError, match=says):
        plan_file(path)


def test_a_checkpoint_says_of_which_class_it_is(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json must say which model"):
        TalkGenerator.from_pretrained(tmp_path)
    write_class(tmp_path, "DiceSpeaker")
    assert class_name(tmp_path) == "DiceSpeaker"


@pytest.mark.slow
def test_the_emotion_can_come_from_a_text_or_a_clip(tmp_path):
    (tmp_path / "letter.txt").write_text("I am so happy today, what a joyful morning!")
    found = task(emotion_from=tmp_path / "letter.txt").felt()
    assert found.keyframes[0].emotion.weights()[1] > 0.5
    media.write_video(tmp_path / "face.mp4", [picture()[:416, :400]] * 12, 25)
    assert len(task(emotion_from=tmp_path / "face.mp4").felt().keyframes) == 1
    media.write_video(tmp_path / "none.mp4", [np.zeros((64, 64, 3), np.uint8)] * 6, 25)
    with pytest.raises(InputError, match="no face was found"):
        task(emotion_from=tmp_path / "none.mp4").felt()
    assert task(emotion="sad").felt() == EmotionCurve.parse("sad")


def test_memory_is_kept(video):
    generator = TalkGenerator.from_pretrained(video)
    assert isinstance(generator, VideoTalk) and generator.model.memory.offload
