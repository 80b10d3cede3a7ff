"""Text to speech by eSpeak NG, from a package with its library and voices (extra ``tts``).

It sounds robotic, but is small and fast and supports a hundred languages; a recording gives better results. It runs in
a separate process, since its state would make a second call differ from the first.
"""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np

from gen.errors import InputError

RETRIEVE = 1  # AUDIO_OUTPUT_RETRIEVAL: return the samples instead of playing them
UTF8, PLAIN, EXACT = 1, 0, 0x8000  # espeakCHARS_UTF8, text without markup, espeakINITIALIZE_DONT_EXIT
PACE, WORDS_A_MINUTE = 1, 155  # espeakRATE
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def read_aloud(text: str, voice: str = "en") -> tuple[np.ndarray, int]:
    """Samples (n,) and their rate in Hz. Raises ``InputError`` if the extra is not installed."""
    if find_spec("espeakng_loader") is None:
        hint = 'run `pip install -e ".[tts]"`, or give a recording (audio) instead of the text'
        raise InputError(f"text to speech is not installed: {hint}")
    command = [sys.executable, "-m", "apps.scene.reading", voice]
    here = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, input=text.encode(), capture_output=True, env=here)
    if done.returncode:
        raise InputError(f"eSpeak NG cannot read the text ({done.stderr[-200:].decode()}): give a recording (audio)")
    rate, samples = int.from_bytes(done.stdout[:4], "little"), np.frombuffer(done.stdout[4:], np.int16)
    if not samples.any():
        raise InputError(f"nothing to read aloud in {text!r}: give words")
    return samples.astype(np.float32) / 32768, rate


def _speak(text: bytes, voice: str) -> bytes:
    """The rate in four bytes, then 16-bit samples."""
    import espeakng_loader

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = espeak.espeak_Initialize(RETRIEVE, 0, str(espeakng_loader.get_data_path()).encode(), EXACT)
    parts: list[bytes] = []

    @Callback
    def take(samples, count: int, _events) -> int:
        if samples and count > 0:
            parts.append(ctypes.string_at(samples, 2 * count))
        return 0

    espeak.espeak_SetSynthCallback(take)
    espeak.espeak_SetVoiceByName(voice.encode())
    espeak.espeak_SetParameter(PACE, WORDS_A_MINUTE, 0)
    espeak.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, PLAIN, 0, UTF8, None, None)
    espeak.espeak_Synchronize()
    return rate.to_bytes(4, "little") + b"".join(parts)


if __name__ == "__main__":
    sys.stdout.buffer.write(_speak(sys.stdin.buffer.read(), sys.argv[1]))
