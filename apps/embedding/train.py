"""Train the embedding (``affekt train emotion``): under a clock, and to be gone on with.

Losses: classes, quadrants and points of each clip, supervised contrast across people and modalities, KL, the order of
normal and strong, the distance between modalities within a quadrant, and the reversed gradients of who it is and which
modality. State goes to ``OUT/state.pt`` every two minutes; the same command goes on from there.
"""

import json
import logging
import math
import time
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from apps.embedding import corpus, losses
from apps.embedding.batches import Batches, Part, targets
from apps.embedding.corpus import SEVEN
from apps.embedding.measures import interval, likeliest, recall
from apps.embedding.settle import Strangers, crossed, settle, whiten
from gen.emotion.embedding.features import MODALITIES
from gen.emotion.embedding.network import EmotionEmbedder, Gaussian
from gen.errors import InputError

log = logging.getLogger(__name__)
EVEN = 0.999  # of the moving average of the weights, which is what is kept
SAVE_EVERY = 120  # seconds


class Settings(NamedTuple):
    """What ``--set`` may change; what comes after ``cache`` weighs losses."""

    steps: int = 1500
    rate: float = 2e-3
    decay: float = 0.05
    neck: int = 16
    seed: int = 0
    folds: int = 5  # networks that each leave out some speakers, to learn how sure one may be of strangers
    calibrated: str = ""  # another training of this recipe whose folds serve this one
    cache: str = ""
    classes: float = 1.0
    quadrants: float = 0.7
    points: float = 1.0
    contrast: float = 0.3
    kl: float = 0.001
    order: float = 0.3
    identity: float = 0.3
    modality: float = 0.1
    alignment: float = 0.3
    together: float = 0.5


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Train each network for ``steps`` steps, or ``minutes`` if they end first; write model, priors and directions.

    What is written learns from all speakers but those for testing; how sure it may be is learnt from networks in
    ``OUT/fold0`` and on. The features of the recordings are kept in ``cache``, by default ``OUT/cache``.
    """
    clips = corpus.load(data, Path(settings.cache or out / "cache"))
    path = Path(settings.calibrated or out) / "strangers.npz"
    if not path.is_file():
        Strangers.all([apart(clips, k, settings, out / f"fold{k}", minutes) for k in range(settings.folds)]).save(path)
    strangers = Strangers.load(path)
    clips = clips | {"voice": split(clips["voice"], settings.folds, settings.folds)}
    run = Run(clips, settings, out, minutes)
    run.train()
    settle(run.model, clips, strangers, out)
    foretold = {kind: heard(getattr(strangers, kind), strangers) for kind in ("alone", "referred")}
    facts = {"minutes": run.elapsed / 60, "steps": run.step, "settings": named(settings), "foretold": foretold}
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def apart(clips: dict[str, list[corpus.Clip]], fold: int, chosen: Settings, out: Path,
          minutes: float | None) -> Strangers:  # fmt: skip
    """What a network that has never heard the speakers of a fold says of them."""
    clips = clips | {"voice": split(clips["voice"], fold, chosen.folds)}
    run = Run(clips, chosen, out, minutes)
    run.train()
    whiten(run.model, clips)
    return Strangers.hear(run.model, [c for c in clips["voice"] if c.part == "valid"])


def heard(logits: np.ndarray, strangers: Strangers) -> dict:
    """The calibration error of the folds, and mean recall of seven classes with its interval, in all and by corpus."""
    seven = np.isin(strangers.term, SEVEN)
    told, true, person = likeliest(logits[seven], SEVEN), strangers.term[seven], strangers.person[seven]
    group = np.array([name.split(":")[0] for name in person])
    sets = {"all sets": np.ones(len(group), bool)} | {name: group == name for name in np.unique(group)}
    rows = {name: interval(recall, person[own], told[own], true[own]) for name, own in sets.items()}
    return {"calibration error": crossed(logits, strangers.term, strangers.person), "speakers": len(np.unique(person)),
            "recall": {name: list(value) for name, value in rows.items()}}  # fmt: skip


def split(voices: list[corpus.Clip], fold: int, folds: int) -> list[corpus.Clip]:
    """The clips with every ``folds``-th speaker of each corpus put aside as "valid", from ``fold`` on; where it is
    ``folds``, nobody. Those for testing stay so.
    """
    people = sorted({(c.group, c.person) for c in voices if c.part != "test"})
    place = {person: i for _, own in groupby(people, itemgetter(0)) for i, (_, person) in enumerate(own)}
    part = {person: "valid" if fold < folds and i % folds == fold else "train" for person, i in place.items()}
    return [c if c.part == "test" else c._replace(part=part[c.person]) for c in voices]


def named(chosen: Settings) -> dict:
    """The settings without where things are."""
    return chosen._asdict() | {"cache": "", "calibrated": ""}


class Run:
    """One training: its networks, optimizer, clock and chance; begun anew, or gone on with from ``OUT/state.pt``."""

    def __init__(self, clips: dict[str, list[corpus.Clip]], chosen: Settings, out: Path, minutes: float | None):
        self.chosen, self.out, self.seconds = chosen, out, 60 * minutes if minutes else math.inf
        torch.manual_seed(chosen.seed)
        self.batches = Batches(clips, chosen.seed)
        self.model = EmotionEmbedder(neck=chosen.neck)
        for name in MODALITIES:
            centre, scale = self.batches.moments(name)
            self.model.get_buffer(f"{name}_centre").copy_(centre)
            self.model.get_buffer(f"{name}_scale").copy_(scale)
        space = self.model.config.space
        self.judges = nn.ModuleDict({
            "identity": losses.Adversary(space, len(self.batches.known)),
            "modality": losses.Adversary(space, len(MODALITIES)),
        })  # fmt: skip
        groups = [{"params": [*self.model.parameters()]}, {"params": [*self.judges.parameters()], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, chosen.rate, betas=(0.9, 0.98), weight_decay=chosen.decay)
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self.step, self.elapsed = 0, 0.0
        out.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            self.resume(torch.load(self.path, weights_only=True))

    @property
    def path(self) -> Path:
        return self.out / "state.pt"

    def save(self) -> None:
        state = {
            "settings": named(self.chosen),
            "step": self.step,
            "elapsed": self.elapsed,
            "average": self.average,
            "torch": torch.get_rng_state(),
            "numpy": json.dumps(self.batches.random.bit_generator.state),
        }
        state |= {name: getattr(self, name).state_dict() for name in ("model", "judges", "optimizer")}  # fmt: skip
        draft = self.path.with_suffix(".draft")
        torch.save(state, draft)
        draft.replace(self.path)

    def resume(self, state: dict) -> None:
        if state["settings"] != named(self.chosen):
            raise InputError(f"{self.path} is of a training with other settings: give another --out, or the same ones")
        for name in ("model", "judges", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.elapsed, self.average = state["step"], state["elapsed"], state["average"]
        torch.set_rng_state(state["torch"])
        self.batches.random.bit_generator.state = json.loads(state["numpy"])

    def train(self) -> None:
        """To the end of the steps or of the time; the model's weights end as their moving average."""
        self.model.train()
        saved = self.elapsed
        while (done := max(self.step / self.chosen.steps, self.elapsed / self.seconds)) < 1:
            begun = time.perf_counter()
            values = self.advance(done)
            self.elapsed += time.perf_counter() - begun
            if self.step % 50 == 0:
                line = {"step": self.step, "seconds": round(self.elapsed)} | values
                with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                log.info("%s", line)
            if self.elapsed - saved > SAVE_EVERY:
                self.save()
                saved = self.elapsed
        self.save()
        torch._foreach_copy_([p.detach() for p in self.model.parameters()], self.average)
        self.model.eval()

    def advance(self, done: float) -> dict[str, float]:
        """One step; ``done`` (0..1) is how far training is. Returns the losses."""
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.chosen.rate * min(1, self.step / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        parts = loss(self.model, self.judges, self.batches, self.chosen, done)
        self.optimizer.zero_grad()
        sum(parts.values()).backward()
        for net in (self.model, self.judges):
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        self.optimizer.step()
        pace = 1 - min(EVEN, 1 - 1 / (0.1 * self.step + 1))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.model.parameters()], pace)
        return {name: round(float(value.detach()), 4) for name, value in parts.items()}


def loss(model, judges, batches: Batches, chosen: Settings, done: float) -> dict[str, Tensor]:
    """The weighted losses of one batch; ``done`` (0..1) is how far training is: the adversaries come in slowly."""
    parts = batches.next()
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):  # the fused one learns slower on a CPU
        pooled = [model.encode(part.reference, **part.given) for part in parts]
    seen = [model.place(rows.float()) for rows in pooled]
    scale = 2 / (1 + math.exp(-8 * done)) - 1
    found: dict[str, Tensor] = {"classes": 0.0, "quadrants": 0.0, "points": 0.0}
    for part, gaussian, weight in zip(parts, seen, (1, 0.7, 0.7, 0.7 * chosen.together)):
        for name, value in supervised(model, part, gaussian).items():
            found[name] = found[name] + weight * getattr(chosen, name) * value
    single = parts[:3]
    mu, z = (torch.cat(rows) for rows in ([g.mu for g in seen[:3]], [g.sample() for g in seen[:3]]))
    where = torch.cat([torch.full_like(part.term, i) for i, part in enumerate(single)])
    term, quadrant, person = (torch.cat([getattr(p, n) for p in single]) for n in ("term", "quadrant", "person"))
    found["contrast"] = chosen.contrast * losses.contrastive(z, *relations(term, quadrant, person, where))
    found["kl"] = chosen.kl * losses.divergence(mu, torch.cat([g.log_var for g in seen[:3]]))
    pairs = torch.arange(0, 2 * batches.pairs_drawn, 2)
    axis = (model.terms.weight[single[0].term[pairs]] - model.terms.weight[0]).detach()
    found["order"] = chosen.order * losses.ordered(seen[0].mu, axis, pairs, pairs + 1)
    found["alignment"] = chosen.alignment * alignment(mu, quadrant, where)
    found["identity"] = judges["identity"](mu, batches.named[person], chosen.identity * scale)
    found["modality"] = judges["modality"](mu, where, chosen.modality * scale)
    return found


def supervised(model: EmotionEmbedder, part: Part, gaussian: Gaussian) -> dict[str, Tensor]:
    """Classes where the term is known, quadrants, and points."""
    reading = model.read(gaussian.sample())
    points, known, shares = targets(part)
    found = {"quadrants": F.cross_entropy(reading.quadrants, 0.9 * shares + 0.025)}
    found["points"] = ((reading.vad - points).square() * known).mean()
    if (part.term >= 0).any():
        found["classes"] = F.cross_entropy(reading.terms, part.term, label_smoothing=0.1)
    return found


def relations(term: Tensor, quadrant: Tensor, person: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """How much each pair of clips belongs together (b b), and which pairs are one person in two emotions (b b).

    The same term by another person counts 1; the same quadrant 1 within music, 0.3 between music and the others.
    """
    other = person[:, None] != person
    same_term = (term[:, None] == term) & (term >= 0) & other
    same_quadrant = (quadrant[:, None] == quadrant) & (quadrant >= 0) & other
    tune = where == MODALITIES.index("music")
    alike = same_term.float() + (same_quadrant & tune & tune[:, None]) + 0.3 * (same_quadrant & (tune ^ tune[:, None]))
    return alike, ~other & ((term[:, None] != term) | (quadrant[:, None] != quadrant))


def alignment(mu: Tensor, quadrant: Tensor, where: Tensor) -> Tensor:
    """How far the voices of each quadrant are from its music and its faces (neutral counts as one), on average."""
    apart = []
    for k in range(-1, 4):
        rows = [mu[(quadrant == k) & (where == i)] for i in range(len(MODALITIES))]
        apart += [losses.discrepancy(rows[0], other) for other in rows[1:] if min(len(rows[0]), len(other)) > 1]
    return torch.stack(apart).mean()
