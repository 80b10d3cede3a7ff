"""The sizes of Music FaderNets: ``tiny`` for tests, ``compact`` as shipped, ``paper`` as released (ISMIR 2020)."""

from music.faders.segments import FIELDS

EVENTS = 342  # of the release: pad, end, 88 note-on, 88 note-off, 100 time shifts, 64 velocities
SIZES = {
    "tiny": {"fields": list(FIELDS), "hidden": 12, "decoder": 16, "width": 6},
    "small": {"fields": list(FIELDS), "hidden": 48, "decoder": 96, "width": 24},  # for the table of variants
    "compact": {"fields": list(FIELDS), "hidden": 96, "decoder": 176, "width": 48},
    "paper": {"fields": [EVENTS], "hidden": 512, "decoder": 512, "width": 128, "padded": 100},
}
