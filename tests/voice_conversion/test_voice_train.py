"""The stages of the training run one after the other, and a recording of one's own adapts what they made."""

import shutil

import numpy as np
import pytest
from speech import voice, write_data

from gen import media
from gen.emotion.calibration import FILE, Calibration
from gen.emotion.spec import EmotionCurve
from voice_conversion import dial
from voice_conversion import train as training
from voice_conversion.features import RATE
from voice_conversion.pipeline import VoiceGenerator
from voice_conversion.train import Settings, train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("train")
    acted = [("neutral", "", "1", "01"), ("angry", "strong", "1", "01"), ("happy", "normal", "1", "01"),
             ("neutral", "", "1", "15"), ("sad", "", "1", "15")]  # fmt: skip
    data = write_data(place / "data", acted, ("af_alloy", "af_river"), 1.8)
    for stage in ("encoder", "decoder", "vocoder"):
        train(data, place / "out", 0.001, Settings(stage=stage))
    return place


@pytest.mark.slow
def test_stages_make_a_checkpoint_that_speaks(made):
    speaker = VoiceGenerator.from_pretrained(made / "out" / "checkpoint")
    said = speaker.convert(voice(0.6), EmotionCurve.parse("angry"), steps=1)
    assert np.isfinite(said).all() and np.abs(said).max() > 0.01
    log = (made / "out" / "log.jsonl").read_text()
    assert all(f'"model": "{stage}"' in log for stage in ("encoder", "decoder", "vocoder"))
    assert "valid_untold" in log and "valid_distance" in log


@pytest.mark.slow
def test_a_calibration_is_fitted_to_what_a_judge_hears(made, monkeypatch):
    for module in (dial, training):
        monkeypatch.setattr(module, "TRIED", (0.0, 1.0))
    train(made / "data", made / "out", 0, Settings(stage="dial", files=1))
    place = made / "out" / "checkpoint"
    strengths = Calibration.load(place).strengths
    assert (place / FILE).is_file() and (strengths[:, 0] == 0).all() and (np.diff(strengths) >= -1e-9).all()
    (place / FILE).unlink()


@pytest.mark.slow
def test_own_recordings_adapt_it(made, tmp_path):
    for i in range(2):
        media.write_audio(tmp_path / "mine" / f"{i}.wav", voice(1.8, 100 + 20 * i), RATE)
    start = str(made / "out" / "checkpoint")
    train(tmp_path / "mine", tmp_path / "out", 0.002, Settings(stage="finetune", start=start))
    VoiceGenerator.from_pretrained(tmp_path / "out" / "checkpoint")
    before, after = (p / "decoder" / "diffusion_pytorch_model.safetensors" for p in
                     (made / "out" / "checkpoint", tmp_path / "out" / "checkpoint"))  # fmt: skip
    assert before.read_bytes() != after.read_bytes()
    shutil.rmtree(tmp_path / "out")
