"""Reads YAML and keeps the line of every field."""

from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml

from gen.emotion.spec import Plain
from gen.errors import InputError
from gen.jobs.schema import Location, short

Nodes: TypeAlias = tuple[yaml.Node, ...]
MERGE = "tag:yaml.org,2002:merge"
MAX_DEPTH = 50  # levels of nested lists and mappings

# The C loader reads 10,000 jobs in half a second; builds of PyYAML from source may lack it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Source:
    """A YAML file as plain data, and the line of each field. Raises ``InputError`` for unsafe content."""

    def __init__(self, path: Path):
        self.path = path
        self.lines: dict[Location, int] = {}
        try:
            content = path.read_bytes()
            self._check_depth(content)
            loader = _Loader(content)
            self.data: Plain = self._read(loader, loader.get_single_node(), (), ())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise InputError(f"{path}:{line}: not valid YAML ({error.problem}).") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path}:1: not valid YAML ({error}).".replace("\n", " ")) from None

    def error(self, where: Location, message: str) -> InputError:
        """An error at the line of the field ``where``. Steps that are not in the file are skipped, since a model may
        have added them (a list of keyframes is ``emotion.1`` in YAML, ``emotion.keyframes.1`` inside).
        """
        known: Location = ()
        for step in where:
            known = (*known, step) if (*known, step) in self.lines else known
        return InputError(f"{self.path}:{self.lines.get(known, 1)}: {' '.join(message.split())}")

    def _check_depth(self, content: bytes) -> None:
        """Raises for nesting so deep that the C loader, which has no limit, would overflow the stack."""
        depth = 0
        for event in cast(Any, yaml).parse(content, _Loader):  # typed in part
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise InputError(f"{self.path}:{event.start_mark.line + 1}: nested more than {MAX_DEPTH} levels deep.")

    def _read(self, loader: Any, node: yaml.Node | None, where: Location, above: Nodes) -> Plain:
        """The data of a node. Replaces ``construct_document``, which drops lines and repeated keys."""
        if node is None:
            return None
        self.lines[where] = node.start_mark.line + 1
        if any(node is parent for parent in above):
            raise self.error(where, "an alias cannot contain itself.")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(loader, node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(loader, item, (*where, i), (*above, node)) for i, item in enumerate(node.value)]
        found: dict[str, Plain] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                continue
            key = self._scalar(loader, key_node, where) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.lines[where] = key_node.start_mark.line + 1
                raise self.error(where, "a field's name must be text: put it in quotes.")
            if key in found:
                self.lines[where] = key_node.start_mark.line + 1
                raise self.error(where, f"{key!r} is given twice.")
            found[key] = self._read(loader, value_node, (*where, key), (*above, node))
            self.lines[*where, key] = key_node.start_mark.line + 1
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                self._merge(loader, value_node, where, (*above, node), found)
        return found

    def _merge(self, loader: Any, node: yaml.Node, where: Location, above: Nodes, found: dict[str, Plain]) -> None:
        """Adds the fields of a mapping, or of each in a list, that ``found`` lacks: YAML's ``<<: *name``."""
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(one, yaml.MappingNode):
                raise self.error(where, "<< needs another mapping, such as <<: *name.")
            lines, self.lines = self.lines, {}
            more: Any = self._read(loader, one, where, above)
            self.lines = {step: line for step, line in self.lines.items() if step not in lines} | lines
            for key, value in more.items():
                found.setdefault(key, value)

    def _scalar(self, loader: Any, node: yaml.ScalarNode, where: Location) -> Any:
        try:
            return loader.construct_object(node)
        except ValueError:
            raise self.error(where, f"{short(node.value)} cannot be read as a value: put it in quotes.") from None
