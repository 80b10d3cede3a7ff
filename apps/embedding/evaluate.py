"""Evaluates the embedding on held-out people and songs (``affekt evaluate emotion --set data=DIR``)."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from apps.embedding import augment, corpus, projection
from apps.embedding.batches import CORNERS, HOME, POINTS
from apps.embedding.corpus import SEVEN, Clip
from apps.embedding.export import REFERENCE, embed, references
from apps.embedding.hearing import encode
from apps.embedding.leaks import identity, modality
from apps.embedding.measures import calibration_error, chance, likeliest, precision, recall
from apps.embedding.speech import ACTED, Speech, prepare
from gen import checkpoints
from gen.emotion.embedding import features
from gen.emotion.embedding.direction import DirectionSpace
from gen.emotion.embedding.ear import embedder
from gen.emotion.embedding.features import MODALITIES
from gen.emotion.embedding.network import TERMS, EmotionEmbedder, collate
from gen.emotion.lexicon import CANONICAL
from gen.emotion.spec import EMBEDDING, QUADRANTS
from gen.evaluate.bootstrap import interval, mean_of
from gen.evaluate.report import Estimate, Report, Spread
from gen.generator import Bar
from gen.media import read_audio

EIGHT = list(range(len(CANONICAL)))
Change = Callable[[np.ndarray], np.ndarray]


class Settings(NamedTuple):
    """The ``--set`` options: data, cache, and further trainings for comparison."""

    data: str = "data"
    cache: str = ""
    model: str = EMBEDDING
    ear: str = "compact"  # voice encoder: one of gen.emotion.embedding.ear.EARS
    free: str = ""  # folder of a training with identity=0
    seeds: str = ""  # folders of further trainings, comma-separated


class Held(NamedTuple):
    """The held-out clips of a modality and a model's predictions."""

    clips: list[Clip]
    mu: np.ndarray  # (n, e)
    terms: np.ndarray  # (n, 10) calibrated
    quadrants: np.ndarray  # (n, 4) calibrated
    vad: np.ndarray  # (n, 3)
    raw: np.ndarray  # (n, k) uncalibrated shares of the head that the modality is evaluated by

    def of(self, field: str) -> np.ndarray:
        return np.array([getattr(clip, field) for clip in self.clips])

    def only(self, chosen: np.ndarray) -> "Held":
        rows = np.flatnonzero(chosen)
        return Held([self.clips[i] for i in rows], *(part[rows] for part in self[1:]))


class EmbeddingEvaluator:
    """``affekt evaluate emotion``."""

    def __init__(self, settings: Settings, out: Path):
        self.chosen, self.out = settings, out
        self.report = Report("One emotion embedding for voices, faces and music", LEAD)

    def run(self) -> Report:
        chosen, out, report = self.chosen, self.out, self.report
        data, cache = Path(chosen.data), Path(chosen.cache or out / "cache")
        prepare(data, cache, versions=1)
        clips, speech = corpus.load(data, cache), Speech(cache, 1)
        out.mkdir(parents=True, exist_ok=True)
        sound = Sound(speech, cache)
        model, held = measure(chosen.model, clips, speech, sound, chosen.ear)
        others = {name: measure(name, clips, speech, sound)[1] for name in chosen.seeds.split(",") if name}
        classes(report, held, [held, *others.values()])
        retrieval(report, held)
        free = {"without the identity loss": measure(chosen.free, clips, speech, sound)} if chosen.free else {}
        every = {"with the identity loss": (model, held)} | free
        identity(report, {how: (own, heard["voice"].clips) for how, (own, heard) in every.items()})
        modality(report, model, held)
        shape(report, out, checkpoints.folder(chosen.model), held)
        calibration(report, held, checkpoints.folder(chosen.model))
        conditions(report, model, sound)
        out_of_distribution(report, model, sound, data)
        if others:
            seeds(report, {chosen.model: held} | others)
        report.section("Speed")
        report.table("10 s of speech, warm, one thread", ["what", "processor seconds", "< 0.3"], speed(model))
        return report

    def summary(self) -> list[Bar]:
        return self.report.bars


LEAD = (
    "Voices: RAVDESS actors 17 to 20, EmoDB speakers 12 and 13, nEMO speakers MK0 and WR0. Face: MEAD's W011. Music: "
    "the EMOPIA songs of the test part. None was used for training or tuning. Intervals: 95 %, by bootstrap "
    "over speakers or songs; with two to four speakers a set they are rough."
)


def measure(
    name: str, clips: dict[str, list[Clip]], speech: Speech, sound: "Sound", ear: str = "compact"
) -> tuple[EmotionEmbedder, dict[str, Held]]:
    """A trained embedder and its predictions for the test clips.

    ``referred`` and ``plainly`` are the voices again, relative to other recordings of their speakers in any emotion,
    and relative to one neutral recording.
    """
    model = embedder(name, ear)
    chosen = {kind: [clip for clip in clips[kind] if clip.part == "test"] for kind in ("face", "music")}
    acted = sound.of(ACTED)
    chosen["voice"] = speech.clips(acted, sound.heard(model, acted))
    held = {kind: predict(model, kind, own) for kind, own in chosen.items()}
    held["referred"] = predict(model, "voice", chosen["voice"], references(chosen["voice"]))
    held["plainly"] = predict(model, "voice", chosen["voice"], references(chosen["voice"], 1, neutral=True))
    return model, held


@torch.no_grad()
def predict(model: EmotionEmbedder, kind: str, clips: list[Clip], reference: torch.Tensor | None = None) -> Held:
    mu = embed(model, kind, clips, reference=reference)
    reading = model.read(mu)
    raw = (reading.quadrants if kind == "music" else reading.terms).softmax(-1)
    parts = mu, *model.probabilities(reading, reference is not None), reading.vad, raw
    return Held(clips, *(tensor.numpy() for tensor in parts))


# ---------------------------------------------------------------- classes


def seven(voice: Held) -> tuple[np.ndarray, np.ndarray, Held]:
    """Predicted and true class of the clips of the seven emotions, without calm and bored."""
    voice = voice.only(np.isin(voice.of("term"), SEVEN))
    return likeliest(voice.terms, SEVEN), voice.of("term"), voice


def tune(music: Held) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predicted and true quadrant, arousal and valence of pieces."""
    predicted, true = music.quadrants.argmax(1), music.of("quadrant")
    q = music.quadrants
    return {
        "quadrant": (predicted, true),
        "arousal": (q[:, 0] + q[:, 1] > 0.5, true < 2),
        "valence": (q[:, 0] + q[:, 3] > 0.5, np.isin(true, (0, 3))),
    }


def expression(face: Held) -> tuple[np.ndarray, np.ndarray]:
    return likeliest(face.terms, EIGHT), face.of("term")


def scores(held: dict[str, Held]) -> dict[str, Estimate]:
    """Every accuracy by name."""
    found = {}
    for kind, what in WAYS.items():
        predicted, true, voice = seven(held[kind])
        people, group = voice.of("person"), voice.of("group")
        found[f"{what}, all sets"] = interval(recall, predicted, true, groups=people)
        for name in np.unique(group):
            own = group == name
            found[f"{what}, {name}"] = interval(recall, predicted[own], true[own], groups=people[own])
    accuracy = lambda a, b: float((a == b).mean())
    for name, pair in tune(held["music"]).items():
        found[f"music, {name}"] = interval(accuracy, *pair, groups=held["music"].of("person"))
    predicted, true = expression(held["face"])
    return found | {"face, 8 classes, clips": interval(accuracy, predicted, true)}


WAYS = {
    "voice": "voice alone",
    "referred": f"voice, {REFERENCE} others of its speaker",
    "plainly": "voice, 1 neutral one of its speaker",
}
AIMS = {"all sets": 0.65, "ravdess": 0.62, "emodb": 0.75, "nemo": 0.5}
BARS = {f"{what}, {name}": aim for what in WAYS.values() for name, aim in AIMS.items()} | {
    "music, quadrant": 0.68,
    "music, arousal": 0.88,
    "music, valence": 0.83,
}


def classes(report: Report, held: dict[str, Held], seeds: list[dict[str, Held]]) -> None:
    report.section("Classes", "Voices: mean recall of seven classes (EmoDB has no surprise, nEMO no disgust).")
    runs = [scores(one) for one in seeds]
    rows = []
    for name, value in runs[0].items():
        spread = Spread(*(f([run[name].value for run in runs]) for f in (np.mean, np.std)))
        bar = BARS.get(name, "")
        rows.append([name, value, spread if len(runs) > 1 else "-", bar, value.value >= bar if bar else "-"])
        if bar:
            report.bar(name, value, at_least=bar)
    report.table("Accuracy", ["what", "shipped", f"{len(runs)} seeds", "aim", "reached"], rows)
    predicted, true, voice = seven(held["voice"])
    tables = {"voices": (_counts(predicted, true, SEVEN), [TERMS[i] for i in SEVEN])}
    tables["voices, with a reference"] = _counts(*seven(held["referred"])[:2], SEVEN), tables["voices"][1]
    tables["music"] = _counts(*tune(held["music"])["quadrant"], range(4)), list(QUADRANTS)
    tables["face (W011)"] = _counts(*expression(held["face"]), EIGHT), list(CANONICAL)
    report.figure(projection.confusion(tables), "Rows are the truth, in percent of each row; held-out clips.")
    rows = []
    for name in np.unique(voice.of("group")):
        own = voice.of("group") == name
        for k in SEVEN:
            if (of_class := own & (true == k)).any():
                rows.append([f"{name}, {TERMS[k]}", float((predicted[of_class] == k).mean()), int(of_class.sum())])
    report.table("Recall by set and class", ["class", "recall", "clips"], rows)


def _counts(predicted: np.ndarray, true: np.ndarray, classes) -> np.ndarray:
    return np.array([[((true == a) & (predicted == b)).sum() for b in classes] for a in classes])


# ---------------------------------------------------------------- lines, rooms and noises


class Sound:
    """The held-out recordings themselves, so that they can be modified before encoding."""

    def __init__(self, speech: Speech, cache: Path):
        self.takes, self.sound = speech.takes, np.memmap(cache / "sound.i16", np.int16, "r")
        self.ends = np.cumsum([0, *(take.size for take in speech.takes)])
        self.plain: dict[tuple[torch.nn.Module, int], torch.Tensor] = {}  # vectors of unmodified recordings

    def of(self, groups: Sequence[str]) -> list[int]:
        return [i for i, take in enumerate(self.takes) if take.part == "test" and take.group in groups]

    def heard(self, model: EmotionEmbedder, index: list[int], change: Change | None = None) -> torch.Tensor:
        """The vectors (n, v) of recordings, each modified by ``change`` first; without it each is encoded once."""
        if change is None:
            missing = [i for i in index if (model.voice, i) not in self.plain]
            if missing:
                vectors = self.heard(model, missing, lambda x: x)
                self.plain |= {(model.voice, i): row for i, row in zip(missing, vectors)}
            return torch.stack([self.plain[model.voice, i] for i in index])
        found = (self.sound[self.ends[i] : self.ends[i + 1]].astype(np.float32) / 32767 for i in index)
        return encode(model.voice, [model.voice.rows(change(x)) for x in found])


def lines(rng: np.random.Generator) -> dict[str, Change | None]:
    noise = lambda x, decibels: augment.noisy(x, augment.coloured(len(x), 1.0, rng), decibels)
    return {
        "as it is": None,
        "telephone band, 300 to 3400 Hz": lambda x: augment.band(x, *augment.TELEPHONE),
        "GSM": lambda x: augment.codec(augment.band(x, *augment.TELEPHONE), "gsm"),
        "MP3 at its lowest rate": lambda x: augment.codec(x, "mp3"),
        "pink noise 15 dB below": lambda x: noise(x, 15),
        "pink noise 5 dB below": lambda x: noise(x, 5),
        "a room, 0.6 s": lambda x: augment.room(x, 0.6, 0.5, rng),
    }


@torch.no_grad()
def conditions(report: Report, model: EmotionEmbedder, sound: Sound) -> None:
    """Held-out voices through telephone lines, rooms and noise, each clip alone; every third clip of nEMO, which is
    large.
    """
    index, rows = [*sound.of(ACTED[:2]), *sound.of(ACTED[2:])[::3]], []
    takes = [sound.takes[i] for i in index]
    term, person, group = (np.array([getattr(t, f) for t in takes]) for f in ("term", "person", "group"))
    seven = np.isin(term, SEVEN)
    for name, change in lines(np.random.default_rng(0)).items():
        heard = sound.heard(model, index, change)
        known = model.known(heard)
        shares = model.probabilities(model.read(model(heard=heard).mu), known=known)[0].numpy()
        predicted = likeliest(shares, SEVEN)
        score = interval(recall, predicted[seven], term[seven], groups=person[seven])
        parts = [recall(predicted[own], term[own]) for g in ACTED for own in [seven & (group == g)]]
        error = interval(calibration_error, shares, term, groups=person)
        rows.append([name, score, *parts, error, float(shares.max(1).mean()), float(known.mean())])
        if "telephone" in name:
            report.bar("voice through the telephone band", score, at_least=0.55)
            report.bar("its calibration error there", error, at_most=0.1)
    report.section("Lines, rooms and noise", "The held-out voices, modified before encoding; each clip alone.")
    columns = ["what", "mean recall of seven classes", *ACTED, "calibration error", "confidence", "known as speech"]
    report.table("Voices under other conditions", columns, rows)


@torch.no_grad()
def out_of_distribution(report: Report, model: EmotionEmbedder, sound: Sound, data: Path) -> None:
    """The confidence of the embedding on sounds outside its training distribution."""
    kinds = {
        "held-out acted voices": sound.heard(model, sound.of(ACTED)),
        "voices reading aloud (synthetic, not trained on)": sound.heard(model, sound.of(("aligned",))),
        "music, songs and noise (held-out sources)": sound.heard(model, sound.of(("outlier",))),
    }
    talks = data / "face" / "motion" / "other_audio"
    if talks.is_dir():
        five = 5 * features.RATE
        cut = [
            x[k : k + five]
            for path in sorted(talks.iterdir())
            for x in [read_audio(path, features.RATE)[0]]
            for k in range(0, max(1, len(x) - five // 2), five)
        ]
        kinds["public talks, five seconds at a time"] = encode(model.voice, [model.voice.rows(x) for x in cut])
    rows, own = [], model.known(kinds["held-out acted voices"])
    for name, heard in kinds.items():
        known = model.known(heard)
        shares = model.probabilities(model.read(model(heard=heard).mu), known=known)[0]
        apart = float((own[:, None] > known).float().mean() + 0.5 * (own[:, None] == known).float().mean())
        sure = shares.max(1)
        first = TERMS[int(shares.mean(0).argmax())]
        rows.append(
            [
                name,
                len(heard),
                float(known.mean()),
                apart,
                float(sure.values.mean()),
                float((sure.values > 0.7).float().mean()),
                first,
            ]
        )
    report.section("Out of distribution", "Confidence is the largest share; unfamiliar sounds have even shares.")
    columns = [
        "what",
        "count",
        "known as speech",
        "area under the curve against acted voices",
        "mean confidence",
        "confidence > .7",
        "most frequent term",
    ]
    report.table("Confidence", columns, rows)


# ---------------------------------------------------------------- across modalities


def found_across(held: dict[str, Held]) -> dict[str, tuple[Estimate, float]]:
    """Mean average precision of retrieval between modalities, and chance level, by name."""
    voice = held["voice"].only(held["voice"].of("term") > 0)
    home = np.array(HOME)[voice.of("term")]
    music, face = held["music"], held["face"]
    faced = voice.only(np.isin(voice.of("term"), EIGHT))
    pairs = [
        ("voice to music, by quadrant", voice, home, music, music.of("quadrant")),
        ("music to voice, by quadrant", music, music.of("quadrant"), voice, home),
        ("voice to face, by class", faced, faced.of("term"), face, face.of("term")),
        ("face to voice, by class", face, face.of("term"), faced, faced.of("term")),
    ]
    found = {}
    for name, asking, wanted, there, labels in pairs:
        keep = np.isin(wanted, labels)
        wanted, queries = wanted[keep], asking.only(keep)
        average = precision(queries.mu, there.mu, wanted, labels)
        people = queries.of("person")
        people = people if len(np.unique(people)) > 1 else np.arange(len(people))
        found[name] = mean_of(average, people), chance(wanted, labels)
    return found


def retrieval(report: Report, held: dict[str, Held]) -> None:
    report.section("Across modalities", "Retrieval of clips of another modality by the cosine of their means.")
    rows = [[name, value, base, value.low > base] for name, (value, base) in found_across(held).items()]
    report.table(
        "Mean average precision",
        ["what", "found", "chance", "above chance"],
        rows,
        "Queries are resampled by person or song, the clips of the single actor by clip.",
    )


# ---------------------------------------------------------------- the space


def shape(report: Report, out: Path, place: Path, held: dict[str, Held]) -> None:
    report.section("The space")
    cosine = cosines(place)
    rows = [[name, *map(float, row)] for name, row in zip(CANONICAL, cosine)]
    note = f"highest between two emotions: {highest(cosine):.2f} (bar 0.8)"
    report.table("Cosine of the priors", ["", *CANONICAL], rows, note)
    further, people, strong = order(place, held["voice"])
    rows = [["all", mean_of(further, people), len(further)]]
    rows += [[TERMS[k], float(further[strong == k].mean()), int((strong == k).sum())] for k in np.unique(strong)]
    report.table("RAVDESS: strong is further along its direction than normal", ["emotion", "pairs", "count"], rows)
    held = {kind: held[kind] for kind in MODALITIES}
    labels = {k: _named(own) for k, own in held.items()}
    points = {k: _points(own) for k, own in held.items()}
    figure = projection.plane({k: own.mu for k, own in held.items()}, labels, points)
    figure.savefig(out / "space.png", metadata={"Software": None})
    report.figure(figure, "The plane in which the emotions' means differ most; arrows: valence and arousal.")


def cosines(place: Path) -> np.ndarray:
    """(8, 8) between the priors of the canonical emotions."""
    mean = load_file(place / "priors.safetensors")["mean"].float().numpy()
    unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return unit @ unit.T


def highest(cosine: np.ndarray) -> float:
    return float((cosine - 2 * np.eye(len(cosine))).max())


def order(place: Path, voice: Held) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pair (same actor, sentence, repetition and emotion): whether the strong one is further along; the
    actor; the term.
    """
    space, at = DirectionSpace.load(place), {}
    for i, clip in enumerate(voice.clips):
        if clip.level != 1 and clip.term > 0:
            at.setdefault((clip.person, clip.term, clip.key), {})[clip.level > 1] = i
    pairs = {key: pair for key, pair in at.items() if len(pair) == 2}
    further = []
    for (_, term, _), pair in pairs.items():
        way = space.direction(TERMS[term]).float().numpy()
        further.append(voice.mu[pair[True]] @ way > voice.mu[pair[False]] @ way)
    return np.array(further), *(np.array([key[i] for key in pairs]) for i in (0, 1))


def _named(held: Held) -> np.ndarray:
    return np.array([TERMS[c.term] if c.term >= 0 else QUADRANTS[c.quadrant] for c in held.clips])


def _points(held: Held) -> np.ndarray:
    """Points (n, 3); dominance is NaN where unknown."""
    return np.array([POINTS[c.term] if c.term >= 0 else [*CORNERS[c.quadrant], np.nan] for c in held.clips])


ESTIMATED = {"voice": "alone", "referred": "referred"}
CALIBRATED = ("voice", "terms", "term"), ("referred", "terms", "term"), ("music", "quadrants", "quadrant")


def calibration(report: Report, held: dict[str, Held], place: Path) -> None:
    """Calibration error, beside the cross-validated estimate from the folds (each speaker with the temperature fitted
    on the others).
    """
    folds = json.loads((place / "training.json").read_text(encoding="utf-8"))["foretold"]
    report.section("Confidence", "Temperatures of voices, of voices with a reference and of music.")
    rows = []
    for kind, after, field in CALIBRATED:
        own = held[kind]
        true = own.of(field)
        before = interval(calibration_error, own.raw, true, groups=own.of("person"))
        value = interval(calibration_error, getattr(own, after), true, groups=own.of("person"))
        predicted = folds[ESTIMATED[kind]]["calibration error"] if folds and kind in ESTIMATED else "-"
        rows.append([WAYS.get(kind, kind), before, value, value.value <= 0.05, predicted])
    columns = ["what", "before", "after", "<= 0.05", "estimated by the folds"]
    report.table(
        "Expected calibration error",
        columns,
        rows,
        "Faces have no held-out clips for calibration: perceive reports no confidence.",
    )
    if not folds:
        return
    rows = [
        [f"{WAYS[kind]}, {name}", Estimate(*value)]
        for kind, own in ESTIMATED.items()
        for name, value in folds[own]["recall"].items()
    ]
    report.table(
        "Recall of the folds",
        ["what", "mean recall of seven classes"],
        rows,
        f"{folds['alone']['speakers']} speakers, out of fold.",
    )


def seeds(report: Report, runs: dict[str, dict[str, Held]]) -> None:
    """Differences between trainings with other seeds; the first is the shipped one."""
    found = {"highest cosine of two priors": [highest(cosines(checkpoints.folder(name))) for name in runs]}
    found["strong is further along than normal"] = [
        float(order(checkpoints.folder(name), held["voice"])[0].mean()) for name, held in runs.items()
    ]
    for kind, after, field in CALIBRATED:
        found[f"calibration error, {WAYS.get(kind, kind)}"] = [
            calibration_error(getattr(held[kind], after), held[kind].of(field)) for held in runs.values()
        ]
    rows = [[what, Spread(float(np.mean(values)), float(np.std(values))), *values] for what, values in found.items()]
    columns = ["what", "mean", "shipped", *(f"other {i}" for i in range(1, len(runs)))]
    report.section("Seeds")
    report.table("The same measures of other seeds", columns, rows)


def speed(model: EmotionEmbedder) -> list[list]:
    """Median processor seconds for features and network, for 10 s of noise with a pitch."""
    t = np.arange(10 * features.RATE) / features.RATE
    sound = (0.1 * np.sign(np.sin(2 * np.pi * (120 + 20 * np.sin(t)) * t))).astype(np.float32)
    spent = []
    with torch.inference_mode():
        for _ in range(7):
            begun = time.process_time()
            parts = [torch.from_numpy(model.voice.rows(s)) for s in np.split(sound, 5)]
            model.read(model(voice=collate(parts)).mu)
            spent.append(time.process_time() - begun)
    middle = float(np.median(spent))
    return [["features, network and heads", middle, middle < 0.3]]
