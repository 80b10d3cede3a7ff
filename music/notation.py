"""A piece as a score: MusicXML for notation programs, and its pages as pictures (the extra ``score``).

A hand's part is one voice: chords as long as their longest note, at most until the hand strikes again; what sounds on
beyond that is the pedal's. Lengths that no single note value has are tied.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gen import media
from gen.errors import InputError
from gen.notes import note
from music.hands import chords, divide
from music.names import Key
from music.names import found as key_of
from music.tokens import POSITIONS, Grid

LEGATO = 2  # sixteenths of silence before the next onset that are written as if the chord was held
CHANGE = 0.06  # change of tempo since the last written one that is written: rubato is not
SIGNS = {0xECA5: "\u2669", 0xEA64: "\u266d", 0xEA65: None, 0xEA66: "\u266f"}  # of Verovio's music font in text
HEADING = re.compile(
    r'<text font-size="0px">\s*<tspan [^>]*class="rend" (x="\d+" y="\d+" text-anchor="\w+")>'
    r'(?:(?!</text>).)*?<tspan font-size="(\w+)">([^<]*)</tspan>.*?</text>',
    re.DOTALL,
)
NOTE = r"\s*<note>(?:(?!</note>).)*</note>"
LATE = re.compile(  # a chord, and the chord symbols that begin inside it
    rf"({NOTE}(?:(?=\s*<note>\s*<chord />){NOTE})*)"
    r"((?:\s*<harmony>(?:(?!</harmony>).)*<offset[^>]*>-(?:(?!</harmony>).)*</harmony>)+)",
    re.DOTALL,
)
WIDTH, PRINT, PAPER = 1600, 3308, 8.27  # pixels of a page on a screen and on paper, whose width is in inches


def write(grid: Grid, key: Key | None, stem: Path, manifest: dict, title: str) -> list[Path]:
    """Write ``STEM.musicxml``, ``STEM.pdf`` and a PNG per page (``STEM.png``, ``STEM-2.png``); return their paths. The
    PDF contains pictures, since converters of Verovio's SVG that need no system library misplace its text."""
    text = musicxml(grid, key or key_of(grid.notes), title)
    paths = [stem.with_suffix(".musicxml")]
    media.write_musicxml(paths[-1], text, manifest)
    drawn = pages(text)
    for number, pixels in enumerate(drawn, start=1):
        name = stem.name if number == 1 else f"{stem.name}-{number}"
        paths.append(stem.with_name(f"{name}.png"))
        media.write_image(paths[-1], pixels, manifest)
    if drawn:
        paths.append(stem.with_suffix(".pdf"))
        media.write_pdf(paths[-1], pages(text, PRINT), PRINT / PAPER, manifest)
    return paths


def _needed(name: str):
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise InputError('scores need music21 and verovio: run `pip install -e ".[score]"` in the checkout') from None


def musicxml(grid: Grid, key: Key, title: str) -> str:
    """The grid as MusicXML: two staves, bars, key, tempo, chord symbols, pedal."""
    m21 = _needed("music21")
    hands, score = divide(grid), m21.stream.Score()
    score.metadata = m21.metadata.Metadata(title=title, composer=media.COPYRIGHT)
    staves = []
    for at, (notes, clef) in enumerate(((hands.right, m21.clef.TrebleClef()), (hands.left, m21.clef.BassClef()))):
        staff = m21.stream.PartStaff(id=f"P1-Staff{at + 1}")
        staff.partName = "Piano"
        voice, written = _voice(notes, len(grid.tempo)), 1.0
        for bar, bpm in enumerate(grid.tempo):
            measure = _measure(m21, bar, voice[bar], grid, key, at == 0, clef)
            if at == 0 and abs(bpm / written - 1) > CHANGE:
                written = bpm
                measure.insert(0, m21.tempo.MetronomeMark(number=round(float(bpm))))
            staff.append(measure)
        staves.append(staff)
        score.insert(0, staff)
    for down, up in hands.pedal:
        _pedal(m21, staves[1], down, up)
    score.insert(0, m21.layout.StaffGroup(staves, name="Piano", symbol="brace"))
    text = m21.musicxml.m21ToXml.GeneralObjectExporter(score).parse().decode("utf-8")
    text = re.sub(r"\s*<encoding-date>.*?</encoding-date>", "", text)  # the same piece gives the same bytes
    return LATE.sub(_early, text)


def _early(found: re.Match) -> str:
    """The chord symbols of a match of :data:`LATE` before their chord; Verovio misplaces those after a bar."""
    size = int(re.search(r"<duration>(\d+)", found[1])[1])
    return re.sub(r"(<offset[^>]*>)(-\d+)", lambda offset: f"{offset[1]}{size + int(offset[2])}", found[2]) + found[1]


def _voice(notes: np.ndarray, bars: int) -> list[list[tuple[int, int, tuple[int, ...]]]]:
    """Notes of a hand -> for each bar (position in the bar, sixteenths, pitches), ties cut at bar lines."""
    found: list[list] = [[] for _ in range(bars)]
    onsets = chords(notes)
    for i, chord in enumerate(onsets):
        at = int(chord[0, 0])
        following = int(onsets[i + 1][0, 0]) if i + 1 < len(onsets) else bars * POSITIONS
        stop = min(at + max(int(np.ceil(chord[:, 2].max())), 1), following)
        stop = following if following - stop <= LEGATO and following // POSITIONS == at // POSITIONS else stop
        bar = at // POSITIONS
        end = min(stop, (bar + 1) * POSITIONS)  # what sounds over a bar line is left to the pedal
        found[bar].append((at - bar * POSITIONS, end - at, tuple(sorted({int(p) for p in chord[:, 1]}))))
    return found


def _measure(m21, bar: int, voice: list, grid: Grid, key: Key, top: bool, clef):
    """A bar of a staff; the upper one has chord symbols."""
    measure = m21.stream.Measure(number=bar + 1)
    if bar == 0:
        measure.append([clef, m21.key.KeySignature(key.fifths), m21.meter.TimeSignature("4/4")])
    at = 0
    for position, size, pitch in voice:
        if position > at:
            measure.insert(at / 4, m21.note.Rest(quarterLength=(position - at) / 4))
        names = [m21.pitch.Pitch(_spelt(p, key)) for p in pitch]
        one = m21.note.Note(names[0]) if len(names) == 1 else m21.chord.Chord(names)
        one.quarterLength = size / 4
        measure.insert(position / 4, one)
        at = position + size
    if at < POSITIONS:
        rest = m21.note.Rest(quarterLength=(POSITIONS - at) / 4)
        measure.insert(at / 4, rest)
    if top:
        for beat in range(4):
            name, b = grid.chords[bar * 4 + beat], bar * 4 + beat
            if (b == 0 or name != grid.chords[b - 1]) and name != "N_N":
                measure.insert(beat, _symbol(m21, key.chord(name)))
    return measure


def _spelt(pitch: int, key: Key) -> str:
    """A pitch's name in a key; the octave is that of its letter, so that B# and Cb lie across its border."""
    name = key.spelt(pitch)
    return f"{name.replace('b', '-')}{pitch // 12 - 1 - (name == 'B#') + (name == 'Cb')}"


def _symbol(m21, name: str):
    """A chord symbol that takes no time."""
    root = name[:2] if name[1:2] in ("#", "b") else name[:1]
    symbol = m21.harmony.ChordSymbol(root.replace("b", "-") + name[len(root) :].replace("m7b5", "ø7"))
    symbol.writeAsChord = False
    return symbol


def _pedal(m21, staff, down: float, up: float) -> None:
    """A pedal mark from one sixteenth to another, on the notes of a staff between them."""
    bars = list(staff.getElementsByClass("Measure"))
    struck = [(bar.offset + one.offset, one) for bar in bars for one in bar.notes if not hasattr(one, "figure")]
    inside = [one for offset, one in struck if down <= offset * 4 < up]
    if inside:
        mark = m21.expressions.PedalMark(inside)
        mark.pedalForm = m21.expressions.PedalForm.Symbol
        staff.insert(0, mark)


def pages(text: str, width: int = WIDTH) -> list[np.ndarray]:
    """MusicXML as pages (height, width, 3) uint8, drawn by Verovio; at the screen width cropped to their content."""
    verovio, resvg = _needed("verovio"), _needed("resvg_py")
    tool = verovio.toolkit()
    tool.setOptions(
        {
            "pageWidth": 2100,
            "pageHeight": 2970,
            "scale": 40,
            "adjustPageHeight": width == WIDTH,
            "footer": "none",
            "svgViewBox": True,
            "smuflTextFont": "embedded",
        }
    )
    if not tool.loadData(text):
        note("The score could not be drawn; its MusicXML is there.")
        return []
    from io import BytesIO

    import matplotlib
    from PIL import Image

    fonts = {
        "font_dirs": [f"{matplotlib.get_data_path()}/fonts/ttf"],
        "serif_family": "DejaVu Serif",
        "font_family": "DejaVu Serif",
    }
    drawn = []
    for number in range(1, tool.getPageCount() + 1):
        svg = HEADING.sub(r'<text \1 font-size="\2">\3</text>', tool.renderToSVG(number).translate(SIGNS))
        png = bytes(resvg.svg_to_bytes(svg_string=svg, width=width, background="white", **fonts))
        drawn.append(np.asarray(Image.open(BytesIO(png)).convert("RGB")))
    return drawn
