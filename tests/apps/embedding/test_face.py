"""Training of the face encoder on drawn and tracked films: everything else of the embedding is unchanged."""

from pathlib import Path

import numpy as np
import pytest
import torch

from apps.embedding import face, films
from apps.embedding.corpus import Clip
from apps.embedding.export import embed
from gen import checkpoints
from gen.emotion.embedding import features
from gen.emotion.embedding.network import EmotionEmbedder
from gen.media import read_image
from talking_head.face.points import INDEX
from talking_head.pipeline import TalkGenerator

SPACE = "emotion-embedding"
PORTRAIT = Path(__file__).parents[3] / "examples" / "grace_hopper.jpg"


def smiles(count: int = 6) -> list[Clip]:
    """Smiles as fear, and faces at rest as neutral: what the shipped encoder does not say."""
    rng, found = np.random.default_rng(0), []
    for term, name in ((0, "jawOpen"), (4, "mouthSmile")):
        for _ in range(count):
            rows = 0.05 * rng.random((40, features.FACE))
            rows[:, [INDEX[key] for key in INDEX if key.startswith(name)]] = 0.6
            found.append(Clip(rows.astype(np.float16), term, -1, 1.0, "x", "drawn talk", "train", ""))
    return found


def test_only_the_face_encoder_changes():
    clips, before = smiles(), checkpoints.load(SPACE, EmotionEmbedder).float().eval()
    model = face.learn(SPACE, clips, face.Settings(steps=40))
    for name, value in before.state_dict().items():
        if not name.startswith(("encoders.face", "pools.face")):
            assert torch.equal(model.state_dict()[name], value), name
    term = np.array([clip.term for clip in clips])
    right = lambda one: (one.read(embed(one, "face", clips)).terms.argmax(1).numpy() == term).mean()
    assert right(model) > max(right(before), 0.9)


def test_a_varied_clip_is_still_a_face():
    drawn, rng = face.Drawn(smiles()), np.random.default_rng(0)
    clip = smiles()[0]
    clip.rows[:, INDEX["mouthLeft"]] = 0.8
    sides = set()
    for _ in range(20):
        rows = drawn.varied(clip, rng)
        assert rows.shape[1] == features.FACE and len(rows) <= len(clip.rows)
        assert rows[:, : features.SHAPES].min() >= 0 and rows[:, : features.SHAPES].max() <= 1
        sides.add("mouthLeft" if rows[:, INDEX["mouthLeft"]].mean() > 0.4 else "mouthRight")
    assert sides == {"mouthLeft", "mouthRight"}


@pytest.mark.slow
def test_an_expression_is_drawn_on_a_varied_portrait_and_tracked():
    generator, rng = TalkGenerator.from_pretrained(), np.random.default_rng(0)
    pixels = films.varied(read_image(PORTRAIT), generator, rng)
    rows = np.zeros((3, features.FACE), np.float32)
    rest = films.seen(generator, pixels, films.moved(rows))
    rows[:, INDEX["jawOpen"]] = 0.8
    found = films.seen(generator, pixels, films.moved(rows))
    assert found.shape == rest.shape == (3, features.FACE)
    assert found[:, INDEX["jawOpen"]].mean() > rest[:, INDEX["jawOpen"]].mean() + 0.2
    assert not np.array_equal(films.varied(read_image(PORTRAIT), generator, rng), pixels)
