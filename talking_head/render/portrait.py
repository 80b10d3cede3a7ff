"""A photograph with a face, ready to be moved: ``Portrait.frame(coefs, turn)``.

The face is a linear basis on the tracked points (:mod:`talking_head.face.basis`). It warps the photograph as two
sheets; mouth and eyes are drawn behind them; pixels outside the head do not change.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from talking_head.face.basis import FIRST, SIXTY_EIGHT, FaceBasis
from talking_head.face.points import (
    ARKIT,
    INDEX,
    LEFT_IRIS,
    OVAL,
    RIGHT_IRIS,
    side,
)
from talking_head.face.pose import matrix, placed, upward
from talking_head.face.surface import bent
from talking_head.face.tracker import Face
from talking_head.render import body, glasses, lids, lips, sheets
from talking_head.render.covered import covered
from talking_head.render.eyes import eyeball, within_lids
from talking_head.render.inside import Inside, Plane
from talking_head.render.opening import Opening, opening
from talking_head.render.own import own_expression
from talking_head.render.person import Person, as_tensor
from talking_head.render.shading import Shading
from talking_head.render.warp import Photograph, enlarged, inverted, part_of, sampled

FLAT = 0.85  # factor of the depth: a smaller one folds the far cheek less
PIVOT = np.array([0.0, -9.0, -7.0])  # cm: centre of head rotation
REACH = 2.35  # half side of the moving box, in radii of the face
BELOW = 3.2  # the same below the face, if shoulders move
BEND = 0.5  # smoothing of the spline from the skin model to the photograph
BROAD = 0.5  # smile coefficient of a broad smile
OWN_SHADE = 0.35  # share of the photograph's expression removed from shading: the model's folds are deeper
BEHIND_GLASSES = 0.6  # share of shading removed behind glasses
GAZE = 0.42  # cm of iris movement at eyeLook 1
LIDS = np.array([INDEX[n] for name in ("eyeBlink", "eyeWide") for n in (name + "Left", name + "Right")])
LID_PULL = 0.3  # share of a closing lid's movement followed by the skin above
ASIDE = 0.5  # horizontal reach of an opening relative to its vertical reach
WIDE = 0.55  # of an eye's height: extra opening at eyeWide 1
NARROW, OPEN = 0.3, 0.58  # of the eye's width: smallest height used for extra opening, largest height
ROOM = 0.7  # of the distance from brow to lid: largest brow drop
SHUT = 0.12  # of an eye's height: overlap of the lids of a closed eye
SHADOW, LID_SHADOW = 0.75, 0.1  # darkening below a raised upper lid, and its extent in cm


class Portrait:
    """``picture`` (h, w, 3) uint8 with its tracked face; frames have the same size. With a ``person``, the background
    stays still; if ``person.behind`` is None, frames have four channels."""

    def __init__(self, picture: np.ndarray, face: Face, basis: FaceBasis, person: Person | None = None):
        self.worn = glasses.seen(picture, face.landmarks)
        basis = glasses.stiff(basis, self.worn)
        self.basis, self.picture, self.cut_out = basis, picture, person is not None
        self.covered = covered(picture, face.landmarks)  # then the mouth does not move
        landmarks = (face.landmarks if self.covered else lips.found(picture, face.landmarks)) * (1, 1, FLAT)
        self.place = placed(landmarks, basis.canonical)
        self.scale, self.rotation, self.shift = self.place
        self.points = sheets.straighten(landmarks, self.place)  # (478, 3)
        self.low, size = self._box(landmarks)
        self.size = tuple(int(v) for v in size)  # width, height
        self.moves = np.concatenate((basis.deltas, sheets.movements(basis)[52:]))
        built = sheets.build(landmarks, self.place, basis, self.low, size)
        self.rest = torch.from_numpy(built.points)
        self._follow(built)
        self.sheet_moves = torch.from_numpy(built.moves.reshape(2, built.moves.shape[1], -1))
        self.box = as_tensor(picture[self._part()])
        self._layers(person)
        self.had, self.own = own_expression(face.coefs)
        self.gaps0 = self._gaps(self.points)
        self.brow_room = ROOM * np.array(
            [
                self.points[brow[1:], 1].mean() - self.points[upper[2:7], 1].mean()
                for brow, (upper, _) in zip(BROWS, sheets.OPENINGS[1:], strict=True)
            ]
        )
        self.widening = [self._widening(*pair) for pair in zip(sheets.OPENINGS[1:], self.gaps0[1:], strict=True)]
        neutral = self.points + np.tensordot(-self.own, basis.deltas, 1)
        self.lip_rest = self._gaps(neutral)[0]
        self._interior(neutral)
        self.shading = self._shading(neutral)
        self.folds = self.shading.own_folds(self.own)

    @property
    def broad(self) -> bool:
        """True if the photograph has a broad smile with teeth, which remains in part in every expression."""
        return self.inside.teeth is not None and float(self.had[side("mouthSmile")].mean()) > BROAD

    def _box(self, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        middle = landmarks[OVAL, :2].mean(0)
        radius = np.abs(landmarks[OVAL, :2] - middle).max()
        h, w = self.picture.shape[:2]
        low = np.clip(np.floor(middle - REACH * radius), 0, None).astype(int)
        down = (REACH, BELOW if self.cut_out else REACH)
        high = np.minimum(np.ceil(middle + np.multiply(down, radius)), (w, h)).astype(int)
        return low, high - low

    def _follow(self, built: sheets.Sheets) -> None:
        """Set the weights of head and shoulder movement of each grid point."""
        follow, carried = built.follow, np.zeros_like(built.follow)
        if self.cut_out:
            follow, carried = body.follow(built.points, self.points)
            carried *= body.faded(sheets.GRID, self.low, np.array(self.size), self.picture.shape[1::-1])
            self.rest[:, 2].clamp_min_(body.DEEPEST)
        self.follow, self.carried = (torch.from_numpy(v.astype(np.float32))[:, None] for v in (follow, carried))

    def _layers(self, person: Person | None) -> None:
        """Set the moving layer (3 or 4, h, w) of the box and the background."""
        mouth = self._opening(self.project(self.points), 0, 2.0)
        moved, self.behind, self.canvas = lips.alone(self.box, mouth, self.scale), None, self.picture
        if self.cut_out:
            part = self._part()
            mask, cut = person.mask[part], person.cut[:, *part]
            moved = torch.cat((cut + mask * (moved - self.box), mask[None]))
            if person.behind is None:
                self.canvas = bytes_of(torch.cat((person.cut / person.mask.clamp_min(1e-3), person.mask[None])))
            else:
                self.behind = person.behind[:, *part].contiguous()
                self.canvas = bytes_of(person.cut + (1 - person.mask) * person.behind)
        self.photograph = Photograph.of(moved)

    def _part(self) -> tuple[slice, slice]:
        """Rows and columns of the moving box."""
        (x, y), (w, h) = self.low, self.size
        return slice(y, y + h), slice(x, x + w)

    def _taken(self, coefs: np.ndarray) -> np.ndarray:
        """Part of the photograph's expression removed for ``coefs`` (52,); what ``coefs`` request again remains."""
        again = np.clip(coefs / np.maximum(self.had, 1e-3), 0, 1)
        return self.own - (self.own - self.had).clip(0) * again

    def _lowered(self, moved: np.ndarray) -> np.ndarray:
        """Coefficients (52,) with brow drop limited by the distance between brows and eyes of this face."""
        moved = moved.copy()
        for name, brow, room in zip(("Right", "Left"), BROWS, self.brow_room, strict=True):
            down, nose = (INDEX[part + name] for part in ("browDown", "noseSneer"))
            drop = -self.basis.deltas[:, brow[1:], 1].mean(1)
            left = (room - moved[nose] * drop[nose]) / (drop[down] + 1e-6)
            moved[down] = max(min(moved[down], left), min(moved[down], 0.5))
        return moved

    def _interior(self, neutral: np.ndarray) -> None:
        """Build mouth interior, eyeballs and lid skin; ``neutral`` (478, 3): the neutral face."""
        flat, skin = self.project(self.points), self._skin()
        line = neutral[[13, 14], 1].mean()
        low, high = (np.clip(f(flat[OVAL], 0), 0, self.size).astype(int) for f in (np.min, np.max))
        face = self.box[:, low[1] : high[1] : 2, low[0] : high[0] : 2].flatten(1)
        seen = self._opening(flat, 0, 2.0)
        lowest, down = self.points[[87, 14, 317], 1].mean(), -float(self.basis.deltas[INDEX["jawOpen"], 14, 1])
        self.inside = Inside(self.box, seen, face, skin, self.scale, line, lowest, down, float(neutral[13, 2]))
        self.skins = [lids.grown_over(self.box, flat[a], flat[b], self.scale) for a, b in sheets.OPENINGS[1:]]
        self.eyes = [
            eyeball(self.box, flat[upper], flat[lower], flat[iris])
            for (upper, lower), iris in zip(sheets.OPENINGS[1:], (RIGHT_IRIS, LEFT_IRIS), strict=True)
        ]

    def _shading(self, neutral: np.ndarray) -> Shading:
        skin, known = self.basis.skin, SIXTY_EIGHT[FIRST]
        rest = bent(self.basis.neutral[known], neutral[known], skin.neutral, BEND) + np.tensordot(
            self.own, skin.deltas, 1
        )
        bare = 1 - BEHIND_GLASSES * self.worn * glasses.behind(self.basis.neutral, skin.neutral)
        flat, share = self.project(self.points), np.linspace(0, 1, 7)[:, None, None]
        filled = [flat[upper] * share + flat[lower] * (1 - share) for upper, lower in sheets.OPENINGS]
        holes = np.concatenate([points.reshape(-1, 2) for points in filled])
        return Shading(self.box, skin, rest, self.project(rest), self.scale, self.rotation, bare, holes)

    def _factors(self, moved: np.ndarray) -> Tensor:
        """Shading factors on the grid for an expression that differs by ``moved`` (52,) from the photograph's."""
        taken = np.clip(-moved, 0, self.own)
        return self.shading(moved + (1 - OWN_SHADE) * taken, self.folds * float(taken.sum() / (self.own.sum() + 1e-6)))

    def _shade(self, made: Tensor, factors: Tensor, source: Tensor, flat: np.ndarray) -> None:
        """Multiply the frame's box (3, h, w), sampled at ``source``, by the shading factors."""
        low = np.maximum(flat.min(0) - 0.25 * np.ptp(flat, axis=0), 0).astype(int)
        high = np.minimum(flat.max(0) + 0.1 * np.ptp(flat, axis=0), self.size).astype(int)
        part = slice(low[1], high[1]), slice(low[0], high[0])
        made[:, *part] *= sampled(factors, self.shading.where(source[part], self.size))

    def _skin(self) -> np.ndarray:
        """Median colour (3,) of cheeks and nose."""
        spots = self.project(self.points[[50, 280, 205, 425, 4, 195, 117, 346]]).astype(int)
        spots = spots.clip(1, np.array(self.size) - 2)
        found = [self.box[:, y - 1 : y + 2, x - 1 : x + 2].mean((1, 2)).numpy() for x, y in spots]
        return np.median(found, 0)

    def project(
        self, points: np.ndarray, turn: np.ndarray | None = None, drift: np.ndarray | None = None
    ) -> np.ndarray:
        """Canonical points (n, 3) -> pixels of the box (n, 2), the head turned by ``turn`` (3, 3)."""
        there = self.scale * points @ self.rotation.T + self.shift
        if turn is not None:
            pivot = self.scale * self.rotation @ PIVOT + self.shift
            there = (there - pivot) @ turn.T + pivot + drift
        return upward(there)[:, :2] - self.low

    def _gaps(self, points: np.ndarray) -> list[np.ndarray]:
        """Heights (n,) in cm of the three openings at their inner points."""
        return [points[upper[1:-1], 1] - points[lower[1:-1], 1] for upper, lower in sheets.OPENINGS]

    def _widening(self, opening: tuple[np.ndarray, np.ndarray], gaps: np.ndarray) -> np.ndarray:
        """Extra opening in cm at the inner points of an eye with ``gaps`` (n,), per unit of its height: an arch.
        Glasses reduce it, because their rims would bend."""
        x = self.points[opening[0], 0]
        width, along = x[-1] - x[0], (x[1:-1] - x[0]) / (x[-1] - x[0])
        height = min(max(gaps.max(), NARROW * width), (OPEN * width - gaps.max()).clip(0) / (1.5 * WIDE))
        return height * (1 - BEHIND_GLASSES * self.worn) * (4 * along * (1 - along)).clip(0) ** 0.65

    def _corrections(self, coefs: np.ndarray, points: np.ndarray, closed: float) -> np.ndarray:
        """Corrections (corrections,) in cm of lip and lid points beyond the basis, so that lips meet and lids close."""
        found = []
        gaps = self._gaps(points)
        wanted = (gaps[0] - self.lip_rest).clip(0, None) * (1 - closed)
        wanted = np.minimum(wanted, wanted.max() * ROUNDED)
        off = gaps[0] - wanted
        found += [-0.35 * off, 0.65 * off]
        for gap, own, widening, name in zip(gaps[1:], self.gaps0[1:], self.widening, ("Right", "Left"), strict=True):
            value = lambda part, name=name: float(coefs[INDEX[f"eye{part}{name}"]])
            blink = np.clip(value("Blink") + 0.25 * max(0.0, value("LookDown")), 0, 1)
            further = WIDE * np.clip(value("Wide"), 0, 1.5) + 0.15 * np.clip(value("LookUp"), 0, 1)
            squint = 1 - 0.30 * np.clip(value("Squint"), 0, 1)
            wanted = (own + further * widening) * squint * (1 - blink)
            off = gap - np.maximum(wanted, 0) + SHUT * widening * ((blink - 0.75) / 0.25).clip(0)
            found += [-0.85 * off, 0.15 * off]
        return np.concatenate(found)

    @torch.inference_mode()
    def frame(
        self, coefs: np.ndarray, turn: np.ndarray | None = None, closed: float = 0.0, sway: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw a frame (h, w, 3 or 4) uint8 for coefficients (52,), a rotation vector (3,) of the head relative to the
        photograph, ``closed`` lips in [0, 1] regardless of the coefficients, and ``sway`` (2,) of the shoulders in cm
        right and up (only with a person)."""
        if self.covered:
            coefs = np.where(MOUTH, self.had, coefs)
        turn = matrix(np.zeros(3) if turn is None else turn)
        drift = np.array([turn[0, 2], -turn[1, 2], 0.0]) * self.scale * 1.5
        moved = self._lowered(coefs - self._taken(coefs))
        moved[LIDS] = 0
        basis_points = self.points + np.tensordot(moved, self.basis.deltas, 1)
        extra = self._corrections(coefs, basis_points, closed)
        if self.covered:
            extra[: len(ROUNDED) * 2] = 0
        skin = np.where(UPPER_LIDS & (extra < 0), LID_PULL * extra, extra)  # for the sheets; lids.draw does the rest
        sway = np.zeros(2) if sway is None or not self.cut_out else self.scale * sway
        above_off, below_off = self._offsets(np.concatenate((moved, skin)).astype(np.float32), turn, drift, sway)
        drift = drift + body.CARRIED * np.array([*sway, 0.0])
        source = enlarged(above_off, *self.size)
        flat, above = (
            self.project(basis_points + np.tensordot(beyond, self.moves[52:], 1), turn, drift)
            for beyond in (extra, skin)
        )
        openings = [self._opening(flat, i, self._reach(flat, i)) for i in range(3)]
        for seen in openings:
            if seen is not None:
                lower = part_of(below_off, *self.size, seen.rows, seen.columns)
                part = source[seen.rows, seen.columns]
                part.lerp_(lower, seen.below[..., None])
        seen = self.photograph.moved(source, above_off)
        made, mask = seen[:3], seen[3:]
        factors = self._factors(moved)
        self._shade(made, factors, source, flat)
        read = lambda at: sampled(self.photograph.fine[:3], at) * sampled(factors, self.shading.where(at, self.size))
        if not self.covered:
            lip = float(basis_points[14, 1] + (extra @ self.moves[52:, 14, 1]))
            self._fill_mouth(made, openings[0], coefs, turn, drift, lip)
        for i, name in enumerate(("Right", "Left")):
            self._fill_eye(made, openings[i + 1], self.eyes[i], coefs, name, turn, drift)
            contour = sheets.OPENINGS[i + 1][0]
            strip = lids.strip(above[contour], flat[BROWS[i]], self.scale)
            lids.draw(made, read, self.skins[i], source, strip, above[contour], flat[contour], self.scale, self.worn)
        return self._pasted(made, mask)

    def moving(self) -> np.ndarray:
        """Mask (h, w) of pixels that can change."""
        mask = np.zeros(self.picture.shape[:2], bool)
        grid = ((self.follow + self.carried).view(1, 1, sheets.GRID, sheets.GRID) > 0).float()
        near = torch.nn.functional.max_pool2d(grid, 3, 1, 1)
        mask[self._part()] = torch.nn.functional.interpolate(near, self.size[::-1])[0, 0].numpy() > 0
        return mask

    def _reach(self, flat: np.ndarray, which: int) -> float:
        """Pixels above and below an opening where its two sheets differ."""
        upper, _ = sheets.OPENINGS[which]
        return 0.5 * float(np.hypot(*(flat[upper[-1]] - flat[upper[0]])))

    def _opening(self, flat: np.ndarray, which: int, reach: float) -> Opening | None:
        upper, lower = sheets.OPENINGS[which]
        return opening(flat[upper], flat[lower], self.size, reach, aside=2 + ASIDE * reach)

    def _offsets(self, amounts: np.ndarray, turn: np.ndarray, drift: np.ndarray, sway: np.ndarray) -> Tensor:
        """Offsets (2, g, g, 2) from grid points to their sources on the upper and the lower sheet."""
        tensor = lambda values: torch.from_numpy(np.asarray(values, np.float32))
        off = (tensor(amounts) @ self.sheet_moves).view(2, -1, 3)
        place = tensor(self.scale * self.rotation.T)
        there = (self.rest + off) @ place + tensor(self.shift)
        pivot = tensor(self.scale * self.rotation @ PIVOT + self.shift)
        swing = (there - pivot) @ tensor((turn - np.eye(3)).T) + tensor(drift)
        shift = (off @ place + self.follow * swing)[..., :2] + self.carried * tensor(sway)
        shift = shift * tensor([1.0, -1.0])
        return inverted(shift.view(2, sheets.GRID, sheets.GRID, 2), self.size)

    def _fill_mouth(
        self, made: Tensor, seen: Opening | None, coefs: np.ndarray, turn: np.ndarray, drift: np.ndarray, lip: float
    ) -> None:
        seen = seen and seen.tight()
        if seen is None:
            return
        plane = self._plane(seen, self.inside.origin, turn, drift, np.zeros(2))
        part = made[:, seen.rows, seen.columns]
        part += (self.inside(seen, plane, coefs, lip) - part) * seen.inside

    def _plane(
        self, seen: Opening, origin: np.ndarray, turn: np.ndarray, drift: np.ndarray, aside: np.ndarray
    ) -> Plane:
        """The head's plane through ``origin`` (3,), which is seen ``aside`` (2,) pixels from its place."""
        ends = origin + np.array([[0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, -1]], np.float64)
        now, then = self.project(ends, turn, drift), self.project(ends)
        back = np.linalg.inv(np.stack((now[1] - now[0], now[2] - now[0]), 1))
        deep, back = (back @ (now[3] - now[0])).tolist(), back.tolist()
        left, top = (now[0] + aside).tolist()
        px = torch.arange(seen.columns.start, seen.columns.stop)[None] + (0.5 - left)
        py = torch.arange(seen.rows.start, seen.rows.stop)[:, None] + (0.5 - top)
        x, y = (px * row[0] + py * row[1] for row in back)
        across, down, start = (v.tolist() for v in (then[1] - then[0], then[2] - then[0], then[0]))
        return Plane(x, y, torch.stack([x * across[i] + y * down[i] + start[i] for i in range(2)], -1), deep)

    def _fill_eye(self, made: Tensor, seen: Opening | None, ball, coefs: np.ndarray, name: str, turn, drift) -> None:
        seen = seen and seen.tight()
        if seen is None or ball is None:
            return
        value = lambda part: float(np.clip(coefs[INDEX[f"eyeLook{part}{name}"]], -1, 1))
        outward = value("Out") - value("In")
        look = np.array([outward * (1 if name == "Left" else -1), value("Down") - value("Up")]) * GAZE * self.scale
        origin = self.points[RIGHT_IRIS[0] if name == "Right" else LEFT_IRIS[0]]
        there = self._plane(seen, origin, turn, drift, look).pixels
        extent = torch.tensor(ball.picture.shape[:0:-1])
        wide = float(np.clip(coefs[INDEX[f"eyeWide{name}"]], 0, 1))
        inner = sampled(torch.lerp(ball.picture, ball.wide, wide), (there - torch.tensor(ball.low)) / extent * 2 - 1)
        shadow = torch.exp(-seen.depth.clamp_min(0) / (LID_SHADOW * self.scale))
        inner = inner * (1 - SHADOW * wide * shadow)
        part = made[:, seen.rows, seen.columns]
        part += (inner - part) * within_lids(seen, wide)

    def _pasted(self, made: Tensor, mask: Tensor) -> np.ndarray:
        """Paste the moved box (3, h, w), with the ``mask`` (1, h, w) of a separated person, into the frame."""
        frame = self.canvas.copy()
        if self.behind is not None:
            made = torch.addcmul(made, (1 - mask).clamp_(0, 1), self.behind)
        elif self.cut_out:
            made = torch.cat((made / mask.clamp_min(1e-3), mask))
        pixels = (made.clamp_(0, 1) * 255).add_(0.5).to(torch.uint8).numpy()
        part = frame[self._part()]
        for channel in range(len(pixels)):
            part[..., channel] = pixels[channel]
        return frame


def bytes_of(picture: Tensor) -> np.ndarray:
    """(c, h, w) in [0, 1] -> (h, w, c) uint8."""
    return (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


MOUTH = np.array([name.startswith(("jaw", "mouth")) for name in ARKIT])
BROWS = np.array([[46, 53, 52, 65, 55], [276, 283, 282, 295, 285]])  # lower edges, right and left
ROUNDED = (1 - (np.arange(-4, 5) / 5) ** 2) ** 0.75  # largest opening of the inner lip points, of the height
UPPER_LIDS = np.isin(np.arange(46), (*range(18, 25), *range(32, 39)))  # of the corrections
