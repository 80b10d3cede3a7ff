"""Fine skin mesh with blend shapes, for shading.

The scanned model of ICT-FaceKit (Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020; MIT),
bent onto the canonical head. Centimetres, canonical axes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

FILE = "surface.safetensors"
SKIN = 9_409  # number of skin vertices of the scan; gums, teeth and eyes follow
BACK, LOW, HIGH = -2.5, -11.0, 10.0  # cm: limits of the mesh; ears, neck and crown have no expression
KINDS = {"neutral": np.float32, "deltas": np.float16, "triangles": np.int16}


class Surface(NamedTuple):
    """``neutral`` (n, 3), ``deltas`` (52, n, 3), ``triangles`` (m, 3)."""

    neutral: np.ndarray
    deltas: np.ndarray
    triangles: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> Surface:
        from safetensors.numpy import load_file

        values = load_file(folder / FILE)
        return cls(*(values[key].astype(np.int64 if key == "triangles" else np.float32) for key in cls._fields))

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        values = {key: np.ascontiguousarray(value, KINDS[key]) for key, value in self._asdict().items()}
        save_file(values, folder / FILE)


def bent(source: np.ndarray, target: np.ndarray, points: np.ndarray, smoothing: float) -> np.ndarray:
    """Points (n, 3) mapped by the thin-plate spline from ``source`` (k, 3) to ``target`` (k, 3) (Wahba, "Spline
    Models for Observational Data", 1990) with a linear part; ``smoothing`` 0 meets the targets."""

    def plate(at: np.ndarray) -> np.ndarray:
        far = np.maximum(((at[:, None] - source) ** 2).sum(-1), 1e-12)
        return 0.5 * far * np.log(far)

    linear = np.column_stack((np.ones(len(source)), source))
    system = np.block([[plate(source) + smoothing * np.eye(len(source)), linear], [linear.T, np.zeros((4, 4))]])
    weight = np.linalg.solve(system, np.concatenate((target, np.zeros((4, 3)))))
    return plate(points) @ weight[:-4] + np.column_stack((np.ones(len(points)), points)) @ weight[-4:]


def build(
    vertices: np.ndarray, deltas: np.ndarray, triangles: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> Surface:
    """From the scan's skin (n, 3), (52, n, 3), (m, 3) in canonical size, bent so that its points ``theirs`` (k, 3) lie
    at ``ours`` (k, 3) on the canonical head."""
    near = (vertices[:, 2] > BACK) & (vertices[:, 1] > LOW) & (vertices[:, 1] < HIGH)
    kept = triangles[near[triangles].all(1)]
    used, again = np.unique(kept, return_inverse=True)
    return Surface(bent(theirs, ours, vertices[used], 0.01), deltas[:, used], again.reshape(-1, 3))
