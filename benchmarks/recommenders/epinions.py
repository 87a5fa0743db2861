"""Epinions: is a person served better when both platforms are known, and is somebody who is new to one of them?

Holds the protocol, the candidates with what is tried of each, and the comparison. Items have at least 3 ratings; the people who
have at least 5 on both sides are asked for what they like, the others only train. For each target, some of the people asked lose
their whole target side (cold), and the others the last 20 % by time of each side (warm). Relevant is what is rated at least 4.

Everything that is chosen (parameters, members and weights of blends, champions) is chosen on a second split of the same kind inside
the training part, and never by the figures here. The references get more than that: they are the best popularity and the best
single-platform model *of the test*. A person who is drawn in several splits counts once, with the mean of their values.

A product that is on both sides would make every figure from side to side better than it is, so pairs of a film and a content with
nearly the same audience are counted as well.

Usage: python -m benchmarks.recommenders.epinions LANDING
"""

import dataclasses
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.recommenders.landing import read_ratings
from models_ml.als import ALSConfig
from models_ml.audiences import near_identical_audiences
from models_ml.blend import BlendConfig, BlendModel, blend_weights
from models_ml.bootstrap import bootstrap_mean, paired_difference
from models_ml.bridge import BridgeConfig
from models_ml.contemporary import ContemporaryPopularityConfig
from models_ml.ease import EASEConfig
from models_ml.ials import IALSConfig
from models_ml.interactions import Interactions, interactions_from_arrow
from models_ml.mapped import MappedConfig
from models_ml.metrics import hit_matrix, ndcg
from models_ml.model import ModelConfig, Recommender
from models_ml.neighbours import ItemNeighboursConfig
from models_ml.popularity import PopularityConfig, PopularityModel
from models_ml.registry import fit_model
from models_ml.serving import serve

Figures = dict[str, Any]
DOMAINS = ("film", "knowledge")
SEGMENTS = ("cold", "warm")
SEEDS = (0, 1, 2, 3, 4)
MIN_RATINGS, MIN_HISTORY = 3, 5
HELD_SHARE, COLD_SHARE = 0.2, 0.2
# Inside, more people are asked, since their number is what keeps a choice from being luck.
INNER_MIN_HISTORY, INNER_COLD_SHARE = 3, 0.3
LIKED_AT = 3.75
CUTOFF = 10
# Items of each member among which a blend finds its lists while its weights are searched.
DEPTH = 50
BLEND_SIZES = (2, 4)
REQUIRED = {"cold": 0.12, "warm": 0.05}
POPULARITIES = ("popularity", "recent popularity")
WORKERS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """What trains and what is asked for on one target.

    Attributes:
        train: What models may see.
        people: People with a relevant item that is hidden, shape (people,).
        relevant: These items, people x all items CSR.
        is_cold: Whose whole target side is hidden, shape (people,).
        columns: Items of the target.
        drawn: Everyone whose target side is hidden, also those without a relevant item, shape (users,).
    """

    train: Interactions
    people: NDArray[np.int64]
    relevant: csr_matrix
    is_cold: NDArray[np.bool_]
    columns: range
    drawn: NDArray[np.bool_]

    def members(self, segment: str) -> NDArray[np.int64]:
        """Places of the people of a segment among `people`."""
        return np.flatnonzero(self.is_cold == (segment == "cold"))


def run(landing: Path) -> Figures:
    """Measures both directions on several splits, several processes at a time.

    Returns:
        `figures` by target and segment (NDCG@10 of every model with a 95 % interval; the champions and what they are made of),
        `near_identical_pairs` (see the module) and `requirements`: lines of name, value, interval, required, holds. A value is the
        gain relative to the reference.
    """
    measured: dict[tuple[str, int], Figures] = {}
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(measure, landing, domain, seed): (domain, seed) for seed in SEEDS for domain in DOMAINS}
        for job in as_completed(jobs):
            measured[jobs[job]] = job.result()
    figures: Figures = {domain: {} for domain in DOMAINS}
    requirements: list[Figures] = []
    for domain in DOMAINS:
        for segment in SEGMENTS:
            found, lines = compare(domain, segment, [measured[domain, seed] for seed in SEEDS])
            figures[domain][segment] = found
            requirements += lines
    pairs = near_identical_audiences(read(landing)).num_rows
    return {"figures": figures, "near_identical_pairs": pairs, "requirements": requirements}


def read(landing: Path) -> Interactions:
    """Ratings of the items that have enough of them."""
    ratings = read_ratings(landing)
    counts = ratings.group_by("item_key").aggregate([("user_key", "count")])
    kept = counts.filter(pc.field("user_key_count") >= MIN_RATINGS).column("item_key").combine_chunks()
    return interactions_from_arrow(ratings.filter(pc.is_in(ratings.column("item_key"), kept)), domains=DOMAINS)


def divide(
    interactions: Interactions,
    domain: str,
    seed: int,
    *,
    min_history: int = MIN_HISTORY,
    cold_share: float = COLD_SHARE,
    among: NDArray[np.bool_] | None = None,
) -> Fold:
    """Hides what is asked for; see the module. Equal times are ordered by chance, and so are the cold drawn.

    Args:
        interactions: Everything.
        domain: Target.
        seed: Seed of both.
        min_history: Ratings on each side of whoever may be asked.
        cold_share: Share of the people asked who lose their target side.
        among: Who may be asked, shape (users,); default everyone who has enough on both sides.
    """
    random = np.random.default_rng(seed)
    users, sides = interactions.shape[0], len(interactions.domains)
    side = interactions.item_domain[interactions.indices]
    group = interactions.rows * np.int64(sides) + side
    size = np.bincount(group, minlength=users * sides)
    is_asked: NDArray[np.bool_] = np.all(size.reshape(users, sides) >= min_history, axis=1)
    if among is not None:
        is_asked &= among
    asked = np.flatnonzero(is_asked)
    drawn = np.zeros(users, dtype=np.bool_)
    drawn[random.choice(asked, int(cold_share * len(asked)), replace=False)] = True

    order = np.lexsort((random.random(interactions.entries), interactions.last_at, group))
    place = np.empty(interactions.entries, dtype=np.int64)
    place[order] = np.arange(interactions.entries) - (np.cumsum(size) - size)[group[order]]
    is_late = place >= size[group] - np.floor(HELD_SHARE * size[group] + 1e-9)
    is_target = side == interactions.domains.index(domain)
    row = interactions.rows
    hidden: NDArray[np.bool_] = np.where(drawn[row], is_target, is_asked[row] & is_late)

    wanted = interactions.where(hidden & is_target & interactions.liked(LIKED_AT))
    people = np.flatnonzero(np.diff(wanted.indptr))
    wanted = wanted.take(people)
    return Fold(
        interactions.where(~hidden),
        people,
        wanted.csr(np.ones(wanted.entries, dtype=np.bool_)),
        drawn[people],
        interactions.domain_range(domain),
        drawn,
    )


def candidates(domain: str) -> tuple[dict[str, list[ModelConfig]], dict[str, list[ModelConfig]]]:
    """What is tried of each model that sees the target only, and of each that sees both platforms."""

    def factor_models(only: str | None) -> dict[str, list[ModelConfig]]:
        return {
            "ALS": [
                ALSConfig(domain=only, regularization=200.0, alpha=40.0, iterations=8, weighting="strength"),
                ALSConfig(domain=only, regularization=50.0, alpha=10.0, iterations=8, weighting="binary"),
            ],
            "iALS": [IALSConfig(domain=only, alpha0=0.1, reg=0.003, epochs=8, weighting="strength")],
            "EASE": [EASEConfig(domain=only, regularization=300.0, max_items=2500)],
            "neighbours": [
                ItemNeighboursConfig(
                    domain=only, similarity="cosine", neighbours=200, shrinkage=30.0, weighting="strength"
                )
            ],
        }

    def contemporary(only: str | None) -> list[ModelConfig]:
        return [
            ContemporaryPopularityConfig(
                domain=only, half_life_days=20.0, own_half_life_days=own, breadth=breadth, liked_at=LIKED_AT
            )
            for own in (None, 15.0, 60.0)
            for breadth in ((0.0,) if only else (0.0, 0.5))
        ]

    single: dict[str, list[ModelConfig]] = {
        "popularity": [PopularityConfig(liked_at=LIKED_AT), PopularityConfig()],
        "recent popularity": [PopularityConfig(liked_at=LIKED_AT, half_life_days=days) for days in (365.0, 1095.0)],
        "contemporary popularity": contemporary(domain),
        **factor_models(domain),
    }
    joint: dict[str, list[ModelConfig]] = {
        "joint contemporary popularity": contemporary(None),
        **{f"joint {name}": configs for name, configs in factor_models(None).items()},
        "mapped": [MappedConfig(regularization=200.0, alpha=40.0, iterations=8, ridge=ridge) for ridge in (0.3, 1.0)],
        "bridge": [BridgeConfig(regularization=500.0, activity_discount=0.0, liked_at=LIKED_AT)],
    }
    return single, joint


def measure(landing: Path, domain: str, seed: int) -> Figures:
    """One split of one direction.

    Returns:
        For each segment `people` (indices), `history` (how many ratings of the target they have in training), `values` (NDCG@10 of
        each person by model), `single` (names of the models that see the target only) and `made_of` (what was chosen).
    """
    started = time.perf_counter()

    def progress(text: str) -> None:
        print(f"epinions {domain} {seed}: {text} ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)

    interactions = read(landing)
    outer = divide(interactions, domain, seed)
    inner = divide(
        outer.train,
        domain,
        seed + 1000,
        min_history=INNER_MIN_HISTORY,
        cold_share=INNER_COLD_SHARE,
        among=~outer.drawn,
    )
    single, joint = candidates(domain)
    tried = Bench(inner)
    for name, configs in {**single, **joint}.items():
        for config in configs:
            tried.fit(config)
        progress(f"tried {name}")
    tested = Bench(outer)
    history = np.bincount(outer.train.rows[outer.train.domain_mask(domain)], minlength=outer.train.shape[0])
    found: Figures = {}
    for segment in SEGMENTS:
        own = {name: tried.best(configs, segment) for name, configs in single.items()}
        best = own | {name: tried.best(configs, segment) for name, configs in joint.items()}
        # Who is new to the target has nothing there for a single-platform model to go by, but for what is popular.
        if segment == "cold":
            best = {name: config for name, config in best.items() if name not in own or name in POPULARITIES}
        choices = {"champion": tried.champion(best, segment)}
        if segment == "warm":
            choices["single blend"] = tried.champion(own, segment)
        models = {**best, **choices}
        progress(f"{segment}: champion {summary(choices['champion'])}")
        people = outer.people[outer.members(segment)]
        found[segment] = {
            "people": people,
            "history": history[people],
            "values": {name: tested.values(config, segment) for name, config in models.items()},
            "single": [*own],
            "made_of": {name: config.to_json() for name, config in choices.items()},
        }
    progress("done")
    return found


def summary(config: ModelConfig) -> str:
    """Names, with their weights in a blend."""
    if not isinstance(config, BlendConfig):
        return config.name
    return " + ".join(f"{weight:.2f} {part.name}" for part, weight in zip(config.members, config.weights, strict=True))


class Bench:
    """Models fitted on one fold, each once, and how they do there."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.models: dict[ModelConfig, Recommender] = {}
        self.measured: dict[tuple[ModelConfig, str], NDArray[np.float64]] = {}
        fallback = fit_model(fold.train, PopularityConfig(liked_at=LIKED_AT))
        assert isinstance(fallback, PopularityModel)
        self.fallback = fallback

    def fit(self, config: ModelConfig) -> Recommender:
        """The fitted model; the members of a blend are shared with the others."""
        if isinstance(config, BlendConfig):
            members = tuple(self.fit(member) for member in config.members)
            return BlendModel(config, self.fold.train.item_keys, members)
        if config not in self.models:
            self.models[config] = fit_model(self.fold.train, config)
        return self.models[config]

    def values(self, config: ModelConfig, segment: str) -> NDArray[np.float64]:
        """NDCG of each person of a segment, as they would be served."""
        if (config, segment) not in self.measured:
            self.measured[config, segment] = self.judged(config, self.fold.members(segment))
        return self.measured[config, segment]

    def judged(self, config: ModelConfig, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """NDCG of some of the people."""
        people, relevant = self.fold.train.take(self.fold.people[members]), self.fold.relevant[members]
        items = serve(self.fit(config), self.fallback, people, self.fold.columns, CUTOFF).lists.items
        return ndcg(hit_matrix(items, relevant), np.diff(relevant.indptr), CUTOFF)

    def best(self, configs: Sequence[ModelConfig], segment: str) -> ModelConfig:
        """The best for a segment, the first among equals."""
        return max(configs, key=lambda config: self.values(config, segment).mean())

    def champion(self, found: Mapping[str, ModelConfig], segment: str) -> ModelConfig:
        """The best model, or the blend of the best ones if it does better.

        The people are dealt into two halves. A blend is judged on each by the weights found on the other, and so is the best
        model: the best of many on the same people that it is judged by would look better than it is.
        """
        ranked = sorted(found.values(), key=lambda config: -self.values(config, segment).mean())
        members = self.fold.members(segment)
        halves = (members[::2], members[1::2])
        table = np.stack([self.values(config, segment) for config in ranked])
        crossed = [table[table[:, half::2].mean(axis=1).argmax(), 1 - half :: 2] for half in (0, 1)]
        chosen, value = ranked[0], float(np.concatenate(crossed).mean())
        for size in BLEND_SIZES:
            configs = tuple(ranked[:size])
            blends = [BlendConfig(configs, self.weights(configs, half)) for half in halves]
            crossed = [self.judged(blend, half) for blend, half in zip(blends, reversed(halves), strict=True)]
            if float(np.concatenate(crossed).mean()) > value:
                value = float(np.concatenate(crossed).mean())
                mean = np.mean([blend.weights for blend in blends], axis=0)
                used = np.flatnonzero(mean)
                chosen = BlendConfig(
                    tuple(configs[place] for place in used), tuple(round(float(mean[place]), 4) for place in used)
                )
        return chosen

    def weights(self, configs: Sequence[ModelConfig], members: NDArray[np.int64]) -> tuple[float, ...]:
        """Weights of a blend that are best for some of the people."""
        people = self.fold.train.take(self.fold.people[members])
        models = [self.fit(config) for config in configs]
        return blend_weights(models, people, self.fold.columns, self.fold.relevant[members], k=CUTOFF, depth=DEPTH)


def compare(domain: str, segment: str, splits: Sequence[Figures]) -> tuple[Figures, list[Figures]]:
    """Figures of all models over the splits, and the line of the requirement."""
    parts = [split[segment] for split in splits]
    people = np.unique(np.concatenate([part["people"] for part in parts]), return_inverse=True)[1]

    def values(name: str) -> NDArray[np.float64]:
        """One value for each person: the mean over the splits that drew them."""
        every = np.concatenate([part["values"][name] for part in parts])
        return np.asarray(np.bincount(people, weights=every) / np.bincount(people))[:, None]

    names = [*parts[0]["values"]]
    pooled = {name: values(name) for name in names}
    figures: Figures = {"people": len(pooled["champion"]), "splits": len(parts), "models": {}}
    for name in names:
        interval = bootstrap_mean(pooled[name])
        bounds = [float(interval.low[0]), float(interval.high[0])]
        figures["models"][name] = {"ndcg@10": float(interval.value[0]), "interval": bounds}
    figures["made_of"] = [part["made_of"] for part in parts]

    references = POPULARITIES if segment == "cold" else parts[0]["single"]
    best = max(references, key=lambda name: float(pooled[name].mean()))
    label = "popularity" if segment == "cold" else "the best single-platform model"
    line = {
        "name": f"Epinions, {segment} on {domain}: champion against {label} ({best})",
        **gain(pooled["champion"], pooled[best]),
        "required": REQUIRED[segment],
    }
    line["holds"] = bool(line["value"] >= REQUIRED[segment] and line["interval"][0] > 0)
    if segment == "warm":
        # Whether the other platform adds anything once a single platform may blend as well, and for whom.
        history = np.bincount(people, weights=np.concatenate([part["history"] for part in parts])) / np.bincount(people)
        few = history <= np.median(history)
        figures["champion_against_single_blend"] = {
            "all": gain(pooled["champion"], pooled["single blend"]),
            f"at most {np.median(history):.0f} ratings": gain(pooled["champion"][few], pooled["single blend"][few]),
            "more": gain(pooled["champion"][~few], pooled["single blend"][~few]),
        }
    return figures, [line]


def gain(first: NDArray[np.float64], second: NDArray[np.float64]) -> Figures:
    """Paired difference of two models with its interval, relative to the mean of the second."""
    difference, mean = paired_difference(first, second), float(second.mean())
    bounds = [float(difference.low[0]) / mean, float(difference.high[0]) / mean]
    return {"value": float(difference.value[0]) / mean, "interval": bounds}


def main(arguments: Sequence[str], write: Callable[[str], object] = print) -> int:
    """Measures and prints; returns 1 if a requirement does not hold."""
    found = run(Path(arguments[0]))
    write(json.dumps(found, indent=2))
    return 0 if all(line["holds"] for line in found["requirements"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
