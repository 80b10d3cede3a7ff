"""Compares latents between FaderNets' encoder and decoder, trained for equal steps on the same bars.

    python -m benchmarks.latents --data DIR --out DIR

Rows: Gaussian (vanilla prior); ARD-VAE's prior with a variance per axis, with all axes and with the relevant ones;
vector quantisation by slots (EMA), FSQ, FSP and VP, each with 8 slots of 256 codes; OneVAE's joint training, in which
half of the bars pass through FSQ, decoded both ways. Held-out bars: nats per note, F1 of notes (onset and pitch) after
greedy decoding, bits per bar, use of axes or codes. The judge reads whole held-out clips decoded from their latents,
and the clips themselves. Prints and writes ``benchmarks/results/latents.csv``.
"""

import csv
import math
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from benchmarks.faders import trained
from gen.quantize import FSP, FSQ, Quantized, SlotVectorQuantizer, VPQuantizer
from music.evaluation.faders import gridded
from music.evaluation.judge import Judge
from music.faders import segments
from music.faders.model import FaderNet
from music.faders.play import decode
from music.faders.sizes import SIZES
from music.keys import home
from music.score import to_notes
from music.tokens import Grid, Vocabulary, encode
from music.training.emopia import emopia
from music.training.faders import FREE, Batches, Learner, Settings, Variant, parts

SLOTS, LEVELS, CODES = 8, (4, 4, 4, 4), 256
RECENT = 10_000  # recent latents for the variance of an axis in ARD-VAE
KEPT = 0.99  # share of the total relevance in the kept axes


class SlotVP(nn.Module):
    """A :class:`VPQuantizer` per slot, with a queue of 16 times its width (as upstream); the full queue takes one batch
    in two, not one in a hundred, since a batch has 64 latents."""

    def __init__(self, dim: int):
        super().__init__()
        width = dim // SLOTS
        self.books = nn.ModuleList(VPQuantizer(width, CODES, 4, neighbours=64) for _ in range(SLOTS))
        for book in self.books:
            book.refresh = 0.5

    def forward(self, z: Tensor) -> Quantized:
        found = [book(part) for book, part in zip(self.books, z.chunk(SLOTS, -1), strict=True)]
        index = torch.stack([one.index for one in found], -1)
        return Quantized(torch.cat([one.z for one in found], -1), index, sum(one.loss for one in found))


QUANTISERS = {
    "EMA": lambda dim: SlotVectorQuantizer(dim, CODES, SLOTS),
    "FSQ": lambda dim: FSQ(dim, LEVELS, SLOTS),
    "FSP": lambda dim: FSP(dim, LEVELS, SLOTS),
    "VP": SlotVP,
    "OneVAE": lambda dim: FSQ(dim, LEVELS, SLOTS),
}


class Coded(Learner):
    """Quantised latents; with OneVAE's joint training a random half of the bars skips the quantiser."""

    def __init__(self, net: FaderNet, attributes: np.ndarray, name: str):
        super().__init__(net, Variant({"mixture": 0}), attributes)
        self.quantiser, self.joint = QUANTISERS[name](net.config.spaces * net.config.width), name == "OneVAE"

    def latent(self, posterior, label, weight):
        found = self.quantiser(posterior.mean.flatten(1)[:, None])
        z = found.z.view_as(posterior.mean)
        if self.joint and self.training:
            z = torch.where(torch.rand(len(z), 1, 1) < 0.5, z, posterior.mean)
        return z, found.loss, {"quantiser": found.loss}


class Relevance(Learner):
    """ARD-VAE: the prior of each axis has the variance of recent posterior samples."""

    def __init__(self, net: FaderNet, attributes: np.ndarray):
        super().__init__(net, Variant({"mixture": 0}), attributes)
        self.register_buffer("variance", torch.ones(net.config.spaces, net.config.width))

    def latent(self, posterior, label, weight):
        z = posterior.sample()
        if self.training:
            self.variance.lerp_(z.detach().square().mean(0), len(z) / RECENT)
        v, square = self.variance, posterior.mean.square() + posterior.std.square()
        each = 0.5 * (square / v - 1 - posterior.std.square().log() + v.log()).sum(-1)
        kl = each.clamp_min(FREE).sum(1).mean()
        return z, weight * kl, {"kl": kl}


@torch.inference_mode()
def relevance(learner: Relevance, batch: dict) -> Tensor:
    """(s, d) of each axis: its variance times the squared mean change of the decoder's logits along it, over bars."""
    net, z = learner.net, learner.net.encode(batch["rows"], batch["lengths"]).mean
    before = torch.cat((net.opening(len(z)), batch["rows"][:, :-1]), 1)
    logits = lambda z: torch.cat(
        [net.logits(net.hidden(before, net.known(z, batch["key"]))[0], batch["rows"], field) for field in range(4)], -1
    )
    base, found = logits(z), torch.zeros_like(learner.variance)
    for space, axis in np.ndindex(*found.shape):
        moved = z.clone()
        moved[:, space, axis] += 0.1
        slope = (logits(moved) - base).abs().mean((1, 2)) / 0.1
        found[space, axis] = learner.variance[space, axis] * slope.square().sum()
    return found


class Read:
    """Encodes and decodes bars with a trained network."""

    def __init__(self, learner: Learner, plain: bool = False, axes: Tensor | None = None):
        self.learner, self.plain, self.axes = learner, plain, axes

    @torch.inference_mode()
    def __call__(self, rows: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Bars -> decoder input z (b, s, d), and indices (b, slots) if quantised."""
        mean = self.learner.net.encode(rows, lengths).mean
        if isinstance(self.learner, Coded) and not self.plain:
            found = self.learner.quantiser(mean.flatten(1)[:, None])
            return found.z.view_as(mean), found.index[:, 0]
        return (mean if self.axes is None else mean * self.axes), None

    @torch.inference_mode()
    def bars(self, rows: Tensor, lengths: Tensor, key: Tensor) -> np.ndarray:
        return decode(self.learner.net, self.learner.net.known(self(rows, lengths)[0], key), 0.0).numpy()


def pairs(rows: np.ndarray) -> set:
    notes = segments.notes_of(rows)
    return set(zip(notes[:, 0], notes[:, 1]))


@torch.inference_mode()
def measured(read: Read, batch: dict) -> dict:
    net = read.learner.net
    z, index = read(batch["rows"], batch["lengths"])
    nll = net.nll(batch["rows"], batch["lengths"], net.known(z, batch["key"])) / batch["lengths"]
    found = read.bars(batch["rows"], batch["lengths"], batch["key"])
    old = batch["rows"].numpy()
    f1 = [2 * len(pairs(a) & pairs(b)) / max(len(pairs(a)) + len(pairs(b)), 1) for a, b in zip(old, found)]
    row = {"nats a note": f"{nll.mean():.2f}", "notes found again, F1": f"{np.mean(f1):.3f}"}
    posterior = net.encode(batch["rows"], batch["lengths"])
    if index is None:
        v = read.learner.variance if isinstance(read.learner, Relevance) else torch.ones(())
        each = 0.5 * (
            (posterior.mean.square() + posterior.std.square()) / v
            - 1
            - posterior.std.square().log()
            + torch.as_tensor(v).log()
        )
        kept = each if read.axes is None else each * read.axes
        used = int((posterior.mean.var(0) > 0.01).sum()) if read.axes is None else int(read.axes.sum())
        bits = "" if read.plain else f"{float(kept.sum((1, 2)).mean()) / math.log(2):.0f}"
        return row | {"bits a bar": bits, "used": f"{used} of {each[0].numel()} axes"}
    counts = torch.stack([torch.bincount(slot, minlength=CODES) for slot in index.T]).float()
    p = counts / counts.sum(1, keepdim=True)
    entropy = -torch.xlogy(p, p).sum(1)
    return row | {
        "bits a bar": f"{float(entropy.sum()) / math.log(2):.0f}",
        "used": f"{float((counts > 0).sum(1).float().mean()):.0f} of {CODES} codes, perplexity "
        f"{float(entropy.exp().mean()):.0f}",
    }


def again(read: Read, grid: Grid) -> Grid:
    """A piece with every bar encoded and decoded."""
    vocabulary = Vocabulary.default()
    by = home(encode(grid, vocabulary), vocabulary)
    moved = grid._replace(notes=grid.notes + np.array([0, by, 0, 0]))
    bars = segments.bars_of(moved)
    keys = segments.keys_of(bars)
    which = [i for i, bar in enumerate(bars) if segments.may_be_moved(bar)]
    if which:
        rows, lengths = segments.padded([segments.rows_of(bars[i]) for i in which])
        found = read.bars(torch.from_numpy(rows), torch.from_numpy(lengths), torch.from_numpy(keys[which]))
        for i, bar in zip(which, found, strict=True):
            bars[i] = segments.notes_of(bar)
    return segments.joined(bars, moved)


def main(data: Path, out: Path, steps: int = 1200, batch: int = 64, clips: int = 60) -> None:
    torch.set_num_threads(1)
    settings, kept, judge = Settings(size="small", batch=batch, device="cpu"), parts(data, out), Judge.load()
    attributes = kept["train"].attributes
    test = Batches(kept["test"], 1, 0, "cpu").of(np.random.default_rng(0).permutation(len(kept["test"].rows))[:1024])
    chosen = [clip for clip in emopia(data) if clip.part == "test"][:clips]
    quadrant, grids = np.array([clip.quadrant - 1 for clip in chosen]), [gridded(clip.path) for clip in chosen]

    def right(pieces: list[Grid]) -> dict:
        told = judge([to_notes(piece) for piece in pieces])
        return {
            "judge, arousal": f"{np.mean((told.arousal > 0.5) == (quadrant < 2)):.2f}",
            "judge, quadrant": f"{np.mean(told.quadrant.argmax(1) == quadrant):.2f}",
        }

    rows = [
        {
            "latent": "the clips themselves",
            "nats a note": "",
            "notes found again, F1": "1",
            "bits a bar": "",
            "used": "",
        }
        | right(grids)
    ]

    def add(name: str, read: Read) -> None:
        rows.append({"latent": name} | measured(read, test) | right([again(read, grid) for grid in grids]))
        print(rows[-1], flush=True)
        with (Path(__file__).parent / "results" / "latents.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    def learnt(name: str, make) -> Learner:
        torch.manual_seed(settings.seed)
        net = FaderNet(**SIZES[settings.size] | {"mixture": 0})
        return trained(make(net), kept["train"], settings, steps, out / f"latent-{name}-{steps}.pt", labelled=0.0)

    add("Gaussian", Read(learnt("Gaussian", lambda net: Learner(net, Variant({"mixture": 0}), attributes))))
    ard = learnt("ARD", lambda net: Relevance(net, attributes))
    add("ARD-VAE", Read(ard))
    score = relevance(ard, {name: x[:128] for name, x in test.items()}).flatten()
    order = score.argsort(descending=True)
    needed = int((score[order].cumsum(0) < KEPT * score.sum()).sum()) + 1
    axes = torch.zeros_like(score).index_fill(0, order[:needed], 1.0).view_as(ard.variance)
    add("ARD-VAE, relevant axes", Read(ard, axes=axes))
    for name in QUANTISERS:
        learner = learnt(name, lambda net, name=name: Coded(net, attributes, name))
        add(f"{name}, quantised" if name == "OneVAE" else name, Read(learner))
        if name == "OneVAE":
            add("OneVAE, continuous", Read(learner, plain=True))


if __name__ == "__main__":
    tyro.cli(main)
