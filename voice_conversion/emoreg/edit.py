"""A recording with another emotion, not another recording: what the network says of the change is added to it.

Two diffusions run side by side with the same noise. One ends at the recording itself, nearly; the other takes the
network's score under the new emotion, corrected by what the network gets wrong about the recording under its own
(after CycleDiffusion, "A Latent Space of Stochastic Diffusion Models", 2022). Their difference is added, so that with
nothing changed the recording comes back, whatever the number of steps.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from gen.diffusion import MeanRevertingScheduler, draw, sample, wide
from voice_conversion.emoreg.score import Score, Voice


class Pair:
    """The score of both diffusions, for :func:`gen.diffusion.sample`; rows of x are all sources, then all targets."""

    def __init__(self, model: Score, source: Tensor, here: Voice, there: Voice, guidance: float):
        self.model, self.source, self.here, self.there = model, source, here, there
        self.guidance, self.sde = guidance, model.sde

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        own, new = x.chunk(2)
        gamma, at = wide(self.sde.gamma(0.0, t[: len(own)]), own), t[: len(own)]
        exact = -(own - gamma * self.source - (1 - gamma) * self.here.mean) / (1 - gamma**2)
        voices, states, times = self.here.cat(self.there), [own, new], [at, at]
        if self.guidance != 1:
            voices = voices.cat(self.there._replace(emotion=self.here.emotion))
            states, times = [own, new, new], [at, at, at]
        found = self.model(torch.cat(states), torch.cat(times), voices).split(len(own))
        aimed = found[1] if self.guidance == 1 else found[2] + self.guidance * (found[1] - found[2])
        return torch.cat((exact, aimed + exact - found[0]))


def edit(model: Score, source: Tensor, here: Voice, there: Voice, steps: int = 10, solver: str = "ml",
         guidance: float = 1.0, *, generators: Sequence[Generator],
         progress: Callable[[float], None] | None = None) -> Tensor:  # fmt: skip
    """Mel (b, n, 80) as it would be with ``there`` in place of ``here``; both have one ``mean``.

    One generator of random numbers for each item.
    """
    start = model.sde.start(draw(source, list(generators)), here.mean, source)
    scheduler = MeanRevertingScheduler(model.sde, torch.cat((here.mean, there.mean)), solver)
    pair = Pair(model, source, here, there, guidance)
    both = [*generators, *map(twin, generators)]
    ends = sample(pair, scheduler, torch.cat((start, start)), steps, generator=both, progress=progress)
    own, new = ends.chunk(2)
    return source + new - own  # what a solver of few steps misses of the recording, it misses of both


def twin(generator: Generator) -> Generator:
    """One that draws what the other will draw."""
    made = Generator(generator.device)
    made.set_state(generator.get_state())
    return made
