"""A text read aloud by eSpeak NG, from the package that brings its library and its voices along (the extra ``tts``).

It is plain and robotic, small and quick, and speaks a hundred languages; give a recording for anything better.
"""

import ctypes
from importlib.util import find_spec

import numpy as np

from gen.errors import InputError

RETRIEVE = 1  # AUDIO_OUTPUT_RETRIEVAL: hand the samples over, play nothing
UTF8, PLAIN, EXACT = 1, 0, 0x8000  # espeakCHARS_UTF8, text without markup, espeakINITIALIZE_DONT_EXIT
PACE, WORDS_A_MINUTE = 1, 155  # espeakRATE
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def read_aloud(text: str, voice: str = "en") -> tuple[np.ndarray, int]:
    """Samples (n,) and their rate in Hz. Raises ``InputError`` where the extra is not installed."""
    if find_spec("espeakng_loader") is None:
        wish = 'run `pip install -e ".[tts]"`, or give a recording (audio) in place of the text'
        raise InputError(f"a text is read aloud by an extra that is not installed: {wish}")
    import espeakng_loader

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = espeak.espeak_Initialize(RETRIEVE, 0, str(espeakng_loader.get_data_path()).encode(), EXACT)
    if rate <= 0:
        raise InputError("eSpeak NG does not start: install the extra `tts` anew, or give a recording")
    parts: list[np.ndarray] = []

    @Callback
    def take(samples, count: int, _events) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    espeak.espeak_SetSynthCallback(take)
    espeak.espeak_SetVoiceByName(voice.encode())
    espeak.espeak_SetParameter(PACE, WORDS_A_MINUTE, 0)
    words = text.encode()
    espeak.espeak_Synth(words, ctypes.c_size_t(len(words) + 1), 0, PLAIN, 0, UTF8, None, None)
    espeak.espeak_Synchronize()
    espeak.espeak_Terminate()
    if not parts:
        raise InputError(f"there is nothing to read aloud in {text!r}: give words")
    return np.concatenate(parts).astype(np.float32) / 32768, rate
