"""``affekt evaluate talk``: predicted motion compared with tracked motion, and rendered videos tracked again."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import DirectoryPath

from gen import media
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.evaluate.bootstrap import mean_of
from gen.evaluate.report import Report
from gen.generator import Bar
from talking_head.evaluation import beside, films
from talking_head.evaluation.seen import seen
from talking_head.face.points import coefficients, side
from talking_head.motion.speaker import LEAD
from talking_head.motion.speech import CLOSED, ROWS
from talking_head.pipeline import TalkGenerator
from talking_head.training import corpus, lips
from talking_head.training.emote import HEARD

EARLY = round(LEAD / ROWS)  # frames of lead of the lips
MET = 0.15  # cm of lip gap beyond rest below which lips count as closed
EXERCISES = {
    "jaw": ("jawOpen",),
    "smile": ("mouthSmile",),
    "brow": ("browInnerUp", "browOuterUp"),
    "blink": ("eyeBlink",),
}
SOURCES = {"grid": "GRID, held-out clips", "facegood": "FACEGOOD, another speaker", "other": "speakers never seen"}
DRIFT = 3  # largest offset in frames between picture and sound of a web clip


class Settings(NamedTuple):
    """Options of ``--set``."""

    data: DirectoryPath  # the folder that holds face/ and speech/
    model: str = "emote-compact"
    features: str = ""  # features.npz of a training, to skip feature extraction
    portraits: int = 4
    lines: int = 40  # lines of aligned speech, for closed lips
    frames: int = 16  # frames per rendered video that are tracked again
    clips: int = 6  # real clips for comparison
    files: str = ""  # folder of films, their manifests, and the judges' results
    people: int = 12  # portraits of the films
    sound: str = ""  # recording of the films
    seconds: float = 0  # of the recording; 0 for all
    size: int = 320  # pixels of a film's side
    fps: int = 25  # frames of a film a second; recognisers look at five


def lip_rows(generator: TalkGenerator, clips: list[corpus.Clip]) -> list[list]:
    """Per source and part: correlation, the same with each clip's own lag taken out, that lag, predicted over true
    amplitude."""
    rows = []
    for source, title in SOURCES.items():
        new = [c for c in clips if c.source == source and (c.part == "test" or source not in HEARD)]
        held = lips.pairs(generator.speaker.speech, generator.speaker.emote, new)
        for part in lips.PARTS:
            pairs = [(lips.part_of(made, part), lips.part_of(c.motion.astype(np.float32), part)) for c, made in held]
            if np.mean([real.std() for _, real in pairs]) < 0.01:
                continue
            agreed = mean_of([lips.correlation(*pair) for pair in pairs])
            late = float(np.median([lips.lag(*pair) for pair in pairs]))
            synced = mean_of([lips.at_best(*pair, DRIFT) for pair in pairs])
            size = sum(made.std() for made, _ in pairs) / sum(real.std() for _, real in pairs)
            rows.append([title, part, agreed, synced, late, round(float(size), 2), len(pairs)])
    return rows


def closure_rows(generator: TalkGenerator, clips: list[corpus.Clip], count: int) -> list[list]:
    """Share of p, b, m of held-out voices at which the lips close, for each emotion."""
    held = [c for c in clips if c.source == "aligned" and c.part == "test"]
    held = held[:: max(1, len(held) // count)][:count]
    rows = []
    for name in CANONICAL:
        met = []
        for clip in held:
            made = generator.speaker.from_rows(clip.rows, EmotionCurve.parse(name))
            gap = generator.basis.lip_gap(made.coefs)
            for first, end in sounds(clip.visemes[:, CLOSED] > 0.6):
                met.append(gap[max(0, first - 1 - EARLY) : end + 1].min() < MET)
        rows.append([name, mean_of(met), len(met)])
    return rows


def sounds(heard: np.ndarray) -> list[tuple[int, int]]:
    """(first frame, end) of each run of true values in ``heard`` (t,)."""
    edges = np.flatnonzero(np.diff(np.pad(heard.astype(int), 1)))
    return list(zip(edges[::2], edges[1::2], strict=True))


def exercise(frames: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Coefficients (t, 52) that move one part after another, and the target (t,) of each part."""
    wave = 0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, frames))
    coefs, commands = [], {}
    for place, (part, names) in enumerate(EXERCISES.items()):
        top = {"jaw": 0.5}.get(part, 0.9)
        coefs += [coefficients(dict.fromkeys(names, top * v)) for v in wave]
        commands[part] = np.concatenate((np.zeros(place * frames), top * wave, np.zeros((3 - place) * frames)))
    return np.stack(coefs), commands


def tracked(generator: TalkGenerator, frames: list[np.ndarray]) -> np.ndarray:
    """Coefficients (t, 52) tracked in rendered frames; the last ones if the face is lost."""
    found, last = [], np.zeros(52, np.float32)
    for face in generator.tracker.video(frames):
        last = last if face is None else face.coefs
        found.append(last)
    return np.stack(found)


class Rendered(NamedTuple):
    """Results of tracking rendered videos."""

    followed: dict[str, list[float]]
    outside: list[float]
    seconds: float
    drawn: int


def rendered(generator: TalkGenerator, chosen: Settings) -> Rendered:
    """Render and track exercises on unseen portraits."""
    from talking_head.render.portrait import Portrait

    pictures = sorted((Path(chosen.data) / "face" / "portraits").glob("*.jpg"))[: chosen.portraits]
    coefs, commands = exercise(chosen.frames)
    followed, outside, drawn, spent = {part: [] for part in EXERCISES}, [], 0, 0.0
    for path in pictures:
        pixels, face = generator.prepare(media.read_image(path), 384)
        portrait = Portrait(pixels, face, generator.basis)
        began = time.perf_counter()
        frames = [portrait.frame(row) for row in coefs]
        spent, drawn = spent + time.perf_counter() - began, drawn + len(frames)
        outside.append(float(max(np.abs(f.astype(int) - pixels)[~portrait.moving()].max(initial=0) for f in frames)))
        again = tracked(generator, frames)
        for part, command in commands.items():
            seen = again[:, np.concatenate([side(name) for name in EXERCISES[part]])].mean(1)
            followed[part].append(lips.correlation(seen, command))
    return Rendered(followed, outside, spent, drawn)


class TalkEvaluator:
    """``affekt evaluate talk``."""

    def __init__(self, settings: Settings, out: Path):
        self.settings = settings
        self.report = Report(
            "Talking portraits", "Predicted motion against tracked truth, and rendered videos tracked again."
        )

    def run(self) -> Report:
        measure(self.report, self.settings)
        return self.report

    def summary(self) -> list[Bar]:
        return self.report.bars


def measure(report: Report, chosen: Settings) -> None:
    """All sections of the report."""
    generator = TalkGenerator.from_pretrained(chosen.model)
    clips = corpus.load(Path(chosen.features)) if chosen.features else corpus.held_out(Path(chosen.data))
    found = rendered(generator, chosen)
    report.section(
        "Lips",
        "Nothing here was trained on. `late` is the lag in frames at a clip's best agreement; `synced` the correlation "
        f"at the best lag of at most {DRIFT} frames: picture and sound of web clips are seldom exactly in step.",
    )
    lip = lip_rows(generator, clips)
    report.table("Speech to motion", ["material", "part", "correlation", "synced", "late", "amplitude", "clips"], lip)
    for title, part, agreed, *_ in lip:
        report.bar(f"lips, {title}, {part}: correlation with the tracked ones", agreed)
    report.table(
        "Lips that meet on p, b, m",
        ["emotion", "share", "sounds"],
        closure_rows(generator, clips, chosen.lines),
        "voices that no training heard",
    )
    report.section("Rendered", "Portraits that nothing was trained on, rendered and tracked again.")
    report.table(
        "Expression followed",
        ["part", "correlation with the command"],
        [[part, mean_of(values)] for part, values in found.followed.items()],
    )
    report.table(
        "Beside real clips",
        ["what", "real", "rendered"],
        beside.rows(generator, Path(chosen.data), chosen.clips),
        "held-out GRID clips, and videos made from a frame of each and its sound; the descriptor's distance "
        "is that to this frame; other people are .23 and more apart",
    )
    report.table(
        "Stillness and speed",
        ["what", "value"],
        [
            ["largest change of a pixel outside the moving part (of 255)", max(found.outside)],
            ["frames a second, 384 pixels, this machine", round(found.drawn / found.seconds, 1)],
        ],
    )
    expressions(report, generator, chosen)


def expressions(report: Report, generator: TalkGenerator, chosen: Settings) -> None:
    """Add a contact sheet and the judges' results."""
    data = Path(chosen.data)
    report.section(
        "Expressions",
        "External recognisers read films of 12 portraits: `--set files=DIR` writes the films and their manifests, and "
        "reads the results. Tracked coefficients report too little of sad, fear and disgust to be used here.",
    )
    shown = sorted((data / "face" / "portraits").glob("*.jpg"))[: chosen.portraits]
    if not shown and not chosen.files:
        return
    sound = Path(chosen.sound) if chosen.sound else line_of(data)
    films.sheet(report, generator, shown, sound)
    if chosen.files:
        people = films.people_of(data)[: chosen.people]
        films.films(generator, people, sound, Path(chosen.files), chosen.size, chosen.fps, chosen.seconds or None)
        seen(report, Path(chosen.files))


def line_of(data: Path) -> Path:
    """A line of an unseen voice."""
    return next(
        path for voice in corpus.HELD_VOICES for path in sorted((data / "speech" / "aligned").glob(f"{voice}*.opus"))
    )
