"""``affekt train dice``: face motion (sizes tiny, compact) or video (tiny-video, full)."""

from pathlib import Path

from gen.errors import InputError
from gen.settings import settings_of


def train(data: Path, out: Path, minutes: float | None, settings: dict[str, str]) -> None:
    """Train for ``minutes`` (default 30); the setting ``size`` selects the model, the others go to it."""
    given = dict(settings)
    size = given.setdefault("size", "compact")
    if size in ("tiny", "compact"):
        from talking_head.training.dice_motion import Settings
        from talking_head.training.dice_motion import train as learn
    elif size in ("tiny-video", "full"):
        from talking_head.training.dice_video import Settings
        from talking_head.training.dice_video import train as learn

        given["size"] = size.removesuffix("-video")
    else:
        raise InputError(f"there is no size {size!r}: choose among tiny, compact, tiny-video, full")
    learn(Path(data), Path(out), 30.0 if minutes is None else minutes, settings_of(Settings, "train dice", given))
