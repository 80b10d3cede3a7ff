"""Conversion between ARKit coefficients and FLAME's expression and jaw, with the user's FLAME.

FLAME (Li et al., SIGGRAPH Asia 2017) needs a registration, so it is never shipped:
``affekt checkpoints convert flame --from FOLDER`` reads ``generic_model.pkl`` and ``landmark_embedding.npy`` once. They
are pickles; nothing in them is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen import checkpoints
from gen.convert.pickles import Shell, load
from gen.errors import InputError
from talking_head.face.basis import SIXTY_EIGHT, FaceBasis
from talking_head.face.points import ARKIT
from talking_head.face.pose import similarity

FILE = "flame.safetensors"
IDENTITY = 300  # columns of the shape space that are not expression
JAW = 2  # joint
INNER = SIXTY_EIGHT[17:]  # FLAME's 51 static landmarks: the 68 without the contour
RIDGE = 1e-3


def _dense(value) -> np.ndarray:
    """A plain array, chumpy's wrapper of one, or a compressed sparse column matrix."""
    if isinstance(value, Shell):
        state = value.state or {}
        if "indptr" in state:
            from scipy.sparse import csc_matrix

            return csc_matrix((state["data"], state["indices"], state["indptr"]), state["_shape"]).toarray()
        value = state.get("x")
    if not isinstance(value, np.ndarray):
        raise InputError("the FLAME model holds something that is no array: give generic_model.pkl of the release")
    return value


class Flame(NamedTuple):
    """v vertices in metres, e expressions."""

    template: np.ndarray  # (v, 3)
    expressions: np.ndarray  # (v, 3, e)
    joint: np.ndarray  # (3,) of the jaw
    jaw: np.ndarray  # (v,) skinning weight of the jaw
    corners: np.ndarray  # (51, 3) vertices around each landmark
    shares: np.ndarray  # (51, 3)

    @classmethod
    def load(cls, name: str = "flame", expressions: int = 100) -> Flame:
        """Load a converted FLAME by checkpoint name or folder."""
        from safetensors.numpy import load_file

        found = cls(**load_file(checkpoints.verified(name) / FILE))
        return found._replace(expressions=found.expressions[..., :expressions])

    @classmethod
    def read(cls, folder: Path, expressions: int = 100) -> Flame:
        """Read the upstream files."""
        model, places = folder / "generic_model.pkl", folder / "landmark_embedding.npy"
        for path in (model, places):
            if not path.is_file():
                raise InputError(f"{folder} has no {path.name}: give the folder of your FLAME")
        found = load(model, encoding="latin1")
        with open(places, "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        spots = load(places, skip=start, encoding="latin1")
        spots = spots.item() if isinstance(spots, np.ndarray) else spots
        template, faces = _dense(found["v_template"]), _dense(found["f"]).astype(int)
        return cls(
            template,
            _dense(found["shapedirs"])[:, :, IDENTITY : IDENTITY + expressions],
            _dense(found["J_regressor"])[JAW] @ template,
            _dense(found["weights"])[:, JAW],
            faces[np.asarray(spots["static_lmk_faces_idx"]).astype(int)],
            np.asarray(spots["static_lmk_bary_coords"]),
        )

    def landmarks(self, values: np.ndarray) -> np.ndarray:
        """(v, ...) -> (51, ...)."""
        return np.einsum("lc,lc...->l...", self.shares, values[self.corners])

    def moves(self) -> np.ndarray:
        """Displacements (e + 3, 51, 3) of the landmarks, in metres, per expression and per small jaw rotation."""
        lever = (self.template - self.joint) * self.jaw[:, None]
        turns = np.stack([np.cross(axis, lever) for axis in np.eye(3)])
        return np.stack([self.landmarks(m) for m in (*np.moveaxis(self.expressions, -1, 0), *turns)])


def convert(source: Path, out: Path) -> None:
    """Convert the user's FLAME to the arrays of the adapter."""
    from safetensors.numpy import save_file

    flame = Flame.read(source)
    out.mkdir(parents=True, exist_ok=True)
    kinds = {"corners": np.int64}
    packed = {key: np.ascontiguousarray(v, kinds.get(key, np.float32)) for key, v in flame._asdict().items()}
    save_file(packed, out / FILE)


class FlameAdapter:
    """Linear maps in both directions, from the movements of 51 common landmarks."""

    def __init__(self, flame: Flame, basis: FaceBasis):
        size, rotation, _ = similarity(flame.landmarks(flame.template), basis.neutral[INNER])
        ours = basis.deltas[:, INNER].reshape(len(ARKIT), -1)
        theirs = (size * flame.moves() @ rotation.T).reshape(-1, ours.shape[1])
        self.there, self.back = _map(ours, theirs), _map(theirs, ours)

    def flame(self, coefs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(t, 52) -> expression (t, e), jaw (t, 3) as rotation vectors."""
        values = coefs @ self.there
        return values[:, :-3].astype(np.float32), values[:, -3:].astype(np.float32)

    def arkit(self, expression: np.ndarray, jaw: np.ndarray) -> np.ndarray:
        """ARKit coefficients (t, 52) in [0, 1] of a FLAME motion; FLAME has no lids and no gaze."""
        return (np.concatenate((expression, jaw), 1) @ self.back).clip(0, 1).astype(np.float32)


def _map(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights (n, m) of target movements (m, p) that reproduce each source movement (n, p)."""
    gram = target @ target.T
    return np.linalg.solve(gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)), target @ source.T).T
