"""``affekt train ear``: fits the Whisper voice encoder of the embedding (:mod:`gen.emotion.embedding.ear`) in minutes.

Vectors are the principal directions of Whisper's pooled blocks. Small networks on them predict the emotion (labels
only, mixup; :mod:`apps.embedding.soft_labels`), and the map from the vectors into the space is trained on their
predictions, as for the small encoder (:mod:`apps.embedding.attach`). ``ear.npz`` in the cache holds the pooled blocks
of all acted training recordings, of augmented versions of most of them (half of those through a telephone band), and of
sounds that are not speech.
"""

import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from apps.embedding import augment
from apps.embedding.attach import learn, onto
from apps.embedding.export import HeldOutPredictions, fit_speech_head, temperature
from apps.embedding.measures import likeliest, recall
from apps.embedding.soft_labels import Facts, fit, neutral
from apps.embedding.speech import ACTED, Speech, prepare
from gen import checkpoints
from gen.emotion.embedding.ear import FILE, OWN, SIZE, WHISPER, pooled
from gen.emotion.embedding.network import TERMS, EmotionEmbedder, Reference
from gen.emotion.spec import EMBEDDING
from gen.evaluate.bootstrap import interval
from gen.whisper import Whisper

log = logging.getLogger(__name__)
VECTOR, EVEN = 128, 0.8  # directions kept, and the exponent of their standard deviation in the whitening
NETS = 3
FOLDS = 10  # of two RAVDESS actors each: the public protocol, restricted to the 20 actors available
OTHERS = ("emodb:09", "emodb:11", "nemo:TP0")  # one more fold, for calibration
EIGHT = [TERMS.index(n) for n in ("neutral", "calm", "happy", "sad", "anger", "fear", "disgust", "surprise")]


class Blocks(NamedTuple):
    """Pooled blocks of recordings; ``take`` is the index in the corpus, ``varied`` marks augmented recordings."""

    take: np.ndarray  # (n,)
    varied: np.ndarray  # (n,) bool
    rows: np.ndarray  # (n, f) float16


def listen(cache: Path, seed: int = 0) -> Blocks:
    """The blocks in ``ear.npz``; computed from the cache of :mod:`apps.embedding.speech` if the file is missing."""
    path = cache / "ear.npz"
    if not path.is_file():
        speech, sound = Speech(cache, 1), np.memmap(cache / "sound.i16", np.int16, "r")
        ends = np.cumsum([0, *(take.size for take in speech.takes)])
        real = lambda i: sound[ends[i] : ends[i + 1]].astype(np.float32) / 32767
        whisper, rng = Whisper(checkpoints.folder(WHISPER) / "model.bin"), np.random.default_rng(seed)
        talk = [real(i) for i, take in enumerate(speech.takes) if take.group == "aligned" and take.part == "train"][::9]
        take, varied, rows = [], [], []
        for i, one in enumerate(speech.takes):
            acted = one.group in ACTED and (one.part != "test" or one.group == "ravdess")
            if not acted and one.group != "outlier":
                continue
            also = acted and one.part != "test" and (one.group != "nemo" or i % 2)
            versions = (False, True) if also else (False,)
            for changed in versions:
                x = real(i)
                if changed:
                    x = _band(x, rng) if rng.random() < 0.5 else augment.vary(x, talk, [], rng)[0]
                take.append(i)
                varied.append(changed)
                rows.append(pooled(whisper(x)).astype(np.float16))
        np.savez(path, take=take, varied=varied, rows=rows)
    with np.load(path) as file:
        return Blocks(file["take"], file["varied"], file["rows"])


def _band(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies the telephone band."""
    return augment.band(x, *augment.TELEPHONE, rng.uniform(4, 12))


class Ear(NamedTuple):
    """The projection to vectors and the networks that predict the emotion."""

    into: nn.Linear  # blocks (b, f) -> vectors (b, v)
    alone: list[nn.Module]
    pair: list[nn.Module]  # input: a vector and its difference from the speaker's mean

    @torch.no_grad()
    def shares(self, heard: Tensor, middle: Tensor, count: Tensor) -> Tensor:
        """Predictions (b, 10). If ``count`` > 0 recordings with mean ``middle`` (b, v) are given, both networks are
        combined.
        """
        mean = lambda nets, x: torch.stack([net(x).softmax(-1) for net in nets]).mean(0)
        alone = mean(self.alone, heard)
        both = (alone * mean(self.pair, torch.cat((heard, heard - middle), -1))).sqrt()
        return torch.where(count[:, None] > 0, both / both.sum(-1, keepdim=True), alone)


def ear_of(speech: Speech, blocks: Blocks, rows: np.ndarray, nets: int = NETS, seed: int = 0) -> Ear:
    """Trained on the acted recordings among ``rows`` (n,) bool; predictions are averaged over ``nets`` networks."""
    torch.manual_seed(seed)
    x = torch.from_numpy(blocks.rows[rows].astype(np.float32))
    centre, spread = x.mean(0), x.std(0) + 1e-3
    x = (x - centre) / spread
    axes = torch.svd_lowrank(x, VECTOR + 20, niter=2)[2][:, :VECTOR]
    scale = (x @ axes).std(0) ** EVEN
    scale = scale * ((x @ axes) / scale).square().mean().sqrt()
    into = nn.Linear(SIZE, VECTOR).requires_grad_(False)
    into.weight.copy_((axes / scale).T / spread)
    into.bias.copy_(-(centre / spread) @ axes / scale)
    heard, facts = x @ axes / scale, speech.facts(blocks.take[rows])
    both, every = torch.cat((heard, heard - against(heard, facts)), 1), np.ones(len(heard), bool)
    return Ear(into, [fit(heard, facts, every) for _ in range(nets)], [fit(both, facts, every) for _ in range(nets)])


def against(heard: Tensor, facts: Facts) -> Tensor:
    """The mean of each speaker's neutral recordings (n v)."""
    found = torch.zeros_like(heard)
    for name in np.unique(facts.person):
        own = facts.person == name
        found[torch.from_numpy(own)] = heard[torch.from_numpy(own & (facts.term == 0))].mean(0)
    return found


def into_space(name: str, speech: Speech, blocks: Blocks, rows: np.ndarray, ear: Ear, steps: int) -> EmotionEmbedder:
    """The space of a checkpoint with the Whisper encoder, trained on ``rows``."""
    chosen = np.flatnonzero(rows)
    index = list(dict.fromkeys(blocks.take[chosen].tolist()))
    vectors = ear.into(torch.from_numpy(blocks.rows[chosen].astype(np.float32)))
    versions: dict[int, list[Tensor]] = {i: [] for i in index}
    for i, vector in zip(blocks.take[chosen].tolist(), vectors):
        versions[i].append(vector)
    clips = [
        clip._replace(rows=torch.stack(versions[i]).numpy(), part="train")
        for i, clip in zip(index, speech.clips(index, torch.zeros(len(index), VECTOR)))
    ]
    said = lambda part: ear.shares(part.given["heard"], part.reference.middle, part.reference.count)
    return learn(onto(name, vector=VECTOR), name, clips, said, steps)


class Settings(NamedTuple):
    """The ``--set`` options."""

    space: str = EMBEDDING
    cache: str = ""  # cache of `affekt train emotion`; default OUT/cache
    steps: int = 1200  # training steps of the map into the space,
    fold: int = 400  # and of that of each fold


def train(data: Path, out: Path, minutes: float | None, settings: Settings) -> None:
    """Writes ``OUT/whisper.safetensors``, for the folder of the space's checkpoint, and ``OUT/ear.json`` with the
    results of the public folds.
    """
    cache = Path(settings.cache or out / "cache")
    prepare(data, cache)
    out.mkdir(parents=True, exist_ok=True)
    facts = _train(settings.space, cache, out, settings.steps, settings.fold)
    (out / "ear.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _train(name: str, cache: Path, out: Path, steps: int, fold_steps: int) -> dict:
    speech, blocks = Speech(cache, 1), listen(cache)
    takes = [speech.takes[i] for i in blocks.take]
    group, person, part = (np.array([getattr(take, field) for take in takes]) for field in ("group", "person", "part"))
    acted = np.isin(group, ACTED)
    held_out, own = [], []
    actors = sorted({*person[group == "ravdess"]})
    for fold in range(FOLDS + 1):
        tested = np.isin(person, actors[2 * fold : 2 * fold + 2] if fold < FOLDS else OTHERS)
        found, said = _fold(name, speech, blocks, acted & ~tested, tested & ~blocks.varied, fold_steps)
        held_out.append(found)
        own.append(said)
        log.info("fold %d: %.3f", fold, recall(likeliest(said[0], EIGHT), found.term))
    every = HeldOutPredictions.all(held_out)
    ear = ear_of(speech, blocks, acted & (part != "test"))
    model = into_space(name, speech, blocks, acted & (part != "test"), ear, steps)
    outside = ear.into(torch.from_numpy(blocks.rows[(group == "outlier") & (part == "train")].astype(np.float32)))
    inside = speech.clips(
        blocks.take[acted & (part != "test")].tolist(),
        ear.into(torch.from_numpy(blocks.rows[acted & (part != "test")].astype(np.float32))),
    )
    fit_speech_head(model, inside, outside)
    for index, logits in enumerate((every.alone, every.referred)):
        model.temperature[index] = temperature(torch.from_numpy(logits), torch.from_numpy(every.term))
    numbers = {f"voice.into.{key}": value for key, value in ear.into.state_dict().items()}
    numbers |= {key: value for key, value in model.state_dict().items() if key.startswith(OWN) and key[:6] != "voice."}
    save_file({key: value.half().contiguous() for key, value in numbers.items()}, out / FILE)
    public = HeldOutPredictions.all(held_out[:FOLDS])
    alone, both = (np.concatenate([said[i] for said in own[:FOLDS]]) for i in (0, 1))
    scores = lambda *logits: {how: _scores(one, public) for how, one in zip(("alone", "with neutral"), logits)}
    return {"clips": len(public.term), "nets": scores(alone, both), "space": scores(public.alone, public.referred)}


def _fold(
    name: str, speech: Speech, blocks: Blocks, rows: np.ndarray, tested: np.ndarray, steps: int
) -> tuple[HeldOutPredictions, tuple[np.ndarray, np.ndarray]]:
    """Logits through the space, and of the networks themselves, for recordings of held-out people."""
    ear = ear_of(speech, blocks, rows, nets=1)
    model = into_space(name, speech, blocks, rows, ear, steps)
    facts = speech.facts(blocks.take[tested])
    heard = ear.into(torch.from_numpy(blocks.rows[tested].astype(np.float32)))
    middle, none = neutral(heard, facts), torch.zeros(len(heard))
    logits = [model.read(model(known, heard).mu).terms.numpy() for known in (None, Reference(middle, none + 3))]
    nets = [ear.shares(heard, middle, count).log().numpy() for count in (none, none + 1)]
    return HeldOutPredictions(*logits, facts.term, facts.person), tuple(nets)


def _scores(logits: np.ndarray, every: HeldOutPredictions) -> dict:
    """Mean recall and accuracy of the eight classes, and mean recall without calm; intervals over actors."""
    predicted, seven = likeliest(logits, EIGHT), every.term != TERMS.index("calm")
    fewer = likeliest(logits, [k for k in EIGHT if TERMS[k] != "calm"])
    accuracy = lambda a, b: float((a == b).mean())
    return {
        "recall of eight": interval(recall, predicted, every.term, groups=every.person),
        "accuracy of eight": interval(accuracy, predicted, every.term, groups=every.person),
        "recall of seven": interval(recall, fewer[seven], every.term[seven], groups=every.person[seven]),
    }
