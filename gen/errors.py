"""Errors that a user can fix: each message is one sentence with the remedy."""


class AffektError(Exception):
    """Base class of user errors; the command line prints the message as one line and exits with ``exit_code``."""

    exit_code: int = 1


class InputError(AffektError):
    """An invalid file, emotion or job description from the user."""

    exit_code = 2


class CheckpointError(AffektError):
    """A checkpoint is missing, or its files differ from the index."""

    exit_code = 3


class RenderError(AffektError):
    """Some items of a run failed."""

    exit_code = 4


class AlteredError(AffektError):
    """A file was altered."""

    exit_code = 5


class DeviceError(AffektError):
    """The requested device is absent or too small."""

    exit_code = 5
