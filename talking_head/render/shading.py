"""Expression shading: the ratio of the photograph's light on skin with and without the expression.

The ratio of the two multiplies the photograph (Liu, Shan and Zhang, "Expressive Expression Mapping with Ratio Images",
SIGGRAPH 2001). Light is a quadratic form of the normal (Ramamoorthi and Hanrahan, "An Efficient Representation for
Irradiance Environment Maps", SIGGRAPH 2001), fitted to skin pixels; hollows get darker in addition. All terms that are
linear in the coefficients are computed once: tangents by deformation gradients, and the depth of hollows.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from talking_head.face.points import ARKIT
from talking_head.face.surface import Surface
from talking_head.render.warp import blur, sampled

COLUMNS = 112  # of the grid over the face
GAMMA = 2.2
WIDEST = 8  # largest extent of a triangle in cells
AROUND = 0.45  # cm, standard deviation of the neighbourhood for measuring hollows
HOLLOW, HOLLOWS = 0.35, (-0.15, 1.5)  # log of the darkening for a hollow of 1, and their range
DEEP = 0.18  # cm below the neighbourhood mean: depth of a hollow of 1
STIFF = 0.3  # weight of the hollows of :data:`WHOLE`
DARKEST, BRIGHTEST = -0.9, 0.22  # log
FILLED = 0.4  # log of the largest lightening of the photograph's folds
FLOOR = 0.25  # of the median light: lower limit
PRIOR = np.array([0.72, 0.38, 0.50, 0.0, 0.0, 0.06, 0.05, 0.0, -0.02])  # light from above and in front
TRUST = np.array([0.02] * 4 + [0.15] * 5)  # weight of that prior, as a share of the samples
EDGE = (0.2, 0.45)  # cm from eyes and mouth: start of shading, full shading
SURE = 0.6  # mask value of certain skin
RIM = (0.5, 0.8)  # share of skin in the neighbourhood: start of shading, full shading
FACING = (0.22, 0.5)  # normal component towards the viewer: hidden, visible
ODD = (0.45, 0.9)  # log ratio of a pixel to expected light: skin, not skin (brows, beard, hair, rims)
TINGE = (0.35, 0.7)  # log ratio of a colour to skin colour: the same
WHITE = (0.88, 0.99)  # brightness of overexposed skin
STEEP = (0.6, 1.8)  # range of a channel's exponent


WHOLE = np.array([name.startswith(("jaw", "browOuterUp")) for name in ARKIT])  # move the chin and the brows as a whole


def harmonics(normals: np.ndarray) -> np.ndarray:
    """(..., 3) unit normals, x right, y up, z to the viewer -> (..., 9) spherical harmonics, not normalised."""
    x, y, z = np.moveaxis(normals, -1, 0)
    return np.stack((np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y), -1)


def fitted_light(normals: np.ndarray, bright: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """(9,) light by robust regression (reweighted, Cauchy) of linear brightness (n,), its median 1, on normals (n, 3)
    that are ``trusted`` (n,) in [0, 1]; pulled towards light from above and in front."""
    basis, weight = harmonics(normals), trusted
    pull = TRUST * (trusted.sum() + 1)
    for _ in range(8):
        light = np.linalg.solve(
            (basis * weight[:, None]).T @ basis + np.diag(pull), (basis * weight[:, None]).T @ bright + pull * PRIOR
        )
        off = np.abs(bright - basis @ light)
        weight = trusted / (1 + (off / (1.5 * np.median(off) + 1e-3)) ** 2)
    return light


def operators(points: np.ndarray, triangles: np.ndarray):
    """Of a mesh (n, 3), (m, 3): sparse (n, n) derivatives along two tangents of each point, sparse (n, n) mean of the
    neighbours, and unit normals (n, 3)."""
    from scipy.sparse import csr_matrix, diags

    count, corner = len(points), points[triangles]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(cross, axis=1, keepdims=True) + 1e-9
    # gradients of the three hat functions, times the area
    slope = np.stack([np.cross(cross / area, corner[:, i - 1] - corner[:, i - 2]) for i in range(3)], 1)
    rows, columns = np.repeat(triangles, 3, 1).ravel(), np.tile(triangles, 3).ravel()
    spread = csr_matrix(
        (np.ones(triangles.size), (triangles.ravel(), np.repeat(np.arange(len(cross)), 3))), (count, len(cross))
    )
    normal = spread @ cross
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    first = np.cross(np.where(np.abs(normal[:, 1:2]) < 0.8, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]), normal)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    total = diags(1 / np.maximum(spread @ area[:, 0], 1e-9))
    values = [np.einsum("mjd,mid->mij", slope, t[triangles]) for t in (first, np.cross(normal, first))]
    along = [total @ csr_matrix((v.ravel(), (rows, columns)), (count, count)) for v in values]
    near = csr_matrix((np.ones(len(rows)), (rows, columns)), (count, count))
    near.data[:] = 1
    return *along, diags(1 / np.diff(near.indptr)) @ near, normal


class Shading:
    """Shading ratios for any expression, on a grid over the face; k points are visible."""

    def __init__(
        self,
        box: Tensor,
        surface: Surface,
        rest: np.ndarray,
        place: np.ndarray,
        scale: float,
        towards: np.ndarray,
        bare: np.ndarray,
        holes: np.ndarray,
    ):
        """``box`` (3, h, w) of the photograph; of the surface's points as it has them: ``rest`` (n, 3) in canonical
        axes, ``place`` (n, 2) in pixels of the box, ``scale`` of them a cm, and ``bare`` (n,) in [0, 1], less where
        skin is covered; ``towards`` (3, 3): canonical axes -> the camera's; ``holes`` (m, 2): pixels within eyes and
        mouth, not much further apart than they are from the edge."""
        u, v, near, normals = operators(rest, surface.triangles)
        normals = normals @ towards.T
        facing = np.clip((normals[:, 2] - FACING[0]) / (FACING[1] - FACING[0]), 0, 1)
        kept = np.flatnonzero(facing > 0)
        self._tables(np.concatenate((rest[None], surface.deltas)), u, v, near, normals, kept, towards)
        again = np.full(len(rest), -1)
        again[kept] = np.arange(len(kept))
        triangles = again[surface.triangles]
        self._grid(place[kept], triangles[(triangles >= 0).all(1)], (rest @ towards.T)[kept, 2])
        self.reach = AROUND * scale / self.cell
        near = cKDTree(holes).query(self.cells.reshape(-1, 2))[0].reshape(self.cells.shape[:2]) / scale
        beyond = as_tensor((near - EDGE[0]) / (EDGE[1] - EDGE[0])).clamp(0, 1)
        free = self.gathered(as_tensor((facing * bare)[kept])) * beyond
        self.free = (free > 0.3).float()
        self.share = blur(self.free[None], self.reach)[0].clamp_min(0.05)
        inside = ((self.share - RIM[0]) / (RIM[1] - RIM[0])).clamp(0, 1)
        pixels = self._pixels(box)
        odd = self._light(pixels.mean(0), normals[kept], free)
        self._skin(pixels, odd, free, inside)

    def _tables(self, shapes, u, v, near, normals, kept, towards) -> None:
        """``rest`` (6, k): two tangents in the camera's axes; ``moves`` (52, 7 k): theirs, and the way outwards, cm."""
        flat = shapes.transpose(1, 0, 2).reshape(shapes.shape[1], -1)
        shaped = lambda values: values.reshape(len(values), -1, 3)[kept] @ towards.T
        tangents = [shaped(near @ (d @ flat)) for d in (u, v)]
        rise = np.einsum("kcd,kd->kc", shaped(flat), normals[kept])[..., None]
        table = as_tensor(np.concatenate((*tangents, rise), -1).transpose(1, 2, 0))
        table[1:][WHOLE, 6] *= STIFF
        self.rest, self.moves = table[0, :6], table[1:].flatten(1)

    def _grid(self, place: np.ndarray, triangles: np.ndarray, depth: np.ndarray) -> None:
        """Cells over the face, and the three points that each one's value comes from: the corners of the foremost
        triangle (m, 3) over it, of points at ``place`` (k, 2) in pixels and at ``depth`` (k,) towards the viewer."""
        low, high = place.min(0), place.max(0)
        self.cell = cell = (high[0] - low[0]) / (COLUMNS - 4)
        rows = int((high[1] - low[1]) / cell) + 5
        y, x = np.mgrid[:rows, :COLUMNS]
        self.cells = np.stack((x, y), -1) * cell + low - 1.5 * cell
        self.extent = as_tensor(np.array([*(low - 2 * cell), cell * COLUMNS, cell * rows]))
        a, b, c = (place[triangles[:, i]] / cell - (low / cell - 1.5) for i in range(3))  # in cells
        turned = lambda p, q: p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
        area = turned(b - a, c - a)
        first = np.floor(np.minimum(np.minimum(a, b), c)).astype(int)
        wide = int(np.ceil((np.maximum(np.maximum(a, b), c) - first).max())) + 1
        weight, corner = np.zeros((rows * COLUMNS, 3), np.float32), np.zeros((rows * COLUMNS, 3), np.int64)
        order = np.argsort(depth[triangles].mean(1))
        order = order[area[order] ** 2 > 1e-12]
        for down, across in np.ndindex(min(wide, WIDEST), min(wide, WIDEST)):
            at = first[order] + (across, down)
            to_b, to_c = (turned((p - a)[order], at - a[order]) for p in (b, c))
            two = np.stack((-to_c, to_b), 1) / area[order, None]
            share = np.column_stack((1 - two.sum(1), two))
            inside = (share > -0.01).all(1) & (at >= 0).all(1) & (at < (COLUMNS, rows)).all(1)
            cells = at[inside, 1] * COLUMNS + at[inside, 0]
            weight[cells], corner[cells] = share[inside], triangles[order[inside]]
        self.weight, self.corner = as_tensor(weight.T), torch.from_numpy(np.ascontiguousarray(corner.T))

    def where(self, source: Tensor, size: tuple[int, int]) -> Tensor:
        """Places (..., 2) in [-1, 1] of the box (width, height) -> places in [-1, 1] of the grid."""
        corner, extent = self.extent[:2], self.extent[2:]
        scale = torch.tensor(size) / extent
        return source * scale + (scale - 1 - 2 * corner / extent)

    def gathered(self, values: Tensor) -> Tensor:
        """(..., k) at the points -> (..., rows, columns) of the grid."""
        return (values[..., self.corner] * self.weight).sum(-2).unflatten(-1, self.cells.shape[:2])

    def _around(self, rise: Tensor) -> Tensor:
        """Height (cm) of the neighbourhood above each cell."""
        return blur((rise * self.free)[None], self.reach)[0] / self.share - rise

    def _pixels(self, box: Tensor) -> Tensor:
        """(3, rows, columns): the photograph on the grid."""
        place = as_tensor(self.cells) / torch.tensor(box.shape[:0:-1]) * 2 - 1
        return sampled(blur(box, self.cell / 2), place).clamp_min(0.004)

    def _light(self, bright: Tensor, normals: np.ndarray, free: Tensor) -> Tensor:
        """Fit the light; return the absolute log ratio of each cell's brightness to the fitted light."""
        field = self.gathered(as_tensor(normals.T)).permute(1, 2, 0)
        field = (field / field.norm(dim=-1, keepdim=True).clamp_min(1e-6)).numpy()
        sure, linear = (free > SURE).numpy(), bright.numpy() ** GAMMA
        linear = linear / np.median(linear[sure])
        self.light = fitted_light(field[sure], linear[sure], np.ones(sure.sum()))
        expected = np.maximum(harmonics(field) @ self.light, FLOOR)
        self.floor = FLOOR * float(np.median(expected[sure]))
        self._form()
        return as_tensor(np.abs(np.log(linear / expected)) / GAMMA)

    def _skin(self, pixels: Tensor, odd: Tensor, free: Tensor, inside: Tensor) -> None:
        """``mask``: what is skin; ``power``: how each channel follows brightness, and on overexposed skin, which has
        lost its colour, more; ``room``: what is nearly white gets no brighter."""
        bright, logs = pixels.mean(0), pixels.log()
        self.level = logs.mean(0)
        chroma = logs - logs.mean(0)
        chroma = chroma - chroma[:, free > SURE].median(1).values[:, None, None]
        share = lambda value, ends: ((ends[1] - value) / (ends[1] - ends[0])).clamp(0, 1)
        over = 1 - share(bright, WHITE)
        sound = share(odd, ODD) * torch.maximum(share(chroma.abs().amax(0), TINGE), over)
        self.mask = blur((sound * free)[None], 1.0)[0] * inside
        core = (self.mask > 0.7) & (over == 0)
        power = torch.ones(3)
        if core.sum() > 200:  # cells
            level, own = self.level[core], logs[:, core]
            level, own = level - level.median(), own - own.median(1, keepdim=True).values
            power = ((level * own).sum(1) + 1) / ((level * level).sum() + 1)
        power = power[:, None, None] + 2 * over * chroma
        self.power = blur(power, 1.0).clamp(*STEEP)
        self.room = ((1 - bright) / 0.3).clamp(0, 1)

    def _form(self) -> None:
        """Light as a quadratic form of the normal: (3, 3), (3, 1) and a constant."""
        c0, cy, cz, cx, cxy, cyz, czz, cxz, cxx = self.light
        self.square = torch.tensor(
            [[cxx, cxy / 2, cxz / 2], [cxy / 2, -cxx, cyz / 2], [cxz / 2, cyz / 2, 3 * czz]], dtype=torch.float32
        )
        self.linear = torch.tensor([[cx], [cy], [cz]], dtype=torch.float32)
        self.constant = float(c0 - czz)
        self.before = self._lit(self.rest)

    def _lit(self, shape: Tensor) -> Tensor:
        """Tangents (6, k) -> log of the light (k,)."""
        ux, uy, uz, vx, vy, vz = shape
        normal = torch.stack((uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx))
        normal = normal / normal.norm(dim=0).clamp_min(1e-6)
        light = (normal * (self.square @ normal + self.linear)).sum(0) + self.constant
        return light.clamp_min(self.floor).log() / GAMMA

    def own_folds(self, own: np.ndarray) -> Tensor:
        """(rows, columns) log of what fills the dark folds that the photograph has for its own expression (52,)."""
        hollow = self._around(self.gathered((as_tensor(own) @ self.moves).view(7, -1)[6])) / DEEP
        lighter = blur(self.level[None], self.reach)[0] - self.level
        return lighter.clamp(0, FILLED) * blur(hollow.clamp(0, 1)[None], 1.5)[0] * self.mask

    def __call__(self, moved: np.ndarray, filled: Tensor | float = 0.0) -> Tensor:
        """Coefficients (52,) beyond the photograph's own, and the log of what is ``filled`` of its folds -> factors
        (3, rows, columns) of the grid."""
        change = (as_tensor(moved) @ self.moves).view(7, -1)
        ratio, rise = self.gathered(torch.stack((self._lit(self.rest + change[:6]) - self.before, change[6])))
        ratio = ratio - HOLLOW * (self._around(rise) / DEEP).clamp(*HOLLOWS)
        ratio = blur(ratio[None], 0.7)[0].clamp(DARKEST, BRIGHTEST) * self.mask
        dark = (ratio.clamp_max(0) + filled) * self.power
        return (dark + ratio.clamp_min(0) * self.room).exp()


def as_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
