"""Writes a page that plays the results in a folder: scenes first, then voice, face and piano by emotion and intensity.
One file beside the results, with relative links; needs no network and no server."""

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from gen import media
from gen.emotion.picture import COLOURS, INK
from gen.emotion.spec import CANONICAL, Emotion, EmotionCurve
from gen.errors import InputError

ASSETS = Path(__file__).parent / "assets"
TITLES = {"talk": "Face", "voice": "Voice", "music": "Piano"}  # rows of a grid, in this order
STEMS = (".speech", ".music", ".voice", ".face", ".piano")  # stems and parts of a scene, not separate results
LEAD = (
    "A face, a voice and a piano with the same emotion. Everything here is AI-generated, and each file "
    "is marked as such: check it with <code>affekt verify FILE</code>."
)
HELP = "Tab or arrow keys move between players, Space plays; only one plays at a time."


class Shown(NamedTuple):
    """A result: its kind, its emotion, and its files by extension."""

    kind: str
    curve: EmotionCurve
    name: str
    files: dict[str, str]  # ".mp4" -> URL relative to the page
    borrowed: bool = False  # the emotion is that of a file, which is not available

    def first(self, endings: Iterable[str]) -> str | None:
        """The extension of the first file with one of these."""
        return next((end for end in endings if end in self.files), None)

    @property
    def asked(self) -> str:
        return "as in a file" if self.borrowed else str(self.curve)

    @property
    def emotion(self) -> Emotion:
        return self.curve.keyframes[-1].emotion

    @property
    def base(self) -> str:
        """The emotion at intensity 1."""
        return str(self.emotion.model_copy(update={"intensity": 1.0}))

    @property
    def steady(self) -> bool:
        return len(self.curve.keyframes) == 1 and not self.borrowed


class Grid(NamedTuple):
    """Results in a table: a row per kind, a column for each of ``keys``."""

    title: str
    lead: str
    heads: list[str]
    keys: list
    cells: dict[tuple, Shown]  # (kind, key): the first result of that kind


def write(folder: Path, title: str) -> Path:
    """Writes ``index.html`` to ``folder``. Raises ``InputError`` if it has no rendered results."""
    found = results(folder)
    if not found:
        raise InputError(f"{folder} has no rendered results: give the folder of `affekt render --out`")
    style, script = ((ASSETS / f"page.{end}").read_text(encoding="utf-8") for end in ("css", "js"))
    grids = list(_grids(found))
    placed = {one.name for grid in grids for one in grid.cells.values()}
    left = [one for one in found if one.kind in TITLES and one.name not in placed]
    body = "".join([*_scenes(found, folder), *(_grid(grid, folder) for grid in grids), *_others(left, folder)])
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body><header><h1>{html.escape(title)}</h1><p>{LEAD}</p></header><main>{body}</main>"
        f"<footer>{HELP}</footer><script>{script}</script></body></html>\n"
    )
    path = folder / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


def results(folder: Path) -> list[Shown]:
    """The results in a folder, found by their sidecar manifests, sorted by name."""
    files: dict[Path, dict[str, str]] = {}
    tasks: dict[Path, dict] = {}
    for note in sorted(folder.rglob("*.json")):
        path = note.with_suffix("")
        task = _task(note) if path.is_file() else None
        if task and Path(path.stem).suffix not in STEMS:
            item = path.with_suffix("")
            files.setdefault(item, {})[path.suffix] = quote(path.relative_to(folder).as_posix())
            tasks[item] = task
    found = []
    for item, task in tasks.items():
        given = task.get("emotion") or {}
        known = {name: given[name] for name in ("keyframes", "unit") if given.get("keyframes")}
        curve, name = EmotionCurve.model_validate(known or "neutral"), item.relative_to(folder).as_posix()
        found.append(Shown(task["kind"], curve, name, files[item], borrowed=not known))
    return found


def _task(note: Path) -> dict | None:
    """The task of a manifest; None for other JSON files."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        return None
    task = found.get("task") if isinstance(found, dict) else None
    return task if isinstance(task, dict) and isinstance(task.get("kind"), str) else None


# ---------------------------------------------------------------- sections


def _scenes(found: list[Shown], folder: Path) -> Iterable[str]:
    if scenes := [one for one in found if one.kind == "scene"]:
        cells = "".join(f'<div class="beside">{_cell(one, folder)}{_told(one, folder)}</div>' for one in scenes)
        yield f'<section class="hero"><h2>Scenes</h2>{cells}</section>'


def _told(one: Shown, folder: Path) -> str:
    """A scene's emotion in words and as a curve, and its waveform."""
    film = one.first(media.PLAYED)
    sound = f"<h4>Sound</h4>{wave(folder / f'{one.name}{film}', INK)}" if film else ""
    return (
        f"<div><h3>{html.escape(one.asked)}</h3><p>The voice and the face express this emotion, and the "
        "piano plays it, softer during speech.</p><h4>Emotion over time <span class='gold'>valence</span> "
        f"<span class='blue'>arousal</span></h4>{way(one.curve)}{sound}</div>"
    )


def _grids(found: list[Shown]) -> Iterable[Grid]:
    """Grids of kinds over emotions, then over the intensities of each emotion that has several."""
    steady = [one for one in reversed(found) if one.kind in TITLES and one.steady]
    plain = {(one.kind, one.base): one for one in steady if one.emotion.intensity == 1}
    if bases := sorted_by({base for _, base in plain}):
        heads = [_head(base, next(one for (_, own), one in plain.items() if own == base).emotion) for base in bases]
        yield Grid("Side by side", "", heads, bases, plain)
    for base in sorted_by({one.base for one in steady}):
        own = {(one.kind, one.emotion.intensity): one for one in steady if one.base == base}
        strengths = sorted({strength for _, strength in own})
        if len(strengths) > 1:
            heads = [f"<th scope='col'>{strength:g}</th>" for strength in strengths]
            say = "<p>0 is neutral, 1 natural, 2 the maximum.</p>"
            yield Grid(f"{base.capitalize()}, by intensity", say, heads, strengths, own)


def sorted_by(bases: Iterable[str]) -> list[str]:
    """The canonical emotions in order, then the others."""
    return sorted(bases, key=lambda base: (CANONICAL.index(base) if base in CANONICAL else 99, base))


def _grid(grid: Grid, folder: Path) -> str:
    rows = []
    for kind, name in TITLES.items():
        own = [grid.cells.get((kind, key)) for key in grid.keys]
        if any(own):
            inner = "".join(f"<td>{_cell(one, folder) if one else ''}</td>" for one in own)
            rows.append(f"<tr><th scope='row'>{name}</th>{inner}</tr>")
    table = f"<table><thead><tr><td></td>{''.join(grid.heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<section><h2>{html.escape(grid.title)}</h2>{grid.lead}<div class='wide'>{table}</div></section>"


def _head(base: str, emotion: Emotion) -> str:
    return f"<th scope='col' style='--own:{_colour(emotion)}'><i></i>{html.escape(base)}</th>"


def _others(left: list[Shown], folder: Path) -> Iterable[str]:
    """Cells of the remaining results: curves, single intensities, and further seeds."""
    if left:
        cells = "".join(_cell(one, folder, f"{TITLES[one.kind]}, {one.asked}") for one in left)
        yield f"<section><h2>More</h2><div class='cells'>{cells}</div></section>"


# ---------------------------------------------------------------- a cell


def _cell(one: Shown, folder: Path, caption: str = "") -> str:
    """A player, a visualisation of a sound, and links to the files."""
    says = html.escape(f"{TITLES.get(one.kind, 'Scene')}, {one.asked}", quote=True)
    if film := one.first(media.PLAYED):
        player = f'<video controls preload="metadata" src="{one.files[film]}#t=0.1" aria-label="{says}"></video>'
    elif picture := one.first((".gif", ".png")):
        player = f'<img src="{one.files[picture]}" alt="{says}">'
    elif sound := one.first(media.SOUND):
        path = folder / f"{one.name}{sound}"
        score = folder / f"{one.name}.mid"
        picture = roll(score, _colour(one.emotion)) if score.is_file() else wave(path, _colour(one.emotion))
        player = f'{picture}<audio controls preload="metadata" src="{one.files[sound]}" aria-label="{says}"></audio>'
    else:
        player = roll(folder / f"{one.name}.mid", _colour(one.emotion))
    links = " ".join(f'<a href="{at}" download>{end[1:]}</a>' for end, at in sorted(one.files.items()))
    text = f"<b>{html.escape(caption)}</b> " if caption else ""
    return f'<figure class="{one.kind}">{player}<figcaption>{text}{links}</figcaption></figure>'


def _colour(emotion: Emotion) -> str:
    """The colour of the nearest canonical emotion."""
    weights = emotion.weights()
    return COLOURS.get(CANONICAL[int(weights.argmax())], INK)


def way(curve: EmotionCurve, wide: int = 300, high: int = 84) -> str:
    """Valence and arousal of a curve over time as SVG, up to two seconds after its last keyframe."""
    asked = curve.sample(np.linspace(0, curve.keyframes[-1].at + 2, 61))
    lines = []
    for axis, colour in ((0, "#c77d0a"), (1, "#3f7cac")):
        values = np.clip(asked.vad[:, axis] * asked.intensity, -1, 1)
        points = " ".join(f"{i * wide / 60:.1f},{high / 2 - v * (high / 2 - 3):.1f}" for i, v in enumerate(values))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
    middle = f'<path d="M0 {high / 2}H{wide}" stroke="#e6dfd3"/>'
    return _svg(middle + "".join(lines), INK, wide, high)


def roll(score: Path, colour: str, wide: int = 300, high: int = 84) -> str:
    """A piano roll as SVG; louder notes are darker."""
    notes = [note for track in media.read_midi(score).to("second").tracks for note in track.notes]
    end = max(note.start + note.duration for note in notes)
    low, top = min(note.pitch for note in notes) - 2, max(note.pitch for note in notes) + 2
    step = high / (top - low)
    bars = "".join(
        f'<rect x="{note.start / end * wide:.1f}" y="{(top - note.pitch) * step:.1f}" rx="1" '
        f'width="{max(1.2, note.duration / end * wide - 0.6):.1f}" height="{max(1.5, step):.1f}" '
        f'opacity="{0.25 + 0.75 * note.velocity / 127:.2f}"/>'
        for note in notes
    )
    return _svg(bars, colour, wide, high)


def wave(sound: Path, colour: str, wide: int = 300, high: int = 84, count: int = 100) -> str:
    """The loudness of a sound over time as SVG."""
    samples, _ = media.read_audio(sound, mono=False)
    level = np.sqrt([np.square(part).mean() for part in np.array_split(samples, count, axis=1)])
    sizes = np.maximum(level / (level.max() + 1e-9), 0.02) * (high - 8)
    step = wide / count
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{(high - size) / 2:.1f}" width="{step * 0.6:.1f}" height="{size:.1f}" rx="1"/>'
        for i, size in enumerate(sizes)
    )
    return _svg(bars, colour, wide, high)


def _svg(inner: str, colour: str, wide: int, high: int) -> str:
    return (
        f'<svg viewBox="0 0 {wide} {high}" preserveAspectRatio="none" fill="{colour}" aria-hidden="true">{inner}</svg>'
    )
