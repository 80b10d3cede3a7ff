"""Emotion curves from Python: eight bars with the change at three positions, each as MIDI and piano roll.

python examples/curves.py [FOLDER]
"""

import sys
from pathlib import Path

from gen import media
from gen.emotion.spec import EmotionCurve
from music import roll
from music.pipeline import MusicGenerator
from music.score import to_score


def main(folder: str = "curves", bars: int = 8) -> None:
    turns = [bars // 4, bars // 2, 3 * bars // 4]
    curves = [EmotionCurve.parse(f"bar 0: sad, bar {turn} smooth: sad, bar {turn + 1}: happy @ 1.3") for turn in turns]
    generator = MusicGenerator.from_pretrained("muser-compact")
    pieces = generator.compose(curves, bars=bars, seeds=[1] * len(curves))
    place = Path(folder)
    place.mkdir(exist_ok=True)
    for turn, curve, piece in zip(turns, curves, pieces):
        media.write_midi(place / f"turn-{turn}.mid", to_score(piece.grid))
        roll.draw(piece.notes, place / f"turn-{turn}.png", beats=piece.bars)
        print(f"turn-{turn}.mid: {len(piece.notes)} notes of {curve}")


if __name__ == "__main__":
    main(*sys.argv[1:])
