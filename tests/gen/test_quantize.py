"""A contract for all quantizers, then the properties of each."""

import math

import pytest
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from same import same_weights

from gen import registry
from gen.neighbours import kmeans, knn_distances, nearest
from gen.quantize import CDF, FSP, FSQ, EMAVectorQuantizer, VPQuantizer

DIM, LEVELS = 12, [5, 4, 3]
CASES = {
    "ema_vq": {"size": 32},
    "slot_vq": {"size": 8, "slots": 3},
    "fsq": {"levels": LEVELS},
    "fsq slots": {"levels": LEVELS, "slots": 3},
    "fsq plain": {"levels": LEVELS, "slots": 4, "project": False},
    "fsp": {"levels": LEVELS},
    "fsp slots": {"levels": LEVELS, "slots": 3, "cdf": "normal"},
    "vp": {"size": 32, "width": 4},
    "vp plain": {"size": 16, "width": None},
}
cases = pytest.mark.parametrize("case", CASES)


def build(case):
    torch.manual_seed(0)
    return registry.build("quantizer", case.split()[0], dim=DIM, **CASES[case])


def data(seed=0, b=2, n=40, dim=DIM):
    return torch.randn(b, n, dim, generator=torch.Generator().manual_seed(seed))


def train(quantizer, steps=20, mask=None):
    quantizer.train()
    for seed in range(steps):
        quantizer(data(seed), mask)
    return quantizer.eval()


@cases
def test_shapes_and_ranges(case):
    quantizer = build(case)
    for mode in (quantizer.train(), quantizer.eval()):
        out = mode(data())
        assert out.z.shape == (2, 40, DIM)
        assert out.index.shape == ((2, 40) if quantizer.slots == 1 else (2, 40, quantizer.slots))
        assert out.index.dtype == torch.long
        assert 0 <= out.index.min() <= out.index.max() < quantizer.size
        assert out.loss.shape == ()


@cases
def test_encode_and_decode_equal_evaluation(case):
    quantizer = train(build(case))
    z = data(99)
    out = quantizer(z)
    assert torch.equal(quantizer.encode(z), out.index)
    torch.testing.assert_close(quantizer.decode(out.index), out.z)
    torch.testing.assert_close(quantizer.decode(out.index[0, 0]), out.z[0, 0])


@cases
def test_the_gradient_reaches_z_and_every_parameter(case):
    quantizer, z = build(case), data().requires_grad_()
    out = quantizer(z)
    ((out.z - data(5)).square().sum() + out.loss).backward()
    assert (z.grad.abs().sum(-1) > 0).all()
    assert all(p.grad.abs().sum() > 0 for p in quantizer.parameters())


@cases
def test_masked_positions_change_nothing(case):
    mask = torch.arange(40).expand(2, 40) < 25
    results = []
    for fill in (0.0, 50.0):
        quantizer = build(case).train()
        z = data()
        z[~mask] += fill
        torch.manual_seed(1)
        out = quantizer(z, mask)
        results.append((out, {k: v.clone() for k, v in quantizer.state_dict().items()}, quantizer.usage()))
    (one, state_one, usage_one), (two, state_two, usage_two) = results
    torch.testing.assert_close(one.loss, two.loss)
    torch.testing.assert_close(one.index[mask], two.index[mask])
    assert usage_one == usage_two
    for key in state_one:
        torch.testing.assert_close(state_one[key], state_two[key])


@cases
def test_training_continues_unchanged_after_saving(case):
    one, two = build(case), build(case)
    train(one, 5)
    two.load_state_dict(one.state_dict())
    for quantizer in (one, two):
        torch.manual_seed(7)
        quantizer.train()(data(50))
    for key, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[key], value)
    torch.testing.assert_close(one.eval()(data(51)).z, two.eval()(data(51)).z)


@cases
def test_evaluation_is_deterministic_and_does_not_change_the_codes(case):
    quantizer = train(build(case))
    first = quantizer(data())
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    torch.testing.assert_close(quantizer(data()).z, first.z)
    quantizer(data(3) * 5)
    assert all(torch.equal(quantizer.state_dict()[k], before[k]) for k in before)


@cases
def test_usage_counts_valid_positions_until_reset(case):
    quantizer = train(build(case))
    quantizer.reset_usage()
    assert quantizer.usage() == {"used": 0.0, "perplexity": 0.0}
    quantizer(data()[:1, :1].expand(2, 40, DIM))
    assert quantizer.usage() == {"used": 1.0, "perplexity": pytest.approx(1.0)}
    quantizer(data())
    used, perplexity = quantizer.usage().values()
    assert 1 < perplexity <= used <= quantizer.size


@pytest.mark.parametrize("case", ["ema_vq", "slot_vq", "fsq slots", "fsp", "vp"])
def test_survives_save_pretrained(case, tmp_path):
    class Net(ModelMixin, ConfigMixin):
        @register_to_config
        def __init__(self, name: str = "", config: dict | None = None):
            super().__init__()
            self.quantizer = registry.build("quantizer", name, dim=DIM, **config)

    net = Net(case.split()[0], CASES[case])
    train(net.quantizer)
    expected = net.quantizer(data(9))
    net.save_pretrained(tmp_path)
    again = Net.from_pretrained(tmp_path)
    same_weights(again, net)
    torch.testing.assert_close(again.quantizer(data(9)).z, expected.z, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------- EMA-VQ


def test_ema_codes_find_the_clusters():
    centers = 4 * data(1, 1, 8, 2)[0]
    quantizer = EMAVectorQuantizer(2, size=8, decay=0.9).train()
    quantizer.codes.copy_(centers + 0.3 * data(2, 1, 8, 2)[0])
    for seed in range(60):
        pick = torch.randint(8, (1, 400), generator=torch.Generator().manual_seed(seed))
        quantizer(centers[pick] + 0.01 * data(seed, 1, 400, 2))
    distance = torch.cdist(centers, quantizer.codes).min(1).values
    assert distance.max() < 0.05
    assert quantizer.usage()["used"] == 8


def test_ema_update_is_the_bias_corrected_average_of_assigned_vectors():
    quantizer = EMAVectorQuantizer(1, size=2, decay=0.5, restart=False).train()
    quantizer.codes.copy_(torch.tensor([[0.0], [10.0]]))
    quantizer(torch.tensor([[[1.0], [3.0]]]))
    torch.testing.assert_close(quantizer.codes, torch.tensor([[2.0], [10.0]]), atol=1e-3, rtol=0)
    quantizer(torch.tensor([[[5.0], [4.0]]]))  # weights 1/3 for the old batch, 2/3 for the new one
    torch.testing.assert_close(quantizer.codes, torch.tensor([[11 / 3], [10.0]]), atol=1e-3, rtol=0)


def test_ema_commitment_loss_is_its_share_of_the_squared_error():
    quantizer, z = EMAVectorQuantizer(DIM, size=8, commitment=0.25), data()
    error = (z - quantizer.decode(quantizer.encode(z))).square().mean()
    torch.testing.assert_close(quantizer(z).loss, 0.25 * error)


@pytest.mark.parametrize("restart", [True, False])
def test_dead_codes_are_revived_only_with_restart(restart):
    quantizer = EMAVectorQuantizer(DIM, size=32, restart=restart).train()
    quantizer.codes[1:] += 1000.0
    train(quantizer, 20)
    quantizer.reset_usage()
    quantizer(data(99))
    assert (quantizer.usage()["used"] > 15) == restart


# ---------------------------------------------------------------- FSQ, FSP


def test_fsq_projected_to_itself_reaches_every_level_and_no_other():
    levels = [3, 4, 5, 8]
    quantizer = FSQ(4, levels, project=False)
    z = 3 * data(0, 1, 2000, 4)
    out = quantizer(z)
    for j, level in enumerate(levels):
        expected = (torch.arange(level) - level // 2) / (level // 2)
        torch.testing.assert_close(out.z[..., j].unique(), expected)


@pytest.mark.parametrize("kind", [FSQ, FSP])
def test_every_code_has_its_own_value_in_the_order_of_its_digits(kind):
    quantizer = kind(3, LEVELS, project=False)
    codes = quantizer.decode(torch.arange(quantizer.size))
    assert len(codes.unique(dim=0)) == quantizer.size == math.prod(LEVELS)
    digits = torch.stack([torch.arange(60) % 5, torch.arange(60) // 5 % 4, torch.arange(60) // 20], 1)
    for j in range(3):
        order = codes[:, j].unique()
        assert torch.equal(torch.searchsorted(order, codes[:, j].contiguous()), digits[:, j])


@pytest.mark.parametrize("kind", [FSQ, FSP])
def test_slots_are_independent(kind):
    quantizer = kind(DIM, LEVELS, slots=3).eval()
    z = data()
    other = z.clone()
    other[..., 4:8] += 3.0
    one, two = quantizer(z), quantizer(other)
    assert torch.equal(one.index[..., [0, 2]], two.index[..., [0, 2]])
    assert not torch.equal(one.index[..., 1], two.index[..., 1])
    same = torch.tensor([*range(4), *range(8, 12)])
    torch.testing.assert_close(one.z[..., same], two.z[..., same])


def test_a_dimension_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        FSQ(10, LEVELS, slots=3)
    with pytest.raises(ValueError, match="does not fit"):
        FSQ(10, LEVELS, project=False)


SAMPLERS = {
    "tanh": lambda u: torch.atanh((2 * u - 1).clamp(-0.999999, 0.999999)),
    "sigmoid": torch.logit,
    "normal": torch.special.ndtri,
    "laplace": lambda u: -torch.sign(u - 0.5) * torch.log1p(-2 * (u - 0.5).abs()),
}


@pytest.mark.parametrize("cdf", CDF)
def test_fsp_uses_all_levels_equally_and_has_no_moment_loss_on_its_distribution(cdf):
    torch.manual_seed(0)
    quantizer = FSP(2, [5, 4], project=False, cdf=cdf).eval()
    z = SAMPLERS[cdf](torch.rand(1, 40_000, 2).clamp(1e-6, 1 - 1e-6))
    out = quantizer(z)
    assert quantizer.usage()["perplexity"] == pytest.approx(20, rel=0.01)
    assert out.loss.item() < 0.02
    assert quantizer(z + 1).loss > 0.09
    assert out.z.std().item() == pytest.approx(1.0, abs=0.05)


def test_fsp_trains_with_noise_one_level_wide():
    torch.manual_seed(0)
    quantizer, z = FSP(1, [4], project=False), torch.full((1, 20_000, 1), 0.2)
    part = quantizer.squash(z) + 0  # away from the edges, so that nothing is rejected
    moved = quantizer.train()(z).z / math.sqrt(12) + 0.5 - part
    assert moved.abs().max() <= 1 / 8
    assert moved.std().item() == pytest.approx(1 / 4 / math.sqrt(12), rel=0.03)
    rounded = FSP(1, [4], project=False, rounding=1.0).train()(z)
    torch.testing.assert_close(rounded.z, quantizer.eval()(z).z)


# ---------------------------------------------------------------- VP and its tools


def test_knn_and_nearest_agree_with_brute_force():
    x, points = data(1, 1, 50, 3)[0], data(2, 1, 70, 3)[0]
    table = torch.cdist(x, points)
    first, fifth = knn_distances(x, points, (1, 5), chunk=7)
    torch.testing.assert_close(first, table.min(1).values)
    torch.testing.assert_close(fifth, table.sort(1).values[:, 4])
    torch.testing.assert_close(table.gather(1, nearest(x, points, chunk=7)[:, None])[:, 0], table.min(1).values)


def test_kmeans_finds_separate_clusters_and_leaves_no_cell_empty():
    centers = 10 * data(3, 1, 6, 2)[0]
    x = (centers[:, None] + 0.1 * data(4, 6, 50, 2)).flatten(0, 1)
    codes = kmeans(x, 6, torch.Generator().manual_seed(0))
    assert torch.cdist(centers, codes).min(1).values.max() < 0.1
    many = kmeans(x, 40, torch.Generator().manual_seed(0))
    assert len(nearest(x, many).unique()) == 40


def test_vp_moves_latents_but_keeps_their_distribution():
    torch.manual_seed(0)
    quantizer = VPQuantizer(2, size=16, width=None, neighbours=32).train()
    cloud = lambda seed: torch.tensor([2.0, 0.0]) + data(seed, 1, 2000, 2) * torch.tensor([1.5, 0.5])
    quantizer(cloud(0))
    out = quantizer(cloud(1))
    shift = (out.z - cloud(1)).norm(dim=-1)
    assert 0.2 < (shift > 0).float().mean() < 1.0
    torch.testing.assert_close(out.z.mean((0, 1)), cloud(1).mean((0, 1)), atol=0.06, rtol=0)
    torch.testing.assert_close(out.z.std((0, 1)), cloud(1).std((0, 1)), atol=0.06, rtol=0)


def test_vp_does_not_move_before_its_queue_is_full_and_codes_follow_the_queue():
    quantizer = VPQuantizer(3, size=8, width=None, neighbours=16).train()
    z = 5 + data(0, 1, 60, 3)
    torch.testing.assert_close(quantizer(z).z, z)
    quantizer(5 + data(1, 1, 100, 3))
    quantizer.eval()
    quantizer(z)
    assert quantizer.codes.mean().item() == pytest.approx(5, abs=0.3)
    assert quantizer.usage()["used"] > 4


def test_a_mask_per_slot_keeps_each_book_to_its_own_slot():
    quantizer, mask = build("slot_vq").train(), torch.zeros(2, 40, 3, dtype=torch.bool)
    mask[..., 1] = True
    before = [book.codes.clone() for book in quantizer.books]
    quantizer(data(), mask)
    moved = [not torch.equal(book.codes, old) for book, old in zip(quantizer.books, before, strict=True)]
    assert moved == [False, True, False]
