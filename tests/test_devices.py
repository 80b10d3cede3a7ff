"""Devices other than the CPU: no network (on ``meta``) and no sampling loop (on a device without data,
:mod:`elsewhere`) leaves tensors on the CPU. Conditioners and embedding: tests/gen/test_emotion_device.py.
"""

import pytest
import torch
from elsewhere import NAME, Elsewhere

from gen.diffusion import MeanRevertingScheduler, sample
from gen.registry import build
from music.muser import generate, upstream_passes
from music.muser.generate import Prompt
from music.muser.model import DimensionReducer, MusER
from music.muser.prior import Prior
from music.muser.sizes import configs
from talking_head.motion.dice.generate import scheduler
from talking_head.motion.dice.model import MotionDenoiser
from talking_head.motion.emote.flint import Flint
from talking_head.motion.emote.model import Emote
from talking_head.motion.speech import SpeechEncoder
from talking_head.video.decode import decode
from talking_head.video.emotion import EmotionModel, Tokens
from talking_head.video.interpolate import Interpolator
from talking_head.video.pipeline import DiceVideo
from talking_head.video.portrait import ImageEncoder
from talking_head.video.pose import PoseGuider
from talking_head.video.sampler import Inputs, Plan, Sampler
from talking_head.video.unet import Contexts, VideoUNet
from talking_head.video.whisper import WhisperEncoder
from voice_conversion.emoreg.published import PublishedEncoder, PublishedScore
from voice_conversion.hifigan import HiFiGAN
from voice_conversion.speaker import SpeakerEncoder

E = lambda *shape: torch.empty(shape, device="meta")
NETWORKS = {
    "UNet": (
        VideoUNet,
        lambda m: (
            m(
                E(1, 3, 8, 8, 8),
                E(1),
                Contexts(E(1, 1, 1024), (E(1, 3, 32, 1024),) * 2, mask=E(1, 64, 64)),
                E(1, 1, 320, 8, 8),
            ).velocity
        ),
    ),
    "speech tokens": (Tokens, lambda m: m(E(3, 19200))),
    "emotion tokens": (EmotionModel, lambda m: m(E(1, 2, 256)).tokens),
    "retrieved emotion tokens": (EmotionModel, lambda m: m(E(1, 2, 256), True).tokens),
    "pose": (PoseGuider, lambda m: m(E(1, 3, 64, 64))),
    "CLIP": (ImageEncoder, lambda m: m(E(1, 3, 224, 224))),
    "Whisper": (WhisperEncoder, lambda m: m(E(1, 3000, 80))),
    "RIFE": (Interpolator, lambda m: m(E(1, 3, 64, 64), E(1, 3, 64, 64))),
    "FLINT": (Flint, lambda m: m(E(1, 16, 52))[0]),
    "EMOTE": (Emote, lambda m: m(E(1, 10, 160), E(1, 10, 128), torch.empty(1, dtype=torch.long, device="meta"))),
    "EMOTE's speech": (SpeechEncoder, lambda m: m(E(1, 40, 80))[0]),
    "DICE's motion": (
        MotionDenoiser,
        lambda m: m(
            E(1, 9, 55),
            E(1),
            *m.condition(E(1, 9, m.config.speech), E(1, 55)),
            E(1, 9, 55),
            torch.empty(1, 9, dtype=torch.bool, device="meta"),
        ),
    ),
    "DiffVC's encoder": (PublishedEncoder, lambda m: m(E(1, 12, 80))),
    "DiffVC's score": (
        PublishedScore,
        lambda m: m(E(1, 12, 80), E(1), E(1, 12, 80), E(1, 256), reference=E(1, 9, 80), reference_mean=E(1, 9, 80)),
    ),
    "HiFi-GAN": (HiFiGAN, lambda m: m(E(1, 9, 80))),
    "speaker": (SpeakerEncoder, lambda m: m(E(2, 160, 40))),
    "MusER's reducer": (DimensionReducer, lambda m: m(E(1, 9, 16))),
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_network_runs_on_its_device(name):
    make, run = NETWORKS[name]
    with torch.device("meta"):
        model = make()
    assert run(model.to("meta").eval()).device.type == "meta"


@pytest.fixture
def there():
    with Elsewhere() as device, torch.no_grad():
        yield device


@pytest.mark.parametrize("batched", [True, False])
def test_dice_talk_runs_on_its_device(batched):
    model = DiceVideo.build("tiny")
    with Elsewhere() as there, torch.no_grad():
        unet, vae = (there.place(model.parts[name]) for name in ("unet", "vae"))
        t = there.tensor
        inputs = Inputs(
            t(1, 4, 8, 8),
            t(1, 4, 8, 8),
            t(1, 1, 32),
            (t(1, 1, 4, 32), t(1, 30, 4, 32)),
            (t(1, 1, 4, 32), t(1, 30, 4, 32)),
            t(1, 64, 64),
            t(1, 1, 32, 8, 8),
        )
        made = Sampler(unet, Plan(steps=2, batched=batched)).run(inputs, t(1, 30, 4, 8, 8))
        pictures = [*decode(vae, made[0, :4], 2), *decode(vae, made[0, :4], 2, tile=4)]
        assert {x.device.type for x in (made, *pictures)} == {NAME}
        assert not there.large(64)


def test_dice_motion_runs_on_its_device():
    model = MotionDenoiser(layers=1)
    with Elsewhere() as there, torch.no_grad():
        there.place(model)
        t, n = there.tensor, 9
        heard, face = model.condition(t(1, n, model.config.speech), t(1, 55))
        condition = {"heard": heard, "face": face, "known": t(1, n, 55), "given": t(1, n, dtype=torch.bool)}
        made = sample(model, scheduler(), t(1, n, 55), 4, {"null": condition, "audio": condition}, {"audio": 2.0})
        assert made.device.type == NAME and not there.large(64)


def test_emote_runs_on_its_device():
    speech, emote = SpeechEncoder(), Emote()
    with Elsewhere() as there, torch.no_grad():
        there.place(speech), there.place(emote)
        features, said = speech(there.tensor(1, 40, 80))
        moved = emote(features, there.tensor(1, 10, 128), there.tensor(1, dtype=torch.long))
        assert {x.device.type for x in (said, moved)} == {NAME} and not there.made


@pytest.mark.parametrize("solver", ["ml", "em", "pf"])
def test_diffvc_runs_on_its_device(solver):
    encoder, score = PublishedEncoder(16, 32, 2, 2, 3, 4, 8), PublishedScore(16, 16, 8)
    with Elsewhere() as there, torch.no_grad():
        there.place(encoder), there.place(score)
        mel = there.tensor(1, 12, 80)
        mean = encoder(mel)
        condition = {
            "mean": mean,
            "vector": there.tensor(1, 8),
            "mask": there.tensor(1, 12),
            "reference": mel,
            "reference_mean": mean,
        }
        start = score.sde.start(torch.randn_like(mean), mean, mel)
        made = sample(score, MeanRevertingScheduler(score.sde, mean, solver), start, 3, {"null": condition})
        assert made.device.type == NAME and not there.large(8)


def muser():
    autoencoder, prior = configs("tiny")
    model = MusER(**autoencoder).eval()
    return model, Prior(size=model.codebook.size, slots=model.codebook.slots, **prior).eval()


def test_muser_runs_on_its_device():
    model, prior = muser()
    with Elsewhere(read=[1, 0]) as there, torch.no_grad():
        there.place(model), there.place(prior)
        t = there.tensor
        ids = Prompt(t(1, 1, 1, dtype=torch.long), t(1, dtype=torch.long))
        codes = generate.sample_codes(prior, t(1, 2, 8), 2, 0, ids, t(1, 5, 1), guidance=2.0)
        there.read = [1]
        rows = generate.sample_rows(
            model,
            [t(4, 1, dtype=torch.long)],
            t(1, 2, 8),
            Prompt(t(1, 1, 7, dtype=torch.long), t(1, dtype=torch.long)),
            t(1, 4, 7),
        )
        assert {x.device.type for x in (*codes, *rows)} == {NAME}
        assert not there.large(8)


def test_upstream_muser_runs_on_its_device():
    model, prior = muser()
    with Elsewhere(read=[1]) as there, torch.no_grad():
        there.place(model), there.place(prior)
        t = there.tensor
        ids = Prompt(t(1, 1, 1, dtype=torch.long), t(1, dtype=torch.long))
        codes = upstream_passes.tell(prior, t(1, 1, 8), ids, t(1, 5, 1), 1.0)
        assert codes.device.type == NAME and not there.large(8)


def test_cpu_tensors_are_detected(there):
    layer = there.place(torch.nn.Linear(3, 3))
    with pytest.raises(Exception, match="device"):
        layer(there.tensor(2, 3)) + torch.ones(2, 3)
    assert build("conditioner", "none", dim=4).null.device.type == "cpu"
