"""A converted DiffVC speaks: the published loop's mel, its file from the command line, EmoReg's directions."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from diffvc import Formulas, published
from speech import voice
from test_hifigan import SMALL

from gen import media
from gen.convert import convert
from gen.emotion.embedding.direction import DirectionSpace
from gen.emotion.embedding.network import EmotionEmbedder
from gen.emotion.embedding.recogniser import Recogniser
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.errors import CheckpointError, InputError
from gen.notes import collect
from voice_conversion import features, speaker
from voice_conversion.emoreg import speak
from voice_conversion.emoreg.published import PublishedEncoder, PublishedScore
from voice_conversion.emoreg.speak import DiffVC
from voice_conversion.features import RATE
from voice_conversion.hifigan import HiFiGAN
from voice_conversion.pipeline import VoiceGenerator
from voice_conversion.speaker import SpeakerEncoder
from voice_conversion.task import VoiceTask

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}


def made(folder, bands=80, vector=256, directions=None):
    """A converted folder, and a vocoder's, of the given size."""
    (folder / "release").mkdir(parents=True)
    torch.save(published(bands, vector=vector), folder / "release" / "vc.pt")
    if directions is not None:
        directions.save(folder / "release")
    convert("diffvc", folder / "release", folder / "diffvc")
    torch.manual_seed(1)
    torch.save({"generator": HiFiGAN(**SMALL, bands=bands).state_dict()}, folder / "g")
    convert("hifigan", folder / "g", folder / "hifigan")
    return folder


def space(width=256, labels=("neutral", "happy", "sad")):
    random = torch.Generator().manual_seed(0)
    mean = torch.randn(len(labels), width, generator=random)
    return DirectionSpace.from_gaussians(list(labels), mean, torch.full_like(mean, 0.1))


def speaks(folder, directions=None):
    torch.manual_seed(2)
    load = lambda kind, part: kind.from_pretrained(folder / part).eval()
    return DiffVC(
        load(PublishedEncoder, "diffvc/encoder"),
        load(PublishedScore, "diffvc/decoder"),
        load(HiFiGAN, "hifigan"),
        SpeakerEncoder(16, 1).eval(),
        directions,
        Recogniser(EmotionEmbedder().eval()),
    )


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return made(tmp_path_factory.mktemp("diffvc"))


@pytest.mark.parametrize(("solver", "bands"), [("ml", 80), ("em", 80), ("pf", 80), ("ml", 40)])
@torch.inference_mode()
def test_the_mel_is_that_of_the_published_loop(release, tmp_path, solver, bands):
    folder = release if bands == 80 else made(tmp_path, bands)
    generator, formulas = speaks(folder), Formulas(published(bands))
    seen = lambda samples: features.mel(torch.from_numpy(features.cut(samples))[None], bands)
    mel, reference = seen(voice(0.35)), seen(voice(0.5, 200))
    assert mel.shape[1] % 4 and mel.shape[2] == bands
    random, steps = torch.Generator().manual_seed(3), 6
    rows = -(-mel.shape[1] // 4) * 4
    noise = lambda: torch.randn(1, rows, bands, generator=random).mT
    vector = torch.randn(1, 256, generator=torch.Generator().manual_seed(4))
    wanted = formulas.convert(mel.mT, reference.mT, vector, steps, noise, solver).mT
    found = generator.mel(mel, vector, reference, torch.Generator().manual_seed(3), steps, solver)
    assert found.std() > 0.3
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_reference_of_a_batch_has_a_mask(release):
    generator, formulas = speaks(release), Formulas(published())
    mel, random = torch.randn(2, 8, 80), torch.Generator()
    reference, vector = torch.randn(2, 11, 80), torch.randn(2, 256)
    mask = (torch.arange(11) < torch.tensor([[11], [7]])).float()
    noise = lambda: torch.randn(2, 8, 80, generator=random).mT
    random.manual_seed(5)
    wanted = formulas.convert(mel.mT, reference.mT, vector, 2, noise, reference_mask=mask[:, None]).mT
    found = generator.mel(mel, vector, reference, random.manual_seed(5), 2, reference_mask=mask)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    other = torch.where(mask[..., None] > 0, reference, 0)
    again = generator.mel(mel, vector, other, random.manual_seed(5), 2, reference_mask=mask)
    torch.testing.assert_close(found, again, atol=1e-4, rtol=1e-4)


def test_the_file_is_what_the_published_loop_and_the_vocoder_give(release, tmp_path):
    generator, formulas = speaks(release), Formulas(published())
    media.write_audio(tmp_path / "in.wav", voice(0.6), RATE)
    task = VoiceTask(
        source=tmp_path / "in.wav",
        emotion="sad",
        steps=4,
        seed=7,
        model=str(release / "diffvc"),
        vocoder=str(release / "hifigan"),
        candidates=3,
    )
    with collect() as notes:
        path = generator.render(task, tmp_path, {}, lambda *_: None)[0]
    assert len(notes) == 3 and "no directions" in notes[1] and "candidates" in notes[2]
    samples = features.cut(media.read_audio(tmp_path / "in.wav", RATE)[0])
    with torch.inference_mode():
        mel = features.mel(torch.from_numpy(samples)[None])
        vector = generator.known.embed(soxr.resample(samples, RATE, speaker.RATE))[None]
        random, rows = torch.Generator().manual_seed(7), -(-mel.shape[1] // 4) * 4
        noise = lambda: torch.randn(1, rows, 80, generator=random).mT
        wanted = generator.vocoder(formulas.convert(mel.mT, mel.mT, vector, 4, noise).mT)[0].numpy()
    found, rate = media.read_audio(path)
    assert rate == RATE
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_nothing_is_changed_at_intensity_0(release, tmp_path):
    media.write_audio(tmp_path / "in.wav", voice(0.4), RATE)
    task = VoiceTask(source=tmp_path / "in.wav", emotion="sad", intensity=0)
    path = speaks(release).render(task, tmp_path, {}, lambda *_: None)[0]
    np.testing.assert_array_equal(media.read_audio(path)[0], media.read_audio(tmp_path / "in.wav")[0])


def test_emoreg_moves_the_recordings_own_place_along_a_direction(tmp_path):
    directions = space()
    generator = speaks(made(tmp_path, directions=directions), directions)
    assert generator.told == 0
    samples = features.cut(voice(0.5))
    own = generator.emotion(samples)
    at = lambda text: generator.moved(own, EmotionCurve.parse(text), 0.2)
    torch.testing.assert_close(at("neutral"), own)
    whole = at("sad") - own
    torch.testing.assert_close(at("sad @ 0.5") - own, whole / 2)
    straight = directions.regions["sad"].mixture.mean() - directions.regions["neutral"].mixture.mean()
    torch.testing.assert_close(whole[0], directions.filter(straight))
    other = generator.emotion(features.cut(voice(0.5, 300)))
    towards = generator.moved(own, EmotionCurve.parse("happy @ 1"), 0.2, other)
    torch.testing.assert_close(towards - own, directions.filter(other - own))
    with pytest.raises(InputError, match="directions to neutral, happy, sad"):
        at("fear")
    made_of = lambda text: generator.convert(samples, EmotionCurve.parse(text), steps=1)
    turns = made_of("0: sad, 1: happy")
    assert turns.shape == samples.shape and not np.allclose(turns, made_of("neutral"))


def test_a_score_may_be_told_emotion_and_speaker(tmp_path):
    directions = space(labels=CANONICAL)
    generator = speaks(made(tmp_path, vector=512, directions=directions), directions)
    assert generator.told == speaker.SIZE
    samples = features.cut(voice(0.4))
    assert generator.convert(samples, EmotionCurve.parse("angry"), steps=1).shape == samples.shape


def test_a_long_recording_is_converted_in_pieces_cut_where_it_is_quiet(release, monkeypatch):
    monkeypatch.setattr(speak, "PIECE", 40)
    samples = features.cut(voice(1.2))
    cuts = speak.quiet_cuts(samples)
    assert len(cuts) > 2 and cuts[-1] == len(samples) // features.HOP and max(np.diff(cuts)) <= 60
    generator, told = speaks(release), []
    with collect() as notes:
        wave = generator.convert(samples, EmotionCurve.parse("sad"), steps=1, progress=told.append)
    assert len(notes) == 1 and "only the first" in notes[0]
    assert wave.shape == samples.shape and told == sorted(told) and told[-1] == 1
    mel = torch.randn(1, 90, 80) - 4
    with torch.inference_mode():
        whole = generator.vocoder(mel)[0].numpy()
        np.testing.assert_allclose(generator.sound(mel, [0, 31, 58, 90]), whole, atol=1e-5)


def test_what_does_not_fit_is_told(release, tmp_path):
    with pytest.raises(InputError, match="--vocoder"):
        VoiceGenerator.from_pretrained(str(release / "diffvc"), "speaker-encoder", "emotion-embedding")
    parts = speaks(release)
    with pytest.raises(CheckpointError, match=r"bands \(\[40, 80\]\)"):
        DiffVC(parts.encoder, parts.decoder, HiFiGAN(**SMALL, bands=40), parts.known)
    with pytest.raises(CheckpointError, match="300 numbers, and a speaker has 256: an EmoReg needs its directions"):
        speaks(made(tmp_path, vector=300))
    (tmp_path / "diffvc" / "config.json").write_text('{"_class_name": "What"}')
    with pytest.raises(CheckpointError, match="is no model of voices"):
        VoiceGenerator.from_pretrained(str(tmp_path / "diffvc"))


@pytest.mark.slow
def test_it_speaks_from_the_command_line_in_a_fresh_process(release, tmp_path):
    media.write_audio(tmp_path / "in.wav", voice(0.5), RATE)
    words = [
        "voice",
        "in.wav",
        "--emotion",
        "sad",
        "--model",
        str(release / "diffvc"),
        "--vocoder",
        str(release / "hifigan"),
        "--steps",
        "2",
        "--out",
        "out.wav",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "gen.cli", *words],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert media.read_audio(tmp_path / "out.wav")[1] == RATE
