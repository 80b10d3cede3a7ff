"""Shared test objects: the example portrait with its face, and a speaker of tiny networks."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from gen import media
from talking_head.face.basis import FaceBasis
from talking_head.face.tracker import FaceTracker
from talking_head.motion.emote.model import Emote
from talking_head.motion.emote.sizes import sizes
from talking_head.motion.emote.speaker import EmoteSpeaker
from talking_head.motion.layer import Expression
from talking_head.motion.speech import SpeechEncoder
from talking_head.render.portrait import Portrait
from talking_head.training.expression import fit

EXAMPLES = Path(__file__).parents[2] / "examples"
LINE, PICTURE = EXAMPLES / "line.opus", EXAMPLES / "grace_hopper.jpg"


@cache
def tracker() -> FaceTracker:
    return FaceTracker.load()


@cache
def basis() -> FaceBasis:
    return FaceBasis.load()


@cache
def picture() -> np.ndarray:
    return media.read_image(PICTURE)


@cache
def face():
    return tracker().face(picture())


@cache
def portrait() -> Portrait:
    return Portrait(picture(), face(), basis())


@cache
def networks() -> tuple[SpeechEncoder, Emote]:
    torch.manual_seed(0)
    size = sizes("tiny")
    return SpeechEncoder(**size["speech"]).eval(), Emote(**size["emote"]).eval()


@cache
def expression(conditioner: str = "label") -> Expression:
    """A layer that has learnt the table in a few steps."""
    model = Expression(16, conditioner={"name": conditioner})
    fit(model, steps=300, batch=128, rate=1e-2)
    return model


def speaker() -> EmoteSpeaker:
    return EmoteSpeaker(*networks(), expression(), basis())


def tone(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A buzz whose loudness comes and goes three times a second."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.2 * np.sin(2 * np.pi * 150 * t) * (0.5 - 0.5 * np.cos(6 * np.pi * t))).astype(np.float32)
