"""``affekt evaluate talk``: predicted motion against tracked truth, and rendered videos tracked again."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import DirectoryPath

from gen import media
from gen.emotion.spec import EmotionCurve
from gen.evaluate.report import Estimate, Report
from gen.generator import Bar
from talking_head.evaluation import beside, judge
from talking_head.face.points import coefficients, side
from talking_head.motion.speech import CLOSED, RATE
from talking_head.pipeline import TalkGenerator
from talking_head.training import corpus, lips
from talking_head.training.emote import HEARD

MET = 0.15  # cm of lip gap beyond rest at which lips count as closed
INTENSITIES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
EXERCISES = {
    "jaw": ("jawOpen",),
    "smile": ("mouthSmile",),
    "brow": ("browInnerUp", "browOuterUp"),
    "blink": ("eyeBlink",),
}
SOURCES = {"grid": "GRID, held-out clips", "facegood": "FACEGOOD, another speaker", "other": "speakers never seen"}
DRIFT = 3  # frames that picture and sound of a web clip may lie apart


class Settings(NamedTuple):
    """What ``--set`` may change."""

    data: DirectoryPath  # the folder that holds face/ and speech/
    model: str = "emote-compact"
    features: str = ""  # features.npz of a training, which saves reading the sounds again
    portraits: int = 4
    lines: int = 40  # of aligned speech, for closed lips
    frames: int = 16  # of each rendered video that are tracked again
    clips: int = 6  # real ones beside which rendered ones are measured


def estimate(values: list[float], seed: int = 0) -> Estimate:
    """Mean over clips, with its bootstrap interval."""
    values, random = np.asarray(values, float), np.random.default_rng(seed)
    means = values[random.integers(0, len(values), (1000, len(values)))].mean(1)
    return Estimate(float(values.mean()), *(float(v) for v in np.percentile(means, (2.5, 97.5))))


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
            agreed = estimate([lips.correlation(*pair) for pair in pairs])
            late = float(np.median([lips.lag(*pair) for pair in pairs]))
            synced = estimate([lips.at_best(*pair, DRIFT) for pair in pairs])
            size = sum(made.std() for made, _ in pairs) / sum(real.std() for _, real in pairs)
            rows.append([title, part, agreed, synced, late, round(float(size), 2), len(pairs)])
    return rows


def closure_rows(generator: TalkGenerator, clips: list[corpus.Clip], count: int) -> list[list]:
    """Share of p, b, m of voices never trained on at which lips meet, for each emotion."""
    held = [c for c in clips if c.source == "aligned" and c.part == "test"]
    held = held[:: max(1, len(held) // count)][:count]
    rows = []
    for name in ("neutral", *judge.EMOTIONS):
        met = []
        for clip in held:
            made = generator.speaker.from_rows(clip.rows, EmotionCurve.parse(name))
            gap = generator.basis.lip_gap(made.coefs)
            share = clip.visemes[:, CLOSED].astype(np.float32)
            peaks = [i for i in range(len(share)) if share[i] > 0.6 and share[i] == share[max(0, i - 2) : i + 3].max()]
            met += [gap[max(0, i - 1) : i + 2].min() < MET for i in peaks]
        rows.append([name, estimate(met), len(met)])
    return rows


def exercise(frames: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Coefficients (t, 52) that move one part after another, and each part's command (t,)."""
    wave = 0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, frames))
    coefs, commands = [], {}
    for place, (part, names) in enumerate(EXERCISES.items()):
        top = {"jaw": 0.5}.get(part, 0.9)
        coefs += [coefficients(dict.fromkeys(names, top * v)) for v in wave]
        commands[part] = np.concatenate((np.zeros(place * frames), top * wave, np.zeros((3 - place) * frames)))
    return np.stack(coefs), commands


def tracked(generator: TalkGenerator, frames: list[np.ndarray]) -> np.ndarray:
    """(t, 52) coefficients found in rendered frames; where the face is lost, the last ones."""
    found, last = [], np.zeros(52, np.float32)
    for face in generator.tracker.video(frames):
        last = last if face is None else face.coefs
        found.append(last)
    return np.stack(found)


class Rendered(NamedTuple):
    """What tracking again finds in rendered videos."""

    followed: dict[str, list[float]]
    outside: list[float]
    told: list[tuple[str, float, np.ndarray]]  # emotion asked for, intensity, probabilities
    seconds: float
    drawn: int


def rendered(generator: TalkGenerator, chosen: Settings, verdict: judge.Judge) -> Rendered:
    """Exercises and emotional lines on portraits that nothing was trained on."""
    from talking_head.render.portrait import Portrait

    pictures = sorted((Path(chosen.data) / "face" / "portraits").glob("*.jpg"))[: chosen.portraits]
    clip = sorted((Path(chosen.data) / "speech" / "aligned").glob("bm_lewis*.opus"))[0]
    samples, _ = media.read_audio(clip, RATE)
    samples = samples[: 4 * RATE]
    coefs, commands = exercise(chosen.frames)
    followed, outside, told, drawn, spent = {part: [] for part in EXERCISES}, [], [], 0, 0.0
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
        calm = None
        for name, strength in [("neutral", 1.0), *((n, i) for n in judge.EMOTIONS for i in INTENSITIES)]:
            motion = generator.speaker.speak(samples, EmotionCurve.parse(f"{name} @ {strength}"), blinks=False)
            kept = np.linspace(0, len(motion.coefs) - 1, chosen.frames if strength == 1 else 6).astype(int)
            drawn_now = [portrait.frame(motion.coefs[i], motion.turns[i], motion.closed[i]) for i in kept]
            mean = tracked(generator, drawn_now).mean(0)
            calm = mean if calm is None else calm
            if name != "neutral":
                told.append((name, strength, verdict((mean - calm)[None])[0]))
    return Rendered(followed, outside, told, spent, drawn)


def emotion_rows(found: Rendered) -> tuple[list[list], float, float]:
    """Per emotion: accuracy at intensity 1 and rank correlation of its probability with intensity; their means."""
    from scipy.stats import spearmanr

    rows = []
    for i, name in enumerate(judge.EMOTIONS):
        own = [(s, p) for n, s, p in found.told if n == name]
        right = float(np.mean([p.argmax() == i for s, p in own if s == 1.0]))
        mean = [np.mean([p[i] for s, p in own if s == step]) for step in INTENSITIES]
        order = float(spearmanr(INTENSITIES, mean).statistic) if np.ptp(mean) > 0 else 0.0
        rows.append([name, right, order, *(round(float(v), 2) for v in mean)])
    return rows, float(np.mean([r[1] for r in rows])), float(np.mean([r[2] for r in rows]))


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
    clips = corpus.load(Path(chosen.features)) if chosen.features else corpus.build(Path(chosen.data))
    verdict, real = judge.trained(Path(chosen.data))
    found = rendered(generator, chosen, verdict)
    rows, right, order = emotion_rows(found)
    report.section(
        "Lips",
        "Nothing here was trained on. `late` is the lag in frames at a clip's best agreement; `synced` the correlation "
        f"at the best lag of at most {DRIFT} frames: picture and sound of web clips are seldom exactly in step.",
    )
    lip = lip_rows(generator, clips)
    report.table("Speech to motion", ["material", "part", "correlation", "synced", "late", "amplitude", "clips"], lip)
    for title, part, agreed, *_ in lip:
        report.bar(f"lips, {title}, {part}: correlation with the tracked ones", agreed)
    report.bar("emotion told by a judge of real actors, of that on real windows", right / real)
    report.bar("rank correlation of its probability with intensity", order)
    report.table("Lips that meet on p, b, m", ["emotion", "share", "sounds"],
                 closure_rows(generator, clips, chosen.lines), "voices that no training heard")  # fmt: skip
    report.section("Rendered", "Portraits that nothing was trained on, rendered and tracked again.")
    report.table("Expression followed", ["part", "correlation with the command"],
                 [[part, estimate(values)] for part, values in found.followed.items()])  # fmt: skip
    report.table("Emotion told by a judge of real actors",
                 ["emotion", "right at 1", "rank correlation", *map(str, INTENSITIES)], rows,
                 f"right on average {right:.2f}; on real windows of an actor it has not seen {real:.2f}; "
                 f"monotone {order:.2f}; chance 0.14")  # fmt: skip
    report.table("Beside real clips", ["what", "real", "rendered"],
                 beside.rows(generator, Path(chosen.data), chosen.clips),
                 "held-out GRID clips, and videos made from a frame of each and its sound; the descriptor's distance "
                 "is that to this frame; other people are .23 and more apart")  # fmt: skip
    report.table("Stillness and speed", ["what", "value"], [
        ["largest change of a pixel outside the moving part (of 255)", max(found.outside)],
        ["frames a second, 384 pixels, this machine", round(found.drawn / found.seconds, 1)],
    ])  # fmt: skip
