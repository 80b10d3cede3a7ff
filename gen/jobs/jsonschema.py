"""The JSON Schema of a job file, for completion and validation in editors.

It is equivalent to the checks of ``affekt plan`` except for emotion words, the existence of files and the resolution of
references.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias, get_args

from gen import registry
from gen.emotion.spec import EmotionCurve
from gen.jobs.schema import Task, task_class

Rule: TypeAlias = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
ID = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "description": "the job's unique name"}
OUT = {"type": "string", "description": "name of the result below --out: {id}, {index}, {stem} and any field"}
JOB = {
    "type": "object",
    "properties": {"job": {"type": "string"}},
    "required": ["job"],
    "description": "the first output of an item of another job",
}
TABLE = {
    "type": "object",
    "properties": {"csv": {"type": "string"}},
    "required": ["csv"],
    "additionalProperties": False,
    "description": "one item per row of a table; its columns are fields",
}
FILE = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/job"}]}
WORDS = {"type": "string", "minLength": 1}
MIX = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1},
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "array",
                "prefixItems": [{"type": "string"}, {"type": "number"}],
                "minItems": 2,
                "maxItems": 2,
            },
        },
    ]
}
AXIS = {"type": "number", "minimum": -1, "maximum": 1}
VAD = {
    "anyOf": [
        {"type": "object", "properties": dict.fromkeys("vad", AXIS), "additionalProperties": False, "minProperties": 1},
        {"type": "array", "items": AXIS, "minItems": 2, "maxItems": 3},
    ]
}
EMOTION = {
    "anyOf": [
        WORDS,
        {
            "type": "object",
            "additionalProperties": False,
            "oneOf": [{"required": ["mix"]}, {"required": ["vad"]}],
            "properties": {"mix": MIX, "vad": VAD, "intensity": {"type": "number", "minimum": 0, "maximum": 2}},
        },
    ]
}
KEYFRAMES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["at", "emotion"],
        "properties": {
            "at": {"type": "number", "minimum": 0},
            "emotion": {"$ref": "#/$defs/emotion"},
            "ease": {"enum": ["hold", "linear", "smooth"]},
        },
    },
}
UNIT = {"enum": ["seconds", "bars"]}
CURVE = {
    "anyOf": [
        {"$ref": "#/$defs/emotion"},
        KEYFRAMES,
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["keyframes"],
            "properties": {"keyframes": KEYFRAMES, "unit": UNIT},
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["from"],
            "properties": {
                "from": {"$ref": "#/$defs/file"},
                "follow": {"type": "boolean"},
                "unit": UNIT,
                "ear": {"enum": ["compact", "whisper"]},
                "reference": {"type": "array", "items": {"$ref": "#/$defs/file"}},
            },
        },
    ]
}


def schema() -> Rule:
    """The schema, with every kind that is installed."""
    kinds = {kind: task_class(kind) for kind in registry.names("task")}
    fields = {kind: _fields(cls) for kind, cls in kinds.items()}
    shared: dict[str, list[Rule]] = {}
    for own in fields.values():
        for name, rule in own.items():
            if rule not in shared.setdefault(name, []):
                shared[name].append(rule)
    defaults: Rule = {name: rules[0] if len(rules) == 1 else {"anyOf": rules} for name, rules in shared.items()}
    defaults |= {"kind": {"enum": [*kinds]}, "out": OUT}
    defaults["source"] = {"anyOf": [*shared.get("source", []), TABLE]}
    said = {"required": ["kind"]}
    return {
        "$schema": DRAFT,
        "title": "Affekt job file",
        "type": "object",
        "additionalProperties": False,
        "required": ["jobs"],
        "properties": {
            "$schema": {"type": "string"},
            "defaults": {"type": ["object", "null"], "properties": defaults, "additionalProperties": False},
            "jobs": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"kind": {"enum": [*kinds]}},
                    "allOf": [_when({"kind": {"const": kind}}, {"$ref": f"#/$defs/{kind}"}) for kind in kinds],
                },
            },
        },
        "allOf": [
            {"if": _in_defaults({"required": ["kind"]}), "else": _each({"anyOf": [said, _in_matrix("kind")]})},
            *(_of_defaults(kind) for kind in kinds),
            *(rule for kind, cls in kinds.items() for rule in _needed(kind, cls)),
        ],
        "$defs": {"emotion": EMOTION, "curve": CURVE, "file": FILE, "job": JOB}
        | {kind: _job(kind, cls, fields[kind]) for kind, cls in kinds.items()},
    }


def _fields(cls: type[Task]) -> dict[str, Rule]:
    """A rule for each field, by each of its names in YAML."""
    whole = cls.model_json_schema()
    found: dict[str, Rule] = {}
    for name, field in cls.model_fields.items():
        if name == "kind":
            continue
        rule = deepcopy(whole["properties"][field.alias or name])
        rule.pop("title", None)
        kinds = {field.annotation, *get_args(field.annotation)}
        if kinds & {EmotionCurve, Path}:
            refs = [{"$ref": "#/$defs/curve" if EmotionCurve in kinds else "#/$defs/file"}]
            refs += [{"type": "null"}] if type(None) in kinds else []
            rule = {"anyOf": refs} | {key: rule[key] for key in ("description",) if key in rule}
        found |= dict.fromkeys({name, field.alias or name}, rule)
    return found


def _job(kind: str, cls: type[Task], fields: dict[str, Rule]) -> Rule:
    matrix = {name: {"type": "array", "minItems": 1, "items": rule} for name, rule in fields.items()}
    own: Rule = fields | {"id": ID, "kind": {"const": kind}, "out": OUT}
    own["source"] = {"anyOf": [*([fields["source"]] if "source" in fields else []), TABLE]}
    own["matrix"] = {"type": "object", "properties": matrix, "additionalProperties": False}
    return {"description": (cls.__doc__ or "").split("\n\n")[0], "properties": own, "additionalProperties": False}


def _when(properties: Rule, then: Rule) -> Rule:
    return {"if": {"properties": properties, "required": [*properties]}, "then": then}


def _in_defaults(rule: Rule) -> Rule:
    return {"required": ["defaults"], "properties": {"defaults": {"type": "object"} | rule}}


def _in_matrix(name: str) -> Rule:
    return {"properties": {"matrix": {"type": "object", "required": [name]}}, "required": ["matrix"]}


def _each(rule: Rule) -> Rule:
    return {"properties": {"jobs": {"items": rule}}}


def _of_defaults(kind: str) -> Rule:
    """The rule for jobs without a kind if the defaults give this kind."""
    rule = {"if": {"not": {"required": ["kind"]}}, "then": {"$ref": f"#/$defs/{kind}"}}
    return {"if": _in_defaults({"properties": {"kind": {"const": kind}}, "required": ["kind"]}), "then": _each(rule)}


def _needed(kind: str, cls: type[Task]) -> list[Rule]:
    """The required fields of a job, given in the job, its matrix, its table or the defaults."""
    rules: list[Rule] = []
    for name, field in cls.model_fields.items():
        if field.is_required():
            names = {name, field.alias or name}
            table = {"properties": {"source": TABLE}, "required": ["source"]}
            there = {"anyOf": [*({"required": [one]} for one in names), *map(_in_matrix, names), table]}
            here = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
            usual = _in_defaults({"properties": {"kind": {"const": kind}}, "required": ["kind"]})
            missing = {"not": {"anyOf": [_in_defaults({"required": [one]}) for one in names]}}
            rules.append(
                {
                    "if": missing,
                    "then": {
                        "allOf": [
                            _each({"if": here, "then": there}),
                            {"if": usual, "then": _each({"if": {"not": {"required": ["kind"]}}, "then": there})},
                        ]
                    },
                }
            )
    return rules
