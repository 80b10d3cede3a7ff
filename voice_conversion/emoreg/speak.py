"""A converted DiffVC, or an EmoReg of its layout, at work: the published loop from a recording to a recording.

What the score is told beside the mel: in DiffVC who speaks; in EmoReg the emotion of the recording, moved along a
direction (e_s + i e_d); with room for both, the emotion first. A folder with ``directions.json`` has emotions: a
:class:`DirectionSpace` over the shared embedding. n frames, m mel bands, s samples at 22,050 Hz.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen import checkpoints, media
from gen.diffusion import MeanRevertingScheduler, draw, sample
from gen.emotion.calibration import Calibration
from gen.emotion.embedding.direction import DirectionSpace
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.emotion.track import track
from gen.errors import CheckpointError, InputError
from gen.notes import note
from voice_conversion import features, speaker
from voice_conversion.emoreg.published import LEVELS, PublishedEncoder, PublishedScore
from voice_conversion.features import HOP, RATE
from voice_conversion.hifigan import HiFiGAN
from voice_conversion.speaker import SpeakerEncoder

if TYPE_CHECKING:
    from gen.emotion.embedding.recogniser import Recogniser
    from voice_conversion.task import VoiceTask

STEPS = 30  # as published
PIECE = 1000  # frames that are converted in one go, about; cuts are made where it is quiet
CONTEXT = 16  # frames that the vocoder hears beyond both ends of a piece: all that reaches it
LEAST = 0.02  # intensity below which nothing is changed
SHORTEST = 0.2  # seconds
Progress = Callable[[float], None]


class DiffVC:
    """Encoder, score, vocoder and speaker encoder; ``directions`` and what hears emotions where it has them."""

    endings = (".wav",)

    def __init__(
        self,
        encoder: PublishedEncoder,
        decoder: PublishedScore,
        vocoder: HiFiGAN,
        known: SpeakerEncoder,
        directions: DirectionSpace | None = None,
        hears: Recogniser | None = None,
        calibration: Calibration | None = None,
    ):
        self.encoder, self.decoder, self.vocoder, self.known = encoder, decoder, vocoder, known
        self.directions, self.hears, self.calibration = directions, hears, calibration or Calibration.linear()
        bands = {model.config.bands for model in (encoder, decoder, vocoder)}
        if len(bands) > 1:
            raise CheckpointError(f"The model and its vocoder have different numbers of bands ({sorted(bands)}).")
        self.bands, self.device = bands.pop(), decoder.device
        width = 0 if directions is None else directions.basis.shape[0]
        self.told = decoder.config.vector - width  # of the vector, what tells the speaker
        if self.told not in (speaker.SIZE, *([0] if width else [])):
            raise CheckpointError(
                f"The score is told {decoder.config.vector} numbers, and a speaker has {speaker.SIZE}"
                + (f", an emotion {width}." if width else ": an EmoReg needs its directions.json.")
            )

    @classmethod
    def from_pretrained(cls, name: str | Path, *others: str | Path, device: str = "cpu") -> DiffVC:
        """``others``: the speaker encoder, the embedding and a HiFi-GAN."""
        from gen.emotion.embedding.recogniser import Recogniser

        if len(others) < 3:
            raise InputError(f"{name} is a DiffVC, which gives a mel spectrum: name a HiFi-GAN with --vocoder")
        load = lambda one, kind, part="": checkpoints.load(str(one), kind, part).to(device).float().eval()
        place = checkpoints.folder(name)
        directions = DirectionSpace.load(place) if (place / "directions.json").is_file() else None
        return cls(
            load(name, PublishedEncoder, "encoder"),
            load(name, PublishedScore, "decoder"),
            load(others[2], HiFiGAN),
            checkpoints.load(str(others[0]), SpeakerEncoder).float().eval(),
            directions,
            directions and Recogniser.load(str(others[1])),
            Calibration.load(place),
        )

    def render(self, task: VoiceTask, folder: Path, manifest: dict, progress: Callable[[float, str], None]):
        """Write ``voice.wav``, one channel at 22,050 Hz, into ``folder``."""
        path, curve = folder / f"voice.{task.format}", task.aim()
        if all(key.emotion.intensity < LEAST for key in curve.keyframes):
            media.copy_audio(task.source, path, manifest)
            return [path]
        self._say(task)
        samples = self.read(task.source)
        reference = None if task.reference is None else self.read(task.reference)
        share = lambda x: progress(x, "speaking")
        made = self.convert(samples, curve, reference, task.seed, task.steps, progress=share)
        media.write_audio(path, made, RATE, manifest, media.subtype(task.source))
        if not task.plot:
            return [path]
        from voice_conversion.plot import draw as plot

        return [path, plot(samples, made, RATE, folder / "voice.png", manifest)]

    def _say(self, task: VoiceTask) -> None:
        note("a DiffVC gives one channel at 22.05 kHz")
        if self.directions is None and task.reference is None:
            note(f"{task.model} has no directions of emotions: the words are spoken anew and --emotion changes nothing")
        unused = {"performer", "candidates", "refine", "keep_tempo", "spoken"} & task.model_fields_set
        if unused:
            note(f"a DiffVC lays on no performances: {', '.join(sorted(unused))} changes nothing")

    def read(self, path: Path) -> np.ndarray:
        """(s,) a recording as the published front end takes it: at its own level, a whole number of frames."""
        samples, _ = media.read_audio(path, RATE)
        if len(samples) < SHORTEST * RATE:
            raise InputError(f"{path} is {len(samples) / RATE:.2f} s long: give at least {SHORTEST} s")
        if not np.any(samples):
            raise InputError(f"{path} is silent: give a recording with a voice in it")
        return features.cut(samples.astype(np.float32))

    @torch.inference_mode()
    def convert(
        self,
        samples: np.ndarray,
        curve: EmotionCurve,
        reference: np.ndarray | None = None,
        seed: int = 0,
        steps: int = STEPS,
        solver: str = "ml",
        progress: Progress = lambda share: None,
    ) -> np.ndarray:
        """(s,) -> (s,) the same words in the emotion of a resolved ``curve``; ``reference`` (s',) tells the manner,
        the recording itself if there is none. One emotion per piece of about 12 s: that of its centre."""
        heard = self._mel(samples if reference is None else reference)
        if heard.shape[1] > PIECE:
            heard = heard[:, :PIECE]
            note(f"of what tells the manner only the first {PIECE * HOP / RATE:.0f} s are heard")
        mel, cuts, made = self._mel(samples), quiet_cuts(samples), []
        who, own, other = self.speaker(samples), self.emotion(samples), reference
        other = other if other is None else self.emotion(other)
        generator = torch.Generator().manual_seed(seed)
        for first, last in pairwise(cuts):
            felt = self.moved(own, curve, (first + last) / 2 * HOP / RATE, other)
            vector = torch.cat((felt, who), 1).to(self.device)
            share = lambda x, a=first, b=last: progress((a + (b - a) * x) / cuts[-1])
            made.append(self.mel(mel[:, first:last], vector, heard, generator, steps, solver, share))
        return self.sound(torch.cat(made, 1), cuts)

    def mel(
        self,
        source: Tensor,
        vector: Tensor,
        reference: Tensor,
        generator: torch.Generator,
        steps: int = STEPS,
        solver: str = "ml",
        progress: Progress | None = None,
        reference_mask: Tensor | None = None,
    ) -> Tensor:
        """Mels (b, n, m) and reference (b, n', m), vector (b, v) -> (b, n, m): DiffVC's conversion."""
        n, sde = source.shape[1], self.decoder.sde
        mean = self.encoder(source)
        whole = lambda x: F.pad(x, (0, 0, 0, -n % 2 ** (LEVELS - 1)))
        source, mean, mask = whole(source), whole(mean), whole(torch.ones_like(source[..., :1]))[..., 0]
        told = {
            "mean": mean,
            "vector": vector,
            "mask": mask,
            "reference": reference,
            "reference_mask": reference_mask,
            "reference_mean": self.encoder(reference, reference_mask),
        }
        start = sde.start(draw(mean, generator), mean, source)
        solved = MeanRevertingScheduler(sde, mean, solver)
        return sample(self.decoder, solved, start, steps, {"null": told}, generator=generator, progress=progress)[:, :n]

    def speaker(self, samples: np.ndarray) -> Tensor:
        """(1, 256) who speaks; (1, 0) where the score is not told."""
        import soxr

        return self.known.embed(soxr.resample(samples, RATE, speaker.RATE))[None, : self.told]

    def emotion(self, samples: np.ndarray) -> Tensor:
        """(1, e) where a recording lies in the embedding; (1, 0) without directions."""
        return torch.zeros(1, 0) if self.directions is None else torch.from_numpy(self.hears([samples], rate=RATE).mu)

    def moved(self, own: Tensor, curve: EmotionCurve, at: float, other: Tensor | None = None) -> Tensor:
        """Embeddings (1, e) -> (1, e): EmoReg's e_s + i e_d, towards ``other`` or the labels asked for."""
        if self.directions is None:
            return own
        asked = self.calibration(track(curve, [at]))
        shares = dict(zip(CANONICAL, asked.weights[0].tolist()))
        known = {n: x for n, x in shares.items() if x and n in self.directions.regions and n != self.directions.neutral}
        if other is None and not known and abs(shares["neutral"]) < 1:
            raise InputError(f"this model has directions to {', '.join(self.directions.regions)}: ask for one of them")
        lost = [n for n, x in shares.items() if abs(x) > 0.05 and n not in self.directions.regions]
        if lost and other is None:
            note(f"this model has no direction to {', '.join(lost)}, which is left out")
        if other is not None:
            return own + float(asked.intensity[0]) * self.directions.filter(other - own)
        return self.directions.apply(own, known, float(asked.intensity[0]), scale="raw") if known else own

    def sound(self, mel: Tensor, cuts: list[int]) -> np.ndarray:
        """(1, n, m) -> (256 n,), piece by piece with all the context that the vocoder hears."""
        made, n = [], mel.shape[1]
        for first, last in pairwise(cuts):
            low, high = max(first - CONTEXT, 0), min(last + CONTEXT, n)
            wave = self.vocoder(mel[:, low:high])[0]
            made.append(wave[(first - low) * HOP : (last - low) * HOP])
        return torch.cat(made).cpu().numpy()

    def _mel(self, samples: np.ndarray) -> Tensor:
        return features.mel(torch.from_numpy(samples)[None].to(self.device), self.bands)


def quiet_cuts(samples: np.ndarray) -> list[int]:
    """Frames at which to cut a recording into pieces: the quietest within the second half of each PIECE."""
    power = np.convolve(np.square(samples.reshape(-1, HOP)).mean(1), np.ones(5), "same")
    cuts = [0]
    while len(power) - cuts[-1] > 1.5 * PIECE:
        low = cuts[-1] + PIECE // 2
        cuts.append(low + int(power[low : cuts[-1] + PIECE].argmin()))
    return [*cuts, len(power)]
