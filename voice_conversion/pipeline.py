"""From a recording and an emotion to a recording: what YAML, the command line and Python call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gen import checkpoints, media
from gen.emotion.spec import EMBEDDING, Emotion, EmotionCurve
from voice_conversion.task import CANDIDATES, LEAST, NEUTRAL

if TYPE_CHECKING:
    from gen.emotion.calibration import Calibration
    from gen.emotion.track import EmotionTrack
    from voice_conversion.emoreg.refine import Refiner
    from voice_conversion.hifigan import HiFiGAN
    from voice_conversion.performance.bank import Bank
    from voice_conversion.performance.choose import Chooser
    from voice_conversion.performance.recording import Recording
    from voice_conversion.task import VoiceTask

DEFAULT = "voice-compact"
SPEAKER = "speaker-encoder"
WHISPER = "whisper-base"
Progress = Callable[[float], None]


class SamplingOptions(NamedTuple):
    """Options of a conversion; see VoiceTask."""

    performer: int | str = "auto"
    candidates: int = CANDIDATES
    keep_tempo: bool = False
    refine: bool = True
    seed: int = 0
    melody: Recording | None = None  # whose phrases' melodies are taken over
    separate: str = "auto"


class VoiceGenerator:
    """The bank of performances, what chooses among them, what intensity means for them, and what adapts them."""

    endings = (".wav",)

    def __init__(
        self,
        bank: Bank,
        chooser: Chooser,
        calibration: Calibration,
        published: HiFiGAN | None = None,
        refiner: Refiner | None = None,
    ):
        self.bank, self.chooser, self.calibration = bank, chooser, calibration
        self.published, self.refiner = published, refiner

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """Mean change of pitch and pace for an emotion, in words."""
        from gen.emotion.track import track
        from voice_conversion.performance.bank import Bank
        from voice_conversion.performance.nearest import performed

        bank = Bank.load(checkpoints.folder(DEFAULT))
        found = track(performed(EmotionCurve.constant(emotion), bank), [0.0])
        pitch, stretch = (found.intensity[0] * bank.mean(found.weights[0]))[:2]
        return f"on average, pitch {12 * pitch:+.1f} semitones and pace {100 * (np.exp(-stretch) - 1):+.0f} %"

    @staticmethod
    def checkpoints(task: VoiceTask) -> tuple[str, ...]:
        others = (
            *((WHISPER,) if task.chooser == "whisper" else ()),
            *(() if task.vocoder == "recording" else (task.vocoder,)),
        )
        return (task.model, SPEAKER, EMBEDDING, *others)

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT, *others: str | Path, device: str = "cpu") -> VoiceGenerator:
        """``others``: the speaker encoder, the embedding and, if wanted, Whisper base and a HiFi-GAN. A folder whose
        config.json names another class gives a generator of that class."""
        from voice_conversion.models import class_of

        if (kind := class_of(name)) is not cls:
            return kind.from_pretrained(name, *others, device=device)
        from gen.emotion.calibration import Calibration
        from gen.emotion.embedding.recogniser import Recogniser
        from voice_conversion.emoreg.refine import FILE, Refiner
        from voice_conversion.hifigan import HiFiGAN
        from voice_conversion.performance.bank import Bank
        from voice_conversion.performance.choose import Chooser, Embedded
        from voice_conversion.performance.scorer import Scorer
        from voice_conversion.speaker import SpeakerEncoder

        place = checkpoints.verified(str(name))
        known = checkpoints.load(SPEAKER, SpeakerEncoder).float().eval()
        ear = Embedded(Recogniser.load(ear="whisper")) if WHISPER in others else Scorer.load(place)
        rest = [str(one) for one in others[2:] if one != WHISPER]
        published = [checkpoints.load(one, HiFiGAN).to(device).float().eval() for one in rest]
        refiner = Refiner.load(place) if (place / FILE).is_file() else None
        chooser = Chooser(known, ear, Embedded(Recogniser.load()))
        return cls(Bank.load(place), chooser, Calibration.load(place), *published, refiner=refiner)

    def render(self, task: VoiceTask, folder: Path, manifest: dict, progress: Callable[[float, str], None]):
        """Write ``voice.wav``, at the rate, with the channels and the bit depth of the source, into ``folder``."""
        path = folder / f"voice.{task.format}"
        curve = task.aim()
        if all(key.emotion.intensity < LEAST for key in curve.keyframes):
            media.copy_audio(task.source, path, manifest)
            progress(1.0, "copying")
            return [path]
        samples, rate = media.read_audio(task.source, mono=False)
        chosen: list[dict] = []
        made = self.convert(
            samples,
            rate,
            curve,
            spoken=task.spoken,
            seed=task.seed,
            performer=task.performer,
            record=chosen,
            candidates=task.candidates,
            refine=task.refine,
            keep_tempo=task.keep_tempo,
            separate=task.separate,
            melody=self.melody(task.reference),
            progress=lambda share: progress(share, "speaking"),
        )
        if self.published:
            made, rate = self.published.resynthesised(made, rate)
        media.write_audio(path, made, rate, manifest | {"performances": chosen}, media.subtype(task.source))
        if not task.plot:
            return [path]
        from voice_conversion.plot import draw

        return [path, draw(samples, made, rate, folder / "voice.png", manifest)]

    def convert(self, samples: np.ndarray, rate: int, curve: EmotionCurve, **how) -> np.ndarray:
        """(c, s) or (s,) at any rate -> the same words in the emotion of a resolved ``curve``, as loud as before; see
        :meth:`stream` for ``how``."""
        from gen.loudness import CEILING, limit, loudness

        given = np.atleast_2d(samples)
        made = np.concatenate(list(self.stream(given, rate, curve, **how)), 1)
        if made.shape == given.shape and np.array_equal(made, given):
            return samples
        ceiling = max(CEILING, 20 * np.log10(np.abs(given).max()))  # no lower than the recording's own peaks
        for _ in range(6):  # the limiter takes a little of the loudness away
            made = limit(made, rate, ceiling)
            apart = loudness(given, rate) - loudness(made, rate)
            if not np.isfinite(apart) or abs(apart) < 0.1:
                break
            made = made * 10 ** (apart / 20)
        made = limit(made, rate, ceiling).astype(np.float32)
        return made[0] if samples.ndim == 1 else made

    def stream(
        self,
        samples: np.ndarray,
        rate: int,
        curve: EmotionCurve,
        *,
        spoken: EmotionCurve = NEUTRAL,
        progress: Progress = lambda share: None,
        record: list | None = None,
        **options,
    ) -> Iterator[np.ndarray]:
        """The converted recording (c, t) by phrases; ``options``: SamplingOptions; ``record`` gets the performances."""
        from gen.emotion.track import note_unreached, track
        from voice_conversion.features import HOP, RATE
        from voice_conversion.performance.nearest import performed
        from voice_conversion.performance.recording import FADE, alone, mixed, piece

        note_unreached(curve, samples.shape[-1] / rate)
        options = SamplingOptions(**options)
        recording, under = alone(samples, rate, options.separate)
        times = (np.arange(len(recording.whole.hz)) + 0.5) * HOP / RATE
        asked, had = self.calibration(track(performed(curve, self.bank), times)), track(spoken, times)
        random, cuts = np.random.default_rng(options.seed), recording.cuts()
        performer = None if options.performer == "auto" else self.bank.performer(int(options.performer))
        tail, fade = np.zeros((len(samples), 0), np.float32), round(FADE * HOP * rate / RATE)
        for (low, high), (first, last) in zip(pairwise(cuts), recording.spans):
            change, one = self.change(recording, first, last, asked, had, options, random, performer)
            if one is not None:
                performer = one.speaker
                if record is not None:
                    facts = {"performer": one.speaker, "emotion": one.emotion, "text": one.text}
                    record.append({"from": round(first * HOP / RATE, 2), "to": round(last * HOP / RATE, 2)} | facts)
            made, size = piece(recording, low, high, first, last, change)
            share = np.linspace(0, 1, tail.shape[1], dtype=np.float32)
            made[:, : tail.shape[1]] = made[:, : tail.shape[1]] * share + tail * (1 - share)
            tail = made[:, size : size + fade]
            made = made[:, :size]
            if under is not None:
                made, under = mixed(made, under)
            progress(high / cuts[-1])
            yield made
        if under is not None and under.shape[1]:
            yield under

    def change(
        self,
        recording: Recording,
        first: int,
        last: int,
        asked: EmotionTrack,
        had: EmotionTrack,
        options: SamplingOptions,
        random: np.random.Generator,
        performer: str | None,
    ):
        """Changes of frames ``first`` to ``last`` (None for none), and the chosen performance."""
        from voice_conversion.emoreg.refine import adapted
        from voice_conversion.performance.lay import Contours, changed, sung

        own, rows = recording.whole.part(first, last), slice(first, last)
        asked, had = asked.part(rows), had.part(rows)
        felt = 1 - asked.weights[:, 0]  # share that is not neutral
        before = self.bank.mean((had.intensity[:, None] * had.weights).mean(0))
        if asked.intensity.max() < LEAST or (np.abs(felt).max() < LEAST and not before.any()):
            return None, None
        adapt = partial(adapted, self.refiner, recording, first, last, track=asked, seed=options.seed)
        adapt = adapt if self.refiner and options.refine else None
        choice = self.chooser(self.bank, recording, first, last, asked, options.candidates, random, performer, adapt)
        strength = asked.intensity
        if choice is None:
            n = len(own.hz)
            laid, one = Contours(own.octave - recording.median, np.zeros(n), np.zeros((n, len(before) - 2))), None
        else:
            laid, one = choice.laid, self.bank.performances[choice.which]
            strength = strength * np.where(choice.sign * felt > 0, np.abs(felt), 0) * choice.sign
        if options.melody is not None:
            spans = options.melody.spans
            other = options.melody.whole.part(*spans[recording.spans.index((first, last)) % len(spans)])
            laid = sung(laid, own, other.cepstra, other.octave)
        laid = Contours(laid.pitch - before[0], laid.stretch - before[1], laid.change - before[2:])
        if options.keep_tempo:
            laid = laid._replace(stretch=np.zeros_like(laid.stretch))
        return changed(own, recording.median, laid, strength), one

    @staticmethod
    def melody(reference: Path | None) -> Recording | None:
        """A reference recording, where there is one."""
        from voice_conversion.performance.recording import heard

        return heard(*media.read_audio(reference, mono=False)) if reference else None
