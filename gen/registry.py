"""Registry of named parts: conditioners, quantizers, job kinds, generators, trainers and the other ``KINDS``.

A part is looked up in this order: objects registered by :func:`register`, parts of ``gen`` (imported on first use), and
the entry points of installed packages (group ``affekt.<kind>``). Only the requested part is imported. Installing a
package is the consent to run its code; naming it in a YAML file is not.
"""

import difflib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from gen.errors import InputError

T = TypeVar("T")

KINDS = ("conditioner", "quantizer", "task", "generator", "trainer", "evaluator", "converter", "command", "reader")
SHIPPED = {
    "conditioner": ("gen.emotion.conditioner", ("none", "label", "vad", "gaussian", "bank", "direction")),
    "quantizer": ("gen.quantize", ("ema_vq", "slot_vq", "fsq", "fsp", "vp")),
}
_registered: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}


class UnknownName(InputError, ValueError):
    """No part of that kind has that name; the message lists the nearest ones."""


def register(kind: str, name: str) -> Callable[[T], T]:
    """Decorator that registers an object as ``name``; raises ``ValueError`` if the name is taken by another object."""

    def keep(thing: T) -> T:
        holder = _known(kind).setdefault(name, thing)
        if holder is not thing:
            raise ValueError(f"{kind} {name!r} is already {holder!r}: choose another name for {thing!r}")
        return thing

    return keep


def get(kind: str, name: str) -> Any:
    """The object registered as ``name``; imports only its module. Raises :class:`UnknownName`."""
    known = _known(kind)
    if name in known:
        return known[name]
    module, shipped = SHIPPED.get(kind, ("", ()))
    if name in shipped:
        import_module(module)
        return known[name]
    points = _entry_points(kind)
    if name not in points:
        raise UnknownName(_unknown(kind, name))
    return register(kind, name)(_loaded(kind, points[name]))


def build(kind: str, name: str, **config: Any) -> Any:
    """Calls the object from :func:`get` with ``config``."""
    return get(kind, name)(**config)


def names(kind: str) -> list[str]:
    """All names of a kind, sorted; imports nothing."""
    return sorted({*_known(kind), *SHIPPED.get(kind, ("", ()))[1], *_entry_points(kind)})


def _known(kind: str) -> dict[str, Any]:
    if kind not in _registered:
        raise UnknownName(f"unknown kind of part {kind!r}: the kinds are {', '.join(KINDS)}.")
    return _registered[kind]


def _entry_points(kind: str) -> dict[str, EntryPoint]:
    """Entry points by name; raises ``ValueError`` if two packages, or a package and ``gen``, claim one name."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"affekt.{kind}"):
        rival = found.setdefault(point.name, point)
        if rival.value != point.value or point.name in SHIPPED.get(kind, ("", ()))[1]:
            raise ValueError(f"{kind} {point.name!r} is claimed twice: rename {point.value}")
    return found


def _loaded(kind: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        package = point.dist.name if point.dist else "a package"
        raise InputError(
            f"{kind} {point.name!r} of {package} cannot be imported from {point.value}: {error}"
        ) from error


def _unknown(kind: str, name: str) -> str:
    near = difflib.get_close_matches(name, names(kind), n=3, cutoff=0.0)
    return f"no {kind} {name!r}; the nearest are {', '.join(near) or 'none at all'}."
