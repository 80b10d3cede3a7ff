"""Compares conditioners on the shipped generators: only the conditioner and the layer behind it are trained, for the
same number of steps and from the same seed.

    affekt ablate music-conditioner,emote-conditioner,dice-conditioner --data DIR --out OUT \
        --conditioners none,label,vad,gaussian,bank,direction

Music: quadrants of pieces, by the music judge. Faces: still pictures at the loudest moment of a line, kept under
``OUT``; outside recognisers read them (``--measure judged=A.csv``, columns ``file`` and the names of emotions).
``reach`` measures the effect of a clip's embedding on the tokens. The voice: :mod:`apps.embedding.voice_conditioner`.
"""

import csv
import json
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from gen import checkpoints, media, registry
from gen.emotion.conditioner import EmotionConditioner
from gen.emotion.lexicon import CANONICAL
from gen.emotion.resolve import resolve
from gen.emotion.spec import EMBEDDING, EmotionCurve
from gen.emotion.track import EmotionTrack, track
from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Report
from gen.generator import Bar
from gen.training import Run
from music.evaluation.judge import Judge
from music.pipeline import MusicGenerator
from music.tokens import Vocabulary
from music.training import corpus
from music.training.losses import Data, prior_loss
from music.training.train import Settings as MusicSettings
from music.training.train import export
from talking_head.motion.layer import Expression
from talking_head.motion.speaker import Motion
from talking_head.pipeline import TalkGenerator
from talking_head.training import expression

PLACED = ("gaussian", "bank", "direction")  # conditioners that read the embedding
BEYOND = "beyond.npy"
SEEN = ("neutral", "happy", "sad", "anger", "fear", "disgust", "surprise")  # no recogniser knows contempt


class Training(NamedTuple):
    """The ``--set`` options."""

    conditioner: str = "vad"
    steps: int = 120  # training steps of the music prior's conditioner
    layer: int = 600  # training steps of the expression layer
    refiner: int = 300  # training steps of the conditioner of the voice's refiner
    rate: float = 6e-3
    seed: int = 0
    clips: int = 240  # EMOPIA training clips
    placed: float = 0.0  # share of the passages of music that are told with their clip's embedding


class Measuring(NamedTuple):
    """The ``--measure`` options."""

    data: str
    model: str
    pieces: int = 6  # pieces of each quadrant
    bars: int = 8
    people: int = 6  # portraits, or speakers
    judged: str = ""  # CSV of the outside recognisers' predictions
    listener: str = ""  # folder of the heads of the voice's own judges, which `affekt train voice` writes


def configuration(name: str) -> dict:
    """The configuration of a conditioner; those that read the embedding get its priors."""
    return {"name": name} | ({"priors": EMBEDDING} if name in PLACED else {})


# ---------------------------------------------------------------- music


def music(data: Path, out: Path, minutes: float | None, settings: Training) -> None:
    """Trains a conditioner for the shipped music prior on EMOPIA; writes ``OUT/checkpoint``."""
    path, place = out.parent / "tokens.npz", out / "checkpoint"
    out.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        emopia(data / "music" if (data / "music").is_dir() else data, settings.clips, path)
    shipped = MusicGenerator.from_pretrained()
    prior = shipped.prior
    torch.manual_seed(settings.seed)
    dim = prior.config.conditioner["dim"]
    prior.emotion = registry.build("conditioner", dim=dim, **configuration(settings.conditioner))
    prior.requires_grad_(False)
    learnt = nn.ModuleList((prior.emotion, prior.cond_in)).requires_grad_(True)
    how = MusicSettings(device="cpu", batch=4, length=256, seed=settings.seed)
    heard = Placed(corpus.load(path), np.load(path.with_name(BEYOND)), settings.placed, how)
    run = Run("conditioner", learnt, out, minutes, settings.rate, steps=settings.steps, settings=settings._asdict())
    run.train(lambda: prior_loss(prior, shipped.autoencoder, heard, how, 0.1))
    prior.register_to_config(conditioner={"dim": dim, "name": settings.conditioner})
    export(shipped.autoencoder, prior.eval(), place, shipped.vocabulary)


def emopia(data: Path, count: int, path: Path) -> None:
    """Writes ``count`` of EMOPIA's training clips, evenly spread over the corpus, to ``path``, and their embeddings'
    differences from the priors of what is perceived in them to a file beside it."""
    labeller, vocabulary = corpus.labeller_of(data), Vocabulary.default()
    own = [one for one in takewhile(lambda one: one.group == "emopia", corpus.sources(data)) if one.part == "train"]
    found, beyond = [], []
    for one in own[:: max(1, len(own) // count)]:
        rows, around = corpus.tokenise(corpus.read(one), one.beats, vocabulary)
        windows = [corpus.features(w) if len(w) > 4 else None for w in around]
        found.append(corpus.labelled(one, rows, windows, labeller, (labeller.mean, labeller.spread)))
        beyond.append(track(resolve(EmotionCurve.parse({"from": str(one.path)})), [0.0]).beyond()[0])
    np.save(path.with_name(BEYOND), np.stack(beyond))
    corpus.save(found, path)


class Placed(Data):
    """EMOPIA's passages, a ``share`` of them with the embedding of their clip: ``beyond`` (clips, e) is its difference
    from the prior of what is perceived in it."""

    def __init__(self, pieces: list[corpus.Piece], beyond: np.ndarray, share: float, settings: MusicSettings):
        super().__init__(pieces, {"emopia": 1.0}, settings, settings.seed, vary=True)
        self.beyond, self.share = beyond, share

    def tracks(self, batch: corpus.Batch) -> list[EmotionTrack]:
        told = self.random.random(len(batch.piece)) < self.share
        found = zip(super().tracks(batch), told, self.beyond[batch.piece], strict=True)
        return [_pushed(one, push) if here else one for one, here, push in found]


class MusicConditioner:
    """``affekt evaluate music-conditioner``."""

    def __init__(self, settings: Measuring, out: Path):
        self.chosen, self.report = settings, Report("A conditioner of the piano", "Quadrants by the music judge.")

    def run(self) -> Report:
        chosen, report = self.chosen, self.report
        generator = MusicGenerator.from_pretrained(chosen.model)
        quadrant = np.repeat(np.arange(4), chosen.pieces)
        curves = [EmotionCurve.parse(f"Q{k + 1}") for k in quadrant]
        made = generator.compose(curves, chosen.bars, [*range(len(curves))], candidates=1)
        verdict = Judge.load()([piece.notes for piece in made])
        report.section("Quadrants", f"{len(made)} pieces of {chosen.bars} bars, one draw each, no choice among draws.")
        right = {
            "quadrant": verdict.quadrant.argmax(1) == quadrant,
            "high arousal": (verdict.arousal > 0.5) == (quadrant < 2),
            "positive valence": (verdict.valence > 0.5) == np.isin(quadrant, (0, 3)),
        }
        for name, hit in right.items():
            report.bar(f"music: {name} right", mean_of(hit))
        report.bar("music: clips against words", reach(generator.prior.emotion))
        report.bar("music: parameters", float(sum(p.numel() for p in generator.prior.emotion.parameters())))
        return report

    def summary(self) -> list[Bar]:
        return self.report.bars


# ---------------------------------------------------------------- faces


def _layer(begin: str, out: Path, settings: Training) -> None:
    torch.manual_seed(settings.seed)
    layer = Expression(conditioner=configuration(settings.conditioner))
    left = expression.fit(layer, settings.layer, settings.seed)
    layer.register_to_config(conditioner={"name": settings.conditioner})
    checkpoints.save(layer.half(), out / "checkpoint" / "expression")
    (out / "checkpoint" / "fit.json").write_text(json.dumps({"begin": begin, "left": left}), encoding="utf-8")


def emote(data: Path, out: Path, minutes: float | None, settings: Training) -> None:
    """Trains the expression layer over EMOTE's speech; writes ``OUT/checkpoint``."""
    _layer("emote-compact", out, settings)


def dice(data: Path, out: Path, minutes: float | None, settings: Training) -> None:
    """Trains the expression layer over DICE's speech; writes ``OUT/checkpoint``."""
    _layer("dice-compact", out, settings)


class FaceConditioner:
    """``affekt evaluate emote-conditioner`` and ``dice-conditioner``."""

    def __init__(self, settings: Measuring, out: Path):
        self.chosen, self.out = settings, out
        self.report = Report("A conditioner of the face", "Still pictures, read by outside recognisers.")

    def run(self) -> Report:
        chosen, report, model = self.chosen, self.report, Path(self.chosen.model)
        facts = json.loads((model / "fit.json").read_text(encoding="utf-8"))
        layer = checkpoints.load(model, Expression, "expression").float().eval()
        kind = facts["begin"].split("-")[0]
        stills = self._stills(facts["begin"], layer)
        report.section("Expressions", f"{len(stills)} pictures of {chosen.people} portraits at intensity 1.")
        report.bar(f"{kind}: root mean square from the table of expressions", facts["left"])
        if chosen.judged:
            seen = _judged(chosen.judged)
            hit = np.array([max(SEEN, key=seen[str(path.resolve())].get) == name for path, name in stills])
            report.bar(f"{kind}: expressions recognised by outside recognisers", mean_of(hit))
        report.bar(f"{kind}: clips against words", reach(layer.emotion))
        report.bar(f"{kind}: parameters", float(sum(p.numel() for p in layer.emotion.parameters())))
        return report

    def summary(self) -> list[Bar]:
        return self.report.bars

    def _stills(self, begin: str, layer: Expression) -> list[tuple[Path, str]]:
        """Pictures and the emotions asked for."""
        data, place, found = Path(self.chosen.data), self.out / "stills", []
        place.mkdir(parents=True, exist_ok=True)
        people = sorted((data / "face" / "portraits_eval").glob("*.jpg"))[: self.chosen.people]
        wanted = [(place / f"{who.stem}-{name}.png", name) for who in people for name in SEEN]
        if all(path.is_file() for path, _ in wanted):
            return wanted
        generator = TalkGenerator.from_pretrained(begin)
        generator.speaker.expression = layer.requires_grad_(False)
        samples, rate = media.read_audio(Path("examples/line.opus"))
        moments = {}
        for name in SEEN:
            motion = generator.speak(samples, rate, EmotionCurve.parse(name), head_motion=0, blinks=False)
            loudest = int(np.argmax(generator.basis.lip_gap(motion.coefs)))
            moments[name] = Motion(*(part[loudest : loudest + 1] for part in motion))
        for who in people:
            pixels = media.read_image(who)
            for name, still in moments.items():
                (frame,) = generator.frames(pixels, still, size=320)
                Image.fromarray(frame).save(place / f"{who.stem}-{name}.png")
        found += wanted
        return found


def _judged(names: str) -> dict[str, dict[str, float]]:
    found = {}
    for name in names.split(","):
        with open(name, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found[row["file"]] = {key: float(row[key]) for key in SEEN}
    return found


# ---------------------------------------------------------------- both


@torch.inference_mode()
def reach(conditioner: EmotionConditioner) -> float:
    """The effect of a clip's embedding on the tokens, relative to the effect of words: the mean change for one standard
    deviation of the embedding, divided by the mean distance between two of the eight emotions.
    """
    tokens = lambda one: conditioner(**conditioner.prepare([one])).tokens[0, 0]
    words = {name: track(EmotionCurve.parse(name), [0.0]) for name in CANONICAL}
    rng, moved = np.random.default_rng(0), []
    apart = torch.pdist(torch.stack([tokens(one) for one in words.values()])).mean()
    spread = np.std([one.embedding[0] for one in words.values()], 0)
    for one in words.values():
        push = (rng.standard_normal(len(spread)) * spread).astype(np.float32)
        moved.append((tokens(_pushed(one, push)) - tokens(one)).norm())
    return float(torch.stack(moved).mean() / apart) if apart > 1e-6 else 0.0


def _pushed(one: EmotionTrack, push: np.ndarray) -> EmotionTrack:
    return one._replace(embedding=one.embedding + push, known=np.ones_like(one.intensity))
