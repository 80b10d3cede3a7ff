"""Measures of an embedding. n clips, k classes."""

import numpy as np


def likeliest(scores: np.ndarray, classes: list[int]) -> np.ndarray:
    """The highest-scoring of ``classes`` (n,) for scores (n k)."""
    return np.array(classes)[scores[:, classes].argmax(1)]


def recall(predicted: np.ndarray, true: np.ndarray) -> float:
    """Unweighted average recall over the classes that occur."""
    return float(np.mean([(predicted[true == k] == k).mean() for k in np.unique(true)]))


def precision(queries: np.ndarray, found: np.ndarray, wanted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of each query (q e) over ``found`` (m e), ranked by cosine; wanted (q,), labels (m,)."""
    q, f = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, found))
    hit = labels[np.argsort(-(q @ f.T), axis=1)] == wanted[:, None]
    rank = np.arange(1, hit.shape[1] + 1)
    return (np.cumsum(hit, 1) / rank * hit).sum(1) / np.maximum(hit.sum(1), 1)


def chance(wanted: np.ndarray, labels: np.ndarray, rounds: int = 20) -> float:
    """The mean average precision of random rankings."""
    rng = np.random.default_rng(0)
    random = lambda n: rng.standard_normal((n, 8))
    return float(
        np.mean([precision(random(len(wanted)), random(len(labels)), wanted, labels).mean() for _ in range(rounds)])
    )


def calibration_error(shares: np.ndarray, true: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of shares (n k), over bins of equal width (Guo et al., ICML 2017, eq. 3)."""
    sure, right = shares.max(1), shares.argmax(1) == true
    at = np.minimum((sure * bins).astype(int), bins - 1)
    return float(sum(abs(sure[at == b].mean() - right[at == b].mean()) * (at == b).mean() for b in np.unique(at)))


def probe(x: np.ndarray, people: np.ndarray, texts: np.ndarray, penalty: float = 1.0) -> np.ndarray:
    """True where a linear probe (ridge regression on one-hot people) identifies the clip's person (n,).

    Cross-validated over four folds by text (n,).
    """
    names, who = np.unique(people, return_inverse=True)
    fold = np.unique(texts, return_inverse=True)[1] % 4
    right = np.zeros(len(x), bool)
    for k in range(4):
        learn, test = fold != k, fold == k
        if not test.any():
            continue
        mean, scale = x[learn].mean(0), x[learn].std(0) + 1e-6
        a, b = (x[learn] - mean) / scale, (x[test] - mean) / scale
        share = np.eye(len(names))[who[learn]]
        weight = np.linalg.solve(a.T @ a + penalty * len(a) * 0.01 * np.eye(x.shape[1]), a.T @ (share - share.mean(0)))
        right[test] = (b @ weight + share.mean(0)).argmax(1) == who[test]
    return right
