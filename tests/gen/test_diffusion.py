"""Solvers and losses against closed forms on Gaussian data, whose score, denoiser and velocity are known exactly."""

import pytest
import torch
from devices import Homeless
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from gen.diffusion import EDM, MeanReverting, MeanRevertingScheduler, flow_loss, guide, sample, uniform_times, wide

CENTER, SPREAD, SHAPE = 1.5, 0.6, (20_000, 2)  # the data are N(CENTER, SPREAD^2)


def noise(seed: int = 0, shape=SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gaussian_denoiser(x, alpha, sigma):
    """E[x0 | alpha x0 + sigma z]."""
    gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    return CENTER + gain * (x - alpha * CENTER)


def edm_network(edm):
    """F such that c_skip x + c_out F is the exact denoiser."""

    def network(shown, time):
        sigma = (4 * time).exp()
        skip, out, into, _ = (wide(c, shown) for c in edm.scalings(sigma))
        x = shown / into
        return (gaussian_denoiser(x, 1.0, wide(sigma, x)) - skip * x) / out

    return network


def flow_network(x, t):
    t = wide(t, x) / 1000
    data = gaussian_denoiser(x, 1 - t, t)
    return (x - data) / t.clamp_min(1e-6)  # E[z - x0 | x]: x = x0 + t (z - x0)


def epsilon_network(scheduler):
    def network(x, t):
        alpha = wide(scheduler.alphas_cumprod[t.long()], x).sqrt()
        sigma = (1 - alpha**2).sqrt()
        return (x - alpha * gaussian_denoiser(x, alpha, sigma)) / sigma

    return network


def reverting_score(sde, mean):
    def score(x, t):
        gamma = wide(sde.gamma(0.0, t), x)
        center = gamma * CENTER + (1 - gamma) * mean
        return -(x - center) / (gamma**2 * SPREAD**2 + 1 - gamma**2)

    return score


def check_moments(x, tolerance):
    assert x.mean().item() == pytest.approx(CENTER, abs=tolerance)
    assert x.std().item() == pytest.approx(SPREAD, abs=tolerance)


def test_edm_scalings_equal_those_of_diffusers():
    edm, scheduler, x, out = EDM(sigma_data=0.5), EDMEulerScheduler(sigma_data=0.5), noise(1, (8, 3)), noise(2, (8, 3))
    for sigma in (0.002, 0.1, 1.0, 80.0):
        s = torch.tensor(sigma)
        skip, c_out, into, time = edm.scalings(s)
        torch.testing.assert_close(into * x, scheduler.precondition_inputs(x, s))
        torch.testing.assert_close(time, scheduler.precondition_noise(s))
        torch.testing.assert_close(skip * x + c_out * out, scheduler.precondition_outputs(x, out, s))


@pytest.mark.parametrize(("kind", "steps"), [(EDMEulerScheduler, 240), (EDMDPMSolverMultistepScheduler, 60)])
def test_edm_schedulers_recover_the_gaussian(kind, steps):
    check_moments(sample(edm_network(EDM()), kind(sigma_data=0.5), noise(), steps), 0.02)


def test_flow_scheduler_recovers_the_gaussian():
    check_moments(sample(flow_network, FlowMatchEulerDiscreteScheduler(), noise(), steps=60), 0.02)


def test_dpm_solver_recovers_the_gaussian():
    scheduler = DPMSolverMultistepScheduler()
    check_moments(sample(epsilon_network(scheduler), scheduler, noise(), steps=30), 0.02)


@pytest.mark.parametrize(
    ("solver", "steps", "variance"),
    [("pf", 200, 0.0), ("em", 200, 0.0), ("ml", 200, 0.0)] + [("ml", steps, SPREAD**2) for steps in (1, 2, 5)],
)
def test_mean_reverting_solvers_recover_the_gaussian(solver, steps, variance):
    sde, mean = MeanReverting(), torch.full((2,), -0.7)
    scheduler = MeanRevertingScheduler(sde, mean, solver, variance)
    start = sde.start(noise(), mean, source=torch.full((2,), CENTER))
    x = sample(reverting_score(sde, mean), scheduler, start, steps, generator=torch.Generator().manual_seed(1))
    check_moments(x, 0.02 if variance else 0.03)


def test_ml_solver_reaches_a_point_mass_in_one_step():
    sde, mean, point = MeanReverting(), torch.tensor([2.0, -1.0]), torch.tensor([0.3, 0.4])

    def score(x, t):
        center, sigma = sde.marginal(point.expand_as(x), mean, t)
        return -(x - center) / sigma**2

    for steps in (1, 3):
        x = sample(score, MeanRevertingScheduler(sde, mean, "ml"), sde.start(noise(0, (5, 2)), mean), steps)
        torch.testing.assert_close(x, point.expand_as(x), atol=2e-3, rtol=0)


def test_ml_step_equals_the_rule_with_kappa_and_omega():
    sde, mean, h, t = MeanReverting(), noise(1, (4, 3)), 0.1, torch.tensor(0.6)
    x, score = noise(2, (4, 3)), noise(3, (4, 3))
    scheduler = MeanRevertingScheduler(sde, mean, "ml")
    scheduler.set_timesteps(10)
    s = t - h
    at_s, at_t, between, beta = sde.gamma(0.0, s), sde.gamma(0.0, t), sde.gamma(s, t), sde.beta(t)
    mu, nu = between * (1 - at_s**2) / (1 - at_t**2), at_s * (1 - between**2) / (1 - at_t**2)
    kappa = at_s * (1 - between**2) / (at_t * beta * h) - 1
    omega = nu / at_t + mu - 0.5 * beta * h - 1
    sigma = ((1 - at_s**2) * (1 - between**2) / (1 - at_t**2)).sqrt()
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(5))
    expected = x - ((mean - x) * (0.5 * beta * h + omega) - score * (1 + kappa) * beta * h) + sigma * z
    got = scheduler.step(score, t, x, generator=torch.Generator().manual_seed(5)).prev_sample
    torch.testing.assert_close(got, expected)


def test_forward_marginal_is_the_simulated_sde():
    sde, x0, mean, steps = MeanReverting(), torch.full(SHAPE, CENTER), torch.tensor(-0.7), 400
    x, end, generator = x0.clone(), 0.4, torch.Generator().manual_seed(0)
    for i in range(steps):
        beta, h = sde.beta(torch.tensor(end * i / steps)), end / steps
        x += 0.5 * beta * (mean - x) * h + (beta * h).sqrt() * torch.randn(SHAPE, generator=generator)
    center, sigma = sde.marginal(x0[:1], mean, torch.tensor([end]))
    assert x.mean().item() == pytest.approx(center[0, 0].item(), abs=0.02)
    assert x.std().item() == pytest.approx(sigma.item(), abs=0.02)
    assert sde.gamma(0.0, torch.tensor(1.0)).item() == pytest.approx(0.00666, abs=1e-4)


def losses():
    sde, edm, mean = MeanReverting(), EDM(), torch.full((1, 2), -0.7)
    return {
        "score": (lambda net, x, **k: sde.loss(net, x, mean, **k), reverting_score(sde, mean)),
        "edm": (edm.loss, edm_network(edm)),
        "flow": (flow_loss, flow_network),
    }


@pytest.mark.parametrize("name", ["score", "edm", "flow"])
def test_the_exact_network_minimises_the_loss(name):
    loss, exact = losses()[name]
    x0 = CENTER + SPREAD * noise(3)
    value = {
        gain: loss(lambda x, t, g=gain: g * exact(x, t), x0, generator=torch.Generator().manual_seed(0)).item()
        for gain in (0.9, 1.0, 1.1)
    }
    shifted = loss(lambda x, t: exact(x, t) + 0.1, x0, generator=torch.Generator().manual_seed(0)).item()
    assert value[1.0] < min(value[0.9], value[1.1], shifted)


@pytest.mark.parametrize("name", ["score", "edm", "flow"])
def test_masked_values_are_ignored(name):
    loss, exact = losses()[name]
    mask = torch.tensor([True, False]).expand(64, 2)
    x0, other = noise(1, (64, 2)), noise(1, (64, 2))
    other[:, 1] += 5.0
    values = [loss(exact, x, mask=mask, generator=torch.Generator().manual_seed(0)) for x in (x0, other)]
    torch.testing.assert_close(*values)
    whole = loss(exact, x0, generator=torch.Generator().manual_seed(0))
    assert values[0].item() != whole.item()


def test_training_times_are_uniform_and_cover_the_batch():
    x, generator = torch.zeros(4, 1), torch.Generator().manual_seed(0)
    times = torch.stack([uniform_times(x, generator) for _ in range(2000)])
    assert ((times * 4).long().sort(dim=1).values == torch.arange(4)).all()  # one in every quarter
    assert times[:, 0].mean().item() == pytest.approx(0.5, abs=0.02)
    assert times[:, 0].std().item() == pytest.approx(12**-0.5, abs=0.02)


def test_sampling_is_deterministic_and_independent_of_the_batch():
    sde, mean = MeanReverting(), torch.zeros(2)
    score, start = reverting_score(sde, mean), noise(0, (3, 2))

    def run(rows):
        generators = [torch.Generator().manual_seed(i) for i in rows]
        return sample(score, MeanRevertingScheduler(sde, mean), start[rows], 6, generator=generators)

    together = run([0, 1, 2])
    assert torch.equal(together, run([0, 1, 2]))
    torch.testing.assert_close(together[1:2], run([1]))
    assert not torch.allclose(together[0], together[1])


def test_guide_is_nested_and_takes_numbers_tensors_and_functions():
    out = {"null": noise(1, (2, 5)), "face": noise(2, (2, 5)), "emotion": noise(3, (2, 5))}
    wide_scale = torch.tensor([[0.5], [3.0]])
    got = guide(out, {"face": 2.0, "emotion": wide_scale})
    expected = out["null"] + 2 * (out["face"] - out["null"]) + wide_scale * (out["emotion"] - out["face"])
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(guide(out, {}), out["emotion"])
    torch.testing.assert_close(guide(out, {"face": 0.0, "emotion": 0.0}), out["null"])
    torch.testing.assert_close(guide(out, {"face": lambda at: 4 * at}, at=0.5), guide(out, {"face": 2.0}))
    with pytest.raises(ValueError, match=r"audio.*face, emotion"):
        guide(out, {"audio": 1.0})


def test_guided_sampling_moves_along_the_condition_and_skips_useless_branches():
    calls = []

    def network(x, t, shift):
        calls.append(shift)
        t = wide(t, x) / 1000
        return (x - torch.full_like(x, shift)) / t.clamp_min(1e-6)  # all data at ``shift``

    branches = {"null": {"shift": 0.0}, "mood": {"shift": 1.0}}

    def run(scale, steps=8):
        calls.clear()
        x = sample(network, FlowMatchEulerDiscreteScheduler(), noise(0, (2, 3)), steps, branches, {"mood": scale})
        return x.mean().item(), len(calls)

    assert run(1.0) == (pytest.approx(1.0, abs=1e-3), 8)
    assert run(0.0) == (pytest.approx(0.0, abs=1e-3), 8)
    assert run(2.5) == (pytest.approx(2.5, abs=1e-3), 16)
    assert run(torch.full((8, 1), 2.5)) == (pytest.approx(2.5, abs=1e-3), 16)
    late, count = run(lambda at: 3.0 if at > 0.5 else 1.0)
    assert 1.0 < late <= 3.0 + 1e-3
    assert count == 12


def test_progress_ends_at_one():
    seen = []
    sample(flow_network, FlowMatchEulerDiscreteScheduler(), noise(0, (1, 2)), 4, progress=seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="pf, em, ml"):
        MeanRevertingScheduler(MeanReverting(), torch.zeros(1), "heun")


def test_mean_reverting_solver_runs_on_its_device():
    """On ``meta`` a tensor that stayed on the CPU raises."""
    sde, x = MeanReverting(), torch.empty(2, 3, device="meta")
    for solver in ("pf", "em", "ml"):
        scheduler = MeanRevertingScheduler(sde, x, solver)
        made = sample(lambda x, t: x * wide(t, x), scheduler, sde.start(torch.empty_like(x), x), 3)
        assert made.device.type == "meta"


@pytest.mark.parametrize("kind", ["edm", "flow", "reverting"])
def test_losses_run_on_their_device(kind):
    x, network = torch.empty(4, 3, device="meta"), lambda x, t: x * wide(t, x)
    lost = {
        "edm": lambda: EDM().loss(network, x),
        "flow": lambda: flow_loss(network, x),
        "reverting": lambda: MeanReverting().loss(network, x, x),
    }[kind]()
    assert lost.device.type == "meta"


def test_the_sampling_loop_creates_no_cpu_tensor():
    with Homeless() as watch:
        sample(
            flow_network,
            FlowMatchEulerDiscreteScheduler(),
            noise(0, (4, 2)),
            3,
            {"null": {}, "full": {}},
            {"full": torch.ones(3, 1)},
        )
    assert not watch.places
