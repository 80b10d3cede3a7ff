"""Exports motion: ARKit CSV in Live Link Face's format, JSON, a GLB with morph targets, head rotation as BVH.

Files are written atomically; the manifest is embedded in JSON and GLB, and beside the other files, with the frame rate
of the CSV, which is also in its name.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gen.marks import digest
from gen.provenance import sidecar
from talking_head.face.basis import FaceBasis
from talking_head.face.points import ARKIT
from talking_head.face.pose import matrix
from talking_head.face.tracker import Face
from talking_head.motion.speaker import FPS, Motion

ENDINGS = {
    "arkit": f".arkit.{FPS}fps.csv",
    "json": ".motion.json",
    "glb": ".glb",
    "mesh": ".mesh.mp4",
    "bvh": ".head.bvh",
}
LIVE_LINK_EYES = ("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll")
EYE_TURN = 0.5  # eyeball rotation in radians for a look coefficient of 1
Look = Callable[[], tuple[np.ndarray, Face]] | None  # returns the portrait's pixels and the face in them


def _write(path: Path, content: bytes) -> None:
    """Writes a file with an embedded manifest and stamps its hash."""
    hidden = path.with_name(f".{os.getpid()}-{path.name}")
    hidden.write_bytes(content)
    digest.stamp(hidden)
    os.replace(hidden, path)


def _beside(path: Path, content: bytes, manifest: dict) -> None:
    """Writes a file with its manifest beside it."""
    facts = manifest | {"digest": hashlib.sha256(content).hexdigest()}
    _write(path, content)
    _write(sidecar(path), (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode())


def eye_angles(coefs: np.ndarray) -> np.ndarray:
    """(t, 52) -> (t, 6) yaw, pitch, roll of the left and the right eye, radians."""
    column = {name: coefs[:, i] for i, name in enumerate(ARKIT)}
    rows = []
    for side, outward in (("Left", 1), ("Right", -1)):
        yaw = outward * (column[f"eyeLookOut{side}"] - column[f"eyeLookIn{side}"])
        rows += [yaw, column[f"eyeLookDown{side}"] - column[f"eyeLookUp{side}"], np.zeros(len(coefs))]
    return EYE_TURN * np.stack(rows, 1)


def head_angles(turns: np.ndarray) -> np.ndarray:
    """Rotation vectors (t, 3) -> (t, 3) yaw, pitch, roll, radians."""
    turn = matrix(turns)
    yaw = np.arctan2(turn[:, 0, 2], turn[:, 2, 2])
    pitch = -np.arcsin(turn[:, 1, 2].clip(-1, 1))
    roll = np.arctan2(turn[:, 1, 0], turn[:, 1, 1])
    return np.stack((yaw, pitch, roll), 1)


def arkit_csv(path: Path, motion: Motion, basis: FaceBasis, manifest: dict, look: Look = None) -> None:
    """Writes timecode, blend shape count, 52 coefficients, head and eye angles, one row per frame."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name[0].upper() + name[1:] for name in ARKIT]
    writer.writerow(["Timecode", "BlendshapeCount", *names, "HeadYaw", "HeadPitch", "HeadRoll", *LIVE_LINK_EYES])
    values = np.concatenate((motion.coefs.clip(0, 1), head_angles(motion.turns), eye_angles(motion.coefs)), 1)
    for i, row in enumerate(values):
        seconds, frame = divmod(i, FPS)
        code = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.000"
        writer.writerow([code, values.shape[1], *(f"{v:.5f}" for v in row)])
    facts = manifest | {"motion": {"fps": FPS, "frames": len(values)}}
    _beside(path, text.getvalue().encode(), facts)


def bvh(path: Path, motion: Motion, basis: FaceBasis, manifest: dict, look: Look = None) -> None:
    """Writes the head's rotation about the neck (Biovision hierarchy): one joint, degrees about z, x and y."""
    from scipy.spatial.transform import Rotation

    angles = Rotation.from_rotvec(motion.turns).as_euler("ZXY", degrees=True)
    channels = "Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    tip = "End Site\n\t{\n\t\tOFFSET 0 9 7\n\t}"  # cm: from the neck to between the eyes
    head = f"HIERARCHY\nROOT Head\n{{\n\tOFFSET 0 0 0\n\tCHANNELS 6 {channels}\n\t{tip}\n}}\n"
    rows = "".join("0 0 0 " + " ".join(f"{v:.5f}" for v in row) + "\n" for row in angles)
    text = f"{head}MOTION\nFrames: {len(angles)}\nFrame Time: {1 / FPS:.6f}\n{rows}"
    _beside(path, text.encode(), manifest)


def motion_json(path: Path, motion: Motion, basis: FaceBasis, manifest: dict, look: Look = None) -> None:
    """Writes names, frame rate, and rows of coefficients and head rotation vectors."""
    rounded = lambda values: np.round(values.astype(float), 4).tolist()
    facts = {
        "fps": FPS,
        "names": ARKIT,
        "coefficients": rounded(motion.coefs),
        "head": rounded(motion.turns),
        "manifest": manifest,
    }
    _write(path, json.dumps(facts, sort_keys=True).encode())


def glb_file(path: Path, motion: Motion, basis: FaceBasis, manifest: dict, look: Look = None) -> None:
    """Writes the portrait's animated face as glTF 2.0, see :mod:`talking_head.glb`."""
    from talking_head import glb

    _write(path, glb.build(motion, basis, manifest, None if look is None else glb.person(*look(), basis)))


def mesh_video(path: Path, motion: Motion, basis: FaceBasis, manifest: dict, look: Look = None) -> None:
    """Renders the motion on a shaded head, without sound."""
    from gen import media
    from talking_head.render import mesh

    frames = (mesh.frame(basis, coefs, turn) for coefs, turn in zip(motion.coefs, motion.turns))
    media.write_video(path, frames, FPS, manifest=manifest)


def flame_npz(path: Path, motion: Motion, basis: FaceBasis, manifest: dict, flame: str) -> None:
    """Writes expression (t, e), pose (t, 6: head, jaw) and rate for the converted FLAME of that name."""
    from talking_head.face.flame import Flame, FlameAdapter

    expression, jaw = FlameAdapter(Flame.load(flame), basis).flame(motion.coefs)
    packed = io.BytesIO()
    np.savez(packed, expression=expression, pose=np.concatenate((motion.turns, jaw), 1), fps=FPS)
    _beside(path, packed.getvalue(), manifest)


WRITERS = {"arkit": arkit_csv, "json": motion_json, "glb": glb_file, "mesh": mesh_video, "bvh": bvh}
