"""HiFi-GAN's generator: the published size, its state dicts read with their weights unnormalised, and its use."""

import pytest
import torch
from speech import generator, voice
from torch import nn

from gen import checkpoints, media
from gen.errors import CheckpointError
from gen.notes import collect
from voice_conversion.features import HOP, RATE
from voice_conversion.hifigan import HiFiGAN, convert
from voice_conversion.task import VoiceTask

SMALL = dict(channels=16, rates=(8, 8, 2, 2), kernels=(16, 16, 4, 4), residual=(3, 7), dilations=(1, 3))


def published(model: HiFiGAN) -> dict:
    """A state dict as it is published: each weight as a direction and a length."""
    for layer in list(model.modules()):
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            nn.utils.weight_norm(layer)
            layer.weight_g.data *= 1.7
    return model.state_dict()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    place = tmp_path_factory.mktemp("hifigan")
    torch.manual_seed(0)
    model = HiFiGAN(**SMALL)
    torch.save({"generator": published(model)}, place / "g_1")
    convert(place / "g_1", place / "out")
    return model, place / "out"


def test_v1_has_the_published_size():
    with torch.device("meta"):
        assert sum(p.numel() for p in HiFiGAN().parameters()) == 13_926_017


def test_a_published_state_dict_gives_the_same_sound(pair):
    model, place = pair
    mel = torch.randn(2, 6, 80) - 4
    made = checkpoints.load(str(place), HiFiGAN)(mel)
    assert made.shape == (2, 6 * HOP) and not any(name.endswith("_g") for name, _ in made.__dict__.items())
    torch.testing.assert_close(made, model(mel), atol=1e-5, rtol=1e-4)


def test_it_speaks_where_it_is_asked_for(pair, tmp_path):
    speaks = generator()
    speaks.published = checkpoints.load(str(pair[1]), HiFiGAN).eval()
    media.write_audio(tmp_path / "in.wav", voice(0.8, rate=48000), 48000)
    task = VoiceTask(source=tmp_path / "in.wav", emotion="sad", vocoder=str(pair[1]), candidates=1)
    with collect() as notes:
        path = speaks.render(task, tmp_path / "out", {}, lambda *_: None)[0]
    assert media.read_audio(path)[1] == RATE and "22.05 kHz" in notes[0]
    assert str(pair[1]) in speaks.checkpoints(task)


def test_other_networks_are_turned_away(tmp_path):
    torch.save({"conv_pre.weight": torch.zeros(8, 80, 7)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no HiFi-GAN"):
        convert(tmp_path / "other.pt", tmp_path / "out")
    torch.save(HiFiGAN(**SMALL | {"rates": (4, 4, 2, 2), "kernels": (8, 8, 4, 4)}).state_dict(), tmp_path / "small.pt")
    with pytest.raises(CheckpointError, match="256 samples"):
        convert(tmp_path / "small.pt", tmp_path / "out")
