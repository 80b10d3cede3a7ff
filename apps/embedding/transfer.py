"""``affekt evaluate transfer``: measures how much of an emotion survives the transfer from one modality to another.

Held-out voices, faces and pieces of music are given as ``from:`` to the other two generators. Recognisers read the clip
and the result. Reported: Spearman's correlation of source and result, in valence and arousal, for the six directions;
the same without the clip's embedding, so that only mix and intensity are transferred; and, with ``--set told=true``,
the same where the generators are told the recogniser's own valence and arousal of the source as a point, so that what
is lost then is lost in the generator and not in perception. The music judge reads pieces.
Faces are films of a held-out actor, drawn on portraits. In rows of their own: ``--set shown=21`` adds films of the talk
generator's expressions on portraits that nothing was trained on, and ``--set rest=12`` portraits as they are, together
with the films of the first portrait. Outside recognisers read voices and films: ``--files DIR`` keeps all
files with ``transfer.csv``, and ``--set judged=A.csv,B.csv`` loads their predictions (columns ``file`` and the names of
emotions, one row per file). Without them the embedding itself reads voices and faces, which is not independent; the
report names the recogniser.
"""

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, DirectoryPath

from apps.embedding import corpus, films
from gen import media, registry
from gen.emotion import lexicon
from gen.emotion.embedding.perceive import perceive
from gen.emotion.resolve import resolve
from gen.emotion.spec import EmotionCurve
from gen.errors import InputError
from gen.evaluate.bootstrap import interval
from gen.evaluate.report import Estimate, Report
from gen.generator import Bar
from music.evaluation.judge import Judge
from music.score import read_notes
from music.training.emopia import emopia
from talking_head.motion.speaker import Motion
from talking_head.pipeline import FPS, TalkGenerator
from voice_conversion.training.corpus import SPEECH, labels, part_of

ARTS = ("voice", "face", "music")
WAYS = [(one, other) for one in ARTS for other in ARTS if one != other]
HOW = ("given", "withheld", "told")  # the clip's embedding, and the recogniser's point in place of the clip
HEADINGS = {"given": "clip", "withheld": "without its embedding", "told": "told the recogniser's point"}
MADE = {"voice": "wav", "face": "mp4", "music": "mid"}
SPOKEN = {"angry": "anger"}
EVERY = 5  # frames, of which one is drawn
PORTRAITS = ("art_10.jpg", "art_5.jpg")  # of face/portraits_eval: seen from the front, with a closed mouth
SHOWN = tuple(term for term in lexicon.CANONICAL if term != "contempt")
LEVELS = (0.6, 0.9, 1.2)  # intensities of the expressions that are shown
LEAST = 0.6


class Settings(BaseModel):
    """The ``--set`` options."""

    model_config = ConfigDict(extra="forbid")
    data: DirectoryPath  # the folder that holds speech/, face/ and music/
    files: str = ""  # folder for all source and result files
    judged: str = ""  # comma-separated CSV files of the outside recognisers' predictions
    told: bool = False  # also tell the generators what the recognisers read in the sources
    clips: int = 20  # per modality
    shown: int = 0  # films of the talk generator's expressions, further sources
    rest: int = 0  # portraits as they are, further sources
    portrait: str = "examples/grace_hopper.jpg"  # of all films that are made, and of the first that are sources
    size: int = 256  # pixels of a film's side
    bars: int = 8  # bars of a piece
    seed: int = 0


class Clip(NamedTuple):
    """A source file and its label; ``kind`` is "recorded", "shown" or "rest", ``portrait`` what a film is drawn on."""

    art: str
    path: Path
    label: str
    kind: str = "recorded"
    portrait: str = ""


def voices(data: Path, count: int) -> list[Clip]:
    """Recordings of held-out people, alternating emotions and corpora, strong renditions where available."""
    rows = [row for row in labels(data) if part_of(row["speaker"]) == "test"]
    rows = [row for row in rows if row["intensity"] != "normal" and row["emotion"] not in ("calm", "bored")]
    rng, groups = np.random.default_rng(0), {}
    for i in rng.permutation(len(rows)):
        groups.setdefault((rows[i]["emotion"], rows[i]["set"]), []).append(rows[i])
    order = sorted(groups, key=lambda key: (("ravdess", "emodb", "nemo").index(key[1]), key[0]))
    found = [groups[key][turn] for turn in range(count) for key in order if turn < len(groups[key])]
    return [
        Clip("voice", data / SPEECH / row["file"], SPOKEN.get(row["emotion"], row["emotion"])) for row in found[:count]
    ]


def pieces(data: Path, count: int) -> list[Clip]:
    """Test songs, alternating quadrants, one clip per song."""
    rng, groups, heard = np.random.default_rng(0), {k: [] for k in range(1, 5)}, set()
    held = [clip for clip in emopia(data / "music") if clip.part == "test"]
    for i in rng.permutation(len(held)):
        if held[i].song not in heard:
            heard.add(held[i].song)
            groups[held[i].quadrant].append(held[i])
    found = [groups[k][turn] for turn in range(count) for k in groups if turn < len(groups[k])]
    return [Clip("music", clip.path, f"Q{clip.quadrant}") for clip in found[:count]]


def faces(data: Path, count: int, folder: Path, generator: TalkGenerator, chosen: Settings) -> list[Clip]:
    """Films of a held-out actor's motion, drawn on one portrait after another, films of the generator's expressions,
    and portraits as they are."""
    there = data / "face" / "portraits_eval"
    portraits = [Path(chosen.portrait), *(there / name for name in PORTRAITS)]

    def drawn(path: Path, portrait: Path, motion: Motion) -> Path:
        if not path.is_file():
            frames = generator.frames(media.read_image(portrait), motion, size=chosen.size)
            media.write_video(path, frames, FPS / EVERY, manifest={})
        return path

    held = [clip for clip in corpus.faces(data) if clip.part == "test"]
    found = []
    for number, (portrait, clip) in enumerate(itertools.islice(itertools.product(portraits, held), count)):
        path = drawn(folder / f"actor{number}.mp4", portrait, films.moved(clip.rows[: 3 * FPS][::EVERY]))
        found.append(Clip("face", path, corpus.TERMS[clip.term], portrait=portrait.stem))
    said = [media.read_audio(path) for path in lines(data)] if chosen.shown else []
    for number in range(chosen.shown):
        term, portrait = SHOWN[number % len(SHOWN)], portraits[number // len(SHOWN) % len(portraits)]
        curve = EmotionCurve.parse(f"{term} @ {LEVELS[number % len(LEVELS)]}")
        motion = sparse(generator.speak(*said[number % len(said)], curve, seed=number))
        path = drawn(folder / f"shown{number}.mp4", portrait, motion)
        found.append(Clip("face", path, term, "shown", portrait.stem))
    stills = sorted(there.glob("*.jpg")) + sorted((data / "face" / "portraits").glob("*"))
    stills = [path for path in stills if path.suffix in (".jpg", ".png")]
    return found + [Clip("face", path, "unknown", "rest") for path in stills[: chosen.rest]]


def sparse(motion: Motion) -> Motion:
    """Five frames per second of a motion, the rate of the recognisers."""
    return Motion(*(part[EVERY // 2 :: EVERY] for part in motion))


def lines(data: Path) -> list[Path]:
    """Neutral recordings of held-out people: input of faces and voices."""
    own = [row for row in labels(data) if row["set"] == "ravdess" and row["emotion"] == "neutral"]
    people: dict[str, Path] = {}
    for row in own:
        if part_of(row["speaker"]) == "test":
            people.setdefault(row["speaker"], data / SPEECH / row["file"])
    return [people[name] for name in sorted(people)]


def withheld(curve: EmotionCurve) -> EmotionCurve:
    """The curve without the embeddings of its clips."""
    keys = tuple(key.model_copy(update={"embedding": None}) for key in curve.keyframes)
    return curve.model_copy(update={"keyframes": keys})


class Maker:
    """Renders an emotion in a modality. Films have five frames per second, the rate of the recognisers."""

    def __init__(self, chosen: Settings):
        self.chosen, self.lines, self.loaded = chosen, lines(Path(chosen.data)), {}
        self.pixels, self.said = media.read_image(Path(chosen.portrait)), media.read_audio(self.lines[0])

    def __call__(self, art: str, curve: EmotionCurve, number: int, path: Path) -> None:
        if art == "face":
            return self._film(curve, number, path)
        given = {
            "voice": {"source": self.lines[number % len(self.lines)]},
            "music": {"bars": self.chosen.bars, "audio": False},
        }[art]
        task = registry.get("task", art)(emotion=curve, seed=self.chosen.seed + number, **given)
        if art not in self.loaded:
            cls = registry.get("generator", art)
            self.loaded[art] = cls.from_pretrained(*cls.checkpoints(task))
        with TemporaryDirectory() as place:
            made = self.loaded[art].render(task, Path(place), {"ai_generated": True}, lambda share, what: None)
            path.write_bytes(next(one for one in made if one.suffix == path.suffix).read_bytes())

    def _film(self, curve: EmotionCurve, number: int, path: Path) -> None:
        samples, rate = self.said
        generator = self.loaded.setdefault("face", None) or TalkGenerator.from_pretrained()
        self.loaded["face"] = generator
        motion = generator.speak(samples, rate, curve, seed=self.chosen.seed + number)
        frames = generator.frames(self.pixels, sparse(motion), size=self.chosen.size)
        media.write_video(path, frames, FPS / EVERY, manifest={"ai_generated": True})


class Row(NamedTuple):
    """A clip transferred to another modality."""

    source: Clip
    to: str
    how: str
    made: Path


def render(chosen: Settings, folder: Path, read: Callable[[str, Path], np.ndarray]) -> list[Row]:
    """Renders all clips and results into ``folder``; existing files are kept. ``read`` gives the points to be told."""
    folder.mkdir(parents=True, exist_ok=True)
    make, data, rows = Maker(chosen), Path(chosen.data), []
    generator = TalkGenerator.from_pretrained()
    arts = voices(data, chosen.clips), pieces(data, chosen.clips), faces(data, chosen.clips, folder, generator, chosen)
    for number, clip in [(k, own[k]) for k in range(max(map(len, arts))) for own in arts if k < len(own)]:
        curve = None
        for to in (art for art in ARTS if art != clip.art):
            for how in HOW if chosen.told else HOW[:2]:
                path = folder / f"{clip.art}{number:02d}-{to}-{how}.{MADE[to]}"
                rows.append(Row(clip, to, how, path))
                if path.is_file():
                    continue
                if how == "told":
                    valence, arousal = read(clip.art, clip.path)
                    make(to, EmotionCurve.parse(f"v={valence:.3f} a={arousal:.3f}"), number, path)
                else:
                    curve = curve or resolve(EmotionCurve.parse({"from": str(clip.path)}))
                    make(to, curve if how == "given" else withheld(curve), number, path)
    with open(folder / "transfer.csv", "w", newline="", encoding="utf-8") as file:
        columns = ["source", "label", "from", "to", "how", "made"]
        judged = (
            [row.source.path.resolve(), row.source.label, row.source.art, row.to, row.how, row.made.name]
            for row in rows
        )
        csv.writer(file).writerows([columns, *judged])
    return rows


def outside(names: str) -> dict[str, np.ndarray]:
    """Points (valence, arousal) by file name, from outside recognisers: predictions times the lexicon."""
    found = {}
    for name in filter(None, names.split(",")):
        with open(name, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                shares = {key: float(value) for key, value in row.items() if key in lexicon.terms() and value}
                total = sum(shares.values())
                found[row["file"]] = sum(v * lexicon.terms()[k].mean[:2] for k, v in shares.items()) / total
    return found


def reader(judged: dict[str, np.ndarray]) -> Callable[[str, Path], np.ndarray]:
    """Maps (modality, file) to a point (2,): from outside recognisers where available, otherwise from the embedding."""
    judge, known = Judge.load(), {}

    def read(art: str, path: Path) -> np.ndarray:
        if path.name not in known:
            if art == "music":
                verdict = judge([read_notes(path)])
                known[path.name] = 2 * np.array([verdict.valence[0], verdict.arousal[0]]) - 1
            elif judged and path.name not in judged:
                raise InputError(f"{path} is not in the judged files: let the recognisers read it too")
            else:
                known[path.name] = judged[path.name] if judged else np.array(perceive(path).vad[:2])
        return known[path.name]

    return read


def _within(points: np.ndarray, groups: list[str]) -> np.ndarray:
    """Points (n, 2) less the mean of their group."""
    same = np.array(groups)[:, None] == np.array(groups)
    return points - same @ points / same.sum(1, keepdims=True)


def spearman(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Spearman's correlation of x (n,) and y (n,) with its interval."""
    from scipy.stats import spearmanr

    return interval(lambda a, b: float(spearmanr(a, b)[0]) if np.ptp(a) and np.ptp(b) else 0.0, x, y)


class TransferEvaluator:
    """``affekt evaluate transfer``."""

    def __init__(self, settings: Settings, out: Path):
        self.chosen, self.out = settings, out
        self.report = Report("Transfer of an emotion between modalities", "Held-out clips, each given as `from:`.")

    def run(self) -> Report:
        chosen, report = self.chosen, self.report
        read = reader(outside(chosen.judged))
        rows = render(chosen, Path(chosen.files or self.out / "files"), read)
        by = "outside recognisers" if chosen.judged else "the embedding itself, which is not independent"
        report.section(
            "Spearman of source and result",
            f"Voices and faces are read by {by}; pieces by the music "
            f"judge. {chosen.clips} clips per modality; 95 % bootstrap intervals over clips.",
        )
        columns = ["from, to", "of", *[HEADINGS[how] for how in self.hows], "sd of results", "n"]
        of = lambda *kinds: [row for row in rows if row.source.kind in kinds]
        table = [line for way in WAYS for line in self._lines(read, of("recorded"), way, LEAST)]
        report.table("By direction", columns, table)
        first = [row for row in of("recorded") if row.source.portrait == Path(chosen.portrait).stem]
        for title, own, within in (
            ("films of the actor, less the mean of their portrait", of("recorded"), True),
            ("the talk generator's expressions on portraits that nothing was trained on", of("shown"), False),
            ("the same, less the mean of their portrait", of("shown"), True),
            ("the films of the first portrait and portraits as they are", of("rest") and first + of("rest"), False),
        ):
            own = [row for row in own if row.source.art == "face"]
            if own:
                faces = [
                    line for way in WAYS if way[0] == "face" for line in self._lines(read, own, way, within=within)
                ]
                report.table(f"Faces: {title}", columns, faces)
        return report

    @property
    def hows(self) -> tuple[str, ...]:
        return HOW if self.chosen.told else HOW[:2]

    def _lines(
        self,
        read: Callable[[str, Path], np.ndarray],
        rows: list[Row],
        way: tuple[str, str],
        least: float | None = None,
        within: bool = False,
    ) -> list[list]:
        """Valence and arousal of a direction; bars where ``least`` is given. ``within``: less the mean of all clips of
        a portrait, whose own features a recogniser takes for an expression."""
        one, to = way
        points = {}
        for how in self.hows:
            own = [row for row in rows if (row.source.art, row.to, row.how) == (one, to, how)]
            pair = [[read(one, row.source.path) for row in own], [read(to, row.made) for row in own]]
            portraits = [row.source.portrait for row in own]
            points[how] = [_within(np.array(part), portraits) if within else np.array(part) for part in pair]
        lines, made = [], points["given"][1]
        for axis, name in enumerate(("valence", "arousal")):
            found = [spearman(*(part[:, axis] for part in points[how])) for how in self.hows]
            lines.append([f"{one} to {to}", name, *found, round(float(made[:, axis].std()), 2), len(made)])
            if least is not None:
                self.report.bar(f"{one} to {to}, {name}", found[0], at_least=least)
        return lines

    def summary(self) -> list[Bar]:
        return self.report.bars
