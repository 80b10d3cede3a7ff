"""Groups of the 478 landmarks (MediaPipe face mesh topology), and the names of the 52 coefficients."""

import numpy as np

ARKIT = tuple(
    f"{name}{side}"
    for group, sides in (
        ("eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp eyeSquint eyeWide", ("Left",)),
        ("eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp eyeSquint eyeWide", ("Right",)),
        ("jawForward jawLeft jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight", ("",)),
        ("mouthSmile mouthFrown mouthDimple mouthStretch", ("Left", "Right")),
        ("mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper", ("",)),
        ("mouthPress mouthLowerDown mouthUpperUp browDown", ("Left", "Right")),
        ("browInnerUp", ("",)),
        ("browOuterUp", ("Left", "Right")),
        ("cheekPuff", ("",)),
        ("cheekSquint noseSneer", ("Left", "Right")),
        ("tongueOut", ("",)),
    )
    for name in group.split()
    for side in sides
)
INDEX = {name: i for i, name in enumerate(ARKIT)}
MIRROR = np.array([INDEX[name.replace("Left", "*").replace("Right", "Left").replace("*", "Right")] for name in ARKIT])

# the landmark bundle's own order of coefficients: "_neutral", then the names by alphabet, without the tongue
BUNDLE = np.array([INDEX[name] for name in sorted(set(ARKIT) - {"tongueOut"})])

# inputs of the bundle's coefficient network
SEEN = np.array(
    [
        0,
        1,
        4,
        5,
        6,
        7,
        8,
        10,
        13,
        14,
        17,
        21,
        33,
        37,
        39,
        40,
        46,
        52,
        53,
        54,
        55,
        58,
        61,
        63,
        65,
        66,
        67,
        70,
        78,
        80,
        81,
        82,
        84,
        87,
        88,
        91,
        93,
        95,
        103,
        105,
        107,
        109,
        127,
        132,
        133,
        136,
        144,
        145,
        146,
        148,
        149,
        150,
        152,
        153,
        154,
        155,
        157,
        158,
        159,
        160,
        161,
        162,
        163,
        168,
        172,
        173,
        176,
        178,
        181,
        185,
        191,
        195,
        197,
        234,
        246,
        249,
        251,
        263,
        267,
        269,
        270,
        276,
        282,
        283,
        284,
        285,
        288,
        291,
        293,
        295,
        296,
        297,
        300,
        308,
        310,
        311,
        312,
        314,
        317,
        318,
        321,
        323,
        324,
        332,
        334,
        336,
        338,
        356,
        361,
        362,
        365,
        373,
        374,
        375,
        377,
        378,
        379,
        380,
        381,
        382,
        384,
        385,
        386,
        387,
        388,
        389,
        390,
        397,
        398,
        400,
        402,
        405,
        409,
        415,
        454,
        466,
        468,
        469,
        470,
        471,
        472,
        473,
        474,
        475,
        476,
        477,
    ]
)

OVAL = np.array(
    [
        10,
        338,
        297,
        332,
        284,
        251,
        389,
        356,
        454,
        323,
        361,
        288,
        397,
        365,
        379,
        378,
        400,
        377,
        152,
        148,
        176,
        149,
        150,
        136,
        172,
        58,
        132,
        93,
        234,
        127,
        162,
        21,
        54,
        103,
        67,
        109,
    ]
)
# from the picture's left corner to its right one
INNER_UPPER_LIP = np.array([78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308])
INNER_LOWER_LIP = np.array([78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308])
OUTER_UPPER_LIP = np.array([61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291])
OUTER_LOWER_LIP = np.array([61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291])
# the person's right eye is on the picture's left
RIGHT_EYE_UPPER = np.array([33, 246, 161, 160, 159, 158, 157, 173, 133])
RIGHT_EYE_LOWER = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133])
LEFT_EYE_UPPER = np.array([362, 398, 384, 385, 386, 387, 388, 466, 263])
LEFT_EYE_LOWER = np.array([362, 382, 381, 380, 374, 373, 390, 249, 263])
RIGHT_IRIS, LEFT_IRIS = np.arange(468, 473), np.arange(473, 478)


def side(name: str) -> list[int]:
    """Columns of a coefficient: both sides for a name without a side."""
    return [INDEX[name]] if name in INDEX else [INDEX[name + "Left"], INDEX[name + "Right"]]


def coefficients(values: dict[str, float]) -> np.ndarray:
    """Coefficients (52,) of {name, with or without a side: value}."""
    row = np.zeros(len(ARKIT), np.float32)
    for name, value in values.items():
        row[side(name)] = value
    return row
