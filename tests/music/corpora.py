"""A small folder laid out as the training data."""

import csv
import json

from clips import write_clips, write_midi
from grids import song


def write_data(data, songs=1):
    """EMOPIA clips, ``songs`` a quadrant and part, POP909 with its beats, and GiantMIDI with its index."""
    write_clips(data, lambda q, seed: song(6, 90 + 10 * q + seed % 7, seed, q), {"train": songs, "valid": 1, "test": 0})
    (data / "pop909").mkdir()
    (data / "giantmidi").mkdir()
    meta = {}
    for name, offset in (("001", 0), ("002", 2)):
        write_midi(data / "pop909" / f"{name}.mid", song(16, 120, offset))
        flags = "".join("3" if beat % 4 == 0 else "0" for beat in range(65))
        meta[name] = {"beats": [500.0 * beat for beat in range(65)], "beat_flags": flags}
    meta["003"] = {"beats": [500.0 * beat for beat in range(65)], "beat_flags": "300" * 21 + "30"}  # a waltz
    (data / "pop909" / "pop909_meta.json").write_text(json.dumps(meta))
    with open(data / "giantmidi" / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ("file", "group"))
        writer.writeheader()
        for name, group in (("a.mid", "maestro"), ("b.mid", "ground_truth")):
            writer.writerow({"file": name, "group": group})
            write_midi(data / "giantmidi" / name, song(8, 80, 5, 3))
    return data
