"""``affekt train talk``: the motion prior, the speech encoder by itself, then encoder and EMOTE together.

EMOTE is trained on neutral speech; the layer of :mod:`talking_head.training.expression` adds expressions. Speech
without video trains visemes, closed lips at p, b and m, and lips of many voices by labels of
:mod:`talking_head.training.teacher`. The budget is a time; the state is saved to ``OUT/*.pt`` every two minutes.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from gen import checkpoints
from gen.emotion.spec import CANONICAL
from gen.emotion.track import plain
from gen.errors import InputError
from gen.notes import note
from gen.training import Run
from talking_head.face.basis import FaceBasis
from talking_head.face.points import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP
from talking_head.models import write_class
from talking_head.motion.emote.flint import Flint
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.sizes import sizes
from talking_head.motion.expression import SPEECH
from talking_head.motion.speech import CLOSED, SpeechEncoder
from talking_head.training import corpus, expression
from talking_head.training.data import Batch, Windows
from talking_head.training.lips import agreement, calibrate

BOUNDARY = {"encoder.squash.0.conv.weight", "decoder.smooth.weight", "decoder.smooth.bias"}  # of the features
CLIP = 0.5  # norm of gradients
LIPS = np.concatenate((INNER_UPPER_LIP, INNER_LOWER_LIP, OUTER_UPPER_LIP, OUTER_LOWER_LIP))
HEARD = {"grid": 3, "paced": 1, "mandarin": 1, "voices": 6, "aligned": 5}
SEEN = {"grid": 7, "mead_silent": 4, "neurosync": 3}


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid")
    size: str = "compact"
    conditioner: str = "gaussian"  # of the expression layer
    expression_steps: int = 1500
    seed: int = 0
    rate: float = 8e-4
    begin: str = ""  # a checkpoint to continue from
    ears: str = "whisper-base"  # the Whisper checkpoint of the teacher
    prior: str = ""  # a converted FLINT to initialise the motion prior
    prior_share: float = 0.1  # of the minutes
    speech_share: float = 0.18
    kl: float = 1e-4
    frozen: bool = False  # freeze the prior's decoder, as upstream
    last_layer: int = 300  # batches of its final least-squares fit
    compile: bool = False


class Measures:
    """Distances of points on the face from differences of coefficients, as matrices of the face basis."""

    def __init__(self, basis: FaceBasis):
        root = lambda points: torch.from_numpy(
            np.linalg.cholesky(_gram(basis.deltas[:, points])).astype(np.float32)
        )  # (52, 52): |d @ root|^2 is the squared distance of the points
        self.lips, self.face = root(LIPS), root(np.arange(468))
        self.scale = torch.where(torch.from_numpy(SPEECH), 1 / 0.05, 0.0)  # small movements of the lips count
        self.rise = torch.from_numpy(basis.lip_gap(np.eye(52)).astype(np.float32))

    def gap(self, motion: Tensor) -> Tensor:
        """(..., 52) -> (...,) opening of the lips beyond rest in cm."""
        return motion @ self.rise

    def loss(self, made: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of lips and velocities per frame, and of the face over the sequence, in squared cm."""
        off = made.float() - wanted
        lips, face = off @ self.lips, off @ self.face
        frame = lips.square().sum(-1).mean() + 0.3 * face.square().sum(-1).mean() + 2.0 * off.square().sum(-1).mean()
        frame = frame + 0.02 * (off * self.scale).square().sum(-1).mean()
        frame = frame + 2.0 * lips.diff(dim=1).square().sum(-1).mean()
        sequence = face.mean(1).square().sum(-1).mean() + off.mean(1).square().sum(-1).mean()
        return frame, sequence


def _gram(deltas: np.ndarray) -> np.ndarray:
    flat = deltas.reshape(52, -1).astype(np.float64)
    return flat @ flat.T / deltas.shape[1] + 1e-6 * np.eye(52)


def prior_loss(model: Flint, data: Windows, measures: Measures, settings: Settings) -> tuple[Tensor, dict]:
    motion = data.motion(32)
    made, kl = model(motion)
    frame, sequence = measures.loss(made, motion)
    return frame + sequence + settings.kl * kl, {"frame": frame, "kl": kl}


def viseme_loss(logits: Tensor, visemes: Tensor) -> Tensor:
    return -(visemes * logits.float().log_softmax(-1)).sum(-1).mean()


def encoder_loss(speech: SpeechEncoder, data: Windows) -> tuple[Tensor, dict]:
    batch = data.batch()
    spoken = viseme_loss(speech(batch.rows)[1], batch.visemes)
    return spoken, {"visemes": spoken}


def said(models: nn.ModuleDict, batch: Batch) -> tuple[Tensor, Tensor]:
    """EMOTE's neutral motion of windows (b, t, 52), and the viseme logits."""
    features, logits = models["speech"](batch.rows)
    emote, (b, t) = models["emote"], features.shape[:2]
    neutral = plain(np.tile(np.eye(len(CANONICAL))[0], (t, 1)), np.zeros(t))
    tokens = emote.emotion(**emote.emotion.prepare([neutral])).tokens.expand(b, -1, -1)
    return emote(features, tokens, batch.style).float(), logits


def shut(batch: Batch) -> Tensor:
    """(v, t) weight of closed lips, from known visemes."""
    return (batch.visemes[..., CLOSED] - 0.3).clamp_min(0)


def speech_loss(models: nn.ModuleDict, data: Windows, measures: Measures, settings: Settings) -> tuple[Tensor, dict]:
    batch = data.batch()
    read = len(batch.visemes)
    made, logits = said(models, batch)
    spoken = viseme_loss(logits[-read:], batch.visemes)
    frame, sequence = measures.loss(made, batch.motion)
    gap = measures.gap(made[-read:])
    meet = (shut(batch) * (F.relu(gap - 0.05).square() + F.relu(-0.5 - gap).square())).mean()
    total = frame + sequence + 4 * meet + 0.5 * spoken
    return total, {"frame": frame, "sequence": sequence, "meet": meet, "visemes": spoken}


@torch.inference_mode()
def fit_last_layer(models: nn.ModuleDict, data: Windows, batches: int, pull: float = 1e-3) -> None:
    """Fit the last layer in closed form: least squares, regularised towards its weights.

    The motion is linear in it, so that a change of labels needs no other training.
    """
    emote, last, found = models["emote"], models["emote"].decoder.smooth, []
    watch = last.register_forward_pre_hook(lambda module, given: found.append(given[0]))
    size = last.weight[0].numel() + 1
    gram, cross = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, 52, dtype=torch.float64)
    for _ in range(batches):
        batch = data.batch()
        made = said(models, batch)[0]
        near = F.pad(found.pop(), (2, 2)).unfold(2, 5, 1).transpose(1, 2).flatten(2)[:, : made.shape[1]]
        near = torch.cat((near, torch.ones_like(near[..., :1])), -1).flatten(0, 1)
        gram += (near.T @ near).double()
        cross += (near.T @ (batch.motion - made).flatten(0, 1)).double()
    watch.remove()
    even = pull * gram.diagonal().mean() * torch.eye(size, dtype=torch.float64)
    change = torch.linalg.solve(gram + even, cross).T.float() / emote.gain[:, None]
    last.weight += change[:, :-1].view_as(last.weight)
    last.bias += change[:, -1]


def prepared(data: Path, out: Path, ears: str) -> list[corpus.Clip]:
    """The clips, cached in ``OUT/features.npz``."""
    path = out / "features.npz"
    if not path.exists():
        corpus.save(corpus.build(data, ears), path)
    return corpus.load(path)


def set_spectrum(encoder: SpeechEncoder, clips: list[corpus.Clip]) -> None:
    """Set the encoder's usual spectrum and scale from the training clips."""
    heard = [torch.from_numpy(c.rows.astype(np.float32)) for c in clips if c.part == "train" and len(c.rows)][::5]
    loud = torch.stack([corpus.own_spectrum(rows.numpy())[0] for rows in heard])
    encoder.mean.copy_(loud.mean(0))
    encoder.scale.copy_(torch.cat(heard).std(0))


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Train for ``minutes`` (default 40) and write the checkpoint to ``OUT/checkpoint``."""
    out.mkdir(parents=True, exist_ok=True)
    minutes = 40.0 if minutes is None else minutes
    torch.manual_seed(settings.seed)
    clips, measures = prepared(Path(data), out, settings.ears), Measures(FaceBasis.load())
    learnt = [c for c in clips if c.part == "train"]
    size = sizes(settings.size)
    speech, emote = SpeechEncoder(**size["speech"]), Emote(**size["emote"])
    if settings.begin:
        learn_on(settings.begin, speech, emote)
    else:
        apart(Flint(**size["flint"]), speech, emote, clips, out, minutes, settings, measures)
    models = nn.ModuleDict({"speech": speech, "emote": emote})
    emote.decoder.requires_grad_(not settings.frozen)
    windows = Windows(learnt, speech, HEARD, settings.seed)
    rest = 1.0 if settings.begin else 1 - settings.prior_share - settings.speech_share
    run = Run("emote", models, out, minutes * rest, settings.rate, clip=CLIP)
    fast = {"speech": torch.compile(speech), "emote": emote} if settings.compile else models

    def loss() -> tuple[Tensor, dict]:
        emote.decoder.eval()  # batch norms are frozen
        return speech_loss(fast, windows, measures, settings)

    watched = [c for c in clips if c.part == "test"][::6]
    run.train(loss, lambda: agreement(speech, emote, watched))
    models.eval()
    fit_last_layer(models, windows, settings.last_layer)
    calibrate(speech, emote, learnt)
    export(speech, emote, out / "checkpoint")
    expression.write(out / "checkpoint", settings.conditioner, settings.seed, settings.expression_steps)


def apart(
    flint: Flint,
    speech: SpeechEncoder,
    emote: Emote,
    clips: list[corpus.Clip],
    out: Path,
    minutes: float,
    settings: Settings,
    measures: Measures,
) -> None:
    """Train the motion prior and the encoder separately; copy the prior's decoder into ``emote``."""
    learnt = [c for c in clips if c.part == "train"]
    if settings.prior:
        start(flint, settings.prior)
    set_spectrum(speech, clips)
    motions = Windows(learnt, speech, SEEN, settings.seed)
    run = Run("flint", flint, out, minutes * settings.prior_share, settings.rate, clip=CLIP)
    run.train(lambda: prior_loss(flint, motions, measures, settings))
    emote.decoder.load_state_dict(flint.decoder.state_dict())
    flint.half().save_pretrained(out / "checkpoint" / "flint")
    read = Windows([c for c in learnt if c.source == "aligned"], speech, {"aligned": 16}, settings.seed)
    run = Run("speech", speech, out, minutes * settings.speech_share, settings.rate, clip=CLIP)
    run.train(lambda: encoder_loss(speech, read))


def learn_on(name: str, speech: SpeechEncoder, emote: Emote) -> None:
    """Load the weights of a checkpoint of this size; its gain is multiplied into the last layer."""
    for model, part in ((speech, "speech"), (emote, "emote")):
        known = checkpoints.load(name, type(model), part).float().state_dict()
        if any(known[key].shape != value.shape for key, value in model.state_dict().items()):
            raise InputError(f"{name} has another size than this training: give another --set size=")
        model.load_state_dict(known)
    with torch.no_grad():
        emote.decoder.smooth.weight *= emote.gain[:, None, None]
        emote.decoder.smooth.bias *= emote.gain
        emote.gain.fill_(1)


def start(flint: Flint, name: str) -> None:
    """Load the weights of a converted FLINT into a motion prior. Layers of FLAME's features in place of ARKit's, the
    first and the last, are skipped with a note.
    """
    theirs = checkpoints.load(name, Flint, "flint").float().state_dict()
    ours = flint.state_dict()
    lacking = [key for key, value in ours.items() if theirs[key].shape != value.shape]
    if set(lacking) - BOUNDARY:
        raise InputError(
            f"{name} has another size than this training's motion prior ({lacking[0]}): use --set size=paper."
        )
    flint.load_state_dict(theirs | {key: ours[key] for key in lacking})
    if lacking:
        note(f"{name} has other features: its first and last layer were skipped")


def export(speech: SpeechEncoder, emote: Emote, folder: Path) -> None:
    """Write the checkpoint: both parts in fp16."""
    for name, model in (("speech", speech), ("emote", emote)):
        model.half().save_pretrained(folder / name)
    write_class(folder, "EmoteSpeaker")
