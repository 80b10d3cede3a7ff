"""Text settings are parsed to their types, or give one sentence about the mistake."""

from typing import Literal, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, DirectoryPath

from gen import registry
from gen.errors import InputError
from gen.settings import names_of, settings_class, settings_for, settings_of


class Tuple(NamedTuple):
    steps: int = 3
    rate: float = 0.1
    flag: bool = True
    name: str | None = None


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    stage: Literal["first", "second"]
    flag: bool = True
    data: DirectoryPath | None = None


@pytest.mark.parametrize("cls", [Tuple, Model])
@pytest.mark.parametrize(
    ("text", "value"), [("False", False), ("false", False), ("0", False), ("no", False), ("True", True), ("1", True)]
)
def test_booleans_are_parsed(cls, text, value):
    given = {"flag": text} | ({"stage": "first"} if cls is Model else {})
    assert settings_of(cls, "train it", given).flag is value


def test_values_get_their_types():
    assert settings_of(Tuple, "train it", {"steps": "4", "rate": "1e-3", "name": "x"}) == Tuple(4, 1e-3, True, "x")


@pytest.mark.parametrize(
    ("cls", "given", "message"),
    [
        (Tuple, {"steps": "abc"}, "train it cannot use steps=abc: it should be a valid integer"),
        (Tuple, {"flag": "maybe"}, "train it cannot use flag=maybe: it should be a valid boolean"),
        (Tuple, {"nonsense": "1"}, "train it has no setting nonsense: use steps, rate, flag, name"),
        (Model, {}, "train it needs stage: give it with --set stage=first|second"),
        (Model, {"stage": "third"}, "train it cannot use stage=third: it should be 'first' or 'second'"),
        (Model, {"stage": "first", "x": "1"}, "train it has no setting x: use stage, flag, data"),
        (Model, {"stage": "first", "data": "/nowhere"}, "cannot use data=/nowhere: path does not point to a directory"),
    ],
)
def test_mistakes_are_one_sentence(cls, given, message):
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        settings_of(cls, "train it", given)
    assert message in str(caught.value)


def test_the_annotation_names_the_class():
    def train(data, out, minutes, settings: "Tuple"): ...

    class Evaluator:
        def __init__(self, settings: Model, out): ...

    train.__annotations__["settings"] = Tuple  # as written at the top of a module
    assert settings_class(train) is Tuple and settings_class(Evaluator) is Model
    assert settings_for(train, "train it", {"steps": "5"}).steps == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["trainer", "evaluator"])
def test_every_registered_part_declares_its_settings(kind):
    for name in registry.names(kind):
        cls = settings_class(registry.get(kind, name))
        if names_of(cls):
            with pytest.raises(InputError, match=r"no setting nonsense|needs"):
                settings_of(cls, name, {"nonsense": "1"})
