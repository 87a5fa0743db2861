"""Blends of standardised scores beside blends of reciprocal ranks of the same members.

Usage: python -m benchmarks.recommenders.calibrations LANDING_OR_INTERACTIONS [--every N] [--splits N]

For each split, target and segment the members are the best of a few models on the inner split. Weights are found there for each
calibration, one half of the people judged with those of the other; then members and weights are fitted and judged on the outer
split. A difference is ranks less scores of NDCG@10, paired over people, with its interval of 95 %. Seconds are those of the
processors for weights and for lists.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recommenders.landing import read_ratings
from models_ml.als import ALSConfig
from models_ml.blend import BlendConfig
from models_ml.blends import blend_candidates
from models_ml.bootstrap import paired_difference
from models_ml.bridge import BridgeConfig
from models_ml.candidates import EASE_ITEMS
from models_ml.contemporary import ContemporaryPopularityConfig
from models_ml.content_model import ContentModelConfig
from models_ml.ease import EASEConfig
from models_ml.evaluation import EvaluationTask, evaluation_task, judge
from models_ml.ials import IALSConfig
from models_ml.interactions import Interactions, interactions_from_arrow
from models_ml.mapped import MappedConfig
from models_ml.metrics import PERSON_METRICS
from models_ml.neighbours import ItemNeighboursConfig, UserNeighboursConfig
from models_ml.popularity import PopularityConfig, PopularityModel
from models_ml.selection import Fits, SelectionConfig, validation_of
from models_ml.split import Split, split_interactions
from orchestration.recommendations.steps import load_interactions
from orchestration.resources.artifacts import Artifact

LIKED_AT = 3.75
POPULAR = PopularityConfig(liked_at=LIKED_AT)
CONFIGS = (
    POPULAR,
    ContemporaryPopularityConfig(liked_at=LIKED_AT, half_life_days=20.0, breadth=0.5),
    BridgeConfig(liked_at=LIKED_AT),
    ALSConfig(),
    ALSConfig(regularization=200.0, alpha=40.0, weighting="strength"),
    IALSConfig(),
    EASEConfig(regularization=200.0, dropout=0.3, max_items=EASE_ITEMS),
    ItemNeighboursConfig(),
    UserNeighboursConfig(),
    MappedConfig(),
    ContentModelConfig(),
)
SCORES, RANKS = "score", "reciprocal_rank"


def run(interactions: Interactions, seed: int) -> Iterator[dict[str, Any]]:
    """One row for each target and segment of one split."""
    config = SelectionConfig()
    config = dataclasses.replace(config, split=dataclasses.replace(config.split, seed=seed))
    outer = split_interactions(interactions, config.split)
    validation, fits = validation_of(outer, config), Fits(outer.train)
    inner = Fits(validation.split.train)
    validation.fallbacks |= dict.fromkeys(interactions.domains, _popular(inner))
    trials = {
        str(place): validation.try_model(inner.fit(one), interactions.domains) for place, one in enumerate(CONFIGS)
    }
    for domain in interactions.domains:
        found: dict[str, dict[str, Any]] = {}
        for calibration in (SCORES, RANKS):
            started = time.process_time()
            blends = blend_candidates(
                validation,
                trials,
                domain,
                members=config.blend_members,
                min_people=config.min_people,
                calibrations=(calibration,),
            )
            seconds = time.process_time() - started
            for trial in blends.values():
                assert isinstance(trial.config, BlendConfig)
                row = found.setdefault(
                    str(trial.config.segment), {"seed": seed, "domain": domain, "segment": trial.config.segment}
                )
                own = validation.tasks[domain].segments[row["segment"]]
                row[f"inner {calibration}"] = trial.people[domain][own]
                fits.fit(trial.config)
                started = time.process_time()
                row[f"test {calibration}"] = _test(
                    fits, outer, evaluation_task(outer, domain, config.evaluation), trial.config
                )
                row[f"seconds of lists {calibration}"] = time.process_time() - started
                row[f"seconds of all weights {calibration}"] = seconds
        yield from (_summary(row) for row in found.values())


def _popular(fits: Fits) -> PopularityModel:
    model = fits.fit(POPULAR)
    assert isinstance(model, PopularityModel)
    return model


def _test(fits: Fits, split: Split, task: EvaluationTask, config: BlendConfig) -> NDArray[np.float64]:
    """NDCG@10 of each person of the blend's segment in the outer split."""
    asked = task.take(np.flatnonzero(task.segments[str(config.segment)]))
    judgement = judge(fits.fit(config), _popular(fits), split, asked, (10,))
    values: NDArray[np.float64] = judgement.values[:, PERSON_METRICS.index("ndcg"), 0]
    return values


def _summary(row: dict[str, Any]) -> dict[str, Any]:
    for part in ("inner", "test"):
        scores, ranks = row.pop(f"{part} {SCORES}"), row.pop(f"{part} {RANKS}")
        row[f"{part} people"] = len(scores)
        if len(scores):
            found = paired_difference(ranks[:, None], scores[:, None], draws=1000, level=0.95, seed=0)
            row[f"{part} {SCORES}"], row[f"{part} {RANKS}"] = float(scores.mean()), float(ranks.mean())
            row[f"{part} difference"] = [float(bound[0]) for bound in (found.value, found.low, found.high)]
    return row


def main() -> int:
    """Prints a row of JSON for each split, target and segment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "source", type=Path, help="landing folder of ratings, or a folder of interactions in models/ of a home"
    )
    parser.add_argument("--every", type=int, default=1, help="take one of so many people")
    parser.add_argument("--splits", type=int, default=1)
    arguments = parser.parse_args()
    stored = (arguments.source / "preference.parquet").exists()
    everyone = (
        load_interactions(Artifact(arguments.source.name, arguments.source))
        if stored
        else interactions_from_arrow(read_ratings(arguments.source))
    )
    some = everyone.take(np.arange(0, everyone.shape[0], arguments.every))
    for seed in range(arguments.splits):
        for row in run(some, seed):
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
