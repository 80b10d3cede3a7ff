"""Makes checkpoints/piano from the Salamander Grand Piano: thins, tunes, evens out and packs its samples.

A maker's tool, needed only to change the piano. Its sources are the packages `@audio-samples/piano-velocity5`,
`-velocity10` and `-velocity15` (version 1.0.5), one archive each as a package client downloads them:

    python -m music.training.piano --packages DIR --out checkpoints/piano

The result is one Ogg Vorbis stream in which the samples follow one another, layer by layer, from low to high, and
a config.json that says where each begins. Pitch and level are corrected here, so that the player only places notes.
"""

import io
import json
import tarfile
from pathlib import Path

import numpy as np

RATE = 32_000  # Hz: a piano has next to nothing above 15 kHz
QUALITY = 0.8  # libsndfile's compression level, 0 best, 1 smallest
LAYERS = {5: 46, 10: 80, 15: 116}  # recorded layer -> the MIDI velocity that it stands for
PITCHES = range(21, 109, 3)  # one sample per minor third
NAMES = {0: "C", 3: "D#", 6: "F#", 9: "A"}
DARKEN = [8, 14, 8]  # dB by which the treble of each layer lies above that of the next softer one, measured
STRETCH = 18.0  # cents that the outermost keys are tuned apart, which stiff strings ask for; 0 in the middle
WIDTH = 0.7  # of the stereo picture: the microphones hung close over the strings
PEAK = 0.8  # of full scale, the loudest sample
PRELUDE = 0.004  # s kept before the hammer
GAP = 2048  # frames of silence before each sample, the longest block over which Vorbis smears an attack


def seconds(pitch: int) -> float:
    """Duration of a sample: 8.2 s for the lowest key, 1.5 s for the highest."""
    return round(8.2 - (pitch - 21) * 0.077, 2)


def read(packages: Path, layer: int, pitch: int) -> np.ndarray:
    """One recorded note (n, 2) at RATE, from just before the hammer on, its last third fading to silence."""
    import soundfile
    import soxr

    member = f"package/audio/{NAMES[pitch % 12]}{pitch // 12 - 1}v{layer}.ogg"
    with tarfile.open(packages / f"audio-samples-piano-velocity{layer}-1.0.5.tgz") as archive:
        samples, rate = soundfile.read(io.BytesIO(archive.extractfile(member).read()), dtype="float64")
    loud = np.abs(samples).max(1)
    begin = max(0, int(np.argmax(loud > 0.1 * loud[: rate // 5].max()) - PRELUDE * rate))
    samples = soxr.resample(samples[begin:], rate, RATE, quality="VHQ")[: int(seconds(pitch) * RATE)]
    samples -= samples.mean(0)
    rise, fall = int(PRELUDE * RATE / 2), len(samples) // 3
    samples[:rise] *= np.linspace(0, 1, rise)[:, None]
    samples[-fall:] *= np.cos(np.linspace(0, np.pi / 2, fall))[:, None] ** 2
    return samples


def detune(samples: np.ndarray, pitch: int) -> float:
    """Cents by which the first partial lies off equal temperament at 440 Hz.

    Partials of a stiff string are f_k = k f_0 sqrt(1 + B k^2) (Fletcher, JASA 1964), so to first order their cents are
    c_k = c_0 + 865.6 B k^2: a line in k^2, fitted by the six lowest partials with their amplitudes as weights.
    """
    part = samples[int(0.02 * RATE) : int((2.0 if pitch < 84 else 0.5) * RATE)]
    size = 1 << 19
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))[:, None], size, axis=0)).max(1)
    rows = []
    for k in range(1, 7):
        ideal = k * 440 * 2 ** ((pitch - 69) / 12) * size / RATE  # in bins
        if ideal > 0.45 * size:
            break
        low, high = (int(ideal * 2 ** (c / 1200)) for c in ((-60, 70) if pitch < 96 else (-60, 150)))
        at = low + int(np.argmax(spectrum[low:high]))
        a, b, c = np.log(spectrum[at - 1 : at + 2] + 1e-12)
        rows.append((1200 * np.log2((at + (a - c) / (a - 2 * b + c) / 2) / ideal), k * k, spectrum[at]))
    cents, square, weight = np.array(rows).T
    if pitch >= 60:  # strong first partials: no need of the others
        return float(cents[0])
    slope, offset = np.polyfit(square, cents, 1, w=np.sqrt(weight))
    return float(slope + offset)


def stretch(pitch: int) -> float:
    """Cents by which a key is tuned off equal temperament: A4 is 440 Hz, the ends are apart."""
    return STRETCH * ((pitch - 69) / 48) ** 3


def image(samples: np.ndarray, pitch: int) -> tuple[int, np.ndarray]:
    """Samples by which the right channel is to come earlier, and each channel's gain (2,).

    Two microphones near a string hear it with any phase and level, another for each key: a melody would jump
    about the room, and lose notes where one loudspeaker adds the channels. So they are aligned, and the keys
    placed with the bass on the left and the treble on the right.
    """
    from scipy.signal import correlate, correlation_lags

    left, right = samples[: int(0.5 * RATE)].T
    lags = correlation_lags(len(right), len(left))
    near = np.abs(lags) <= RATE // 1000
    lag = int(lags[near][correlate(right, left)[near].argmax()])
    lean = 2.5 * (64 - pitch) / 44 / 20  # half the difference in level, 2.5 dB at the ends, as a power of ten
    gains = 10 ** np.array([lean, -lean]) / np.sqrt(np.array([(left**2).mean(), (right**2).mean()]))
    return lag, gains / np.sqrt((gains**2).mean())


def place(samples: np.ndarray, lag: int, gains: np.ndarray) -> np.ndarray:
    """(n, 2) aligned, balanced and narrowed."""
    samples = np.column_stack((samples[:, 0], np.roll(samples[:, 1], -lag))) * gains
    middle = samples.mean(1, keepdims=True)
    return middle + WIDTH * (samples - middle)


def level(samples: np.ndarray) -> float:
    """dB of a note's first 0.3 s, in stereo and added up; below 100 Hz left out, of which ears take little notice."""
    from scipy.signal import butter, sosfilt

    heard = sosfilt(butter(2, 100, "high", fs=RATE, output="sos"), samples[: int(0.3 * RATE)], axis=0)
    return float(10 * np.log10((heard**2).mean() / 2 + (heard.mean(1) ** 2).mean() / 2))


def prepare(packages: Path) -> list[np.ndarray]:
    """The samples (n, 2), layer by layer from low to high, in tune and even, each after a gap."""
    import soxr

    notes = {layer: [read(packages, layer, p) for p in PITCHES] for layer in LAYERS}
    middle = notes[list(LAYERS)[1]]
    images = [image(note, p) for p, note in zip(PITCHES, middle)]
    off = [detune(note, p) - stretch(p) for p, note in zip(PITCHES, middle)]
    levels = [level(place(note, *im)) for note, im in zip(middle, images)]
    target = np.polynomial.Polynomial.fit(PITCHES, levels, 3)
    parts = []
    for layer in LAYERS:
        for i, pitch in enumerate(PITCHES):
            note = soxr.resample(notes[layer][i], RATE, RATE * 2 ** (off[i] / 1200), quality="VHQ")
            length = int(seconds(pitch) * RATE)
            note = place(np.pad(note[:length], ((0, max(0, length - len(note))), (0, 0))), *images[i])
            parts += [np.zeros((GAP, 2)), note * 10 ** ((target(pitch) - level(note)) / 20)]
    return parts


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The stream under a fixed serial number in place of the writer's random one, so that its bytes repeat.

    Each Ogg page is a 27-byte head, its segment table and the segments; bytes 14 to 18 are the serial number, 22 to 26
    a CRC (polynomial 04c11db7, most significant bit first) over the page with that field zero (RFC 3533, sec. 6).
    """
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        table.append(crc & 0xFFFFFFFF)
    pages, begin = [], 0
    while begin < len(ogg):
        segments = ogg[begin + 27 : begin + 27 + ogg[begin + 26]]
        page = bytearray(ogg[begin : begin + 27 + len(segments) + sum(segments)])
        begin += len(page)
        page[14:18], page[22:26], crc = serial.to_bytes(4, "little"), bytes(4), 0
        for byte in page:
            crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
        page[22:26] = crc.to_bytes(4, "little")
        pages.append(bytes(page))
    return b"".join(pages)


def build(packages: Path, out: Path) -> Path:
    """Writes piano.ogg and config.json into ``out``; returns the first."""
    import soundfile

    stream = np.concatenate(prepare(packages))
    stream *= PEAK / np.abs(stream).max()
    out.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    form = {"format": "OGG", "subtype": "VORBIS", "compression_level": QUALITY}
    with soundfile.SoundFile(buffer, "w", RATE, 2, **form) as file:
        for begin in range(0, len(stream), RATE):  # libsndfile's Vorbis writer overflows its stack on long blocks
            file.write(stream[begin : begin + RATE])
    (out / "piano.ogg").write_bytes(with_serial(buffer.getvalue(), 1))
    config = {
        "rate": RATE,
        "velocities": list(LAYERS.values()),
        "darken": DARKEN,
        "pitches": list(PITCHES),
        "gap": GAP,
        "frames": [int(seconds(p) * RATE) for p in PITCHES],
    }
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return out / "piano.ogg"


if __name__ == "__main__":
    import tyro

    tyro.cli(build)
