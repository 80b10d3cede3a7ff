"""A text read aloud by eSpeak NG, from the package that brings its library and its voices along (the extra ``tts``).

It is plain and robotic, small and quick, and speaks a hundred languages; give a recording for anything better. It runs
in a process of its own, since it keeps a state that would make a second reading differ from the first.
"""

import ctypes
import os
import subprocess
import sys
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
    command = [sys.executable, "-m", "apps.scene.reading", voice]
    here = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, input=text.encode(), capture_output=True, env=here)
    if done.returncode:
        raise InputError(f"eSpeak NG fails to read the text ({done.stderr[-200:].decode()}): give a recording (audio)")
    rate, samples = int.from_bytes(done.stdout[:4], "little"), np.frombuffer(done.stdout[4:], np.int16)
    if not samples.any():
        raise InputError(f"there is nothing to read aloud in {text!r}: give words")
    return samples.astype(np.float32) / 32768, rate


def _speak(text: bytes, voice: str) -> bytes:
    """The rate in four bytes, then samples of 16 bits."""
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
