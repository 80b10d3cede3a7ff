"""The studio's texts: a sentence for each kind, labels of fields, and simplified error messages."""

import re

MOTTO = "One emotion for face, voice and piano. Every file is marked as AI-generated."
LEADS = {
    "scene": "Your portrait speaks with emotion while a piano plays along. You get one MP4.",
    "talk": "Make a photo speak your recording with an emotion.",
    "voice": "Give a recording another emotion. Words and speaker stay the same.",
    "music": "Compose a piano piece that carries an emotion. You get MIDI and WAV.",
    "faders": "Change rhythm, fullness or arousal of your own MIDI file.",
}
TITLES = {"scene": "Scene", "talk": "Portrait", "voice": "Voice", "music": "Music", "faders": "Rework MIDI"}

# field -> label and what stands under it
FIELDS = {
    "portrait": ("Portrait", "a photo with a face seen from the front, or a film"),
    "audio": ("Recording", "what is said: a sound or a film"),
    "source": ("Recording", "what is said: a sound or a film"),
    "text": ("Text", "Text to speak if you have no recording; also used for captions"),
    "voice": ("Finished speech", "used as it is, in place of the recording"),
    "music": ("Music", "your own sound or MIDI file in place of a new piece"),
    "under": ("Music level", "How much quieter than speech, in dB"),
    "swell": ("Louder in pauses (dB)", ""),
    "stems": ("Stems", "Also save speech and music as separate files"),
    "candidates": ("Takes", "Takes to choose from: the best is kept"),
    "bars": ("Length", "Length in bars (4/4)"),
    "emotion_scale": ("Emotion strength", "Dice models only; lip movement unchanged"),
    "steps": ("Sampling steps", "0 = default"),
    "consent": ("Consent", "Name of the person who gave permission"),
    "flame": ("FLAME", "Also export FLAME parameters (needs your converted FLAME)"),
    "lead": ("Seconds before the first word", ""),
    "tail": ("Seconds after the last word", ""),
    "mute": ("Leave out", ""),
    "seed": ("Take number", "Another number is another take; the same number is the same result"),
    "size": ("Picture size", "pixels of the shorter side; 256 is quick"),
    "label": ("Visible note", "a small note in the film that it is AI-generated"),
}

NO_SPEECH = 'Text-to-speech is not installed. Add a recording, or run pip install -e ".[tts]".'
# pattern of a toolkit message -> simplified message
SENTENCES = (
    (
        r"^(?:[\w.]+: )?unknown emotion (.+); the nearest terms are (.+), (.+?)\.?$",
        r"\1 is not an emotion I know. Did you mean \2 or \3?",
    ),
    (r"^[\w.]*intensity: .*(?:less|greater) than .*$", "Intensity goes from 0 to 2."),
    (
        r"^(?:[\w.]+: )?the times of a curve must increase, not .*$",
        "Each keyframe needs a later time than the one before.",
    ),
    (r"^no face was found.*$", "No face found. Use a photo with the face seen from the front."),
    (r"^text to speech is not installed: .*$", NO_SPEECH),
    (r"^(?:\w+\.)*\w+: Value error, ", ""),
    (r"^(?:keyframes|emotion)(?:\.\w+)*: ", ""),
)
STOPPED = "Stopped. Press Render to start again."


def plain(message: str) -> str:
    """A message of the toolkit for the studio: no folders of this machine, no fields' paths, plain words."""
    message = without_folders(message)
    for pattern, said in SENTENCES:
        message = re.sub(pattern, said, message)
    return message if re.match(r"\S+[.:]", message) else message[:1].upper() + message[1:]  # a file keeps its name


def without_folders(message: str) -> str:
    """A message with the folders of this machine taken out of its paths."""
    return re.sub(r"(?<![\w.])/(?:[^\s/:;,'\"()]+/)+(?=[^\s/])", "", message)


def missing(labels: list[str]) -> str:
    """The message for empty required fields."""
    named = [f"a {label.lower()}" for label in labels]
    return f"Add {' and '.join([', '.join(named[:-1]), named[-1]] if len(named) > 1 else named)} first."
