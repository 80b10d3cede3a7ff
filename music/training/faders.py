"""``affekt train faders``: Music FaderNets and the variants of its table, on the bars of the music corpora.

Losses are those of Tan and Herremans (ISMIR 2020, sec. 3.2 to 3.4), without the mistakes of the upstream code:
sub-decoders see the previous steps, their softmax is over classes, the KL weight rises from 0 and stays, standard
deviations are used as such. Attributes are regularised on z_0 in units of its own spread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen import checkpoints
from gen.emotion.embedding.direction import DirectionSpace
from gen.training import Run
from music.faders import segments
from music.faders.model import FaderNet, Posterior
from music.faders.play import NAMES, TEMPERATURE, Curve, decode, save_curves
from music.faders.sizes import SIZES
from music.keys import home, transpose
from music.labels import Labeller, features
from music.score import to_notes
from music.tokens import Grid, Vocabulary
from music.tokens import decode as grid_of
from music.training import corpus
from music.training.emopia import emopia
from music.training.train import prepared

TANH = 2.0  # steepness of the regulariser in spreads of z_0 (Pati and Lerch 2019, eq. 5)
DELTA = 0.1  # half the step of GLSR's difference quotient, in spreads of z_0
MEASURED, PLACES, GROUP = 192, 25, 8  # bars decoded at each place, places of a curve, bars heard together
AROUSALS = 17  # intensities of arousal's curve
FREE = 4.0  # nats of KL of a space that cost nothing


class Variant(NamedTuple):
    """A row of the table: how the network is built, and which losses it is trained with."""

    network: dict
    order: bool = True  # Pati and Lerch's regulariser on z_0
    slope: bool = False  # GLSR (Hadjeres et al. 2017) in its place
    adversary: bool = False  # attributes are not to be read from the rest of the latent


SINGLE = {"spaces": 1, "mixture": 0}
VARIANTS = {
    "vanilla": Variant({"mixture": 0}),
    "gm": Variant({}),
    "glsr": Variant({"mixture": 0}, order=False, slope=True),
    "fader": Variant(SINGLE | {"given": True}, order=False, adversary=True),
    "conditional": Variant(SINGLE | {"given": True, "told": True}, order=False),
    "pati": Variant(SINGLE),
    "gm-adversary": Variant({}, adversary=True),
}


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid")
    size: Literal["tiny", "small", "compact", "paper"] = "compact"
    variant: Literal["vanilla", "gm", "glsr", "fader", "conditional", "pati", "gm-adversary"] = "gm-adversary"
    labels: float = 1.0  # share of EMOPIA's training songs whose quadrant is known
    seed: int = 0
    batch: int = 128
    rate: float = 2e-3
    beta: float = 0.05  # weight of a nat of KL, per bar
    warm: float = 0.15  # share of the time in which the KL's and the adversary's weights rise
    against: float = 0.2  # weight of the adversary's gradient
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class Bars(NamedTuple):
    """All bars of a part of the corpora."""

    rows: np.ndarray  # (b, n, 4) uint8
    lengths: np.ndarray  # (b,)
    keys: np.ndarray  # (b, 24)
    label: np.ndarray  # (b,) 1 high arousal, 0 low, -1 unknown
    piece: np.ndarray  # (b,) index of the piece
    attributes: np.ndarray  # (b, 2)


def bars(pieces: list[corpus.Piece], labels: list[int]) -> Bars:
    """The bars of pieces with a label each, brought home."""
    vocabulary, found, keys, label, whose = Vocabulary.default(), [], [], [], []
    for at, (piece, told) in enumerate(zip(pieces, labels, strict=True)):
        rows = transpose(piece.rows.astype(np.int64), home(piece.rows, vocabulary), vocabulary)
        parts = segments.bars_of(grid_of(rows, vocabulary))
        near = segments.keys_of(parts)
        kept = [i for i, notes in enumerate(parts) if segments.may_be_moved(notes)]
        found += [segments.rows_of(parts[i]) for i in kept]
        keys += [near[i] for i in kept]
        label += [told] * len(kept)
        whose += [at] * len(kept)
    rows, lengths = segments.padded(found)
    measured = np.stack(segments.attributes(rows), 1).astype(np.float32)
    return Bars(rows.astype(np.uint8), lengths, np.array(keys), np.array(label, int), np.array(whose, int), measured)


def parts(data: Path, out: Path, share: float = 1.0) -> dict[str, Bars]:
    """Bars to train on, to validate with, and of held-out songs, kept in ``OUT/bars.npz``; of EMOPIA's training songs
    only a ``share`` (the first by name's digest) keeps its label."""
    path = out / "bars.npz"
    if not path.exists():
        pieces, clips = prepared(data, out), emopia(data)
        quadrant = [clip.quadrant for clip in clips]
        arousal = [int(q in (1, 2)) for q in quadrant] + [-1] * (len(pieces) - len(clips))
        arrays = {}
        for part in ("train", "valid", "test"):
            chosen = [i for i, piece in enumerate(pieces) if piece.part == part]
            one = bars([pieces[i] for i in chosen], [arousal[i] for i in chosen])
            song = [clips[i].song if i < len(clips) else "" for i in chosen]
            arrays |= {f"{part}.{name}": value for name, value in one._asdict().items()}
            arrays[f"{part}.song"] = np.array(song, str)[one.piece]
        np.savez_compressed(path, **arrays)
    with np.load(path, allow_pickle=False) as file:
        kept = {part: Bars(*(file[f"{part}.{name}"] for name in Bars._fields)) for part in ("train", "valid", "test")}
        songs = file["train.song"]
    known = np.unique(songs[kept["train"].label >= 0])
    chosen = np.random.default_rng(0).permutation(known)[: max(round(share * len(known)), 2)]
    label = np.where(np.isin(songs, chosen), kept["train"].label, -1)
    return kept | {"train": kept["train"]._replace(label=label)}


class Batches:
    """Endless random batches, as tensors; a third of the bars of each have a label where there are any."""

    def __init__(self, data: Bars, size: int, seed: int, device: str, labelled: float = 0.33):
        self.data, self.size, self.device = data, size, device
        self.random = np.random.default_rng(seed)
        self.known = np.flatnonzero(data.label >= 0)
        self.share = min(labelled, len(self.known) / size) if len(self.known) else 0.0

    def __call__(self) -> dict[str, Tensor]:
        count = round(self.share * self.size)
        at = self.random.integers(len(self.data.rows), size=self.size - count)
        if count:
            at = np.concatenate((at, self.random.choice(self.known, count)))
        return self.of(at)

    def of(self, at: np.ndarray) -> dict[str, Tensor]:
        d = self.data
        longest = int(d.lengths[at].max())
        rows = d.rows[at, :longest].astype(np.int64)
        rhythm, notes = segments.rhythm(rows)
        arrays = {
            "rows": rows,
            "lengths": d.lengths[at],
            "key": d.keys[at],
            "label": d.label[at],
            "attributes": d.attributes[at],
            "rhythm": rhythm,
            "notes": notes,
        }
        return {name: torch.from_numpy(np.ascontiguousarray(x)).to(self.device) for name, x in arrays.items()}


class Reverse(torch.autograd.Function):
    """The identity whose gradient turns round (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return -ctx.weight * gradient, None


class Learner(nn.Module):
    """The network with what only training needs: scales of the attributes, the adversary."""

    def __init__(self, net: FaderNet, variant: Variant, attributes: np.ndarray):
        super().__init__()
        self.net, self.variant = net, variant
        self.register_buffer("centre", torch.from_numpy(attributes.mean(0)))
        self.register_buffer("scale", torch.from_numpy(attributes.std(0)))
        d = net.means[0].out_features
        self.probes = nn.ModuleList()
        if variant.adversary:
            width = d - 1 if net.config.spaces == 2 else d
            self.probes.extend(nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1)) for _ in range(2))

    def standard(self, attributes: Tensor) -> Tensor:
        return (attributes - self.centre) / self.scale

    def faders(self, z: Tensor) -> Tensor:
        """z (b, s, d) -> (b, 2) the dimension that is each attribute's."""
        return z[:, :, 0] if z.shape[1] == 2 else z[:, 0, :2]

    def forward(self, batch: dict[str, Tensor], settings: Settings, rise: float) -> tuple[Tensor, dict]:
        """-> the loss and its parts; ``rise`` (0..1) is the share of the weights that rise."""
        asked = self.standard(batch["attributes"])
        posterior = self.net.encode(batch["rows"], batch["lengths"], asked)
        z, penalty, found = self.latent(posterior, batch["label"], settings.beta * rise)
        known = self.net.known(z, batch["key"], asked)
        event = (self.net.nll(batch["rows"], batch["lengths"], known) / batch["lengths"]).mean()
        total, found = 5 * event + penalty, {"event": event} | found
        if self.net.config.spaces == 2:
            found["tell"] = self.told(z, batch)
            total = total + found["tell"]
        if self.variant.order:
            found["order"] = self.order(self.faders(z), asked)
            total = total + found["order"]
        if self.variant.slope:
            found["slope"] = self.slope(z, batch)
            total = total + found["slope"]
        if self.variant.adversary:
            found["adversary"] = self.adversary(z, asked, settings.against * rise)
            total = total + found["adversary"]
        return total, {name: float(value.detach()) for name, value in found.items()}

    def latent(self, posterior: Posterior, label: Tensor, weight: float) -> tuple[Tensor, Tensor, dict]:
        """-> z (b, s, d) for the decoder, the loss on it, whose KL has a ``weight``, and that loss's parts."""
        z = posterior.sample()
        divergence, names = self.divergence(posterior, z, label)
        return z, weight * divergence + names, {"kl": divergence, "names": names}

    def divergence(self, posterior: Posterior, z: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mean KL of a bar to the prior (free nats left out), and the cross-entropy of its component's name."""
        mean, var = posterior.mean, posterior.std.square()
        if not self.net.config.mixture:
            each = 0.5 * (mean.square() + var - 1 - var.log()).sum(-1)  # (b, s)
            return each.clamp_min(FREE).sum(1).mean(), mean.new_zeros(())
        logvar = self.net.prior_logvar
        gap = (mean[:, :, None] - self.net.prior_mean).square() + var[:, :, None]
        each = 0.5 * (gap / logvar.exp() - 1 - var.log()[:, :, None] + logvar).sum(-1)  # (b, s, k)
        log_q = self.net.log_components(z)
        q = log_q.exp()
        named = label >= 0
        chosen = torch.where(named[:, None, None], F.one_hot(label.clamp_min(0), q.shape[-1])[:, None].to(q), q)
        spread = torch.where(named[:, None], 0.0, (q * (log_q + np.log(q.shape[-1]))).sum(-1))
        total = ((chosen * each).sum(-1) + spread).clamp_min(FREE).sum(1).mean()
        if not named.any():
            return total, total.new_zeros(())
        target = label[named][:, None].expand(-1, q.shape[1])
        return total, F.nll_loss(log_q[named].flatten(0, 1), target.flatten())

    def told(self, z: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of the sub-decoders' classes."""
        losses = []
        for space, name in enumerate(("rhythm", "notes")):
            logits = self.net.tell(space, z[:, space], batch[name])
            losses.append(F.cross_entropy(logits.flatten(0, 1), batch[name].flatten()))
        return sum(losses)

    def order(self, fader: Tensor, asked: Tensor) -> Tensor:
        """Mean square of tanh(z_0 differences) less the sign of the attributes' (Pati and Lerch), over pairs."""
        fader = fader / fader.std(0).detach().clamp_min(1e-4)
        apart = fader[:, None] - fader
        return (torch.tanh(TANH * apart) - torch.sign(asked[:, None] - asked)).square().mean() * 2

    def slope(self, z: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """GLSR: -log N(1, 1) of the slope along z_0 of the attributes, as the sub-decoders tell them; both standard."""
        total = 0.0
        for space, name in enumerate(("rhythm", "notes")):
            one = z[:, space]
            step = DELTA * (1 + torch.rand(len(one), device=z.device)) * one[:, 0].std().detach().clamp_min(1e-4)
            shift = F.pad(step[:, None], (0, one.shape[1] - 1))
            high, low = (self.estimate(space, one + sign * shift, batch[name]) for sign in (1, -1))
            slope = (high - low) / (2 * step) * one[:, 0].std().detach() / self.scale[space]
            total = total + 0.5 * (slope - 1).square().mean()
        return total

    def estimate(self, space: int, z: Tensor, classes: Tensor) -> Tensor:
        """(b,) the attribute that a sub-decoder expects: onsets a beat, or notes that sound."""
        p = self.net.tell(space, z, classes).softmax(-1)
        if space == 0:
            return p[..., segments.ONSET].mean(1) * 4
        return (p * torch.arange(p.shape[-1], device=p.device)).sum(-1).mean(1)

    def adversary(self, z: Tensor, asked: Tensor, weight: float) -> Tensor:
        """Mean square error of what can be read of an attribute without its fader; the encoder works against it."""
        rest = [z[:, i, 1:] for i in range(2)] if z.shape[1] == 2 else [z[:, 0]] * 2
        errors = [
            (probe(Reverse.apply(x / x.detach().std().clamp_min(1e-4), weight))[:, 0] - asked[:, i]).square().mean()
            for i, (probe, x) in enumerate(zip(self.probes, rest, strict=True))
        ]
        return sum(errors)


def build(settings: Settings, attributes: np.ndarray) -> Learner:
    torch.manual_seed(settings.seed)
    variant = VARIANTS[settings.variant]
    return Learner(FaderNet(**(SIZES[settings.size] | variant.network)), variant, attributes)


def fit(learner: Learner, kept: dict[str, Bars], out: Path, minutes: float, settings: Settings) -> None:
    """Train for ``minutes``; validation with fixed noise at each save."""
    learner.to(settings.device)
    batches = Batches(kept["train"], settings.batch, settings.seed, settings.device)
    run = Run(settings.variant, learner, out, minutes, settings.rate, precision=None, average=0.998)

    def validate() -> dict:
        fixed = Batches(kept["valid"], 256, 1, settings.device, labelled=0.0)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(1)
            values = [learner(fixed(), settings, 1.0)[1] for _ in range(2)]
        return {f"valid_{name}": float(np.mean([v[name] for v in values])) for name in values[0]}

    run.train(lambda: learner(batches(), settings, min(run.done / settings.warm, 1.0)), validate)
    learner.eval()


def curves_of(net: FaderNet, data: Bars, seed: int = 0) -> dict[str, Curve]:
    """Decoded values along each fader, means over :data:`MEASURED` bars, made monotone."""
    from scipy.optimize import isotonic_regression

    at = np.random.default_rng(seed).choice(len(data.rows), min(MEASURED, len(data.rows)), replace=False)
    batch = Batches(data, 1, seed, "cpu").of(at)
    z = net.encode(batch["rows"], batch["lengths"]).mean
    found = {}
    for space, name in enumerate(NAMES):
        own = z[:, space, 0].numpy()
        low, high = np.quantile(own, (0.005, 0.995))
        places = np.linspace(low - 0.25 * (high - low), high + 0.25 * (high - low), PLACES)
        values = []
        for place in places:
            moved = z.clone()
            moved[:, space, 0] = float(place)
            rows = decode(net, net.known(moved, batch["key"]), TEMPERATURE, torch.Generator().manual_seed(seed))
            values.append(float(segments.attributes(rows.numpy())[space].mean()))
        falls = np.polyfit(places, values, 1)[0] < 0
        rising = isotonic_regression(np.array(values[::-1] if falls else values)).x + 1e-4 * np.arange(PLACES)
        spread = float(data.attributes[:, space].std())
        found[name] = Curve(places[::-1] if falls else places, rising, float(own.std()), spread)
    return found


def directions_of(net: FaderNet, data: Bars, seed: int = 0) -> DirectionSpace:
    """From low to high arousal, by the labelled bars."""
    known = np.flatnonzero(data.label >= 0)
    z = encoded(net, data, known).flatten(1)
    return DirectionSpace.fit(z, ["high" if label else "low" for label in data.label[known]], neutral="low", seed=seed)


def encoded(net: FaderNet, data: Bars, at: np.ndarray) -> torch.Tensor:
    """Means of the latents (b, s, d) of some bars."""
    batches = Batches(data, 1, 0, "cpu")
    parts = [batches.of(part) for part in np.array_split(at, max(len(at) // 512, 1))]
    return torch.cat([net.encode(part["rows"], part["lengths"]).mean for part in parts])


def arousal_curve(net: FaderNet, data: Bars, space: DirectionSpace, labeller: Labeller, seed: int = 0) -> Curve:
    """The increase of labelled arousal along the direction: low bars moved up, high bars down, :data:`GROUP` bars
    together, made monotone."""
    from scipy.optimize import isotonic_regression

    intensities, change, random = np.linspace(-2, 2, AROUSALS), [], np.random.default_rng(seed)
    sources = {}
    for label in (0, 1):
        own = np.flatnonzero(data.label == label)
        groups = own[: len(own) // GROUP * GROUP].reshape(-1, GROUP)
        sources[label] = groups[random.permutation(len(groups))[: MEASURED // GROUP]].ravel()

    def heard(label: int, intensity: float) -> float:
        z = encoded(net, data, sources[label])
        moved = space.apply(z.flatten(1), "high", intensity, guard=False).view_as(z)
        key = torch.from_numpy(data.keys[sources[label]])
        rows = decode(net, net.known(moved, key), TEMPERATURE, torch.Generator().manual_seed(seed)).numpy()
        bars = [segments.notes_of(row) for row in rows]
        empty = Grid(np.zeros((0, 4)), np.full(GROUP, 100.0), ["N_N"] * 4 * GROUP)
        grids = [segments.joined(bars[i : i + GROUP], empty) for i in range(0, len(bars), GROUP)]
        return float(np.mean([labeller(features(to_notes(grid))[None])[0, 1] for grid in grids]))

    begin = {label: heard(label, 0.0) if len(sources[label]) else 0.0 for label in sources}
    for intensity in intensities:
        label = int(intensity < 0)
        change.append(heard(label, float(intensity)) - begin[label] if len(sources[label]) else float(intensity))
    rising = isotonic_regression(np.array(change)).x + 1e-4 * np.arange(AROUSALS)
    return Curve(intensities, rising, 1.0, 1.0)


def export(net: FaderNet, kept: dict[str, Bars], labeller: Labeller, folder: Path) -> None:
    """The checkpoint: the network in fp16, its curves, its direction of arousal, and what hears arousal."""
    net = net.cpu().eval().requires_grad_(False)
    checkpoints.save(net.half(), folder)
    net.float()
    directions = directions_of(net, kept["train"])
    arousal = {"arousal": arousal_curve(net, kept["train"], directions, labeller)}
    save_curves(curves_of(net, kept["train"]) | arousal, folder)
    directions.save(folder)
    labeller.save(folder / "labeller.json")


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Train for ``minutes`` (40 by default) and write the checkpoint to ``OUT/checkpoint``."""
    out.mkdir(parents=True, exist_ok=True)
    kept = parts(Path(data), out, settings.labels)
    learner = build(settings, kept["train"].attributes)
    fit(learner, kept, out, 40.0 if minutes is None else minutes, settings)
    export(learner.net, kept, corpus.labeller_of(Path(data)), out / "checkpoint")
