"""The commands about emotions: ``affekt emotion describe | make`` and ``affekt perceive``."""

import json
from collections.abc import Callable
from pathlib import Path


def add(commands, parser_class, text: Callable[[str], str], path: Callable[[str], Path]) -> None:
    """Adds the commands to ``commands``; ``text`` and ``path`` parse arguments."""
    emotion = commands.add_parser("emotion", help="explain an emotion; add a user-defined one")
    actions = emotion.add_subparsers(required=True, metavar="COMMAND", parser_class=parser_class)
    describe = actions.add_parser("describe", help="print its mix, valence, arousal, dominance and quadrant")
    describe.add_argument("text", type=text, help='such as "happy 0.7 + surprise 0.3 @ 1.2"')
    describe.add_argument("--json", action="store_true", help="as JSON")
    describe.add_argument("--plot", type=path, metavar="X.png", help="plot it in the valence-arousal plane")
    describe.set_defaults(command=_describe)
    make = actions.add_parser("make", help="add a user-defined emotion from a few clips")
    make.add_argument("name", type=text)
    make.add_argument("clips", type=path, nargs="+", help="voices, MIDI, or faces: video, picture, motion (.npz)")
    _add_ear(make, text)
    make.set_defaults(command=_make)
    perceive = commands.add_parser("perceive", help="the emotion of a voice, a MIDI file, a text, a face")
    perceive.add_argument("file", type=path, help="sound, MIDI, text, or a face: video, picture, motion (.npz)")
    perceive.add_argument(
        "--reference",
        type=path,
        nargs="+",
        default=(),
        metavar="FILE",
        help="other recordings of the same speaker, as a baseline for a voice",
    )
    _add_ear(perceive, text)
    perceive.add_argument("--json", action="store_true", help="as JSON")
    perceive.add_argument("--curve", action="store_true", help="also print the emotion over time")
    perceive.set_defaults(command=_perceive)


def _add_ear(command, text: Callable[[str], str]) -> None:
    command.add_argument(
        "--ear",
        type=text,
        default="compact",
        metavar="NAME",
        help="voice encoder: compact, or whisper (needs whisper-base)",
    )


def _make(options) -> None:
    from gen.emotion.own import make

    print(make(options.name, options.clips, options.ear))


def _perceive(options) -> None:
    from gen.emotion.embedding.perceive import perceive, report

    found = perceive(options.file, options.reference, options.ear)
    facts = found.facts(options.curve)
    print(json.dumps(facts, indent=1, ensure_ascii=False) if options.json else report(found, options.curve))


def _describe(options) -> None:
    from gen.emotion.describe import describe, plot, report

    found = describe(options.text)
    print(json.dumps(found, indent=1, ensure_ascii=False) if options.json else report(found))
    if options.plot:
        plot(options.text, options.plot)
