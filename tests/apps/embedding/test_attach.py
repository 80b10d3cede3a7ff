"""Attaching a voice encoder to an existing space: faces, music and priors are unchanged."""

import numpy as np
import torch
from safetensors.torch import load_file

from apps.embedding import attach
from apps.embedding.corpus import Clip
from apps.embedding.export import HeldOutPredictions, embed
from apps.embedding.hearing import Settings, Student
from gen import checkpoints
from gen.emotion.embedding.network import EmotionEmbedder
from gen.emotion.embedding.priors import read

SPACE = "emotion-embedding"


def voices() -> list[Clip]:
    """Vectors that encode the emotion clearly."""
    rng, found = np.random.default_rng(0), []
    for person in range(3):
        for term in range(7):
            for level in (0.75, 1.25) if term else (1.0,):
                for key in range(2):
                    rows = 0.3 * rng.standard_normal((2, 192)) + np.sin(np.arange(192) * (term + 1) / 5)
                    facts = term, -1, level, f"ravdess:{person}", "ravdess", "train", str(key)
                    found.append(Clip(rows.astype(np.float32), *facts))
    return found


def test_only_the_voice_layers_change(tmp_path, monkeypatch):
    monkeypatch.setattr(attach, "STEPS", 40)
    torch.manual_seed(0)
    student, clips = Student(Settings(), 8, 8).eval(), voices()
    model = attach.attach(SPACE, student, clips)
    for name, value in checkpoints.load(SPACE, EmotionEmbedder).float().state_dict().items():
        if not name.startswith(attach.OWN):
            assert torch.equal(model.state_dict()[name], value), name
    assert torch.equal(model.voice.out.weight, student.encoder.out.weight)
    prior = load_file(checkpoints.folder(SPACE) / "priors.safetensors")["terms.mean"].float()
    term = torch.tensor([clip.term for clip in clips])
    away = torch.cdist(embed(model, "voice", clips), prior[:7])
    assert (away.argmin(1) == term).float().mean() > 0.5
    attach.export_attached(model, SPACE, HeldOutPredictions.predict(model, clips), tmp_path)
    for file in attach.FILES:
        assert (tmp_path / file).read_bytes() == (checkpoints.folder(SPACE) / file).read_bytes()
    again = EmotionEmbedder.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert torch.equal(again.temperature[2], checkpoints.load(SPACE, EmotionEmbedder).temperature[2].to(again.dtype))
    assert all(torch.equal(*own) for own in zip(read(tmp_path), read(SPACE)))
