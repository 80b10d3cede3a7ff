"""Converts MediaPipe's networks (Apache-2.0) to the ``face-tracker`` and ``person-mask`` checkpoints.

They are TensorFlow Lite files: a flatbuffer of tables, each with a list of offsets to its fields. Only the fields and
operations that these networks have are read.
"""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gen.errors import InputError

PARTS = {
    "detector": "face_detector.tflite",
    "landmarks": "face_landmarks_detector.tflite",
    "coefficients": "face_blendshapes.tflite",
}
KINDS = {0: np.float32, 1: np.float16, 2: np.int32}
NAMES = {
    0: "add",
    1: "mean",
    2: "concat",
    3: "conv",
    4: "depthwise",
    6: "dequantize",
    14: "sigmoid",
    17: "max_pool",
    18: "mul",
    19: "relu",
    22: "reshape",
    23: "resize",
    32: "unpooled",
    34: "pad",
    39: "transpose",
    40: "mean",
    41: "sub",
    42: "div",
    45: "slice",
    54: "prelu",
    59: "neg",
    74: "sum",
    75: "sqrt",
    76: "rsqrt",
    99: "squared_difference",
    117: "hard_swish",
}


class Table:
    """A flatbuffer table at a place in the file; fields by their number in the schema."""

    def __init__(self, data: bytes, at: int):
        self.data, self.at = data, at
        self.fields = at - struct.unpack_from("<i", data, at)[0]
        self.size = struct.unpack_from("<H", data, self.fields)[0]

    def _place(self, field: int) -> int:
        slot = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, self.fields + slot)[0] if slot < self.size else 0
        return self.at + offset if offset else 0

    def number(self, field: int, form: str = "i") -> int:
        place = self._place(field)
        return struct.unpack_from("<" + form, self.data, place)[0] if place else 0

    def _follow(self, place: int) -> int:
        return place + struct.unpack_from("<I", self.data, place)[0]

    def table(self, field: int) -> "Table":
        return Table(self.data, self._follow(self._place(field)))

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._place(field)
        if not place:
            return 0, 0
        start = self._follow(place)
        return start + 4, struct.unpack_from("<I", self.data, start)[0]

    def array(self, field: int, kind=np.int32) -> np.ndarray:
        start, count = self._vector(field)
        return np.frombuffer(self.data, kind, count, start)

    def tables(self, field: int) -> list["Table"]:
        start, count = self._vector(field)
        return [Table(self.data, self._follow(start + 4 * i)) for i in range(count)]


class Network:
    """One TensorFlow Lite file as steps and constants."""

    def __init__(self, data: bytes):
        model = Table(data, struct.unpack_from("<I", data)[0])
        self.codes = [max(code.number(0, "b"), code.number(3)) for code in model.tables(1)]
        self.buffers, self.graph = model.tables(4), model.tables(2)[0]
        self.tensors = self.graph.tables(0)
        self.steps, self.constants, self.alias = [], {}, {}
        for operator in self.graph.tables(3):
            self._read(operator)

    def _constant(self, index: int) -> np.ndarray | None:
        tensor = self.tensors[index]
        raw = self.buffers[tensor.number(2, "I")].array(0, np.uint8)
        return raw.view(KINDS[tensor.number(1, "b")]).reshape(tensor.array(0)) if len(raw) else None

    def _value(self, index: int) -> str:
        """The name of a tensor; registers a constant on first use."""
        index = self.alias.get(index, index)
        value = self._constant(index)
        if value is not None and str(index) not in self.constants:
            self.constants[str(index)] = value.astype(np.float32)
        return str(index)

    def _read(self, operator: Table) -> None:
        code = self.codes[operator.number(0, "I")]
        if code not in NAMES:
            raise InputError(f"operation {code} is not one of MediaPipe's networks for faces: give Google's file")
        name, inputs, output = NAMES[code], operator.array(1).tolist(), int(operator.array(2)[0])
        if name == "dequantize":
            self.alias[output] = inputs[0]
            return
        settings, used = {}, 1
        if name in ("conv", "depthwise"):
            options = operator.table(4)
            relu = options.number(4 if name == "depthwise" else 3, "b") == 1
            settings = {
                "stride": options.number(1),
                "same": options.number(0, "b") == 0,
                "relu": relu,
                "depthwise": name == "depthwise",
            }
            name, used = "conv", len(inputs)
        elif name == "max_pool":
            options = operator.table(4)
            settings = {"kernel": options.number(3), "stride": options.number(1), "same": options.number(0, "b") == 0}
        elif code == 1:  # global average pool
            settings = {"axes": [1, 2], "keep": True}
        elif name == "resize":
            settings = {"size": self._constant(inputs[1]).tolist()}
        elif name == "unpooled":  # "Convolution2DTransposeBias", stride 2
            used = 3
        elif name in ("mean", "sum"):
            axes = np.atleast_1d(self._constant(inputs[1])).tolist()
            settings = {"axes": axes, "keep": bool(operator.table(4).number(0, "b"))}
        elif name == "pad":
            settings = {"amounts": self._constant(inputs[1])[::-1].ravel().tolist()}
        elif name == "transpose":
            settings = {"order": self._constant(inputs[1]).tolist()}
        elif name == "reshape":
            settings = {"shape": self.tensors[output].array(0).tolist()}
        elif name == "slice":
            settings = self._slice(operator, inputs)
        elif name == "concat":
            settings, used = {"axis": operator.table(4).number(0)}, len(inputs)
        elif name in ("add", "sub", "mul", "div", "prelu", "squared_difference"):
            used = 2
        self.steps.append([name, [self._value(i) for i in inputs[:used]], str(output), settings])

    def _slice(self, operator: Table, inputs: list[int]) -> dict:
        options = operator.table(4)
        begin, end = (self._constant(i).tolist() for i in inputs[1:3])
        begin = [0 if options.number(0) >> i & 1 else b for i, b in enumerate(begin)]
        end = [0 if options.number(1) >> i & 1 else e for i, e in enumerate(end)]
        shrink = [i for i in range(len(begin)) if options.number(4) >> i & 1]
        end = [begin[i] + 1 if i in shrink else e for i, e in enumerate(end)]
        return {"begin": begin, "end": end, "shrink": shrink}

    def build(self):
        """The torch module with these steps and values."""
        import torch

        from talking_head.face.graph import Graph

        ends = [[str(i) for i in self.graph.array(field).tolist()] for field in (1, 2)]
        shapes = {name: list(value.shape) for name, value in self.constants.items()}
        graph = Graph(self.steps, *ends, shapes)
        graph.fill({name: torch.from_numpy(value.copy()) for name, value in self.constants.items()})
        return graph


def convert_mask(source: Path, out: Path) -> None:
    """``selfie_segmentation.tflite``, of the npm package ``@mediapipe/selfie_segmentation`` -> the person mask."""
    data = source.read_bytes() if source.is_file() else b""
    if data[4:8] != b"TFL3":
        raise InputError(f"{source} is not a TensorFlow Lite file: give selfie_segmentation.tflite")
    Network(data).build().save_pretrained(out)


HEAD = "geometry_pipeline_metadata_landmarks.binarypb"


def messages(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protocol buffer: integers, or the bytes of all else."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, data[at : at + size]
            at += size


def head(bundle: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bundle's canonical head: points (468, 3) in cm, triangles (898, 3), stiffness of the points (468,)."""
    with zipfile.ZipFile(bundle) as archive:
        parts = list(messages(archive.read(HEAD)))
    mesh = list(messages(next(value for field, value in parts if field == 1)))
    points = np.array([struct.unpack("<f", value)[0] for field, value in mesh if field == 3], np.float32)
    triangles = np.array([value for field, value in mesh if field == 4]).reshape(-1, 3)
    stiff = np.zeros(468, np.float32)
    for field, value in parts:
        if field == 2:
            entry = dict(messages(value))
            stiff[entry.get(1, 0)] = struct.unpack("<f", entry[2])[0]
    return points.reshape(468, 5)[:, :3], triangles, stiff


def convert(source: Path, out: Path) -> None:
    """``face_landmarker_v2_with_blendshapes.task`` -> ``detector``, ``landmarks`` and ``coefficients``."""
    if not zipfile.is_zipfile(source):
        raise InputError(f"{source} is not a face landmarker bundle: give face_landmarker_v2_with_blendshapes.task")
    with zipfile.ZipFile(source) as bundle:
        if missing := set(PARTS.values()) - set(bundle.namelist()):
            raise InputError(f"{source} lacks {min(missing)}: give face_landmarker_v2_with_blendshapes.task")
        for part, file in PARTS.items():
            Network(bundle.read(file)).build().save_pretrained(out / part)
