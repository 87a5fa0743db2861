"""New items on the demo: how much of the catalogue lists reach with content and with exploration, and what it costs.

Usage: python -m benchmarks.recommenders.demo [HOME]

Without a home that `zhiying demo` or `zhiying run` has filled, the demo's landing zone is laid down in a temporary folder and
the warehouse is built from it. A fifth of the items is then new (nobody has had to do with them in training), and of everyone's
interactions with the others the latest fifth is held out. Every model serves everyone who has history with the target ten items
of it. All figures are means over five draws of the new items.

Coverage is the share of items that are in at least one list: of the whole catalogue, of the new items, and of the items that
are new or rarely seen (at most five people in training). Where plain ALS covers more than a fifth of the catalogue, five times
as much cannot be; new and rarely seen items are what its lists leave out. NDCG@10 is stated for what is held out of the known
items, where every new item in a list is a miss by construction, and for all that is held out.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks.figures import print_found
from benchmarks.recommenders.warehouse import build_warehouse
from models_ml.als import ALSConfig
from models_ml.bootstrap import paired_difference
from models_ml.cold_items import ColdItemsConfig
from models_ml.exploration import ExplorationConfig, exploration_candidates, explore
from models_ml.interactions import Interactions
from models_ml.metrics import hit_matrix, ndcg
from models_ml.model import Recommender
from models_ml.popularity import PopularityConfig, fit_popularity
from models_ml.preference import Weighting
from models_ml.registry import fit_model
from models_ml.rules import NO_ORIGIN, Ranked
from models_ml.serving import serve
from models_ml.split import Split, SplitConfig, split_interactions
from orchestration.recommendations.steps import collect_interactions, load_interactions
from orchestration.resources.artifacts import ArtifactStore
from simulation.demo import write_demo_landing

PLACES = 10
LIKED_AT = 3.75
RARE = 5
DRAWS = 5
# Exploration of what at most 20 people know: a little from the fourth place on with the usual weights, for new and rarely seen
# items; and much of the last three places with all items alike, for the whole catalogue. The same number of explored places
# costs less further down. ALS with content says what suits a person; what that changes is measured beside.
SOME = ExplorationConfig(share=0.04, most_interactions=20, most_items=5000)
LAST_PLACES = dataclasses.replace(SOME, share=0.25, first_place=8, favour=0.0, fit=0.0)
EXPLORATIONS = {"exploration of 4 %": SOME, "exploration of 25 % from place 8, all items alike": LAST_PLACES}
BESIDE = {
    "exploration of 4 %, whoever it suits": dataclasses.replace(SOME, fit=0.0),
    "exploration of 25 % from place 8, by what suits": dataclasses.replace(LAST_PLACES, fit=SOME.fit),
}
# ALS is given its best parameters on another draw, so that it is not beaten for want of tuning.
WEIGHTINGS: tuple[Weighting, ...] = ("weight", "strength")
GRID = tuple(
    ALSConfig(factors=factors, regularization=regularization, alpha=alpha, weighting=weighting)
    for factors in (32, 64)
    for regularization in (50.0, 150.0)
    for alpha in (10.0, 40.0)
    for weighting in WEIGHTINGS
)
COVERED = ("catalogue", "new", "new_or_rare")
JUDGED = ("known", "all")
Figures = dict[str, Any]


def run(home: Path | None = None) -> Figures:
    """Measures plain ALS and ALS with content, with and without exploration.

    Args:
        home: Home with a built warehouse; None builds the demo's in a temporary folder (about two minutes).

    Returns:
        `figures` by target and model, and `requirements`: lines of name, value, interval, required, holds.
    """
    interactions = read_home(home) if home is not None else read_demo()
    base = best_base(interactions)
    draws = [draw(interactions, base, seed) for seed in range(1, DRAWS + 1)]
    figures: Figures = {
        "people": interactions.shape[0],
        "items": interactions.shape[1],
        "als": base.to_json(),
        "als_content": ColdItemsConfig(base=base).to_json(),
        "notes": [],
    }
    requirements: list[Figures] = []
    for domain in interactions.domains:
        found = {name: summary([one[domain][name] for one in draws]) for name in draws[0][domain]}
        plain = [one[domain]["als"] for one in draws]
        for name, figure in found.items():
            if name != "als":
                figure["loss"] = {
                    judged: relative_loss(plain, [one[domain][name] for one in draws], judged) for judged in JUDGED
                }
        covered = found["als"]["coverage"]["catalogue"]["value"]
        if 5 * covered > 1:
            figures["notes"].append(
                f"{domain}: plain als covers {covered:.1%} of the catalogue; 5 times as much cannot be"
            )
        figures[domain] = found
        requirements.extend(judged_lines(domain, found))
    return {"figures": figures, "requirements": requirements}


def read_demo() -> Interactions:
    """The interactions of the demo, from its landing zone through the warehouse."""
    with tempfile.TemporaryDirectory() as folder:
        landing, home = Path(folder) / "landing", Path(folder) / "home"
        write_demo_landing(landing)
        build_warehouse(landing, home)
        return read_home(home)


def read_home(home: Path) -> Interactions:
    """The interactions that the main job would train on."""
    with (
        tempfile.TemporaryDirectory() as store,
        duckdb.connect(str(home / "warehouse/build.duckdb"), read_only=True) as connection,
    ):
        return load_interactions(collect_interactions(connection, ArtifactStore(root=store)))


def best_base(interactions: Interactions) -> ALSConfig:
    """The parameters of plain ALS with the best NDCG@10 on known items, summed over the targets, on a draw of its own."""
    split = split_of(interactions, seed=0)

    def quality(config: ALSConfig) -> float:
        model = fit_model(split.train, config)
        return sum(
            float(np.nanmean(judge(split, lists(split, model, domain), domain)["ndcg"]["known"]))
            for domain in interactions.domains
        )

    return max(GRID, key=quality)


def split_of(interactions: Interactions, seed: int) -> Split:
    """A draw of new items, and everyone's latest interactions with the others held out."""
    return split_interactions(interactions, SplitConfig(hidden_share=0, new_share=0, cold_item_share=0.2, seed=seed))


def draw(interactions: Interactions, base: ALSConfig, seed: int) -> dict[str, dict[str, Figures]]:
    """Measures of each target and model on one draw of new items."""
    split = split_of(interactions, seed)
    models = {"als": fit_model(split.train, base), "als_content": fit_model(split.train, ColdItemsConfig(base=base))}
    measured: dict[str, dict[str, Figures]] = {}
    for domain in interactions.domains:
        measured[domain] = {}
        for name, model in models.items():
            ranked = lists(split, model, domain)
            measured[domain][name] = judge(split, ranked, domain)
            for how, config in (EXPLORATIONS | BESIDE).items():
                shown = explored(split, ranked, domain, config, models["als_content"])
                measured[domain][f"{name}, {how}"] = judge(split, shown, domain)
    return measured


def lists(split: Split, model: Recommender, domain: str) -> Ranked:
    """What everyone is served."""
    popularity = fit_popularity(split.train, PopularityConfig())
    served = serve(model, popularity, split.train, split.train.domain_range(domain), PLACES).lists
    return Ranked.of(served.items, served.scores, np.full(served.items.shape, NO_ORIGIN, dtype=np.int16))


def explored(split: Split, ranked: Ranked, domain: str, config: ExplorationConfig, suits: Recommender) -> Ranked:
    """The same lists with a share of their places given to items that few people know, drawn by what suits the person."""
    candidates = exploration_candidates(split.train, split.train.domain_range(domain), config)
    return explore(ranked, split.train, candidates, config, suits=suits)[0]


def judge(split: Split, ranked: Ranked, domain: str) -> Figures:
    """Coverage by `COVERED`, and NDCG@10 of each person by `JUDGED`, NaN for whom nothing relevant is held out."""
    train, held_out = split.train, split.held_out
    columns = train.domain_range(domain)
    served = train.people_with_history(domain)
    people_of = np.bincount(train.indices, minlength=train.shape[1])[columns.start : columns.stop]
    shown = np.zeros(train.shape[1], dtype=np.bool_)
    items = ranked.items[served]
    shown[items[items >= 0]] = True
    is_shown = shown[columns.start : columns.stop]
    new = split.hidden_items[columns.start : columns.stop]
    parts = {"catalogue": np.ones_like(new), "new": new, "new_or_rare": people_of <= RARE}

    liked = held_out.domain_mask(domain) & held_out.liked(LIKED_AT) & served[held_out.rows]
    gains = {}
    for judged, counts in (("known", liked & ~split.hidden_items[held_out.indices]), ("all", liked)):
        wanted = held_out.where(counts)
        relevant = np.diff(wanted.indptr)
        asked = np.flatnonzero(relevant)
        gains[judged] = np.full(train.shape[0], np.nan)
        hits = hit_matrix(ranked.items[asked], wanted.take(asked).csr(np.ones(wanted.entries, dtype=np.bool_)))
        gains[judged][asked] = ndcg(hits, relevant[asked], PLACES)
    return {
        "coverage": {name: float(is_shown[part].mean()) for name, part in parts.items()},
        "ndcg": gains,
        "share_of_places": float(new[items[items >= 0] - columns.start].mean()),
    }


def summary(draws: list[Figures]) -> Figures:
    """Mean over the draws, coverage with its 95 % interval by Student's t."""
    figure: Figures = {"coverage": {}}
    for part in COVERED:
        values = np.array([one["coverage"][part] for one in draws])
        half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        mean = float(values.mean())
        figure["coverage"][part] = {"value": mean, "interval": [max(0.0, mean - half), min(1.0, mean + half)]}
    figure["ndcg"] = {judged: float(np.mean([np.nanmean(one["ndcg"][judged]) for one in draws])) for judged in JUDGED}
    figure["share_of_places_for_new_items"] = float(np.mean([one["share_of_places"] for one in draws]))
    return figure


def relative_loss(plain: list[Figures], other: list[Figures], judged: str) -> Figures:
    """NDCG@10 that is lost against plain ALS, as a share of its own; people are drawn again, with all their draws."""
    first, second = (person_means(draws, judged) for draws in (plain, other))
    asked = ~np.isnan(first)
    lost = paired_difference(first[asked, None], second[asked, None])
    of = float(first[asked].mean())
    return {"value": float(lost.value[0]) / of, "interval": [float(lost.low[0]) / of, float(lost.high[0]) / of]}


def person_means(draws: list[Figures], judged: str) -> NDArray[np.float64]:
    """Mean over the draws in which a person is asked, NaN where there is none."""
    values = np.stack([one["ndcg"][judged] for one in draws])
    asked = ~np.isnan(values)
    means: NDArray[np.float64] = np.full(values.shape[1], np.nan)
    np.divide(np.nansum(values, axis=0), asked.sum(axis=0), out=means, where=asked.any(axis=0))
    return means


def judged_lines(domain: str, found: Mapping[str, Figures]) -> list[Figures]:
    """What must hold for one target; for the whole catalogue only where it can be."""
    lines: list[Figures] = []
    for part, how in zip(("new_or_rare", "catalogue"), EXPLORATIONS, strict=True):
        of = found["als"]["coverage"][part]["value"]
        if 5 * of > 1:
            continue
        name = f"als_content, {how}"
        covered = found[name]["coverage"][part]
        lines.append(
            {
                "name": f"{domain}: coverage ({part}) of {name}",
                **covered,
                "required": f">= {5 * of:.4f}, 5 times {of:.4f} of plain als",
                "holds": bool(covered["value"] >= 5 * of and covered["value"] > 0),
            }
        )
        for judged in JUDGED:
            loss = found[name]["loss"][judged]
            lines.append(
                {
                    "name": f"{domain}: NDCG@10 ({judged} items) that {name} loses against plain als",
                    **loss,
                    "required": "<= 0.02",
                    "holds": bool(loss["value"] <= 0.02),
                }
            )
    return lines


def main() -> int:
    """Measures and prints; returns 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("home", type=Path, nargs="?")
    found = run(parser.parse_args().home)
    return print_found(found)


if __name__ == "__main__":
    sys.exit(main())
