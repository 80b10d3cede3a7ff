"""Installs the kind ``tone`` for tests, and its arguments in the studio's API."""

import os

TONE = {
    "emotion": "happy",
    "seed": 0,
    "frequency": 440,
    "seconds": 0.05,
    "count": 1,
    "soft": False,
    "voice": "",
    "before": None,
    "pause": 0,
    "remark": "",
    "fault": "none",
}


def know_tone(folder, monkeypatch):
    """Registers the kind ``tone`` here, in worker processes and in subprocesses, like an installed package."""
    site = folder / "site"
    info = site / "tone-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tone\nVersion: 1.0\n")
    points = "[affekt.task]\ntone = tone:Tone\n[affekt.generator]\ntone = tone:ToneGenerator\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(site)
    here = os.path.dirname(__file__)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), here, os.path.dirname(here)]))
