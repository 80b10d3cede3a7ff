"""The linear face: coefficients (52) -> 478 points in 3-D, in the canonical head's axes and centimetres.

Fitted on tracked frames by ridge regression towards the blendshapes of a scanned model (ICT-FaceKit), because the
tracker never reports some coefficients; left and right are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gen import checkpoints
from talking_head.face import surface
from talking_head.face.convert import head
from talking_head.face.points import (
    ARKIT,
    INDEX,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LEFT_IRIS,
    MIRROR,
    OUTER_LOWER_LIP,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    RIGHT_IRIS,
)
from talking_head.face.pose import placed, similarity, upward

FILE = "basis.safetensors"
# left/right pairs whose difference is a separate movement
SIDEWAYS = np.array(
    [name.startswith(("jaw", "eyeLookIn", "eyeLookOut")) or name in ("mouthLeft", "mouthRight") for name in ARKIT]
)
# 68-point convention -> the 478 points, as both models' documentation shows them
SIXTY_EIGHT = np.array(
    [
        162,
        234,
        93,
        58,
        172,
        136,
        149,
        148,
        152,
        377,
        378,
        365,
        397,
        288,
        323,
        454,
        389,
        71,
        63,
        105,
        66,
        107,
        336,
        296,
        334,
        293,
        301,
        168,
        197,
        5,
        4,
        75,
        97,
        2,
        326,
        305,
        33,
        160,
        158,
        133,
        153,
        144,
        362,
        385,
        387,
        263,
        373,
        380,
        61,
        39,
        37,
        0,
        267,
        269,
        291,
        405,
        314,
        17,
        84,
        181,
        78,
        82,
        13,
        312,
        308,
        317,
        14,
        87,
    ]
)


@dataclass(frozen=True)
class FaceBasis:
    """``neutral`` (478, 3), ``deltas`` (52, 478, 3), ``triangles`` (m, 3) of the first 468 points, fine ``skin``."""

    neutral: np.ndarray
    deltas: np.ndarray
    triangles: np.ndarray
    skin: surface.Surface

    @classmethod
    def load(cls, name: str = "face-basis") -> FaceBasis:
        from safetensors.numpy import load_file

        folder = checkpoints.verified(name)
        values = load_file(folder / FILE)
        return cls(*(values[key].astype(kind) for key, kind in FIELDS.items()), surface.Surface.load(folder))

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        small = {"neutral": np.float32, "deltas": np.float16, "triangles": np.int16}
        save_file({key: np.ascontiguousarray(getattr(self, key), kind) for key, kind in small.items()}, folder / FILE)
        self.skin.save(folder)

    @property
    def canonical(self) -> np.ndarray:
        """The reference head (468, 3) of head poses."""
        return self.neutral[:468]

    def points(self, coefs: np.ndarray) -> np.ndarray:
        """Points (..., 478, 3) of coefficients (..., 52)."""
        return self.neutral + np.tensordot(coefs, self.deltas, 1)

    def lip_gap(self, coefs: np.ndarray) -> np.ndarray:
        """Opening of the lips' middle (...,) in cm relative to the neutral face, for coefficients (..., 52)."""
        rise = (self.deltas[:, INNER_UPPER_LIP[3:8], 1] - self.deltas[:, INNER_LOWER_LIP[3:8], 1]).mean(1)
        return coefs @ rise

    def straighten(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (478, 3) in pixels -> canonical axes and size, without head pose."""
        scale, rotation, shift = placed(landmarks, self.canonical)
        return ((upward(landmarks) - shift) @ rotation / scale).astype(np.float32)


FIELDS = {"neutral": np.float32, "deltas": np.float32, "triangles": np.int64}


def mirrored_points(canonical: np.ndarray) -> np.ndarray:
    """Index (478,) of each point's mirror point."""
    other = np.abs(canonical[:, None] * (-1, 1, 1) - canonical[None]).sum(-1).argmin(1)
    iris = {
        RIGHT_IRIS[0]: LEFT_IRIS[0],
        RIGHT_IRIS[2]: LEFT_IRIS[2],
        RIGHT_IRIS[4]: LEFT_IRIS[4],
        RIGHT_IRIS[1]: LEFT_IRIS[3],
        RIGHT_IRIS[3]: LEFT_IRIS[1],
    }
    both = iris | {b: a for a, b in iris.items()}
    return np.concatenate((other, [both[i] for i in range(468, 478)]))


@dataclass(frozen=True)
class Scan:
    """The scanned model's skin in the canonical head's size: ``vertices`` (n, 3), ``deltas`` (52, n, 3), ``triangles``
    (m, 3), and the vertex numbers of its 68 ``landmarks``."""

    vertices: np.ndarray
    deltas: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray

    @classmethod
    def load(cls, path: Path, canonical: np.ndarray) -> Scan:
        with np.load(path, allow_pickle=False) as file:
            skin, deltas = file["neutral"][: surface.SKIN], file["delta"][:, : surface.SKIN].astype(np.float32)
            triangles, landmarks = file["tri"], file["landmark68"]
        scale, rotation, shift = similarity(skin[landmarks], canonical[SIXTY_EIGHT])
        triangles = triangles[(triangles < surface.SKIN).all(1)]
        return cls(scale * skin @ rotation.T + shift, scale * deltas @ rotation.T, triangles, landmarks)


FIRST = np.unique(SIXTY_EIGHT, return_index=True)[1]  # one of each pair of landmarks at the same point


def scanned_deltas(canonical: np.ndarray, scan: Scan) -> np.ndarray:
    """The scanned model's deltas (52, 468, 3) at the canonical points.

    The canonical head is bent onto the scan through 68 common points; each point takes the nearest vertex, of its own
    lip or lid where those touch.
    """
    from scipy.spatial import cKDTree

    vertices, deltas = scan.vertices, scan.deltas
    known, theirs = canonical[SIXTY_EIGHT[FIRST]], vertices[scan.landmarks[FIRST]]
    wanted = surface.bent(known, theirs, canonical, 0.01)
    nearest = cKDTree(vertices).query(wanted)[1]
    jaw = -deltas[INDEX["jawOpen"]][:, 1]
    lids = -(deltas[INDEX["eyeBlinkLeft"]] + deltas[INDEX["eyeBlinkRight"]])[:, 1]
    low = np.concatenate((INNER_LOWER_LIP[1:-1], OUTER_LOWER_LIP[1:-1]))
    for points, moves in (
        (low, jaw > 0.3 * jaw.max()),
        (INNER_UPPER_LIP[1:-1], jaw < 0.1 * jaw.max()),
        (RIGHT_EYE_UPPER[1:-1], lids > 0.3 * lids.max()),
        (LEFT_EYE_UPPER[1:-1], lids > 0.3 * lids.max()),
        (RIGHT_EYE_LOWER[1:-1], lids < 0.1),
        (LEFT_EYE_LOWER[1:-1], lids < 0.1),
    ):
        own = np.flatnonzero(moves)
        nearest[points] = own[cKDTree(vertices[own]).query(wanted[points])[1]]
    return deltas[:, nearest]


def within(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Values (n, ...) less their group's mean."""
    _, index, count = np.unique(group, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), *values.shape[1:]), values.dtype)
    np.add.at(total, index, values)
    return values - (total / count.reshape(-1, *[1] * (values.ndim - 1)))[index]


def fit(
    coefs: np.ndarray, shapes: np.ndarray, group: np.ndarray, prior: np.ndarray, pull: float, tie: float = 0.05
) -> np.ndarray:
    """Deltas (52, 478, 3) from frames (n, 52), (n, 478, 3) of several people, each with an own neutral face.

    Sides are fitted as mean and half difference: the tracker couples them, so the difference depends on head pose more
    than on the face, and follows the prior.
    """
    change = np.where(
        np.arange(52)[:, None] <= MIRROR[:, None],
        (np.eye(52) + np.eye(52)[MIRROR]) / 2,
        (np.eye(52)[MIRROR] - np.eye(52)) / 2,
    )
    change[np.arange(52) == MIRROR] = np.eye(52)[np.arange(52) == MIRROR]
    pulls = np.where((np.arange(52) > MIRROR) & ~SIDEWAYS, tie, pull)
    back = np.linalg.inv(change)  # coefficients = mixed @ back.T
    x, y = within(coefs, group) @ change.T, within(shapes.reshape(len(shapes), -1), group)
    before = back.T @ prior.reshape(52, -1)
    gram = x.T @ x / len(x) + np.diag(pulls)
    found = np.linalg.solve(gram, x.T @ y / len(x) + pulls[:, None] * before)
    return (change.T @ found).reshape(prior.shape)


def local(deltas: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Restrict lids and brows to the upper face and mouth to the lower face; other correlations are accidental."""
    high = np.clip((neutral[:, 1] + 1.5) / 3.0, 0, 1)  # 0 from the nostrils down, 1 from below the eyes up
    upper = np.array([name.startswith(("eye", "brow")) for name in ARKIT])
    lower = np.array([name.startswith(("jaw", "mouth")) for name in ARKIT])
    low = np.clip((2.6 - neutral[:, 1]) / 2.0, 0, 1)  # 0 from the lower lids up
    weight = np.where(upper[:, None], high, np.where(lower[:, None], low, 1.0))
    return deltas * weight[..., None]


def symmetric(deltas: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    return (deltas + deltas[MIRROR][:, mirror] * (-1, 1, 1)) / 2


def people(sample: dict[str, np.ndarray]) -> np.ndarray:
    """Group label (n,) of each frame: its clip if that has enough frames for a neutral face, else its source."""
    _, index, count = np.unique(sample["clip"], return_inverse=True, return_counts=True)
    return np.where(count[index] >= 20, sample["clip"], sample["source"])


def sample_shapes(basis: FaceBasis, sample: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the sample's landmarks without head pose."""
    for points, (w, h) in zip(sample["landmarks"].astype(np.float32), sample["image_size"]):
        yield basis.straighten(points * (w, h, w))


def build(
    model3d: Path, sample: dict[str, np.ndarray], pull: float = 1e-3, keep: np.ndarray | None = None
) -> FaceBasis:
    """The basis of the tracker's head and a scanned model, both in ``model3d``, and tracked frames; ``keep`` some."""
    canonical, triangles, _ = head(model3d / "face_landmarker_v2_with_blendshapes.task")
    scan = Scan.load(model3d / "ict_arkit52.npz", canonical)
    skin = surface.build(
        scan.vertices, scan.deltas, scan.triangles, canonical[SIXTY_EIGHT[FIRST]], scan.vertices[scan.landmarks[FIRST]]
    )
    blank = FaceBasis(np.pad(canonical, ((0, 10), (0, 0))), np.zeros((52, 478, 3), np.float32), triangles, skin)
    keep = np.ones(len(sample["coefs"]), bool) if keep is None else keep
    shapes = np.stack(list(sample_shapes(blank, {k: v[keep] for k, v in sample.items()})))
    coefs, group = sample["coefs"][keep].astype(np.float32), people(sample)[keep]
    prior = np.pad(scanned_deltas(canonical, scan), ((0, 0), (0, 10), (0, 0)))
    mirror = mirrored_points(canonical)
    raw = fit(coefs, shapes, group, prior, pull)
    deltas = symmetric(local(raw, np.concatenate((canonical, canonical[[159] * 5 + [386] * 5]))), mirror)
    neutral = (shapes - np.tensordot(coefs, deltas, 1)).mean(0)
    neutral = (neutral + neutral[mirror] * (-1, 1, 1)) / 2
    neutral = np.concatenate((canonical, neutral[468:])).astype(np.float32)
    return FaceBasis(neutral, deltas.astype(np.float32), triangles, skin)


def main() -> None:
    """``python -m talking_head.face.basis --data ../shared/data --out checkpoints/face-basis`` fits the shipped one."""
    import argparse

    given = argparse.ArgumentParser(description="Fit the face basis.")
    given.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    given.add_argument("--out", type=Path, required=True)
    given = given.parse_args()
    with np.load(given.data / "face" / "motion" / "landmarks_sample.npz", allow_pickle=False) as file:
        sample = dict(file)
    build(given.data / "face" / "model3d", sample).save(given.out)


if __name__ == "__main__":
    main()
