"""Train the embedding (``affekt train emotion``), in four stages, each kept in ``OUT`` and not done again.

1. Recordings of voices are read, varied and told by the teacher (:mod:`apps.embedding.speech`).
2. The encoder of voices learns without the speakers that are put aside (:mod:`apps.embedding.hearing`); a space on top
   of it (stage 4) is asked about those, which tells how sure one may be of people never heard.
3. The encoder goes on with all speakers but those for testing.
4. The encoders of faces and music and the space that all share are trained, on the voices' vectors. Losses: classes,
   quadrants and points of each clip, supervised contrast across people and modalities, KL, the order of normal and
   strong, the distance between modalities within a quadrant, and reversed gradients of who it is and which modality.
   State goes to ``state.pt`` every two minutes; the same command goes on from there.
"""

import json
import logging
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from apps.embedding import corpus, hearing, losses
from apps.embedding.attach import attach, export_attached
from apps.embedding.batches import Batches, Part, targets
from apps.embedding.corpus import SEVEN
from apps.embedding.export import HeldOutPredictions, crossed, export_space, fit_speech_head, whiten
from apps.embedding.measures import interval, likeliest, recall
from apps.embedding.speech import ACTED, ASIDE, READING, Speech, prepare
from gen import checkpoints
from gen.emotion.embedding.features import MODALITIES
from gen.emotion.embedding.network import EmotionEmbedder, Gaussian
from gen.emotion.embedding.voice import VoiceEncoder
from gen.errors import InputError

log = logging.getLogger(__name__)
EVEN = 0.999  # of the moving average of the weights, which is what is kept
SAVE_EVERY = 120  # seconds
AGAIN = 0.6  # of the rate, when the encoder of voices goes on


class Settings(NamedTuple):
    """What ``--set`` may change; what comes after ``cache`` weighs losses."""

    steps: int = 1500
    rate: float = 2e-3
    decay: float = 0.05
    neck: int = 16
    seed: int = 0
    hearing: int = 1800  # steps of the encoder of voices without the speakers put aside,
    again: int = 700  # and of going on with them
    begin: str = ""  # a checkpoint whose encoder goes on instead, without the first; its calibration is kept
    space: str = ""  # a checkpoint whose space is kept: only how voices are read into it is trained
    teacher: str = "whisper-base"  # the checkpoint that teaches it; none: it learns from labels alone
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


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Train each stage for its steps (the last for ``minutes`` if they end first); write model, priors and directions.

    The features of the recordings are kept in ``cache``, by default ``OUT/cache``.
    """
    cache = Path(settings.cache or out / "cache")
    prepare(data, cache, settings.teacher)
    speech, clips = Speech(cache), {} if settings.space else corpus.load(data, cache)
    learnt = np.array([take.part != "test" for take in speech.takes])
    strange = np.array([take.person in ASIDE for take in speech.takes])
    recipe = hearing.Settings(seed=settings.seed, steps=settings.hearing)
    if settings.begin:
        student, held_out = begun(settings.begin, speech, recipe), None
    else:
        student = hearing.student(speech, learnt & ~strange, recipe, out / "apart.pt")
        held_out = asked(student, speech, clips, settings, out, minutes)
    again = recipe._replace(steps=settings.again, rate=AGAIN * recipe.rate, seed=settings.seed + 1)
    student = hearing.student(speech, learnt, again, out / "encoder.pt", student)
    clips = clips | {"voice": heard_clips(student.encoder, speech, "train")}
    model, spent = shared(clips, student, settings, out, minutes)
    fit_speech_head(model, clips["voice"], outliers(student.encoder, speech))
    if settings.space:
        export_attached(model, settings.space, held_out, out)
    else:
        export_space(model, clips, held_out, out)
    foretold = held_out and {kind: heard(getattr(held_out, kind), held_out) for kind in ("alone", "referred")}
    facts = {"minutes": spent / 60, "settings": named(settings), "foretold": foretold}
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def begun(name: str, speech: Speech, recipe: hearing.Settings) -> hearing.Student:
    """The encoder of a checkpoint with new heads."""
    torch.manual_seed(recipe.seed)
    found = hearing.Student(recipe, speech.pooled.shape[1], speech.frames.shape[1])
    found.encoder.load_state_dict(checkpoints.load(name, EmotionEmbedder).float().voice.state_dict())
    return found


def asked(student: hearing.Student, speech: Speech, clips: dict[str, list[corpus.Clip]], settings: Settings, out: Path,
          minutes: float | None) -> HeldOutPredictions:  # fmt: skip
    """What a space on top of the student makes of the speakers put aside, kept in ``OUT/held_out.npz``."""
    path = out / "held_out.npz"
    if not path.is_file():
        voices = heard_clips(student.encoder, speech, "valid")
        model = shared(clips | {"voice": voices}, student, settings, out / "apart", minutes)[0]
        HeldOutPredictions.hear(model, [c for c in voices if c.part == "valid"]).save(path)
    return HeldOutPredictions.load(path)


def shared(clips: dict[str, list[corpus.Clip]], student: hearing.Student, settings: Settings, out: Path,
           minutes: float | None) -> tuple[EmotionEmbedder, float]:  # fmt: skip
    """The space on top of the student's encoder, whitened, and the seconds it took; or an older one's, kept."""
    if settings.space:
        return attach(settings.space, student, clips["voice"], settings.seed), 0.0
    run = Run(clips, settings, out, minutes, student.encoder)
    run.train()
    whiten(run.model, clips)
    return run.model, run.elapsed


FEW = 4  # of so many recordings of reading aloud, one
VARIED = 1  # further versions of each recording, of other throats, microphones and lines


def heard_clips(encoder: VoiceEncoder, speech: Speech, aside: str) -> list[corpus.Clip]:
    """The voices as clips whose rows are vectors: of the versions of the recording, then of varied crops. Speakers of
    ASIDE belong to the part ``aside``.
    """
    learnt = [i for i, take in enumerate(speech.takes) if take.part != "test"]
    read = [i for i in learnt if speech.takes[i].group in READING]
    own = [i for i in learnt if speech.takes[i].group in ACTED] + read[::FEW]
    found = [hearing.encode(encoder, [speech.rows(i, v) for i in own]) for v in range(speech.versions)]
    found += [hearing.encode(encoder, hearing.crops(speech, own, seed)) for seed in range(VARIED)]
    return [c._replace(part=aside) if c.person in ASIDE else c for c in speech.clips(own, *found)]


def outliers(encoder: VoiceEncoder, speech: Speech) -> Tensor:
    """Vectors (n, v) of what is no emotion of speech."""
    own = [i for i, take in enumerate(speech.takes) if take.term == hearing.OTHER and take.part == "train"]
    return torch.cat([hearing.encode(encoder, [speech.rows(i, v) for i in own]) for v in range(speech.versions)])


def heard(logits: np.ndarray, held_out: HeldOutPredictions) -> dict:
    """The calibration error of the folds, and mean recall of seven classes with its interval, in all and by corpus."""
    seven = np.isin(held_out.term, SEVEN)
    told, true, person = likeliest(logits[seven], SEVEN), held_out.term[seven], held_out.person[seven]
    group = np.array([name.split(":")[0] for name in person])
    sets = {"all sets": np.ones(len(group), bool)} | {name: group == name for name in np.unique(group)}
    rows = {name: interval(recall, person[own], told[own], true[own]) for name, own in sets.items()}
    return {"calibration error": crossed(logits, held_out.term, held_out.person), "speakers": len(np.unique(person)),
            "recall": {name: list(value) for name, value in rows.items()}}  # fmt: skip


def named(chosen: Settings) -> dict:
    """The settings without where things are."""
    return chosen._asdict() | {"cache": ""}


class Run:
    """One training: its networks, optimizer, clock and chance; begun anew, or gone on with from ``OUT/state.pt``."""

    def __init__(self, clips: dict[str, list[corpus.Clip]], chosen: Settings, out: Path, minutes: float | None,
                 encoder: VoiceEncoder | None = None):  # fmt: skip
        self.chosen, self.out, self.seconds = chosen, out, 60 * minutes if minutes else math.inf
        torch.manual_seed(chosen.seed)
        self.batches = Batches(clips, chosen.seed)
        self.model = EmotionEmbedder(neck=chosen.neck)
        if encoder is not None:
            self.model.voice.load_state_dict(encoder.state_dict())
        self.model.voice.requires_grad_(False)
        for name in MODALITIES:
            prefix = "vector" if name == "voice" else name
            centre, scale = self.batches.moments(name)
            self.model.get_buffer(f"{prefix}_centre").copy_(centre)
            self.model.get_buffer(f"{prefix}_scale").copy_(scale)
        space = self.model.config.space
        self.judges = nn.ModuleDict({
            "identity": losses.Adversary(space, len(self.batches.known)),
            "modality": losses.Adversary(space, len(MODALITIES)),
        })  # fmt: skip
        self.learning = [p for p in self.model.parameters() if p.requires_grad]
        groups = [{"params": self.learning}, {"params": [*self.judges.parameters()], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, chosen.rate, betas=(0.9, 0.98), weight_decay=chosen.decay)
        self.average = [p.detach().clone() for p in self.learning]
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
        torch._foreach_copy_([p.detach() for p in self.learning], self.average)
        self.model.eval()

    def advance(self, done: float) -> dict[str, float]:
        """One step; ``done`` (0..1) is how far training is. Returns the losses."""
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.chosen.rate * min(1, self.step / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        parts = loss(self.model, self.judges, self.batches, self.chosen, done)
        self.optimizer.zero_grad()
        sum(parts.values()).backward()
        for own in (self.learning, [*self.judges.parameters()]):
            nn.utils.clip_grad_norm_(own, 2.0)
        self.optimizer.step()
        pace = 1 - min(EVEN, 1 - 1 / (0.1 * self.step + 1))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.learning], pace)
        return {name: round(float(value.detach()), 4) for name, value in parts.items()}


def loss(model, judges, batches: Batches, chosen: Settings, done: float) -> dict[str, Tensor]:
    """The weighted losses of one batch; ``done`` (0..1) is how far training is: the adversaries come in slowly."""
    parts = batches.next()
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):  # the fused one learns slower on a CPU
        pooled = [model.encode(part.reference, **part.given) for part in parts]
    seen = [model.place(rows.float()) for rows in pooled]
    scale = 2 / (1 + math.exp(-8 * done)) - 1
    found: dict[str, Tensor] = {"classes": 0.0, "quadrants": 0.0, "points": 0.0}
    for part, gaussian, weight in zip(parts, seen, (1, 0.7, 0.7)):
        for name, value in supervised(model, part, gaussian).items():
            found[name] = found[name] + weight * getattr(chosen, name) * value
    mu, z = (torch.cat(rows) for rows in ([g.mu for g in seen], [g.sample() for g in seen]))
    where = torch.cat([torch.full_like(part.term, i) for i, part in enumerate(parts)])
    term, quadrant, person = (torch.cat([getattr(p, n) for p in parts]) for n in ("term", "quadrant", "person"))
    found["contrast"] = chosen.contrast * losses.contrastive(z, *relations(term, quadrant, person, where))
    found["kl"] = chosen.kl * losses.divergence(mu, torch.cat([g.log_var for g in seen]))
    pairs = torch.arange(0, 2 * batches.pairs_drawn, 2)
    axis = (model.terms.weight[parts[0].term[pairs]] - model.terms.weight[0]).detach()
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
