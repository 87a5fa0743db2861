"""Groups of people with the same taste, from the factors of a recommender, and the topics that tell them apart.

Holds the clustering and how clusters are called. Whose factors these are, and what becomes of the groups, is decided by the caller.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

NO_TASTE = -1
_RUNS = 4


@dataclass(frozen=True)
class TasteConfig:
    """How people are clustered and clusters are called.

    Attributes:
        clusters: Number of clusters, >= 2; None for the one of the largest silhouette.
        fewest: Smallest number that is tried, >= 2.
        most: Largest number that is tried.
        min_share: Least share of the clustered people that a cluster has, in [0, 1).
        min_people: Least number of people that a cluster has, >= 1; nobody is clustered if there are fewer than this for each
            of the fewest clusters, or if no more people than clusters differ.
        min_topic_share: Share of a topic in what a cluster likes from which its lift decides, in [0, 1].
        min_lift: How many times its usual share a topic has at least, for a cluster to be set apart by it.
        sample: People by whom the number of clusters and their first centres are found, >= 1.
        seed: Seed of that sample and of the first centres, less than 2^32.
    """

    clusters: int | None = None
    fewest: int = 4
    most: int = 12
    min_share: float = 0.01
    min_people: int = 10
    min_topic_share: float = 0.03
    min_lift: float = 1.2
    sample: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clusters is not None and self.clusters < 2:
            raise ValueError(f"clusters must be at least 2, got {self.clusters}")
        if not 2 <= self.fewest <= self.most:
            raise ValueError(f"fewest must be at least 2 and at most `most`, got {self.fewest} and {self.most}")


@dataclass(frozen=True, eq=False)
class Tastes:
    """What was found.

    Attributes:
        taste: Number of each person's taste, -1 for none, int64, shape (people,).
        topics: For each taste, the largest first, the topics that it is called by, in the order of their numbers.
        clusters: Clusters that were made; those with too few people are no taste.
        silhouettes: Mean silhouette of the sample, in [-1, 1], for each number of clusters that was tried.
    """

    taste: NDArray[np.int64]
    topics: tuple[tuple[int, ...], ...]
    clusters: int
    silhouettes: dict[int, float]


def cluster_tastes(
    user_keys: Sequence[str], factors: NDArray[np.float32], shares: csr_matrix, config: TasteConfig = TasteConfig()
) -> Tastes:
    """Clusters people by the direction of their factors, and calls each cluster by the topics that it likes more than others do.

    Factors are scaled to unit length: the length of a factor is how much a person has done, its direction is taste. Between unit
    vectors |x - y|^2 = 2 (1 - cos), so that k-means on them is spherical k-means, except that centres are means and not scaled in
    turn. The number of clusters is the one with the largest mean silhouette, with 1 - cos as distance, on a sample; the centres
    found there, the best of four starts, are where the clustering of everyone starts.

    The same people with the same factors give the same clusters in whatever order they come: they are sorted by key, and all sums
    are in one thread. Memory is that of the factors three times, and sample^2 floats (64 MB); time grows with people x clusters x
    factors.

    Args:
        user_keys: Keys of the people, all different.
        factors: Shape (people, factors); who has a row of zeros, of whom nothing was learned, is in no cluster.
        shares: Share of each topic in what a person likes, shape (people, topics), rows that add up to 1 or are empty.
        config: Parameters.

    Returns:
        Tastes; none if there are too few people.

    Raises:
        ValueError: If the shapes do not match.

    Sources: Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data Using Clustering", Machine Learning 2001
    (spherical k-means); Rousseeuw, "Silhouettes: a Graphical Aid to the Interpretation and Validation of Cluster Analysis",
    Journal of Computational and Applied Mathematics 1987.
    """
    if factors.ndim != 2 or not len(user_keys) == factors.shape[0] == shares.shape[0]:
        raise ValueError(
            f"there are {len(user_keys)} people, factors of shape {factors.shape} and shares of shape {shares.shape}; "
            "one row of each for each person expected"
        )
    nobody = np.full(len(user_keys), NO_TASTE, dtype=np.int64)
    order = np.argsort(np.asarray(user_keys, dtype=np.str_))
    order = order[factors[order].any(axis=1)]
    directions = factors[order] / np.linalg.norm(factors[order], axis=1, keepdims=True)
    fewest = config.clusters or config.fewest
    if len(order) < config.min_people * fewest or len(np.unique(directions, axis=0)) <= fewest:
        return Tastes(nobody, (), 0, {})
    # Sums of threads depend on how many there are; two runs shall give the same members.
    with threadpool_limits(limits=1):
        start, silhouettes = _start(directions, config)
        found = KMeans(len(start), init=start, n_init=1).fit_predict(directions).astype(np.int64)
    sizes = np.bincount(found, minlength=len(start))
    least = max(config.min_people, config.min_share * len(order))
    kept = [int(one) for one in np.argsort(-sizes, kind="stable") if sizes[one] >= least]
    called = topics_of_clusters(found, shares[order], kept, config)
    # Those whose topics cannot tell them apart are one taste; one whose people like nothing that has a topic is none.
    names = [topics for topics in dict.fromkeys(called) if topics]
    taste_of = np.full(len(start), NO_TASTE, dtype=np.int64)
    for one, topics in zip(kept, called, strict=True):
        taste_of[one] = names.index(topics) if topics else NO_TASTE
    nobody[order] = taste_of[found]
    return Tastes(nobody, tuple(names), len(start), silhouettes)


def _start(directions: NDArray[np.float32], config: TasteConfig) -> tuple[NDArray[np.float32], dict[int, float]]:
    """Centres to start from, and the silhouette of each number of clusters that was tried."""
    chance = np.random.default_rng(config.seed)
    people = len(directions)
    sample = directions[np.sort(chance.choice(people, min(config.sample, people), replace=False))]
    most = min(config.most, people // config.min_people, len(np.unique(sample, axis=0)) - 1)
    numbers = range(config.fewest, most + 1) if config.clusters is None else range(config.clusters, config.clusters + 1)
    distance = np.maximum(1 - sample @ sample.T, 0)
    np.fill_diagonal(distance, 0)
    centres: dict[int, NDArray[np.float32]] = {}
    silhouettes: dict[int, float] = {}
    for number in numbers:
        fitted = KMeans(number, n_init=_RUNS, random_state=config.seed).fit(sample)
        centres[number] = fitted.cluster_centers_
        silhouettes[number] = float(silhouette_score(distance, fitted.labels_, metric="precomputed"))
    best = max(numbers, key=lambda number: (silhouettes[number], -number))
    return centres[best], silhouettes


def topics_of_clusters(
    cluster: NDArray[np.int64], shares: csr_matrix, kept: Sequence[int], config: TasteConfig = TasteConfig()
) -> list[tuple[int, ...]]:
    """The topics that clusters are called by.

    A topic's lift is its mean share in what the people of a cluster like over its mean share in what all of them like. Topics are
    ranked: first those with at least `min_topic_share` and `min_lift`, by lift; then the smaller ones with that lift, by share;
    then, as what everyone likes as much tells little, the others by share. A cluster is called by the first three of the first
    kind; if there are fewer than two, by the first two with that lift; if there is none, by the first of all. Where clusters would
    be called the same, the next topic is added to each of them, until they differ or there is none left.

    Args:
        cluster: Cluster of each person, shape (people,).
        shares: Share of each topic, shape (people, topics).
        kept: The clusters to be called.
        config: Parameters.

    Returns:
        For each kept cluster its topics, sorted; the same for two of them only if no topic tells them apart.
    """
    usual = _mean_shares(shares)
    rankings: list[list[int]] = []
    called: list[int] = []
    for one in kept:
        own = _mean_shares(shares[cluster == one])
        lift = np.divide(own, usual, out=np.zeros_like(own), where=usual > 0)
        liked_more = lift >= config.min_lift
        foremost = liked_more & (own >= config.min_topic_share)
        ranking = np.lexsort((-own, np.where(foremost, -lift, 0), ~liked_more, ~foremost))
        rankings.append([int(topic) for topic in ranking if own[topic] > 0])
        called.append(max(1, min(2, int(liked_more.sum())), min(3, int(foremost.sum()))))
    while True:
        names = [tuple(sorted(ranking[:length])) for ranking, length in zip(rankings, called, strict=True)]
        often = Counter(names)
        longer = [
            position
            for position, name in enumerate(names)
            if often[name] > 1 and called[position] < len(rankings[position])
        ]
        if not longer:
            return names
        for position in longer:
            called[position] += 1


def _mean_shares(shares: csr_matrix) -> NDArray[np.float64]:
    """Mean share of each topic over the people who like any, shape (topics,); zeros if nobody does."""
    some = max(1, int((np.diff(shares.indptr) > 0).sum()))
    return np.asarray(shares.sum(axis=0, dtype=np.float64)).ravel() / some
