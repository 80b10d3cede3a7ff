"""Parses the ``--set name=value`` options of trainers and evaluators."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from gen.errors import InputError

S = TypeVar("S")


def settings_of(cls: type[S], what: str, given: Mapping[str, str]) -> S:
    """An instance of ``cls``, a pydantic model or a NamedTuple, from text; ``what`` names the owner in messages.

    Raises InputError for an unknown name, a value that its type does not allow ("False" is false) or a missing setting.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(dict(given))
    except ValidationError as error:
        raise InputError(_sentence(cls, what, error.errors(include_url=False)[0])) from None


def settings_class(part: Callable) -> type:
    """The settings class of a trainer or an evaluator: the annotation of its parameter ``settings``."""
    return inspect.signature(part, eval_str=True).parameters["settings"].annotation


def settings_for(part: Callable, what: str, given: Mapping[str, str]):
    """The settings of ``part``, parsed from text."""
    return settings_of(settings_class(part), what, given)


def has_setting(part: Callable, name: str) -> bool:
    """True if a trainer or an evaluator has a setting; unknown for one that takes a plain dict."""
    names = names_of(settings_class(part))
    return not names or name in names


def names_of(cls: type) -> tuple[str, ...]:
    """The names of the settings of a class; empty for a plain dict."""
    return tuple(getattr(cls, "model_fields", getattr(cls, "_fields", ())))


def _sentence(cls: type, what: str, mistake: Mapping[str, Any]) -> str:
    name = str(mistake["loc"][0]) if mistake["loc"] else ""
    if mistake["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{what} has no setting {name}: use {', '.join(names_of(cls))}"
    if mistake["type"] in ("missing", "missing_argument"):
        choices = get_args(inspect.get_annotations(cls, eval_str=True).get(name))
        known = "|".join(choices) if choices and all(isinstance(c, str) for c in choices) else "VALUE"
        return f"{what} needs {name}: give it with --set {name}={known}"
    reason = re.sub("^Input ", "it ", mistake["msg"].removeprefix("Value error, "))
    return f"{what} cannot use {name}={mistake['input']}: {reason[:1].lower()}{reason[1:]}"
