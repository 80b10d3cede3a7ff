"""Trains the embedding (``affekt train emotion``) in four stages; finished stages in ``OUT`` are reused.

1. Recordings of voices are read, augmented and processed by the teacher (:mod:`apps.embedding.speech`). 2. The voice
encoder is trained without the calibration speakers (:mod:`apps.embedding.hearing`); a space on top of it (stage 4) is
evaluated on them, which calibrates the confidence for unseen people. 3. The encoder is trained further on all speakers
but the test speakers. 4. The encoders of faces and music and the shared space are trained on the voice vectors. Losses:
classes, quadrants and points, supervised contrast across people and modalities, KL, order of normal and strong
renditions, distance between modalities within a quadrant, and reversed gradients of person and modality.

Each training saves its state every two minutes; the same command resumes.
"""

import json
import logging
import math
from collections import defaultdict
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
from apps.embedding.measures import likeliest, recall
from apps.embedding.speech import ACTED, ASIDE, READING, Speech, prepare
from gen import checkpoints
from gen.emotion.embedding.features import MODALITIES
from gen.emotion.embedding.network import EmotionEmbedder, Gaussian
from gen.emotion.embedding.voice import VoiceEncoder
from gen.evaluate.bootstrap import interval
from gen.training import Run

log = logging.getLogger(__name__)
EVEN = 0.999  # decay of the moving average of the weights
AGAIN = 0.6  # factor on the learning rate in stage 3


class Settings(NamedTuple):
    """The ``--set`` options; the fields after ``cache`` are loss weights."""

    steps: int = 1500
    rate: float = 2e-3
    decay: float = 0.05
    neck: int = 16
    seed: int = 0
    hearing: int = 1800  # steps of stage 2
    again: int = 700  # steps of stage 3
    begin: str = ""  # a checkpoint whose encoder replaces stage 2; its calibration is kept
    space: str = ""  # a checkpoint whose space is kept: only the map from voices is trained
    teacher: str = "whisper-base"  # the teacher's checkpoint; empty: labels only
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
    """Runs every stage for its steps (the last one for at most ``minutes``); writes model, priors and directions.

    Features are cached in ``cache``, by default ``OUT/cache``.
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
        student = hearing.student(speech, learnt & ~strange, recipe, out, "apart")
        held_out = asked(student, speech, clips, settings, out, minutes)
    again = recipe._replace(steps=settings.again, rate=AGAIN * recipe.rate, seed=settings.seed + 1)
    student = hearing.student(speech, learnt, again, out, "encoder", student)
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


def asked(
    student: hearing.Student,
    speech: Speech,
    clips: dict[str, list[corpus.Clip]],
    settings: Settings,
    out: Path,
    minutes: float | None,
) -> HeldOutPredictions:
    """Predictions of a space on top of the student for the calibration speakers, cached in ``OUT/held_out.npz``."""
    path = out / "held_out.npz"
    if not path.is_file():
        voices = heard_clips(student.encoder, speech, "valid")
        model = shared(clips | {"voice": voices}, student, settings, out / "apart", minutes)[0]
        HeldOutPredictions.predict(model, [c for c in voices if c.part == "valid"]).save(path)
    return HeldOutPredictions.load(path)


def shared(
    clips: dict[str, list[corpus.Clip]], student: hearing.Student, settings: Settings, out: Path, minutes: float | None
) -> tuple[EmotionEmbedder, float]:
    """The whitened space on top of the student's encoder and its training time in seconds; or the kept space of a
    checkpoint.
    """
    if settings.space:
        return attach(settings.space, student, clips["voice"], settings.seed), 0.0
    model, spent = space(clips, settings, out, minutes, student.encoder)
    whiten(model, clips)
    return model, spent


FEW = 4  # every fourth recording of read speech is used
VARIED = 1  # augmented crops of each recording


def heard_clips(encoder: VoiceEncoder, speech: Speech, aside: str) -> list[corpus.Clip]:
    """The voices as clips of vectors: of the versions of each recording, then of augmented crops. Speakers of ASIDE go
    into the part ``aside``.
    """
    learnt = [i for i, take in enumerate(speech.takes) if take.part != "test"]
    read = [i for i in learnt if speech.takes[i].group in READING]
    own = [i for i in learnt if speech.takes[i].group in ACTED] + read[::FEW]
    found = [hearing.encode(encoder, [speech.rows(i, v) for i in own]) for v in range(speech.versions)]
    found += [hearing.encode(encoder, hearing.crops(speech, own, seed)) for seed in range(VARIED)]
    return [c._replace(part=aside) if c.person in ASIDE else c for c in speech.clips(own, *found)]


def outliers(encoder: VoiceEncoder, speech: Speech) -> Tensor:
    """Vectors (n, v) of sounds without emotional speech."""
    own = [i for i, take in enumerate(speech.takes) if take.term == hearing.OTHER and take.part == "train"]
    return torch.cat([hearing.encode(encoder, [speech.rows(i, v) for i in own]) for v in range(speech.versions)])


def heard(logits: np.ndarray, held_out: HeldOutPredictions) -> dict:
    """Calibration error of the folds, and mean recall of seven classes with its interval, overall and by corpus."""
    seven = np.isin(held_out.term, SEVEN)
    predicted, true, person = likeliest(logits[seven], SEVEN), held_out.term[seven], held_out.person[seven]
    group = np.array([name.split(":")[0] for name in person])
    sets = {"all sets": np.ones(len(group), bool)} | {name: group == name for name in np.unique(group)}
    rows = {name: interval(recall, predicted[own], true[own], groups=person[own]) for name, own in sets.items()}
    return {
        "calibration error": crossed(logits, held_out.term, held_out.person),
        "speakers": len(np.unique(person)),
        "recall": {name: list(value) for name, value in rows.items()},
    }


def named(chosen: Settings) -> dict:
    """The settings without paths."""
    return chosen._asdict() | {"cache": ""}


def space(
    clips: dict[str, list[corpus.Clip]],
    chosen: Settings,
    out: Path,
    minutes: float | None,
    encoder: VoiceEncoder | None = None,
) -> tuple[EmotionEmbedder, float]:
    """Trains the shared space on top of a voice encoder; returns it and the training time in seconds."""
    torch.manual_seed(chosen.seed)
    batches, model = Batches(clips, chosen.seed), EmotionEmbedder(neck=chosen.neck)
    if encoder is not None:
        model.voice.load_state_dict(encoder.state_dict())
    model.voice.requires_grad_(False)
    for name in MODALITIES:
        prefix = "vector" if name == "voice" else name
        centre, scale = batches.moments(name)
        model.get_buffer(f"{prefix}_centre").copy_(centre)
        model.get_buffer(f"{prefix}_scale").copy_(scale)
    judges = nn.ModuleDict(
        {
            "identity": losses.Adversary(model.config.space, len(batches.known)),
            "modality": losses.Adversary(model.config.space, len(MODALITIES)),
        }
    )
    whole = nn.ModuleDict({"model": model, "judges": judges}).train()
    run = Run(
        "space",
        whole,
        out,
        minutes,
        chosen.rate,
        steps=chosen.steps,
        clip=2.0,
        decay=chosen.decay,
        precision=None,
        average=EVEN,
        settings=named(chosen),
        random=batches.random,
    )
    run.train(lambda: loss(model, judges, batches, chosen, run.done))
    return model.eval(), run.elapsed


def loss(
    model: EmotionEmbedder, judges: nn.ModuleDict, batches: Batches, chosen: Settings, done: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted losses of one batch, their sum first. The weight of the adversaries rises while ``done`` goes from 0
    to 1.
    """
    parts = batches.next()
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):  # the fused kernel is slower on a CPU
        pooled = [model.encode(part.reference, **part.given) for part in parts]
    seen = [model.place(rows.float()) for rows in pooled]
    scale = 2 / (1 + math.exp(-8 * done)) - 1
    found: dict[str, Tensor] = defaultdict(float)
    for part, gaussian, weight in zip(parts, seen, (1, 0.7, 0.7)):
        for name, value in supervised(model, part, gaussian).items():
            found[name] += weight * getattr(chosen, name) * value
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
    return sum(found.values()), found


def supervised(model: EmotionEmbedder, part: Part, gaussian: Gaussian) -> dict[str, Tensor]:
    """Losses of classes (where known), quadrants, points, and of the distance between the points and the mean of the
    classes.
    """
    reading = model.read(gaussian.sample())
    points, known, shares = targets(part)
    found = {"quadrants": F.cross_entropy(reading.quadrants, 0.9 * shares + 0.025)}
    found["points"] = ((reading.vad - points).square() * known).mean()
    if (part.term >= 0).any():
        found["classes"] = F.cross_entropy(reading.terms, part.term, label_smoothing=0.1)
    return found


def relations(term: Tensor, quadrant: Tensor, person: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of positive pairs (b b), and pairs of one person in two emotions (b b) bool.

    The same term by another person counts 1; the same quadrant 1 within music, 0.3 between music and the others.
    """
    other = person[:, None] != person
    same_term = (term[:, None] == term) & (term >= 0) & other
    same_quadrant = (quadrant[:, None] == quadrant) & (quadrant >= 0) & other
    tune = where == MODALITIES.index("music")
    alike = same_term.float() + (same_quadrant & tune & tune[:, None]) + 0.3 * (same_quadrant & (tune ^ tune[:, None]))
    return alike, ~other & ((term[:, None] != term) | (quadrant[:, None] != quadrant))


def alignment(mu: Tensor, quadrant: Tensor, where: Tensor) -> Tensor:
    """Mean distance between the voices of each quadrant and its music and faces (neutral is a quadrant of its own)."""
    apart = []
    for k in range(-1, 4):
        rows = [mu[(quadrant == k) & (where == i)] for i in range(len(MODALITIES))]
        apart += [losses.discrepancy(rows[0], other) for other in rows[1:] if min(len(rows[0]), len(other)) > 1]
    return torch.stack(apart).mean()
