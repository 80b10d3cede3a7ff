"""A title, then one line in two emotions side by side, edited with moviepy (`pip install -e ".[moviepy]"`).

python examples/edit_film.py [OUT.mp4]
"""

import sys
from pathlib import Path

from moviepy import CompositeVideoClip, TextClip, clips_array, concatenate_videoclips, vfx

from gen import media
from talking_head.pipeline import TalkGenerator
from talking_head.task import TalkTask

HERE = Path(__file__).parent


def main(out: str = "sides.mp4", size: int = 256) -> None:
    generator = TalkGenerator.from_pretrained()
    talk = {"portrait": HERE / "grace_hopper.jpg", "audio": HERE / "line.opus", "size": size}
    happy, sad = (generator.clip(TalkTask(emotion=emotion, **talk)) for emotion in ("happy @ 1.3", "sad @ 1.3"))
    both = clips_array([[happy, sad.without_audio()]])
    title = TextClip(text="One line, two emotions", font_size=size // 12, color="white", size=both.size, duration=1.5)
    caption = TextClip(text="happy - sad", font_size=size // 16, color="white", margin=(4, 4), duration=both.duration)
    shown = CompositeVideoClip([both, caption.with_position(("center", "bottom"))])
    film = concatenate_videoclips([title.with_effects([vfx.CrossFadeOut(0.4)]), shown], method="compose")
    media.write_clip(out, film.with_fps(25))


if __name__ == "__main__":
    main(*sys.argv[1:])
