"""Devices other than the CPU: all tensors are on the device (``meta``, which raises for CPU tensors)."""

import pytest
import torch

from gen import registry
from gen.emotion.embedding.bank import EmotionBank
from gen.emotion.embedding.features import SIZES
from gen.emotion.embedding.network import EmotionEmbedder, Reference
from gen.emotion.spec import EmotionCurve
from gen.emotion.track import track

CONFIGS = [
    ("none", {}),
    ("label", {}),
    ("vad", {}),
    ("gaussian", {}),
    ("bank", {}),
    ("bank", {"mode": "hard"}),
    ("direction", {}),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_a_conditioner_runs_on_its_device(name, config, training):
    made = registry.build("conditioner", name, dim=16, **config).train(training)
    tracks = [track(EmotionCurve.parse(text), [0.0, 1.0, 2.0]) for text in ("sad", "0: fear, 2: v=0.4 a=-0.2 @ 1.4")]
    prepared = made.prepare(tracks)
    assert {value.device.type for value in prepared.values()} == {"cpu"}
    made.to("meta")
    moved = {key: value.to("meta") for key, value in prepared.items()}
    drop = torch.zeros(2, dtype=torch.bool, device="meta")
    if name == "bank" and training:
        with torch.no_grad():
            made.bank.eval()  # training reads its counts, which meta tensors lack
    found = made(drop=drop, mask=torch.ones(2, 3, dtype=torch.bool, device="meta"), **moved)
    assert {part.device.type for part in found} == {"meta"}
    assert made(**moved).mask.device.type == "meta"
    again = made.prepare(tracks)  # on the CPU, wherever the conditioner is
    assert {value.device.type for value in again.values()} == {"cpu"}


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_bank_runs_on_its_device(mode):
    with torch.device("meta"):
        bank, query = EmotionBank(8, 16, mode=mode).eval(), torch.empty(2, 3, 16)
    assert {part.device.type for part in bank(query)} == {"meta"}


@pytest.mark.parametrize("given", [("voice",), ("face",), ("music",), ("voice", "face")])
def test_the_embedding_runs_on_its_device(given):
    with torch.device("meta"):
        model = EmotionEmbedder().eval()
        steps = {name: (torch.empty(2, 9, SIZES[name]), torch.ones(2, 9, dtype=torch.bool)) for name in given}
        own = Reference(torch.empty(2, model.config.vector), torch.ones(2)) if "voice" in given else None
    found = model(own, **steps)
    reading = model.read(found.mu)
    parts = (*found, *reading, *model.probabilities(reading, referred=own is not None))
    assert {part.device.type for part in parts} == {"meta"}
