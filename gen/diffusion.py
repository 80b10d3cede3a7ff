"""Training losses (mean-reverting score SDE, EDM, flow matching), one sampling loop, guidance over named
branches.

A network is called as ``model(x, t, **condition)`` with x (b, ...) and t (b,), in training and in sampling
alike. Masks are bool and broadcast against x; masked values count neither in a loss nor in its mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Generator, Tensor

from gen.network import randn_tensor

FLOW_TIMESTEPS = 1000  # timestep input at pure noise: num_train_timesteps of diffusers' flow schedulers

Model = Callable[..., Tensor]
Scale = float | Tensor | Callable[[float], float | Tensor]
Generators = Generator | list[Generator] | None


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of x where ``mask``, which broadcasts against x, is True."""
    if mask is None:
        return x.mean()
    mask = mask.expand_as(x)
    return x[mask].sum() / mask.sum()


def wide(t: Tensor, x: Tensor) -> Tensor:
    """(b,) with trailing ones, to broadcast against x (b, ...)."""
    return t.reshape(-1, *[1] * (x.ndim - 1))


def draw(x: Tensor, generator: Generators) -> Tensor:
    """Unit Gaussian noise like x, the same on every device for a CPU generator; a list holds one per item."""
    return randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def uniform_times(x: Tensor, generator: Generator | None) -> Tensor:
    """(b,) times in [0, 1), each uniform and jointly stratified, which reduces the variance of the loss."""
    offset = torch.rand((), generator=generator, device=generator.device if generator else x.device)
    return (torch.arange(len(x), device=x.device) / len(x) + offset.to(x.device)) % 1


@dataclass(frozen=True)
class MeanReverting:
    """Diffusion that ends at N(mean, I) instead of N(0, I), as in DiffVC and EmoReg.

    dX = beta_t / 2 (mean - X) dt + sqrt(beta_t) dW, t in [0, 1] ("Diffusion-Based Voice Conversion with Fast
    Maximum Likelihood Sampling Scheme", ICLR 2022, sec. 2).
    """

    beta_min: float = 0.05
    beta_max: float = 20.0
    edge: float = 1e-5  # training times stay this far from 0 and 1

    def beta(self, t: Tensor) -> Tensor:
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def gamma(self, s: Tensor | float, t: Tensor) -> Tensor:
        """exp(-1/2 integral of beta from s to t): the factor from s to t of a difference."""
        return torch.exp(-0.5 * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * (s + t)) * (t - s))

    def marginal(self, x0: Tensor, mean: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, and standard deviation, of X_t given X_0 = x0 (b, ...) at times t (b,)."""
        gamma = wide(self.gamma(0.0, t), x0)
        return gamma * x0 + (1 - gamma) * mean, (1 - gamma**2).sqrt()

    def loss(
        self,
        model: Model,
        x0: Tensor,
        mean: Tensor,
        mask: Tensor | None = None,
        generator: Generator | None = None,
        **condition: Any,
    ) -> Tensor:
        """Denoising score matching weighted by the variance: E |sigma_t score(X_t, t) + z|^2."""
        t = self.edge + (1 - 2 * self.edge) * uniform_times(x0, generator)
        z = draw(x0, generator)
        center, sigma = self.marginal(x0, mean, t)
        return masked_mean((sigma * model(center + sigma * z, t, **condition) + z).square(), mask)

    def start(self, noise: Tensor, mean: Tensor, source: Tensor | None = None) -> Tensor:
        """X_1 of a sample: mean plus unit noise, shifted by the share of ``source`` that remains at t = 1."""
        gamma = self.gamma(0.0, torch.ones((), device=noise.device))
        return noise + mean if source is None else noise + gamma * source + (1 - gamma) * mean


class Step(NamedTuple):
    prev_sample: Tensor


class MeanRevertingScheduler:
    """Solves :class:`MeanReverting` backwards from t = 1 in equal steps; the model predicts the score.

    ``pf``: Euler steps on the probability-flow ODE. ``em``: Euler-Maruyama. ``ml``: DiffVC's maximum-likelihood solver
    (theorem 1), a sample of the Gaussian X_s | X_t whose X_0 is estimated from the score; exact for any number of steps
    if the data are Gaussian with the given ``variance``. ``variance`` 0 is the rule used by DiffVC and EmoReg.
    """

    init_noise_sigma = 1.0  # a sample starts from MeanReverting.start(noise, ...)

    def __init__(self, sde: MeanReverting, mean: Tensor, solver: str = "ml", variance: float = 0.0):
        if solver not in ("pf", "em", "ml"):
            raise ValueError(f"solver '{solver}' is none of pf, em, ml")
        self.sde, self.mean, self.solver, self.variance = sde, mean, solver, variance

    def set_timesteps(self, steps: int, device: torch.device | str | None = None) -> None:
        self.h = 1.0 / steps
        self.timesteps = torch.linspace(1.0, self.h, steps, device=device)

    def scale_model_input(self, x: Tensor, t: Tensor) -> Tensor:
        return x

    def step(self, score: Tensor, t: Tensor, x: Tensor, generator: Generators = None) -> Step:
        if self.solver == "ml":
            return self._ml(score, t, x, generator)
        drift, spread = 0.5 * (self.mean - x), self.sde.beta(t) * self.h
        if self.solver == "pf":
            return Step(x - spread * (drift - 0.5 * score))
        return Step(x - spread * (drift - score) + spread.sqrt() * draw(x, generator))

    def _ml(self, score: Tensor, t: Tensor, x: Tensor, generator: Generators) -> Step:
        s = (t - self.h).clamp_min(0.0)
        at_s, at_t, between = self.sde.gamma(0.0, s), self.sde.gamma(0.0, t), self.sde.gamma(s, t)
        noise_t = 1 - at_t**2
        mu, nu = between * (1 - at_s**2) / noise_t, at_s * (1 - between**2) / noise_t
        left = self.variance * noise_t / (at_t**2 * self.variance + noise_t)  # of X_0 given X_t
        variance = (1 - at_s**2) * (1 - between**2) / noise_t + nu**2 * left
        away = x - self.mean
        origin = (away + noise_t * score) / at_t  # E[X_0 | X_t] - mean, by Tweedie's formula
        return Step(self.mean + mu * away + nu * origin + variance.sqrt() * draw(x, generator))


@dataclass(frozen=True)
class EDM:
    """Preconditioning and loss of "Elucidating the Design Space of Diffusion-Based Generative Models" (2022,
    table 1).

    The network F sees c_in x at time log(sigma) / 4, as the EDM schedulers of diffusers call it; the denoised
    sample is c_skip x + c_out F. ``sigma_data`` must equal the scheduler's; ``log_mean``, ``log_std`` place
    the noise levels.
    """

    sigma_data: float = 0.5
    log_mean: float = -1.2
    log_std: float = 1.2

    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in, c_noise."""
        total = sigma**2 + self.sigma_data**2
        root = total.sqrt()
        return self.sigma_data**2 / total, sigma * self.sigma_data / root, 1 / root, sigma.log() / 4

    def denoise(self, model: Model, x: Tensor, sigma: Tensor, **condition: Any) -> Tensor:
        """E[x0 | x] at noise levels sigma (b,)."""
        skip, out, into, time = self.scalings(sigma)
        return wide(skip, x) * x + wide(out, x) * model(wide(into, x) * x, time, **condition)

    def loss(
        self, model: Model, x0: Tensor, mask: Tensor | None = None, generator: Generator | None = None, **condition: Any
    ) -> Tensor:
        """Squared error of the denoised sample with weight 1 / c_out^2, which is the squared error of F (sec.
        5)."""
        level = torch.special.ndtri(uniform_times(x0, generator).clamp_min(1e-4))
        sigma = (self.log_mean + self.log_std * level).exp()
        x = x0 + wide(sigma, x0) * draw(x0, generator)
        error = (self.denoise(model, x, sigma, **condition) - x0) / wide(self.scalings(sigma)[1], x0)
        return masked_mean(error.square(), mask)


def flow_loss(
    model: Model, x0: Tensor, mask: Tensor | None = None, generator: Generator | None = None, **condition: Any
) -> Tensor:
    """Flow matching on straight paths ("Flow Matching for Generative Modeling", 2023, sec. 4.1).

    Time runs from data (0) to noise (1) as in FlowMatchEulerDiscreteScheduler: x_t = (1 - t) x0 + t z, target
    z - x0.
    """
    t = uniform_times(x0, generator)
    z = draw(x0, generator)
    velocity = model(torch.lerp(x0, z, wide(t, x0)), FLOW_TIMESTEPS * t, **condition)
    return masked_mean((velocity - (z - x0)).square(), mask)


def branch_weights(names: list[str], scales: Mapping[str, Scale], at: float) -> dict[str, float | Tensor]:
    """Weight of each branch in :func:`guide`; they sum to 1."""
    unknown = ", ".join(sorted(scales.keys() - set(names[1:])))
    if unknown:
        raise ValueError(f"unknown condition {unknown}: use {', '.join(names[1:])}")
    scale: list[Any] = [1.0, *(scales.get(name, 1.0) for name in names[1:]), 0.0]
    scale = [s(at) if callable(s) else s for s in scale]
    return {name: scale[i] - scale[i + 1] for i, name in enumerate(names)}


def guide(outputs: Mapping[str, Tensor], scales: Mapping[str, Scale], at: float = 0.0) -> Tensor:
    """Classifier-free guidance with one scale per condition, on denoiser outputs, scores, velocities or
    logits.

    ``outputs`` is ordered: the branch without conditions ("null"), then branches that each add one condition to the
    previous one. The result is null + sum_k scale_k (output_k - output_{k-1}) (InstructPix2Pix, 2023, eq. 3). A scale
    is a number, a tensor that broadcasts against the outputs (per item, per frame), or a function of ``at``, the
    fraction of sampling completed; default 1. Mask logits after guidance, since inf - inf is NaN.
    """
    weights = branch_weights(list(outputs), scales, at)
    return cast(Tensor, sum(weight * outputs[name] for name, weight in weights.items()))


@torch.no_grad()
def sample(
    model: Model,
    scheduler: Any,
    noise: Tensor,
    steps: int,
    branches: Mapping[str, Mapping[str, Any]] | None = None,
    scales: Mapping[str, Scale] | None = None,
    generator: Generators = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Samples x (b, ...) from unit Gaussian ``noise`` of that shape (MeanReverting: from ``MeanReverting.start``).

    ``scheduler`` is one of diffusers' schedulers for continuous data, created for this call only, or
    :class:`MeanRevertingScheduler`. ``branches`` maps names to the model's keyword arguments, ordered as in
    :func:`guide`; branches of weight 0 are not run, so one branch, or scales of 1, cost one call per step. In
    ``scales`` a tensor is (steps, ...): row i is the scale at step i. A list of generators, one per item, makes an item
    independent of its batch.
    """
    branches, scales = branches or {"null": {}}, scales or {}
    scheduler.set_timesteps(steps)  # on the CPU, since diffusers reads values back
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    times = scheduler.timesteps.to(noise.device)
    for i, t in enumerate(times):
        now = {name: s[i] if isinstance(s, Tensor) else s for name, s in scales.items()}
        weights = branch_weights(list(branches), now, i / max(len(times) - 1, 1))
        shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        out = sum(
            weight * model(shown, t.expand(len(x)), **branches[name])
            for name, weight in weights.items()
            if isinstance(weight, Tensor) or weight
        )
        x = scheduler.step(out, t, x, generator=generator).prev_sample
        if progress:
            progress((i + 1) / len(times))
    return x
