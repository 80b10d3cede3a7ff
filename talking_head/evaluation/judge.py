"""What emotion tracked coefficients show, by a judge that learns from real actors alone.

Linear discriminants on mean coefficients less the person's neutral ones. It knows nothing of how faces are generated
here, and little: two actors at the strongest level.
"""

from pathlib import Path

import numpy as np

from gen.emotion.embedding.features import UNMEASURED
from talking_head.training.corpus import LIFE, MOTION, clips_of

EMOTIONS = ("happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
SEEN = ~LIFE & ~np.isin(np.arange(52), UNMEASURED)
LENGTH = 50  # frames of a window
SHRINK = 0.02  # variance added to each coefficient's


class Judge:
    """``means`` (7, f) and the inverse of the shared covariance."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray):
        self.means = np.stack([rows[labels == i].mean(0) for i in range(len(EMOTIONS))])
        off = rows - self.means[labels]
        self.inverse = np.linalg.inv(off.T @ off / len(rows) + SHRINK * np.eye(rows.shape[1]))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Offsets from neutral (n, 52) or (n, f) -> probabilities (n, 7)."""
        rows = rows[:, SEEN] if rows.shape[1] == 52 else rows
        off = rows[:, None] - self.means
        logits = -0.5 * np.einsum("nef,fg,neg->ne", off, self.inverse, off)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)


def actors(data: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each MEAD actor: window offsets from their neutral (n, f), labels (n,)."""
    clips: dict[str, dict[str, np.ndarray]] = {}
    for _, motion, facts in clips_of(data / MOTION / "mead_silent.npz"):
        name = {"angry": "anger"}.get(str(facts["emotion"]), str(facts["emotion"]))
        clips.setdefault(str(facts["actor"]), {})[name] = motion[:, SEEN]
    found = {}
    for actor, own in clips.items():
        neutral, rows, labels = own["neutral"].mean(0), [], []
        for i, name in enumerate(EMOTIONS):
            for at in range(0, len(own[name]) - LENGTH + 1, LENGTH // 4):
                rows.append(own[name][at : at + LENGTH].mean(0) - neutral)
                labels.append(i)
        found[actor] = np.array(rows), np.array(labels)
    return found


def trained(data: Path) -> tuple[Judge, float]:
    """A judge of all actors, and how often judges of the other actors are right about windows of one."""
    people = actors(data)
    right = []
    for actor, (rows, labels) in people.items():
        others = [own for name, own in people.items() if name != actor]
        judge = Judge(*(np.concatenate(parts) for parts in zip(*others)))
        right.append((judge(rows).argmax(1) == labels).mean())
    return Judge(*(np.concatenate(parts) for parts in zip(*people.values()))), float(np.mean(right))
