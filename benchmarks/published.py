"""The cost of the upstream models at full size: peak memory and seconds, with random weights.

python -m benchmarks.published [NAME ...]: each of :data:`MODELS` in a separate process, in float32 on one CPU thread,
or in float16 on a GPU. Memory: on a CPU the process's resident memory above that before the weights; on a GPU the
memory allocated by torch. Seconds: of one run, after a warm-up run where that is cheap. Prints a table and appends it
to benchmarks/results/published.md.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.float16 if DEVICE == "cuda" else torch.float32
HELD: list[float] = []  # weights of each created network in GB


def filled(build: Callable[[], nn.Module], dtype: torch.dtype = DTYPE) -> nn.Module:
    """A network with random weights, all resident in memory."""
    with torch.device("meta"):
        model = build()
    model = nn.Module.to(model, dtype).to_empty(device=DEVICE)
    for value in (*model.parameters(), *model.buffers()):
        if value.is_floating_point():
            value.normal_(std=0.02)
    HELD.append(sum(value.nbytes for value in (*model.parameters(), *model.buffers())) / 1e9)
    return model.eval().requires_grad_(False)


def made(*shape: int) -> Tensor:
    return torch.randn(*shape, device=DEVICE, dtype=DTYPE)


def dice_unet() -> Callable:
    """One window of 25 frames at 512 px, one of three guidance branches: a clip has 75 per 2 s of sound."""
    from talking_head.video.unet import Contexts, VideoUNet

    unet, (f, h) = filled(VideoUNet), (25, 64)
    conditions = Contexts(made(1, 1, 1024), (made(1, f, 32, 1024), made(1, 1, 32, 1024)), mask=made(1, 512, 512))
    return lambda: unet(made(1, f, 8, h, h), torch.zeros(1, device=DEVICE), conditions, made(1, 1, 320, h, h))


def dice_decoder() -> Callable:
    """Two frames at 512 px, whole."""
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

    from talking_head.video.decode import decode
    from talking_head.video.sizes import SIZES, vae_config

    vae = filled(lambda: AutoencoderKLTemporalDecoder(**vae_config(**SIZES["full"]["vae"])))
    return lambda: list(decode(vae, made(2, 4, 64, 64), 2))


def dice_emotion() -> Callable:
    """Speech and emotion tokens of 25 frames."""
    from talking_head.video.emotion import EmotionModel, Tokens

    audio, emotion = filled(Tokens), filled(EmotionModel)
    return lambda: (audio(made(25, 19200)), emotion(made(1, 25, 256)))


def clip() -> Callable:
    """A portrait."""
    from talking_head.video.portrait import ImageEncoder

    encoder = filled(ImageEncoder)
    return lambda: encoder(made(1, 3, 224, 224))


def whisper() -> Callable:
    """Whisper tiny's encoder on 30 s."""
    from talking_head.video.whisper import WhisperEncoder

    encoder = filled(WhisperEncoder)
    return lambda: encoder(made(1, 3000, 80))


def rife() -> Callable:
    """A frame between two frames at 512 px."""
    from talking_head.video.interpolate import Interpolator

    network = filled(Interpolator)
    return lambda: network(made(1, 3, 512, 512), made(1, 3, 512, 512))


def wav2vec2() -> Callable:
    """wav2vec2-base on 10 s, as used by EMOTE."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from talking_head.motion.emote.upstream import Wav2Vec

    ears = Wav2Vec(filled(lambda: Wav2Vec2Model(Wav2Vec2Config())))
    return lambda: ears(made(160_000))


def emote() -> Callable:
    """EMOTE with FLINT's decoder, 10 s of FLAME's 53 coefficients."""
    from talking_head.motion.emote.model import Emote

    model = filled(lambda: Emote(768, 128, 8, 256, 53, 128, 384, styles=32))
    return lambda: model(made(1, 250, 768), made(1, 250, 128), torch.zeros(1, dtype=torch.long, device=DEVICE))


def diffvc() -> Callable:
    """3 s with six steps of the maximum-likelihood solver (30 upstream: five times as long)."""
    from gen.diffusion import MeanRevertingScheduler, draw, sample
    from voice_conversion.emoreg.published import PublishedEncoder, PublishedScore

    encoder, score = filled(PublishedEncoder), filled(PublishedScore)

    def run():
        mel = made(1, 260, 80)
        mean = encoder(mel)
        conditions = {"mean": mean, "vector": made(1, 256), "reference": mel, "reference_mean": mean}
        start = score.sde.start(draw(mean, None), mean, mel)
        return sample(score, MeanRevertingScheduler(score.sde, mean), start, 6, {"null": conditions})

    return run


def hifigan() -> Callable:
    """HiFi-GAN V1, 3 s."""
    from voice_conversion.hifigan import HiFiGAN

    vocoder = filled(HiFiGAN)
    return lambda: vocoder(made(1, 260, 80))


def muser() -> Callable:
    """Eight average bars, 224 compound words, prior and decoder (``benchmarks.events`` has more)."""
    from benchmarks.events import BARS, Overruled, networks, typical
    from gen.nn import by_column
    from music.muser.generate import randoms, sample_codes, sample_rows

    model, prior = (network.to(DEVICE) for network in networks("paper", None))
    for one in (model, prior):
        by_column(one)
        HELD.append(sum(value.nbytes for value in (*one.parameters(), *one.buffers())) / 1e9)
    rows = typical().to(DEVICE)
    codes, length = model.codes(rows), torch.tensor([rows.shape[1]], device=DEVICE)
    conditions = [torch.randn(1, BARS, len(network.emotion.null), device=DEVICE) for network in (model, prior)]
    uniforms = [randoms([0], rows.shape[1] + 1, width).to(DEVICE) for width in (7, 1)]

    def run():
        sample_codes(prior, conditions[1], BARS, 1, Overruled(codes, length), uniforms[1])
        return sample_rows(model, list(codes), conditions[0], Overruled(rows, length), uniforms[0])

    return run


MODELS = {
    name.__name__.replace("_", "-"): name
    for name in (dice_unet, dice_decoder, dice_emotion, clip, whisper, rife, wav2vec2, emote, diffvc, hifigan, muser)
}
LONG = {"dice-unet"}  # run only once
LIBRARIES = ("talking_head.video.pipeline", "voice_conversion.emoreg.speak", "benchmarks.events")


def resident() -> float:
    """Resident memory of this process in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e9


@torch.no_grad()
def measure(name: str) -> dict:
    """Parameter and peak memory in GB, seconds and CPU seconds of one model, in this process."""
    for module in LIBRARIES:
        import_module(module)
    torch.set_num_threads(1)
    torch.zeros(8, 8, device=DEVICE) @ torch.zeros(8, 8, device=DEVICE)
    before, work = resident(), MODELS[name]()
    if name not in LONG:
        work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    wall, spent = time.perf_counter(), time.process_time()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9 - before
    if DEVICE == "cuda":
        most = torch.cuda.max_memory_allocated() / 1e9
    return {"held": sum(HELD), "most": most, "seconds": wall, "cpu": spent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.names[0])))
        return
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{platform.machine()} CPU, 1 thread"
    lines = [
        f"{device}, {str(DTYPE).removeprefix('torch.')}, random weights",
        "",
        "| model | run | weights, GB | most, GB | seconds | CPU seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name in options.names or MODELS:
        words = [sys.executable, "-m", "benchmarks.published", name, "--alone"]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        about = " ".join(MODELS[name].__doc__.split()).rstrip(".")
        lines.append(
            f"| {name} | {about} | {found['held']:.2f} | {found['most']:.2f} | {found['seconds']:.2f} | "
            f"{found['cpu']:.2f} |"
        )
        print(lines[-1], flush=True)
    with open(Path(__file__).parent / "results" / "published.md", "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
