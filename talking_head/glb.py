"""The motion as a glTF 2.0 file: the face of the portrait with its 52 morph targets, eyeballs that turn, and teeth.

One binary file (GLB) in metres, y up, the face towards +z. The skin is the tracker's mesh in the person's own shape,
with the portrait as its texture; without a portrait it is the basis's head in one colour.
"""

from __future__ import annotations

import io
import json
import struct
from typing import NamedTuple

import numpy as np

from talking_head.face.basis import FaceBasis
from talking_head.face.points import (
    ARKIT,
    INDEX,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LEFT_IRIS,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    RIGHT_IRIS,
    side,
)
from talking_head.face.tracker import Face
from talking_head.motion.speaker import FPS, Motion

POSITION, UV, INT, FLOAT = "VEC3", "VEC2", 5125, 5126  # of glTF
PIVOT = np.array([0.0, -9.0, -7.0])  # cm: where the neck carries the head
HOLES = [
    np.concatenate(pair)
    for pair in (
        (INNER_UPPER_LIP, INNER_LOWER_LIP),
        (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER),
        (LEFT_EYE_UPPER, LEFT_EYE_LOWER),
    )
]
EYE, BEHIND = 1.35, 0.18  # cm: radius of an eyeball, and how far it lies behind what the tracker takes for the iris
EYE_TURN = 0.5  # radians of the eyeball for a look of 1
IRIS = 0.64  # cm
LOWER_LID = 0.15  # share of the way that the lower lid goes to a shut eye's line
LIP_TO_TEETH, ARCH, TOOTH = 0.9, 0.11, 0.85  # cm, 1/cm, cm: see :mod:`talking_head.render.portrait`; a tooth's height
CLAY = (0.66, 0.52, 0.45)  # linear red, green, blue


class Part(NamedTuple):
    """Vertices (n, 3) in cm, texture coordinates (n, 2), triangles (m, 3)."""

    points: np.ndarray
    places: np.ndarray
    triangles: np.ndarray


class Person(NamedTuple):
    """A neutral face (478, 3) in cm with its lips closed, where each point is in the texture (478, 2), and the texture
    (h, w, 3)."""

    points: np.ndarray
    places: np.ndarray
    picture: np.ndarray


def person(picture: np.ndarray, face: Face, basis: FaceBasis) -> Person:
    """Of a portrait and its tracked face: the expression of the photograph is taken off the shape."""
    from talking_head.render.own import own_expression

    points = basis.straighten(face.landmarks) - np.tensordot(own_expression(face.coefs)[1], basis.deltas, 1)
    return Person(shut(points), face.landmarks[:, :2] / picture.shape[1::-1], picture)


def shut(points: np.ndarray) -> np.ndarray:
    """A face (478, 3) with its lips closed."""
    points = points.copy()
    apart = points[INNER_UPPER_LIP[1:-1], 1] - points[INNER_LOWER_LIP[1:-1], 1]
    points[INNER_UPPER_LIP[1:-1], 1] -= apart / 2
    points[INNER_LOWER_LIP[1:-1], 1] += apart / 2
    return points


def targets(points: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """The basis's movements (52, 478, 3) with lids that meet on a face (478, 3) where an eye is shut."""
    deltas = deltas.copy()
    for name, upper, lower in (("Left", LEFT_EYE_UPPER, LEFT_EYE_LOWER), ("Right", RIGHT_EYE_UPPER, RIGHT_EYE_LOWER)):
        blink, upper, lower = deltas[INDEX[f"eyeBlink{name}"]], upper[1:-1], lower[1:-1]
        apart = (points + blink)[upper, 1] - (points + blink)[lower, 1]
        blink[upper, 1] -= (1 - LOWER_LID) * apart
        blink[lower, 1] += LOWER_LID * apart
    return deltas


def normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(n, 3) of length 1: the mean of the triangles around, by their area."""
    corners = points[triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(points, dtype=float)
    for corner in range(3):
        np.add.at(total, triangles[:, corner], across)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), (0.0, 0.0, 1.0))


def grid(points: np.ndarray, places: np.ndarray) -> Part:
    """A surface of points (h, w, 3), seen from where its rows go down and its columns to the right."""
    height, width = points.shape[:2]
    at = np.arange(height * width).reshape(height, width)
    a, b, c, d = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel()
    triangles = np.concatenate((np.column_stack((a, b, c)), np.column_stack((c, b, d))))
    return Part(points.reshape(-1, 3), places.reshape(-1, 2), triangles)


def ball(rings: int = 16, spokes: int = 32) -> Part:
    """The eyeball about the origin, its pole, the middle of the texture, towards +z."""
    away, around = np.linspace(0.02, 0.75 * np.pi, rings)[:, None], np.linspace(0, 2 * np.pi, spokes + 1)[None]
    points = np.stack(
        (
            np.sin(away) * np.sin(around),
            np.sin(away) * np.cos(around),
            np.broadcast_to(np.cos(away), (rings, spokes + 1)),
        ),
        -1,
    )
    reach = away / (0.75 * np.pi) / 2
    places = np.stack((0.5 + reach * np.sin(around), 0.5 - reach * np.cos(around)), -1)
    return grid(EYE * points, places)


def teeth(upper: bool, middle: np.ndarray) -> Part:
    """A row of teeth along an arch, whose edge in the middle is at ``middle`` (3,)."""
    across, down = np.linspace(-2.3, 2.3, 47), np.linspace(0, 1, 6)
    x, v = np.meshgrid(across, down)
    y = TOOTH * (1 - v) if upper else -TOOTH * v
    z = -ARCH * x**2 - 0.12 * (2 * v - 1) ** 2
    places = np.stack(((x + 2.3) / 4.6, v if upper else 1 - v), -1)
    return grid(np.stack((x, y, z), -1) + middle, places)


def cavity(middle: np.ndarray) -> Part:
    """The dark cavity behind the teeth: an ellipse."""
    out, around = np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 2 * np.pi, 25), indexing="ij")
    points = np.stack((-3.3 * out * np.sin(around), 2.7 * out * np.cos(around) - 1.2, np.full_like(out, -1.7)), -1)
    return grid(points + middle, np.zeros((5, 25, 2)))


# ---------------------------------------------------------------- textures


def eye_texture(person: Person | None, size: int = 256) -> np.ndarray:
    """(size, size, 3) uint8: white, an iris of the portrait's colour, a pupil."""
    colour = np.array([96, 72, 52.0])
    if person is not None:
        height, width = person.picture.shape[:2]
        found = []
        for iris in (RIGHT_IRIS, LEFT_IRIS):
            ring = 0.45 * person.places[iris[0]] + 0.55 * person.places[iris[1:]]
            columns, rows = (ring * (width, height)).astype(int).clip(0, (width - 1, height - 1)).T
            found.append(person.picture[rows, columns])
        colour = np.median(np.concatenate(found), 0)
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    angle = np.hypot(x, y) * 2 * 0.75 * np.pi  # from the pole, radians
    edge = np.arcsin(IRIS / EYE)
    soft = lambda at, over=0.03: np.clip((angle - at) / over + 0.5, 0, 1)[..., None]
    streaks = 1 + 0.12 * np.cos(37 * np.arctan2(y, x))[..., None] * np.clip(angle / edge, 0, 1)[..., None]
    rim = 1 - 0.55 * np.clip(1 - np.abs(angle - edge) / 0.07, 0, 1)[..., None]
    iris = np.minimum(colour * streaks * 1.1, 255)
    white = np.array([236, 230, 226]) - np.clip(angle - 0.9, 0, 1)[..., None] * (0, 40, 45)
    made = (soft(edge) * white + (1 - soft(edge)) * iris) * rim
    made = made * soft(0.42 * edge) + 12 * (1 - soft(0.42 * edge))
    glint = np.clip(1 - np.hypot(x + 0.045, y + 0.05) / 0.018, 0, 1)[..., None]
    return np.clip(made * (1 - glint) + 255 * glint, 0, 255).astype(np.uint8)


def tooth_texture(width: int = 512, height: int = 128) -> np.ndarray:
    """(height, width, 3) uint8: fourteen teeth, their edges below."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    within = np.abs(2 * np.abs((14 * x) % 1 - 0.5))  # 0 in a tooth's middle, 1 between two
    shade = (1 - 0.5 * np.clip((within - 0.82) / 0.18, 0, 1)) * (0.8 + 0.2 * np.clip(2 * y, 0, 1))
    shade = shade * (1 - 0.45 * np.abs(2 * x - 1) ** 2)  # farther back it is darker
    gum = np.clip((0.22 - y + 0.08 * within**2) / 0.05, 0, 1)[..., None]
    return ((1 - gum) * shade[..., None] * (236, 228, 210) + gum * (150, 70, 70)).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return stream.getvalue()


# ---------------------------------------------------------------- the file


class Builder:
    """Accessors, pictures, materials and meshes of one file."""

    def __init__(self):
        self.data = b""
        self.views, self.accessors, self.images, self.materials, self.meshes = [], [], [], [], []

    def view(self, raw: bytes, target: int | None = None) -> int:
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)})
        self.views[-1] |= {} if target is None else {"target": target}
        self.data += raw + b"\0" * (-len(raw) % 4)
        return len(self.views) - 1

    def array(self, values: np.ndarray, form: str, target: int | None = None) -> int:
        """An accessor of values (n, ...)."""
        kind = INT if form == "SCALAR" and target else FLOAT
        raw = np.ascontiguousarray(values, np.uint32 if kind == INT else np.float32)
        facts = {"bufferView": self.view(raw.tobytes(), target), "componentType": kind, "count": len(raw), "type": form}
        low, high = (np.atleast_1d(f(raw, axis=0)).tolist() for f in (np.min, np.max))
        self.accessors.append(facts | {"min": low, "max": high})
        return len(self.accessors) - 1

    def material(
        self, name: str, pixels: np.ndarray | None, colour=(1.0, 1.0, 1.0), kind: str = "JPEG", rough: float = 0.8
    ) -> int:
        metal = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": rough}
        if pixels is not None:
            facts = {"bufferView": self.view(encoded(pixels, kind)), "mimeType": f"image/{kind.lower()}"}
            self.images.append({**facts, "name": name})
            metal["baseColorTexture"] = {"index": len(self.images) - 1}
        self.materials.append({"name": name, "doubleSided": True, "pbrMetallicRoughness": metal})
        return len(self.materials) - 1

    def mesh(self, name: str, part: Part, material: int, targets: np.ndarray | None = None) -> int:
        """A mesh of one part; ``targets`` (k, n, 3) in cm are its morph targets, named after ARKit."""
        before = normals(part.points, part.triangles)
        attributes = {
            "POSITION": self.array(part.points / 100, POSITION, 34962),
            "NORMAL": self.array(before, POSITION, 34962),
            "TEXCOORD_0": self.array(part.places, UV, 34962),
        }
        indices = self.array(part.triangles.ravel(), "SCALAR", 34963)
        first = {"attributes": attributes, "indices": indices, "material": material}
        mesh = {"name": name, "primitives": [first]}
        if targets is not None:
            moved = (normals(part.points + one, part.triangles) - before for one in targets)
            first["targets"] = [
                {"POSITION": self.array(one / 100, POSITION, 34962), "NORMAL": self.array(turned, POSITION, 34962)}
                for one, turned in zip(targets, moved)
            ]
            mesh |= {"weights": [0.0] * len(targets), "extras": {"targetNames": list(ARKIT)}}
        self.meshes.append(mesh)
        return len(self.meshes) - 1

    def packed(self, scene: dict) -> bytes:
        sampler = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        textures = [{"sampler": 0, "source": i} for i in range(len(self.images))]
        scene = scene | {
            "meshes": self.meshes,
            "materials": self.materials,
            "images": self.images,
            "textures": textures,
            "samplers": sampler,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.data)}],
        }
        text = json.dumps(scene, sort_keys=True).encode()
        text += b" " * (-len(text) % 4)
        chunk = lambda kind, body: struct.pack("<II", len(body), kind) + body
        body = chunk(0x4E4F534A, text) + chunk(0x004E4942, self.data)
        return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body


def eye_turns(coefs: np.ndarray, name: str) -> np.ndarray:
    """(t, 52) -> quaternions (t, 4) of the eyeball on the side ``name``."""
    from scipy.spatial.transform import Rotation

    column = lambda look: coefs[:, INDEX[f"eyeLook{look}{name}"]]
    outward = 1 if name == "Left" else -1  # the person's left is +x
    yaw, pitch = outward * (column("Out") - column("In")), column("Down") - column("Up")
    return Rotation.from_euler("YX", EYE_TURN * np.stack((yaw, pitch), 1)).as_quat()


def build(motion: Motion, basis: FaceBasis, manifest: dict, look: Person | None = None) -> bytes:
    """The file's content; the animation lasts exactly as long as the motion's frames."""
    from scipy.spatial.transform import Rotation

    made = Builder()
    points = shut(basis.neutral) if look is None else look.points
    holes = np.any([np.isin(basis.triangles, hole).all(1) for hole in HOLES], 0)
    places = np.full((468, 2), 0.5) if look is None else look.places[:468]
    skin = Part(points[:468], places, basis.triangles[~holes])
    coat = made.material("skin", None if look is None else look.picture, CLAY if look is None else (1.0, 1.0, 1.0))
    meshes = [made.mesh("skin", skin, coat, targets(points, basis.deltas)[:, :468])]
    eye = made.mesh("eyeball", ball(), made.material("eye", eye_texture(look), kind="PNG", rough=0.25))
    white = made.material("teeth", tooth_texture(), kind="PNG", rough=0.4)
    seam = points[[13, 14]].mean(0) - (0, 0, LIP_TO_TEETH)
    meshes += [
        made.mesh("upper teeth", teeth(True, seam - (0, 0.15, 0)), white),
        made.mesh("lower teeth", teeth(False, seam - (0, 0.1, 0.15)), white),
        made.mesh("mouth", cavity(seam), made.material("mouth", None, (0.06, 0.012, 0.012))),
    ]
    held = lambda values: np.concatenate((values, values[-1:]))  # the last frame is shown as long as any other
    coefs = held(motion.coefs.clip(0, 1))
    jaw = side("jawOpen") + side("jawForward") + side("jawLeft") + side("jawRight")
    carried = coefs[:, jaw] @ basis.deltas[jaw][:, [17, 152, 84, 314]].mean(1) / 100
    centres = [points[iris[0]] - (0, 0, EYE + BEHIND) for iris in (LEFT_IRIS, RIGHT_IRIS)]
    at = lambda place: {"translation": (place / 100).tolist()}
    nodes = [
        {"name": "neck", "children": [1], **at(PIVOT)},
        {"name": "head", "children": [2, 3, 4, 5, 6, 7], **at(-PIVOT)},
        {"name": "skin", "mesh": meshes[0]},
        {"name": "left eye", "mesh": eye, **at(centres[0])},
        {"name": "right eye", "mesh": eye, **at(centres[1])},
        {"name": "upper teeth", "mesh": meshes[1]},
        {"name": "lower teeth", "mesh": meshes[2]},
        {"name": "mouth", "mesh": meshes[3]},
    ]
    times = made.array(np.arange(len(coefs)) / FPS, "SCALAR")
    moves = [
        (0, "rotation", made.array(held(Rotation.from_rotvec(motion.turns).as_quat()), "VEC4")),
        (2, "weights", made.array(coefs.ravel(), "SCALAR")),
        (3, "rotation", made.array(eye_turns(coefs, "Left"), "VEC4")),
        (4, "rotation", made.array(eye_turns(coefs, "Right"), "VEC4")),
        (6, "translation", made.array(carried, POSITION)),
    ]
    animation = {
        "name": "speech",
        "samplers": [{"input": times, "output": output} for _, _, output in moves],
        "channels": [{"sampler": i, "target": {"node": node, "path": path}} for i, (node, path, _) in enumerate(moves)],
    }
    return made.packed(
        {
            "asset": {"version": "2.0", "generator": "affekt", "extras": manifest},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": nodes,
            "animations": [animation],
        }
    )
