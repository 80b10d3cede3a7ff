"""Errors a user can mend: each message is one sentence that says what to do."""


class AffektError(Exception):
    """A mistake outside the program; the command line prints it as one line and exits with ``exit_code``."""

    exit_code: int = 1


class InputError(AffektError):
    """A file, an emotion or a job description given by the user is wrong."""

    exit_code = 2


class CheckpointError(AffektError):
    """A checkpoint is missing, or its files are not those that the index names."""

    exit_code = 3


class RenderError(AffektError):
    """Some items of a run failed."""

    exit_code = 4


class AlteredError(AffektError):
    """A file is not as it was made."""

    exit_code = 5


class DeviceError(AffektError):
    """The requested device is absent or too small."""

    exit_code = 5
