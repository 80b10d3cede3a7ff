"""Every conditioner keeps the contract; further properties of each; the contract detects violations."""

import importlib.util
from pathlib import Path

import pytest
import torch
from diffusers.configuration_utils import register_to_config
from safetensors.torch import save_file
from same import same_weights
from torch import nn

from gen import registry
from gen.emotion.conditioner import EmotionConditioner, LabelConditioner, check_conditioner
from gen.emotion.embedding.direction import DirectionSpace
from gen.emotion.embedding.priors import Priors, bridge, shared
from gen.emotion.spec import CANONICAL, Embedding, EmotionCurve
from gen.emotion.track import track
from gen.errors import CheckpointError

BUILT_IN = ("none", "label", "vad", "gaussian", "bank", "direction")


def tokens(conditioner, *texts, frames=(0.0,)):
    return conditioner(**conditioner.prepare([track(EmotionCurve.parse(text), frames) for text in texts])).tokens


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_conditioners_keep_the_contract(name):
    embeds = name in ("gaussian", "bank", "direction")
    check_conditioner(registry.get("conditioner", name), blind=name == "none", embeds=embeds)


@pytest.mark.parametrize("name", ["label", "vad"])
def test_conditioners_of_numbers_respond_to_clips(name):
    check_conditioner(registry.get("conditioner", name), embeds=True)
    sad, space = EmotionCurve.parse("sad").keyframes[0], shared()
    towards = lambda emotion: (space.mean[2] + 0.5 * (space.mean[CANONICAL.index(emotion)] - space.mean[2])).tolist()
    for emotion, way in (("happy", 1), ("disgust", -1)):
        clips = Embedding(mean=towards(emotion), variance=[1.0] * 256)
        found = track(EmotionCurve(keyframes=(sad.model_copy(update={"embedding": clips}),)), [0.0]).in_numbers()
        before = track(EmotionCurve.parse("sad"), [0.0])
        assert before.in_numbers() is before
        assert found.weights.sum() == pytest.approx(1, abs=1e-4)
        assert found.weights[0, CANONICAL.index(emotion)] > before.weights[0, CANONICAL.index(emotion)]
        if way > 0:
            assert found.vad[0, 0] > before.vad[0, 0] + 0.2


def test_an_earlier_embedding_is_mapped():
    """A checkpoint's own priors are a rotated and scaled version of the current ones: differences are transformed
    too."""
    turn, _ = torch.linalg.qr(torch.randn(256, 256, generator=torch.Generator().manual_seed(0)))
    old = Priors(1.5 * shared().mean @ turn, shared().var)
    way = shared().mean[1] - shared().mean[2]
    torch.testing.assert_close(way @ bridge(old), 1.5 * way @ turn, atol=0.3, rtol=0.1)
    assert torch.equal(bridge(Priors(shared().mean.half().float(), shared().var)), torch.eye(256))


def test_a_hard_bank_keeps_the_contract_except_continuity():
    check_conditioner(registry.get("conditioner", "bank"), mode="hard", continuous=False, blind=True)


def test_the_example_keeps_the_contract(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {kind: dict(known) for kind, known in registry._registered.items()})
    path = Path(__file__).parents[2] / "examples" / "my_conditioner.py"
    assert len(path.read_text().splitlines()) <= 35
    spec = importlib.util.spec_from_file_location("my_conditioner", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "sphere" in registry.names("conditioner")
    check_conditioner(registry.get("conditioner", "sphere"), hidden=8)


class Loud(LabelConditioner):
    """Intensity as an offset: not neutral at 0."""

    def embed(self, weights, vad, intensity, **track):
        return weights @ self.table + intensity[..., None], 0.0


class Leaky(LabelConditioner):
    """Depends on the batch size."""

    def embed(self, weights, vad, intensity, **track):
        found, loss = super().embed(weights, vad, intensity)
        return found / len(found), loss


class Idle(EmotionConditioner):
    """Has an unused layer."""

    @register_to_config
    def __init__(self, dim: int):
        super().__init__(dim)
        self.used, self.unused = nn.Linear(3, dim), nn.Linear(3, dim)

    def embed(self, weights, vad, intensity, **track):
        return self.used(vad * intensity[..., None]), 0.0


class Sudden(LabelConditioner):
    """Rounds the intensity."""

    def embed(self, weights, vad, intensity, **track):
        return super().embed(weights, vad, intensity.round())


class Forgetful(EmotionConditioner):
    """Samples its table again on every construction."""

    @register_to_config
    def __init__(self, dim: int):
        super().__init__(dim)
        self.scale = nn.Parameter(torch.ones(dim))
        self.register_buffer("table", torch.randn(3, dim), persistent=False)

    def embed(self, weights, vad, intensity, **track):
        return vad * intensity[..., None] @ self.table * self.scale, 0.0


@pytest.mark.parametrize(
    ("cls", "complaint"),
    [
        (Loud, "at intensity 0 is not neutral"),
        (Leaky, "depends on its batch"),
        (Idle, "no gradient reaches unused"),
        (Sudden, "a step of 0.001"),
        (Forgetful, "saved and loaded"),
    ],
)
def test_the_contract_detects(cls, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_conditioner(cls)


@pytest.mark.parametrize("name", BUILT_IN)
def test_curves_give_a_token_per_frame(name):
    torch.manual_seed(0)
    conditioner = registry.build("conditioner", name, dim=8).eval()
    found = tokens(conditioner, "0: sad, 2: happy", frames=(0, 1, 2, 3))
    for frame, text in ((0, "sad"), (2, "happy"), (3, "happy")):
        torch.testing.assert_close(found[0, frame], tokens(conditioner, text)[0, 0])


@pytest.mark.parametrize("name", BUILT_IN[1:])
def test_seeds_determine_the_weights(name):
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(registry.build("conditioner", name, dim=8).state_dict())
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])


def test_vad_reads_the_scaled_point_within_its_range():
    conditioner = registry.build("conditioner", "vad", dim=8).eval()
    one, other = "v=0.4 a=-0.2 d=0.1 @ 1.5", "v=0.6 a=-0.3 d=0.15"
    torch.testing.assert_close(tokens(conditioner, one), tokens(conditioner, other))
    torch.testing.assert_close(tokens(conditioner, "v=1 a=0 d=0 @ 2"), tokens(conditioner, "v=1 a=0 d=0"))


def test_vad_extrapolates():
    """Fitted to the four quadrants only, a linear map of its tokens still increases between and beyond them."""
    torch.manual_seed(0)
    conditioner = registry.build("conditioner", "vad", dim=32)
    reader = nn.Linear(32, 1)
    prepared = conditioner.prepare([track(EmotionCurve.parse(q), [0.0]) for q in ("Q1", "Q2", "Q3", "Q4")])
    arousal = torch.tensor([1.0, 1.0, -1.0, -1.0])
    optimiser = torch.optim.Adam([*conditioner.parameters(), *reader.parameters()], 3e-3)
    for _ in range(150):
        loss = (reader(conditioner(**prepared).pooled)[:, 0] - arousal).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    sweep = reader(tokens(conditioner, *(f"v=0.3 a={a / 10}" for a in range(-10, 11))))[:, 0, 0]
    assert loss < 0.01
    assert sweep.diff().min() > -0.02


def test_seeded_priors_follow_the_distances_of_the_states():
    prior = Priors.seeded(256)
    unit = nn.functional.normalize(prior.mean, dim=1)
    assert (unit @ unit.T - torch.eye(8)).max() < 0.8
    near, far = torch.pdist(prior.points), torch.pdist(prior.mean)
    ranks = [values.argsort().argsort().float() for values in (near, far)]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.85
    torch.testing.assert_close(prior.mean, Priors.seeded(256).mean)


def test_difference_of_a_point_from_its_mix_moves_the_embedding():
    conditioner = registry.build("conditioner", "gaussian", dim=8).eval()
    excited, happy = (
        conditioner.prior(*(torch.from_numpy(x)[None] for x in EmotionCurve.parse(text).sample([0.0])))
        for text in ("excited", "happy")
    )
    assert (excited - happy).norm() > 0.1


def test_a_gaussian_is_sampled_in_training_only():
    conditioner = registry.build("conditioner", "gaussian", dim=8)
    assert not torch.equal(tokens(conditioner.train(), "happy"), tokens(conditioner, "happy"))
    assert torch.equal(tokens(conditioner.eval(), "happy"), tokens(conditioner, "happy"))


@pytest.mark.parametrize("name", ["gaussian", "bank", "direction"])
def test_a_priors_file_becomes_part_of_the_checkpoint(name, tmp_path):
    mean = torch.randn(8, 24)
    save_file({"mean": mean, "var": torch.full((8, 24), 0.5)}, tmp_path / "priors.safetensors")
    made = registry.build("conditioner", name, dim=8, priors=str(tmp_path / "priors.safetensors")).eval()
    torch.testing.assert_close(made.prior.mean, mean)
    made.save_pretrained(tmp_path / "made")
    (tmp_path / "priors.safetensors").unlink()
    loaded = type(made).from_pretrained(tmp_path / "made").eval()
    torch.testing.assert_close(loaded.prior.mean, mean)
    same_weights(loaded, made)
    torch.testing.assert_close(tokens(loaded, "sad @ 1.5"), tokens(made, "sad @ 1.5"), atol=1e-4, rtol=1e-4)


def test_a_wrong_priors_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no priors file .*nowhere"):
        registry.build("conditioner", "gaussian", dim=8, priors=str(tmp_path / "nowhere.safetensors"))
    save_file({"mean": torch.zeros(3, 4)}, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match="must hold 'mean' and 'var'"):
        registry.build("conditioner", "bank", dim=8, priors=str(tmp_path / "odd.safetensors"))


def test_directions_are_read_from_a_folder(tmp_path):
    prior = Priors.seeded(16)
    space = DirectionSpace.from_gaussians(list(CANONICAL), prior.mean + 1, prior.var)
    space.save(tmp_path)
    conditioner = registry.build("conditioner", "direction", dim=8, priors=str(tmp_path)).eval()
    torch.testing.assert_close(conditioner.directions[1], space.direction("happy", scale="unit"))
    torch.testing.assert_close(conditioner.prior.mean, prior.mean + 1)
    check_conditioner(type(conditioner), priors=str(tmp_path))
