"""Mixtures, and directions whose length is intensity."""

import pytest
import torch

from gen.emotion.embedding.direction import DirectionSpace
from gen.emotion.embedding.mixture import Mixture, fit
from gen.errors import CheckpointError, InputError

LABELS = ("neutral", "happy", "sad", "anger")
DIM = 12


def cloud(seed=0, size=80):
    """Embeddings (4 * size, DIM) around one centre per label (two for sad), and their labels."""
    rng = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(5, DIM, generator=torch.Generator().manual_seed(7))
    rows = [centres[i].expand(size, -1) + 0.4 * torch.randn(size, DIM, generator=rng) for i in range(4)]
    rows[2][: size // 2] += centres[4] - centres[2]
    return torch.cat(rows), [label for label in LABELS for _ in range(size)]


@pytest.fixture(scope="module")
def fitted():
    return DirectionSpace.fit(*cloud())


@pytest.fixture
def space(fitted):
    return DirectionSpace(fitted.regions)


def test_bic_finds_the_number_of_components():
    rng = torch.Generator().manual_seed(0)
    for k in (1, 2, 3):
        centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])[:k]
        x = torch.cat([centre + torch.randn(120, 2, generator=rng) for centre in centres]).double()
        mixture = fit(x, 6, rng)
        assert len(mixture.weights) == k
        order = torch.cdist(centres.double(), mixture.means).argmin(1)
        torch.testing.assert_close(mixture.means[order], centres.double(), atol=0.35, rtol=0)
        torch.testing.assert_close(mixture.var, torch.ones_like(mixture.var), atol=0.45, rtol=0)


def test_distance_is_mahalanobis():
    mixture = Mixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[4.0, 1.0]]))
    torch.testing.assert_close(mixture.distance(torch.tensor([[4.0, 0.0], [0.0, 3.0]])), torch.tensor([2.0, 3.0]))
    reference = torch.distributions.Normal(torch.zeros(2), torch.tensor([2.0, 1.0]))
    x = torch.randn(5, 2)
    torch.testing.assert_close(mixture.log_prob(x)[:, 0], reference.log_prob(x).sum(-1))


def test_fit_finds_the_labels_and_their_components(space):
    counts = {label: len(region.mixture.weights) for label, region in space.regions.items()}
    assert counts == {"neutral": 1, "happy": 1, "sad": 2, "anger": 1}
    assert space.basis.shape[1] <= 4
    torch.testing.assert_close(space.basis.T @ space.basis, torch.eye(space.basis.shape[1]))


def test_intensity_zero_is_the_source_and_one_the_target(space):
    e, _ = cloud(1)
    e = e[:10]
    assert torch.equal(space.apply(e, "happy", 0.0), e)
    moved = space.apply(e, "happy", 1.0)
    target = space.regions["happy"].mixture
    assert (target.distance(moved) < 0.5 * target.distance(e)).all()


def test_directions_are_linear_in_the_mix(space):
    mixed = space.direction({"happy": 0.7, "anger": 0.3})
    torch.testing.assert_close(mixed, 0.7 * space.direction("happy") + 0.3 * space.direction("anger"))
    e = cloud()[0][:3]
    both = space.apply(e, {"happy": 0.5, "anger": -0.5}, 1.0)
    torch.testing.assert_close(
        both - e,
        (0.5 * space.direction("happy", scale="unit") - 0.5 * space.direction("anger", scale="unit")).expand(3, -1),
    )


def test_reference_and_nearest_modes(space):
    e, labels = cloud(1)
    source = e[:4]
    reference = e[[i for i, label in enumerate(labels) if label == "sad"]][[0, 1, -2, -1]]
    raw = space.direction("sad", "reference", source=source, reference=reference)
    torch.testing.assert_close(raw, space.filter(reference - source))
    assert torch.equal(space.direction("sad", "reference", source=source, reference=source), torch.zeros(4, DIM))
    nearest = space.direction("sad", "nearest", source=source, reference=reference)
    torch.testing.assert_close(nearest[0], nearest[1])
    assert not torch.allclose(nearest[0], nearest[2])  # the two kinds of sad
    unit = space.direction("sad", "reference", "unit", source, reference)
    rho = (space.regions["sad"].mixture.mean() - space.regions["neutral"].mixture.mean()).norm()
    torch.testing.assert_close(unit.norm(dim=-1), rho.expand(4))


def test_the_filter_keeps_differences_between_emotions_only(space):
    noise = torch.randn(50, DIM, generator=torch.Generator().manual_seed(0))
    assert space.filter(noise).norm() < 0.8 * noise.norm()
    torch.testing.assert_close(space.filter(space.filter(noise)), space.filter(noise))
    kept = space.direction("happy").norm() / space.direction("happy", scale="unit").norm()
    assert kept > 0.9


def test_the_guard_limits_only_large_steps(space):
    e = cloud(1)[0][:20]
    region = space.regions["anger"]
    for intensity in (0.3, 1.0):
        free, held = (space.apply(e, "anger", intensity, guard=guard) for guard in (False, True))
        torch.testing.assert_close(free, held)
    one, two = (space.apply(e, "anger", intensity) for intensity in (1.0, 2.0))
    allowed = torch.maximum(region.limit, region.mixture.distance(one))
    assert (region.mixture.distance(two) <= 1.01 * allowed).all()
    assert (region.mixture.distance(space.apply(e, "anger", 2.0, guard=False)) > 1.5 * allowed).all()


def test_save_and_load(space, tmp_path):
    space.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"directions.json", "directions.safetensors"}
    loaded = DirectionSpace.load(tmp_path)
    e = cloud(2)[0]
    for label in LABELS:
        torch.testing.assert_close(loaded.apply(e, label, 1.3), space.apply(e, label, 1.3), atol=1e-4, rtol=1e-4)


def test_mistakes(space, tmp_path):
    with pytest.raises(InputError, match="no direction to 'joy': choose one of neutral, happy"):
        space.direction("joy")
    with pytest.raises(InputError, match="give embeddings of it too"):
        DirectionSpace.fit(torch.randn(4, 3), ["happy"] * 4)
    with pytest.raises(CheckpointError, match=r"no directions\.json"):
        DirectionSpace.load(tmp_path)
