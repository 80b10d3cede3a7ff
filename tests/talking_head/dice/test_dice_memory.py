"""Settings for small GPUs change no picture, and the memory that is planned is what is used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from talking_head.video import memory as subject
from talking_head.video.memory import CHOICES, PARTS, Live, by_layer, fitting, peak, sliced, weight
from talking_head.video.pipeline import DiceVideo
from talking_head.video.portrait import prepare
from talking_head.video.sampler import Plan
from talking_head.video.unet import Contexts

ONE = Plan(steps=1)


@pytest.fixture(scope="module")
def model():
    made = DiceVideo.build("tiny")
    torch.nn.init.normal_(made.parts["pose"].conv_out.weight, std=0.02)
    return made


def told(b=2, f=5):
    """Inputs of the tiny UNet."""
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=random)
    mask = (draw(b, 64, 64) > 0).float()
    contexts = Contexts(draw(b, 1, 32), (draw(b, f, 4, 32), draw(b, 1, 4, 32)), (1.0, 0.7), mask)
    return draw(b, f, 8, 8, 8), torch.zeros(b), contexts


@pytest.mark.parametrize("slices", [2, 5, 25])
@torch.no_grad()
def test_slices_change_nothing(model, slices):
    unet, given = model.parts["unet"], told()
    whole = unet(*given).velocity
    with sliced(unet, slices):
        parts = unet(*given).velocity
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(unet(*given).velocity, whole)


@torch.no_grad()
def test_every_weight_is_there_when_its_layer_runs(model):
    unet, given = model.parts["unet"], told()
    whole, here, met = unet(*given).velocity, [], set()
    names = {id(value): name for name, value in unet.named_parameters()}

    def before(layer):
        here.append(layer)
        met.update(names[id(value)] for value in layer.parameters())

    with by_layer(unet, before, here.remove):
        torch.testing.assert_close(unet(*given).velocity, whole)
    assert not here and met == set(names.values())
    unet(*given)
    assert not here


@pytest.mark.parametrize("memory", CHOICES[1:], ids=range(1, len(CHOICES)))
def test_every_choice_makes_the_same_latents(model, memory):
    random = np.random.default_rng(0)
    portrait = prepare(random.integers(0, 255, (64, 64, 3), dtype=np.uint8), (16, 16, 32, 32), 64, 28)
    sound, plan = (0.1 * random.normal(size=1280 * 4)).astype(np.float32), Plan(steps=2)

    def made(chosen):
        one = DiceVideo(model.parts, model.priors, memory=chosen)
        inputs = one.condition(portrait, sound, EmotionCurve.parse("sad"), plan)
        return one.latents(inputs, one.noise(portrait, 4, 0, plan), plan)

    torch.testing.assert_close(made(memory), made(CHOICES[0]), atol=0.02, rtol=1e-3)  # of noise of 700
    one = DiceVideo(model.parts, model.priors, memory=memory)
    assert len([*one.generate(portrait, sound, EmotionCurve.parse("sad"), plan=ONE)]) == 8


def test_the_fastest_choice_that_fits_is_taken(model, monkeypatch):
    takes = {memory: (len(CHOICES) - i) * 2e9 for i, memory in enumerate(CHOICES)}
    monkeypatch.setattr(subject, "peak", lambda model, memory, *what: takes[memory])
    assert fitting(model, 24, 25, (512, 512), ONE) == CHOICES[0]
    assert fitting(model, 7, 25, (512, 512), ONE) == CHOICES[3]
    with pytest.raises(InputError, match=r"512 x 768 pixels take 2\.8 GB at least, more than the 2 GB of --vram"):
        fitting(model, 2, 25, (768, 512), ONE)


def test_what_lives_is_counted():
    with Live() as live:
        x = torch.empty(1000, device="meta")
        y = x[10:] + 1
        del x
        z = y * 2
    assert live.now == 4 * 2 * 990 and live.most == 4 * (1000 + 990)
    del y, z
    assert live.now == 0


@pytest.mark.slow
def test_planning_needs_less_for_each_choice(model):
    size, weights = (128, 128), sum(map(weight, model.parts.values()))
    found = [peak(model, memory, 25, size, ONE) for memory in CHOICES]
    assert found[0] > weights and found[1] < found[0] and found[3] < found[2] < found[1]
    assert peak(model, PARTS, 25, (192, 192), ONE) > found[1]


# ------------------------------------------------------------ planned and used

SIDE = 192
USED = """
import json, sys
from pathlib import Path
import numpy as np, torch
from gen.emotion.embedding.priors import Priors
from gen.emotion.spec import EmotionCurve
from talking_head.video import memory, pipeline
from talking_head.video.portrait import prepare
from talking_head.video.sampler import Plan
from talking_head.video.sizes import vae_config
torch.set_num_threads(1)
chosen, side = memory.Memory(**json.loads(sys.argv[1])), int(sys.argv[2])
config = {"unet": {"channels": (64, 64, 128, 128), "heads": (1, 1, 2, 2), "layers": 1, "context": 32, "time_dim": 32},
          "audio": {"size": 480, "hidden": 32, "count": 4, "width": 32},
          "emotion": {"size": 256, "hidden": 32, "count": 4, "width": 32, "entries": 8, "probe": (128, 32, 16, 22)},
          "pose": {"channels": (8, 8, 16, 16), "out": 64}, "vae": vae_config((32, 32, 64, 64), 1),
          "clip": {"width": 32, "layers": 2, "heads": 2, "ffn": 64, "size": 28, "out": 32},
          "whisper": {"width": 16, "layers": 2, "heads": 2, "ffn": 32, "length": 100}, "interpolate": {"width": 16}}
parts = {name: pipeline.PARTS[name](**how) for name, how in config.items()}
model = pipeline.DiceVideo(parts, Priors.seeded(256), memory=chosen)
random = np.random.default_rng(0)
def make(side, frames):
    pixels = random.integers(0, 255, (side, side, 3), dtype=np.uint8)
    portrait = prepare(pixels, (side / 4, side / 4, side / 2, side / 2), side, 28)
    sound = (0.1 * random.normal(size=1280 * frames)).astype(np.float32)
    list(model.generate(portrait, sound, EmotionCurve.parse("sad"), plan=Plan(steps=1)))
def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])
make(64, 3)  # what libraries keep is there now
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
make(side, 25)
used = status("VmHWM") - before + sum(map(memory.weight, parts.values()))
print(used, memory.peak(model, chosen, 25, (side, side), Plan(steps=1)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system does not tell peaks of memory")
@pytest.mark.parametrize("memory", [{"batched": True, "chunk": 10}, {"batched": False, "chunk": 2, "slices": 5}])
def test_the_peak_that_is_planned_is_used(memory):
    words = [sys.executable, "-c", USED, json.dumps({"offload": "none"} | memory), str(SIDE)]
    here = {"PYTHONPATH": str(Path(__file__).parents[3]), "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | here, check=False)
    assert done.returncode == 0, done.stderr
    used, planned = map(int, done.stdout.split())
    assert used > 1e8 and abs(planned - used) < 0.15 * used
