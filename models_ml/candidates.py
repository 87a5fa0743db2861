"""The models that are tried, and what is tried of each.

Holds, for each candidate, whom it is for, what it needs and its space of parameters. The families themselves are in their own
modules (see `registry`); how a space is searched is in `search`, who wins is decided in `selection`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution

from models_ml.als import ALSConfig
from models_ml.bridge import BridgeConfig
from models_ml.cold_items import ColdItemsConfig
from models_ml.contemporary import ContemporaryPopularityConfig
from models_ml.content_model import ContentModelConfig
from models_ml.ease import EASEConfig
from models_ml.ials import IALSConfig
from models_ml.interactions import Interactions
from models_ml.mapped import MappedConfig
from models_ml.model import ModelConfig
from models_ml.neighbours import ItemNeighboursConfig, UserNeighboursConfig
from models_ml.popularity import PopularityConfig
from models_ml.search import Parameters, SearchSpace
from models_ml.segment_popularity import SegmentPopularityConfig

Needs = Literal["content", "traits", "both sides"]
"""What a candidate cannot do without: content of items, traits of people, or people with history on more than one side."""

# Age in days at which an interaction counts half. A month is best by far on films that are rated as they come out, and ruins
# where people are seldom active; years are a small gain where the history is long.
_HALF_LIFE_DAYS = CategoricalDistribution((None, 30.0, 180.0, 730.0))
# How many later interactions of a person make an earlier one count half. Real histories may want 2 to 5, steady ones none.
_HALF_LIFE_EVENTS = CategoricalDistribution((None, 50.0, 20.0, 5.0, 2.0))
_RECENT_BY_ORDER: Parameters = {"half_life_events": 5.0}

# Items with the most people that EASE looks at: a fit of 3,000 takes a second or two, and time grows with their cube.
EASE_ITEMS = 3000

WITH_HISTORY = ("warm", "few")
WITHOUT_HISTORY = ("cold", "new")
# Who is new to a target wants other parameters of a model than who is at home there. Popularity at a person's own times, on the
# Epinions ratings: .080 with all of their times alike against .069 with the latest, where popularity has .067 (NDCG@10, films).
COLD = ("cold",)
EVERYONE = ("all",)


@dataclass(frozen=True)
class Candidate:
    """A model to try.

    Attributes:
        name: Name in tables (`strategy`).
        joint: Whether one fit serves all targets; otherwise it is fitted for each.
        decided_by: Segments of people whose NDCG decides among its configurations.
        space: Function of the target (None for a joint one) and of the configurations that the candidates before it got,
            that gives what there is to try.
        needs: What it cannot do without.
        variant_of: Name of the candidate that it is, tried once more for other people; None for one of its own. It is a candidate
            only where it gets another configuration.
    """

    name: str
    joint: bool
    decided_by: tuple[str, ...]
    space: Callable[[str | None, Mapping[str, ModelConfig]], SearchSpace]
    needs: Needs | None = None
    variant_of: str | None = None

    @property
    def asked_for_as(self) -> str:
        """Name under which somebody asks for it to be tried."""
        return self.variant_of or self.name


def candidates_for(
    interactions: Interactions, relevance_threshold: float, ease_items: int = EASE_ITEMS
) -> Iterator[Candidate]:
    """The candidates that can be fitted, simplest first: among equals the earlier one is champion.

    Args:
        interactions: What they would be fitted on.
        relevance_threshold: Strength from which a person is said to like an item.
        ease_items: Items with the most people that EASE looks at.
    """
    there = {"content", "traits", "both sides"}
    if interactions.content is None or not interactions.content.features.nnz:
        there.discard("content")
    if interactions.traits is None or not (interactions.traits.codes >= 0).any():
        there.discard("traits")
    sides = np.sum([interactions.people_with_history(domain) for domain in interactions.domains], axis=0)
    if not (sides > 1).any():
        there.discard("both sides")
    for candidate in _candidates(relevance_threshold, ease_items):
        if candidate.needs is None or candidate.needs in there:
            yield candidate


def candidate_names() -> tuple[str, ...]:
    """Names of all candidates that can be asked for, also of those that some interactions do not allow."""
    return tuple(candidate.name for candidate in _candidates(1.0) if candidate.variant_of is None)


def _with_cold_variant(candidate: Candidate) -> tuple[Candidate, Candidate]:
    """A joint candidate, and the same for the people of each target who are new to it."""
    return candidate, replace(
        candidate,
        name=f"{candidate.name}_cold",
        joint=False,
        decided_by=COLD,
        space=lambda domain, before: candidate.space(None, before),
        variant_of=candidate.name,
    )


def _candidates(liked_at: float, ease_items: int = EASE_ITEMS) -> tuple[Candidate, ...]:
    counted = CategoricalDistribution((None, liked_at))
    weighting = CategoricalDistribution(("weight", "strength", "binary"))
    return (
        Candidate(
            "popularity",
            False,
            EVERYONE,
            lambda domain, before: SearchSpace(
                PopularityConfig(), {"liked_at": counted}, first=({}, {"liked_at": liked_at})
            ),
        ),
        Candidate(
            "recent_popularity",
            False,
            EVERYONE,
            lambda domain, before: SearchSpace(
                PopularityConfig(half_life_days=365.0),
                {"half_life_days": _log(7.0, 3650.0), "liked_at": counted},
                first=tuple(
                    {"half_life_days": half_life, "liked_at": at}
                    for half_life in (30.0, 90.0, 365.0, 1095.0)
                    for at in (None, liked_at)
                ),
            ),
        ),
        Candidate(
            "rising",
            False,
            EVERYONE,
            lambda domain, before: SearchSpace(
                PopularityConfig(half_life_days=14.0, usual_half_life_days=400.0),
                {"half_life_days": _log(3.0, 90.0), "usual_half_life_days": _log(100.0, 2000.0)},
                first=({}, {"half_life_days": 60.0, "usual_half_life_days": 1000.0}),
            ),
        ),
        Candidate(
            "segment_popularity",
            False,
            WITHOUT_HISTORY,
            lambda domain, before: SearchSpace(
                SegmentPopularityConfig(),
                {
                    "prior": _log(10.0, 5000.0),
                    "half_life_days": CategoricalDistribution((None, 90.0, 365.0)),
                    "liked_at": counted,
                },
                first=({}, {"prior": 1000.0}, {"half_life_days": 365.0}),
            ),
            needs="traits",
        ),
        *_models_of_the_other_side(liked_at),
        *_neighbours(ease_items),
        *_models_with_factors(weighting),
        *_models_of_content(),
    )


def _models_of_the_other_side(liked_at: float) -> Iterator[Candidate]:
    """Popularity at a person's own times, and what leads from one platform to the other."""
    yield from _with_cold_variant(
        Candidate(
            "contemporary_popularity",
            True,
            WITH_HISTORY,
            lambda domain, before: SearchSpace(
                ContemporaryPopularityConfig(liked_at=liked_at, half_life_days=20.0, breadth=0.5),
                {
                    "half_life_days": _log(7.0, 1000.0),
                    "own_half_life_days": CategoricalDistribution((None, 15.0, 60.0)),
                    "prior": _log(1.0, 1000.0),
                    "breadth": FloatDistribution(0.0, 1.0),
                },
                first=({}, {"breadth": 0.0, "own_half_life_days": 15.0}, {"half_life_days": 60.0, "breadth": 0.0}),
            ),
        )
    )
    yield Candidate(
        "bridge",
        True,
        COLD,
        lambda domain, before: SearchSpace(
            BridgeConfig(),
            {
                "regularization": _log(30.0, 10_000.0),
                "activity_discount": FloatDistribution(0.0, 1.0),
                "liked_at": CategoricalDistribution((None, liked_at)),
            },
            first=(
                {"liked_at": liked_at},
                {"liked_at": liked_at, "regularization": 500.0, "activity_discount": 0.0},
            ),
        ),
        needs="both sides",
    )
    yield Candidate(
        "mapped",
        True,
        COLD,
        lambda domain, before: SearchSpace(
            MappedConfig(regularization=200.0, alpha=40.0, iterations=8),
            {
                "regularization": _log(10.0, 1000.0),
                "alpha": _log(1.0, 100.0),
                "ridge": _log(0.001, 10.0),
                "emphasis": FloatDistribution(0.0, 1.0),
            },
            first=({"ridge": 0.3}, {"ridge": 1.0}),
            final={"iterations": 15},
        ),
        needs="both sides",
    )


def _neighbours(ease_items: int) -> Iterator[Candidate]:
    """Items and people that are alike by who did what."""
    for joint in (False, True):
        suffix = "_joint" if joint else ""
        yield Candidate(
            f"ease{suffix}",
            joint,
            WITH_HISTORY,
            lambda domain, before: SearchSpace(
                EASEConfig(domain=domain, max_items=ease_items),
                {
                    "regularization": _log(10.0, 3000.0),
                    "dropout": FloatDistribution(0.0, 0.7),
                    "half_life_events": _HALF_LIFE_EVENTS,
                },
                first=(
                    {"regularization": 200.0, "dropout": 0.3},
                    {"regularization": 200.0, "dropout": 0.3, **_RECENT_BY_ORDER},
                ),
            ),
        )
        yield Candidate(
            f"item_neighbours{suffix}",
            joint,
            WITH_HISTORY,
            lambda domain, before: SearchSpace(
                ItemNeighboursConfig(domain=domain),
                {
                    "similarity": CategoricalDistribution(("cosine", "bm25")),
                    "shrinkage": _log(0.5, 100.0),
                    "neighbours": CategoricalDistribution((20, 50, 100, 200)),
                    "half_life_events": _HALF_LIFE_EVENTS,
                },
                first=({}, {"similarity": "bm25"}, _RECENT_BY_ORDER),
            ),
        )
    yield Candidate(
        "user_neighbours",
        True,
        WITH_HISTORY,
        lambda domain, before: SearchSpace(
            UserNeighboursConfig(), {"neighbours": CategoricalDistribution((50, 100, 200, 400))}
        ),
    )


def _models_with_factors(weighting: CategoricalDistribution) -> Iterator[Candidate]:
    """ALS and iALS, each on the target alone and on everything."""
    # Regularisation grows with alpha: their ratio, about 5, matters more than either. Sparse histories (a person has 3 items in
    # the median) want alpha 10 to 40, dense ones (100 items) alpha 1.
    als = {
        "factors": CategoricalDistribution((32, 64, 128)),
        "regularization": _log(1.0, 1000.0),
        "alpha": _log(0.5, 100.0),
        "weighting": weighting,
        "half_life_days": _HALF_LIFE_DAYS,
        "half_life_events": _HALF_LIFE_EVENTS,
    }
    als_first = (
        {"regularization": 50.0, "alpha": 10.0},
        {"regularization": 200.0, "alpha": 40.0, "weighting": "strength"},
        {"regularization": 10.0, "alpha": 1.0},
        {"regularization": 50.0, "alpha": 10.0, **_RECENT_BY_ORDER},
    )
    ials = {
        "factors": CategoricalDistribution((32, 64, 128)),
        "alpha0": _log(0.003, 1.0),
        "reg": _log(0.3, 50.0),
        "nu": FloatDistribution(0.0, 1.2),
        "weighting": weighting,
        "half_life_days": _HALF_LIFE_DAYS,
        "half_life_events": _HALF_LIFE_EVENTS,
    }
    ials_first: tuple[Parameters, ...] = ({}, {"alpha0": 0.1}, {"weighting": "binary"}, _RECENT_BY_ORDER)
    for joint in (False, True):
        suffix = "_joint" if joint else ""
        for candidate in (
            Candidate(
                f"als{suffix}",
                joint,
                WITH_HISTORY,
                lambda domain, before: SearchSpace(
                    ALSConfig(domain=domain, iterations=8),
                    als,
                    (*als_first, {"regularization": 200.0, "alpha": 40.0, **_recent_by_age(domain)}),
                    {"iterations": 15},
                    _faded_once,
                ),
            ),
            Candidate(
                f"ials{suffix}",
                joint,
                WITH_HISTORY,
                lambda domain, before: SearchSpace(
                    IALSConfig(domain=domain, epochs=8),
                    ials,
                    (*ials_first, _recent_by_age(domain)),
                    {"epochs": 16},
                    _faded_once,
                ),
            ),
        ):
            yield from _with_cold_variant(candidate) if joint else (candidate,)


def _models_of_content() -> Iterator[Candidate]:
    """What is alike, and factors for what nobody knows yet."""
    yield from _with_cold_variant(
        Candidate(
            "content",
            True,
            WITH_HISTORY,
            lambda domain, before: SearchSpace(
                ContentModelConfig(),
                {"weighting": CategoricalDistribution(("weight", "strength")), "half_life_days": _HALF_LIFE_DAYS},
                first=({}, {"weighting": "strength"}),
                resolve=_faded_once,
            ),
            needs="content",
        )
    )
    yield Candidate(
        "als_content",
        True,
        ("warm", "few", "cold"),
        lambda domain, before: SearchSpace(
            ColdItemsConfig(base=als if isinstance(als := before.get("als_joint"), ALSConfig) else ALSConfig()),
            {"ridge": _log(0.1, 100.0), "emphasis": FloatDistribution(0.0, 1.0), "shrinkage": _log(0.5, 50.0)},
        ),
        needs="content",
    )


def _recent_by_age(domain: str | None) -> Parameters:
    """The half-life to try first; a long one for both sides, as old history on one may be all that is known of a person."""
    return {"weighting": "strength", "half_life_days": 730.0 if domain is None else 30.0}


def _faded_once(parameters: Parameters) -> Parameters:
    """With a half-life, preferences without the warehouse's own decay in place of those with it, which would fade twice."""
    if parameters["half_life_days"] is None or parameters["weighting"] != "weight":
        return parameters
    return {**parameters, "weighting": "strength"}


def _log(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=True)
