"""A portrait, a recording and an emotion curve -> pictures at 25 per second (DICE-Talk, ACM MM 2025)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from PIL import Image
from torch import Tensor, nn

from gen import checkpoints
from gen.emotion.embedding import priors as prior_files
from gen.emotion.embedding.priors import Priors
from gen.emotion.spec import CANONICAL, EmotionCurve
from gen.errors import CheckpointError
from gen.media import exactly
from talking_head.models import write_class
from talking_head.video import decode, lora
from talking_head.video.attention import set_attention_backend
from talking_head.video.emotion import LEVELS, EmotionModel, Tokens, means
from talking_head.video.interpolate import Interpolator, between
from talking_head.video.memory import CHOICES, Memory, by_layer, sliced
from talking_head.video.portrait import ImageEncoder, Portrait, around, paste, prepare
from talking_head.video.pose import PoseGuider
from talking_head.video.sampler import Inputs, Plan, Sampler
from talking_head.video.schedule import FPS, frame_count
from talking_head.video.sizes import sizes, vae_config
from talking_head.video.unet import VideoUNet
from talking_head.video.whisper import FRAME, WhisperEncoder, heard, windows

PARTS = {
    "unet": VideoUNet,
    "audio": Tokens,
    "emotion": EmotionModel,
    "pose": PoseGuider,
    "clip": ImageEncoder,
    "whisper": WhisperEncoder,
    "vae": AutoencoderKLTemporalDecoder,
    "interpolate": Interpolator,
}
PLAN = Plan()  # the default mode
OPTIONAL = {"emotion", "pose", "interpolate"}
MISSING = (
    "Put the upstream files into a folder and run `affekt checkpoints convert dice-talk --from FOLDER`, "
    "or use the model 'dice', which needs none"
)


class DiceVideo:
    """The networks of a checkpoint and their pipeline."""

    def __init__(
        self, parts: dict[str, nn.Module], priors: Priors | None, device: str = "cpu", memory: Memory = CHOICES[0]
    ):
        self.parts, self.priors, self.device, self.memory = parts, priors, torch.device(device), memory
        for part in parts.values():
            part.eval().requires_grad_(False)
            part.to(self.device if memory.offload == "none" else "cpu")

    @classmethod
    def build(cls, size: str, seed: int = 0) -> DiceVideo:
        """Untrained networks, for training and tests."""
        torch.manual_seed(seed)
        config = sizes(size)
        vae = AutoencoderKLTemporalDecoder(**vae_config(**config["vae"]))
        parts = {name: PARTS[name](**config[name]) for name in config if name != "vae"} | {"vae": vae}
        return cls(parts, Priors.seeded(parts["emotion"].config.size) if size == "tiny" else shared_priors())

    @classmethod
    def load(
        cls,
        name: str,
        device: str = "cpu",
        memory: Memory = CHOICES[0],
        backend: str = "native",
        compile: bool = False,
        changes: Path | None = None,
    ) -> DiceVideo:
        """A converted or trained checkpoint, with the low-rank ``changes`` of a training where they are given.

        CheckpointError says how to come by one.
        """
        try:
            place = checkpoints.folder(name)
        except CheckpointError as error:
            raise CheckpointError(f"There is no checkpoint {name!r} of the video model here. {MISSING}.") from error
        here = [part for part in PARTS if (place / part).is_dir() or part not in OPTIONAL]
        if lost := [part for part in here if not (place / part).is_dir()]:
            raise CheckpointError(f"{place} lacks {', '.join(lost)}. {MISSING}.")
        dtype = torch.float16 if str(device).startswith("cuda") else torch.float32
        parts = {part: nn.Module.to(checkpoints.load(name, PARTS[part], part), dtype) for part in here}
        if changes is not None:
            lora.load(parts["unet"], changes)
        priors = Priors(*prior_files.read(place / "priors.safetensors")) if "emotion" in parts else None
        model = cls(parts, priors, device, memory)
        with model.at("unet") as unet:
            set_attention_backend(unet, backend)
        if compile:
            parts["unet"].compile_repeated_blocks()
        return model

    def feel(self) -> None:
        """Add untrained emotion parts, in the shared embedding, to a network of speech alone."""
        unet, audio = self.parts["unet"], self.parts["audio"].config
        unet.grow()
        self.priors = shared_priors()
        probe = (unet.config.channels[-1], 512, 256, len(CANONICAL[1:]) * LEVELS + 1)
        self.parts["emotion"] = EmotionModel(
            self.priors.mean.shape[1], audio.hidden, audio.count, audio.width, probe=probe
        ).to(unet.device)

    def save(self, place: Path) -> None:
        """Write a checkpoint's parts and its class."""
        from safetensors.torch import save_file

        write_class(place, "DiceVideo")
        for name, part in self.parts.items():
            checkpoints.save(part, place / name)
        if self.priors is not None:
            tensors = {"mean": self.priors.mean, "var": self.priors.var}
            save_file({k: v.float().cpu().contiguous() for k, v in tensors.items()}, place / "priors.safetensors")

    @contextmanager
    def at(self, name: str) -> Iterator[nn.Module]:
        """A part on the device; where memory is short it goes back afterwards, and the UNet comes layer by layer."""
        part, memory = self.parts[name], self.memory
        if memory.offload == "layers" and name == "unet":
            with by_layer(part, lambda layer: layer.to(self.device), lambda layer: layer.cpu()):
                yield part
            return
        yield part.to(self.device)
        if memory.offload != "none":
            part.cpu()

    # ------------------------------------------------------------ conditions

    @torch.no_grad()
    def condition(
        self,
        portrait: Portrait,
        samples: np.ndarray,
        curve: EmotionCurve,
        plan: Plan = PLAN,
        retrieval: bool = False,
        sharpen: float = 0.0,
    ) -> Inputs:
        """Mono sound at 16 kHz and an emotion curve -> the denoiser's conditions."""
        dtype = self.parts["unet"].dtype
        move = lambda x: x.to(self.device, dtype)
        with self.at("vae") as vae:
            latent = decode.encode(vae, portrait.reference.to(self.device))
            scale = vae.config.scaling_factor
        with self.at("clip") as clip:
            seen = clip(move(portrait.seen))[:, None]
        pose = None
        if "pose" in self.parts:
            with self.at("pose") as guider:
                pose = guider(move(portrait.box))[:, None]
        return Inputs(
            latent=move(latent),
            start=move(latent * scale),
            portrait=seen,
            audio=self._hear(samples, plan),
            emotion=self._feel(curve, frame_count(len(samples)), plan, retrieval, sharpen),
            mask=move(portrait.box[:, 0]),
            pose=pose,
        )

    def _hear(self, samples: np.ndarray, plan: Plan) -> tuple[Tensor, Tensor]:
        """Speech tokens: (1, 1, 32, c) of a silent window, (1, n, 32, c) of the clip and its tail."""
        frames = frame_count(len(samples))
        with self.at("whisper") as whisper:
            spans = windows(heard(whisper, samples, overlap=0.0 if plan.parity else 1.0), frames)
        with self.at("audio") as project:
            null, tokens = project(torch.zeros_like(spans[:1])), project(spans)
        return null[None], torch.cat((tokens, null.expand(plan.tail, -1, -1)))[None]

    def _feel(
        self, curve: EmotionCurve, frames: int, plan: Plan, retrieval: bool, sharpen: float
    ) -> tuple[Tensor, Tensor] | None:
        """Emotion tokens; each different mean is computed once, and a constant emotion is one row."""
        if "emotion" not in self.parts:
            return None
        mu = means(self.priors, [curve], np.arange(frames) / FPS, sharpen)[0]
        kinds, place = torch.unique(torch.cat((mu, mu.new_zeros(plan.tail, mu.shape[1]))), dim=0, return_inverse=True)
        with self.at("emotion") as model:
            kinds = torch.cat((torch.zeros_like(kinds[:1]), kinds)).to(self.device, model.dtype)
            tokens = model(kinds[None], retrieval).tokens[0]
        told = tokens[1:] if len(tokens) == 2 else tokens[1:][place.to(self.device)]
        return tokens[None, :1], told[None]

    # ------------------------------------------------------------ generation

    def noise(self, portrait: Portrait, frames: int, seed: int, plan: Plan) -> Tensor:
        """Unit noise (1, frames + tail, 4, h, w); in parity mode with the published order of draws, on the device."""
        h, w = (n // decode.SCALE for n in portrait.reference.shape[2:])
        shape, dtype = (1, frames + plan.tail, 4, h, w), self.parts["unet"].dtype
        if not plan.parity:
            return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device, dtype)
        generator = torch.Generator(self.device).manual_seed(seed)
        draw = lambda size: torch.randn(size, generator=generator, device=self.device, dtype=dtype)
        draw(portrait.reference.shape)  # of the noise on the reference picture, whose strength is 0
        return draw(shape)

    def latents(
        self,
        inputs: Inputs,
        noise: Tensor,
        plan: Plan,
        strengths: tuple[float, float] = (1.0, 1.0),
        progress: Callable[[float], None] = lambda done: None,
    ) -> Tensor:
        """Scaled latents (n, 4, h, w), without the tail."""
        with self.at("unet") as unet, sliced(unet, self.memory.slices):
            made = Sampler(unet, replace(plan, batched=self.memory.batched), strengths).run(inputs, noise, progress)
        return made[0, : made.shape[1] - plan.tail]

    def generate(
        self,
        portrait: Portrait,
        samples: np.ndarray,
        curve: EmotionCurve,
        seed: int = 0,
        plan: Plan = PLAN,
        progress: Callable[[float], None] = lambda done: None,
        **how,
    ) -> Iterator[np.ndarray]:
        """Pictures (H, W, 3) uint8, one for each 40 ms of sound at 16 kHz, rounded; ``how`` as in :meth:`condition`."""
        inputs = self.condition(portrait, samples, curve, plan, **how)
        noise = self.noise(portrait, frame_count(len(samples)), seed, plan)
        latents = self.latents(inputs, noise, plan, progress=progress)
        return exactly(self._pictures(latents), max(1, round(len(samples) / FRAME)))

    def talk(
        self,
        pixels: np.ndarray,
        box: tuple[float, float, float, float],
        samples: np.ndarray,
        curve: EmotionCurve,
        side: int = 512,
        crop: bool = True,
        **how,
    ) -> Iterator[np.ndarray]:
        """A photograph (h, w, 3) uint8 with a face in ``box`` (x, y, width, height) -> photographs of the same size.

        With ``crop`` a square around the face is made, and comes back to its place; otherwise the whole picture is
        made. ``how`` as in :meth:`generate`.
        """
        height, width = pixels.shape[:2]
        square = around(box, (height, width)) if crop else None
        part, x, y = pixels, 0, 0
        if square is not None:
            x, y = square.left, square.top
            part = np.ascontiguousarray(pixels[y : y + square.side, x : x + square.side])
        portrait = prepare(part, (box[0] - x, box[1] - y, *box[2:]), side, self.parts["clip"].config.size)
        for frame in self.generate(portrait, samples, curve, **how):
            if square is not None:
                yield paste(pixels, frame, square)
            else:
                yield np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))

    def _pictures(self, latents: Tensor) -> Iterator[np.ndarray]:
        """Decoded frames with one between each two: made by the interpolation network, or the earlier one again."""
        with self.at("vae") as vae:
            chunks = decode.decode(vae, latents, self.memory.chunk, self.memory.tile)
            frames = chain.from_iterable((chunk.float() / 2 + 0.5).clamp(0, 1) for chunk in chunks)
            for frame in between(self.parts.get("interpolate"), frames):
                yield (frame * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def shared_priors() -> Priors:
    """The priors of the shared embedding (``affekt train emotion``)."""
    return Priors(*prior_files.read("emotion-embedding"))
