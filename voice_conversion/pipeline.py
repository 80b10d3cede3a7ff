"""From a recording and an emotion to a recording: what YAML, the command line and Python call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gen import checkpoints, media
from gen.emotion.calibration import Calibration
from gen.emotion.resolve import resolve
from gen.emotion.spec import EMBEDDING, Emotion, EmotionCurve
from gen.emotion.track import EmotionTrack, track
from gen.errors import InputError
from voice_conversion.task import GUIDANCE

if TYPE_CHECKING:
    from torch import Tensor

    from voice_conversion.average_voice import AverageVoice
    from voice_conversion.emoreg.score import Score, Voice
    from voice_conversion.hifigan import HiFiGAN
    from voice_conversion.prosody import Prosody, Shift
    from voice_conversion.speaker import SpeakerEncoder
    from voice_conversion.task import VoiceTask
    from voice_conversion.vocoder import Vocoder

SPEAKER = "speaker-encoder"
PHRASE = 560  # frames that are converted in one go, about; cuts are made where it is quiet
CONTEXT = 24  # frames heard beyond both ends of a phrase
FADE = 64  # samples over which phrases are joined
LEAST = 0.2  # seconds
SILENCE = 1e-4  # RMS
Progress = Callable[[float], None]


class Plan(NamedTuple):
    """A recording made ready: n frames, after the change of pitch and pace."""

    samples: np.ndarray  # (n HOP,)
    octave: np.ndarray  # (n,) log2 Hz
    voiced: np.ndarray  # (n,) bool
    shift: Shift  # the change of prosody at each frame
    asked: EmotionTrack  # the emotion wanted at each frame
    had: EmotionTrack  # the emotion that the recording has


class Means(NamedTuple):
    """How a conversion is computed."""

    steps: int = 10
    solver: str = "pf"
    guidance: float = GUIDANCE
    vocoder: str = "recording"  # see VoiceTask


class VoiceGenerator:
    """The average voice's encoder, the score network, the vocoder and the speaker encoder, ready to speak."""

    endings = (".wav",)

    def __init__(self, encoder: AverageVoice, decoder: Score, vocoder: Vocoder, known: SpeakerEncoder,
                 prosody: Prosody, calibration: Calibration, published: HiFiGAN | None = None,
                 device: str = "cpu"):  # fmt: skip
        ready = lambda model: model.to(device).float().eval().requires_grad_(False)
        self.encoder, self.decoder, self.vocoder, self.known = map(ready, (encoder, decoder, vocoder, known))
        self.published = published and ready(published)
        self.prosody, self.calibration, self.device = prosody, calibration, device

    @staticmethod
    def reading(emotion: Emotion) -> str:
        """What the voice makes of an emotion, in words."""
        from voice_conversion.prosody import Prosody

        place = checkpoints.folder("voice-compact")
        asked = Calibration.load(place)(track(resolve(EmotionCurve.constant(emotion)), [0.0]))
        shift = Prosody.load(place / "prosody.json")(asked)
        semitones, pace = 12 * shift.height[0], 100 * (shift.pace[0] - 1)
        return f"pitch {semitones:+.1f} semitones, its range x{shift.range[0]:.2f}, pace {pace:+.0f} %"

    @staticmethod
    def checkpoints(task: VoiceTask) -> tuple[str, ...]:
        published = () if task.vocoder in ("recording", "network") else (task.vocoder,)
        return (task.model, SPEAKER, *published, *((EMBEDDING,) if task.reference else ()))

    @classmethod
    def from_pretrained(cls, name: str | Path = "voice-compact", *others: str | Path,
                        device: str = "cpu") -> VoiceGenerator:  # fmt: skip
        """The generator of a checkpoint; of ``others``, the third and on are vocoders (:meth:`checkpoints`)."""
        from voice_conversion.average_voice import AverageVoice
        from voice_conversion.emoreg.score import Score
        from voice_conversion.hifigan import HiFiGAN
        from voice_conversion.prosody import Prosody
        from voice_conversion.speaker import SpeakerEncoder
        from voice_conversion.vocoder import Vocoder

        place = checkpoints.folder(name)
        parts = ((AverageVoice, "encoder"), (Score, "decoder"), (Vocoder, "vocoder"))
        models = (checkpoints.load(name, kind, part) for kind, part in parts)
        published = [checkpoints.load(other, HiFiGAN) for other in others[1:] if other != EMBEDDING]
        return cls(*models, checkpoints.load(SPEAKER, SpeakerEncoder), Prosody.load(place / "prosody.json"),
                   Calibration.load(place), *published, device=device)  # fmt: skip

    def render(self, task: VoiceTask, folder: Path, manifest: dict, progress: Callable[[float, str], None]):
        """Write ``voice.wav`` into ``folder``."""
        from voice_conversion.features import RATE

        samples, _ = media.read_audio(task.source, RATE)
        made = self.convert(
            samples, task.aim(), spoken=task.spoken, tempo=task.tempo, steps=task.steps, solver=task.solver,
            guidance=task.guidance, vocoder=task.vocoder, seed=task.seed,
            progress=lambda share: progress(share, "speaking"),
        )  # fmt: skip
        path = folder / "voice.wav"
        media.write_audio(path, made, RATE, manifest)
        return [path]

    def convert(self, samples: np.ndarray, curve: EmotionCurve, **how) -> np.ndarray:
        """(s,) at 22,050 Hz -> the same words in the emotion of ``curve``; see :meth:`stream` for what ``how`` is."""
        from voice_conversion import features

        made = np.concatenate(list(self.stream(samples, curve, **how)))
        loud = features.loudness(made)
        made = made * (features.loudness(samples) / loud) if loud > SILENCE else made
        return (made / max(1.0, float(np.abs(made).max()))).astype(np.float32)

    def stream(self, samples: np.ndarray, curve: EmotionCurve, *, spoken: EmotionCurve | None = None,
               tempo: str = "auto", seed: int = 0, progress: Progress = lambda share: None,
               **means) -> Iterator[np.ndarray]:  # fmt: skip
        """The converted recording phrase by phrase, at the loudness that the networks know; ``means`` of Means."""
        import soxr
        import torch

        from voice_conversion import features, speaker
        from voice_conversion.corpus import levelled
        from voice_conversion.task import NEUTRAL

        if len(samples) < LEAST * features.RATE:
            raise InputError(f"the recording is {len(samples) / features.RATE:.2f} s long: give at least {LEAST} s")
        if features.loudness(samples) < SILENCE:
            raise InputError("the recording is silent: give one with a voice in it")
        plan = self.plan(levelled(samples), curve, spoken or NEUTRAL, tempo)
        vector = self.known.embed(soxr.resample(samples, features.RATE, speaker.RATE)).to(self.device)
        cuts, means = quiet_cuts(plan.samples), Means(**means)
        tail, phase = np.zeros(0, np.float32), 0.0
        for index, (first, last) in enumerate(pairwise(cuts)):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
            wave = self._phrase(plan, first, last, vector, phase, generator, means)
            phase += float(np.sum(2.0 ** plan.octave[first:last]) * features.HOP / features.RATE)
            fade = np.linspace(0, 1, len(tail), dtype=np.float32)
            wave[: len(tail)] = wave[: len(tail)] * fade + tail * (1 - fade)
            size = (last - first) * features.HOP
            tail = wave[size : size + FADE].copy()
            progress(last / cuts[-1])
            yield wave[:size]

    def plan(self, samples: np.ndarray, curve: EmotionCurve, spoken: EmotionCurve, tempo: str) -> Plan:
        """Track the pitch, find what the curves ask for, change pitch and pace."""
        from voice_conversion import features
        from voice_conversion.prosody import moved
        from voice_conversion.psola import lay, places

        hz = features.track(samples)
        times = (np.arange(len(hz)) + 0.5) * features.HOP / features.RATE
        asked, had = (self.calibration(track(resolve(one), times)) for one in (curve, spoken))
        shift = self.shift(asked, had)
        median = float(np.median(np.log2(hz[hz > 0]))) if (hz > 0).any() else 7.0
        target = moved(hz, median, shift)
        at = places(shift.pace if tempo == "auto" else np.ones(len(hz)))
        near = np.rint(at).astype(int).clip(0, len(hz) - 1)
        asked, had, shift = (type(one)(*(part[near] for part in one)) for one in (asked, had, shift))
        octave = np.interp(at, np.arange(len(hz)), target).astype(np.float32)
        return Plan(lay(samples, hz, target, at), octave, (hz > 0)[near], shift, asked, had)

    def shift(self, asked: EmotionTrack, had: EmotionTrack) -> Shift:
        """The change of prosody between two emotions."""
        new, old = self.prosody(asked), self.prosody(had)
        factors = {name: getattr(new, name) / getattr(old, name) for name in ("range", "pace", "life", "swing")}
        sums = {name: getattr(new, name) - getattr(old, name) for name in ("height", "onset", "end")}
        return type(new)(**factors, **sums)

    def _phrase(self, plan: Plan, first: int, last: int, vector: Tensor, phase: float, generator,
                means: Means) -> np.ndarray:  # fmt: skip
        """Frames ``first`` to ``last``, and FADE samples more where the recording goes on."""
        import torch

        from voice_conversion import features
        from voice_conversion.emoreg.edit import edit
        from voice_conversion.prosody import swung

        low, high = max(first - CONTEXT, 0), min(last + CONTEXT, len(plan.octave))
        part = slice(low, high)
        with torch.inference_mode():
            wave = self.tensor(plan.samples[low * features.HOP : high * features.HOP])
            mel = features.mel(wave)
            here, there = self.voices(plan, part, mel, vector)
            new = edit(self.decoder, mel, here, there, means.steps, means.solver, means.guidance,
                       generators=[generator])  # fmt: skip
            shift = type(plan.shift)(*(value[part] for value in plan.shift))
            new = new + self.tensor(swung(mel[0].cpu().numpy(), plan.voiced[part], shift))
            start = phase - float(np.sum(2.0 ** plan.octave[low:first]) * features.HOP / features.RATE)
            wave = self.sound(means.vocoder, wave, mel, new, here, generator, start)[0].cpu().numpy()
        begin = (first - low) * features.HOP
        return wave[begin : begin + (last - first) * features.HOP + FADE]

    def sound(self, vocoder: str, wave: Tensor, mel: Tensor, new: Tensor, voice: Voice, generator,
              start: float) -> Tensor:  # fmt: skip
        """A wave (1, s) of mel (1, n, 80) with the ``new`` mel: filtered, or made anew from the new mel alone."""
        from voice_conversion.vocoder import filtered

        if vocoder == "recording":
            return filtered(wave, new - mel)
        if vocoder == "network":
            return self.vocoder(new, voice.octave, voice.voiced, generator=generator, start=start)
        return self.published(new)

    def tensor(self, x: np.ndarray) -> Tensor:
        """(n, ...) -> (1, n, ...) on the device."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(x, np.float32))[None].to(self.device)

    def voices(self, plan: Plan, part: slice, mel: Tensor, vector: Tensor) -> tuple[Voice, Voice]:
        """What the network is told of the recording, and of what it shall become."""
        from voice_conversion.emoreg.score import Voice

        emotion = self.decoder.emotion
        prepared = (emotion.prepare([one.part(part)]) for one in (plan.had, plan.asked))
        tokens = [emotion(**{name: value.to(self.device) for name, value in one.items()}) for one in prepared]
        told = self.encoder(mel), self.tensor(plan.octave[part]), self.tensor(plan.voiced[part]), vector[None]
        return tuple(Voice(*told, token.tokens) for token in tokens)


def quiet_cuts(samples: np.ndarray) -> list[int]:
    """Frames at which to cut a recording into phrases: the quietest within the second half of each PHRASE."""
    from voice_conversion.features import HOP

    power = np.square(samples.reshape(-1, HOP)).mean(1)
    power = np.convolve(power, np.ones(5), "same")
    cuts = [0]
    while len(power) - cuts[-1] > 1.5 * PHRASE:
        low = cuts[-1] + PHRASE // 2
        cuts.append(low + int(power[low : cuts[-1] + PHRASE].argmin()))
    return [*cuts, len(power)]
