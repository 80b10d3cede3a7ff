"""Resolves emotions that need files: perceives reference clips and texts, and looks up user-defined emotions."""

from pathlib import Path

from gen.emotion import own
from gen.emotion.spec import Embedding, Emotion, EmotionCurve, Keyframe

SECONDS_A_BAR = 2.0  # four beats at 120 a minute


def resolve(curve: EmotionCurve) -> EmotionCurve:
    """The curve with the emotions perceived in its file, if any, and with embeddings from clips.

    Keyframes from clips, or with a user-defined emotion in their mix, get an ``embedding``. Idempotent. Raises
    :class:`InputError` if the file has no readable emotion.
    """
    own.load()
    if curve.source is not None:
        return _perceived(curve, curve.source)
    keys = tuple(_placed(key) for key in curve.keyframes)
    if all(new is old for new, old in zip(keys, curve.keyframes)):
        return curve
    return curve.model_copy(update={"keyframes": keys})


def _perceived(curve: EmotionCurve, source: Path) -> EmotionCurve:
    from gen.emotion.embedding.perceive import perceive

    found = perceive(source, curve.reference, curve.ear)
    if not curve.follow:
        return EmotionCurve(
            keyframes=(Keyframe(at=0.0, emotion=found.emotion, embedding=found.embedding),), unit=curve.unit
        )
    pace = SECONDS_A_BAR if curve.unit == "bars" else 1.0
    keys = tuple(key.model_copy(update={"at": key.at / pace}) for key in found.curve().keyframes)
    return EmotionCurve(keyframes=keys, unit=curve.unit)


def _placed(key: Keyframe) -> Keyframe:
    if key.embedding is not None or key.emotion.mix is None:
        return key
    shares = {name: share for name, share in key.emotion.mix if name in own.known()}
    return key.model_copy(update={"embedding": _mixed(key.emotion, shares)}) if shares else key


def _mixed(emotion: Emotion, shares: dict[str, float]) -> Embedding:
    """A mix's embedding at intensity 1: the words' priors plus each user-defined emotion's difference from its
    prior."""
    import numpy as np

    from gen.emotion.embedding.priors import shared
    from gen.emotion.track import unit_prior

    mean, variance = unit_prior(emotion), shared().var[0].numpy()
    total = sum(map(abs, shares.values()))
    spread = np.zeros_like(variance)
    for name, share in shares.items():
        place, var = own.embedding(name)
        mean = mean + share * (place - unit_prior(Emotion(mix=((name, 1.0),))))
        spread = spread + abs(share) * var
    spread = spread + max(1 - total, 0.0) * variance
    return Embedding(mean=mean.tolist(), variance=spread.tolist(), known=min(total, 1.0))
