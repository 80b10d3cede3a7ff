"""Windows of frames at each denoising step (DICE-Talk, after Sonic, CVPR 2025, sec. 3.3). No torch.

A clip of n frames is cut into windows; the cuts move at each step, so that every frame gets other neighbours. The
time axis is a circle, or (``continued``) a line at whose ends windows stop.
"""

import math

WINDOW, SHIFT = 25, 7  # frames
FPS = 12.5
SAMPLES = 1280  # of sound at 16 kHz in a frame
TAIL = 25  # frames without speech that the published pipeline appends and throws away


def frame_count(samples: int) -> int:
    """Frames at 12.5 per second that a recording at 16 kHz gets; at least one."""
    return max(1, samples // SAMPLES)


def shifts(steps: int, size: int = WINDOW, by: int = SHIFT) -> list[int]:
    """Offset of the cuts at each step."""
    return [by * step % size for step in range(steps)]


def windows(frames: int, shift: int, size: int = WINDOW, continued: bool = False) -> list[list[int]]:
    """The windows of one step: lists of ``min(size, frames)`` frames that together hold every frame."""
    size = min(size, frames)
    if continued:
        starts = (start - shift for start in range(0, frames + shift, size))
        return [list(range(at, at + size)) for at in sorted({min(max(start, 0), frames - size) for start in starts})]
    return [[(start - shift + k) % frames for k in range(size)] for start in range(0, frames, size)]


def calls(frames: int, steps: int, size: int = WINDOW) -> int:
    """Number of windows of a clip on the circle."""
    return steps * math.ceil(frames / min(size, frames))
