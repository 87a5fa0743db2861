"""Which of the little known items are explored for whom: those that suit the person, by the champion of new items."""

import numpy as np
import pytest

from models_ml.exploration import ExplorationCandidates, ExplorationConfig, explore, suited
from models_ml.interactions import Interactions
from models_ml.popularity import PopularityConfig, fit_popularity
from models_ml.rules import EXPLORATION, NO_ORIGIN, Ranked


class Scores:
    """A model that gives each person the scores that they are said to give, over four films."""

    def __init__(self, of: dict[str, tuple[float, ...]]) -> None:
        self.of = of

    def scores(self, people: Interactions, columns: range) -> np.ndarray:
        rows = [self.of[key] for key in people.user_keys.to_pylist()]
        return np.array(rows, dtype=np.float32)[:, columns.start : columns.stop]


@pytest.fixture
def people(make) -> Interactions:
    return make([(name, f"film:{item}", 5.0, 1) for name in ("ann", "bob") for item in "abcd"], consumed=[False] * 8)


def candidates(*items: int) -> ExplorationCandidates:
    return ExplorationCandidates(np.array(items, dtype=np.int32), np.ones(len(items)))


def test_a_candidate_is_favoured_by_how_far_its_score_is_from_what_is_usual_for_the_person(people):
    """Scores 1, 2, 3 have mean 2 and deviation sqrt(2/3), whatever the scale of the person's scores."""
    model = Scores({"ann": (9.0, 1.0, 2.0, 3.0), "bob": (9.0, 30.0, 20.0, 10.0)})
    z = np.round(1 / np.sqrt(2 / 3), 3)
    found = suited(model, people, candidates(1, 2, 3), 0.5)
    assert found == pytest.approx(np.exp(0.5 * np.array([[-z, 0, z], [z, 0, -z]])))


def test_what_the_model_cannot_score_is_neither_favoured_nor_held_back(people):
    model = Scores({"ann": (0.0, 1.0, -np.inf, 3.0), "bob": (-np.inf,) * 4})
    found = suited(model, people, candidates(1, 2, 3), 1.0)
    assert found == pytest.approx(np.exp([[-1, 0, 1], [0, 0, 0]]))


def test_without_fit_or_where_popularity_is_best_all_are_drawn_alike(people):
    model = Scores({"ann": (0.0, 1.0, 2.0, 3.0), "bob": (3.0, 2.0, 1.0, 0.0)})
    popularity = fit_popularity(people, PopularityConfig())
    for who, fit in ((model, 0.0), (popularity, 1.0), (None, 1.0)):
        assert (suited(who, people, candidates(1, 2, 3), fit) == 1).all()


def test_nothing_is_all_but_ruled_out(people):
    many = candidates(0, 1, 2, 3)
    model = Scores({"ann": (0.0, 0.0, 0.0, 1e6), "bob": (0.0, 0.0, 0.0, -1e6)})
    found = suited(model, people, many, 1.0)
    assert found.min() >= np.exp(-3)
    assert found.max() <= np.exp(3)


def test_scores_do_not_depend_on_the_block_that_a_person_is_scored_in(people):
    model = Scores({"ann": (0.0, 1.0, 2.5, 3.0), "bob": (3.0, 2.0, 1.0, 0.0)})
    assert (
        suited(model, people, candidates(1, 2, 3), 1.0)
        == suited(model, people, candidates(1, 2, 3), 1.0, block_bytes=1)
    ).all()


def test_a_place_shows_what_suits_with_the_probability_that_is_logged(make):
    """Of two candidates with z of 1 and -1 the first is drawn with probability e / (e + 1/e)."""
    names = [f"u{number:04}" for number in range(4000)]
    crowd = make([(name, f"film:{item}", 5.0, 1) for name in names for item in "abcd"], consumed=[False] * 16_000)
    model = Scores(dict.fromkeys(names, (0.0, 0.0, 2.0, 1.0)))
    items = np.tile(np.array([0, 1], dtype=np.int32), (len(names), 1))
    ranked = Ranked.of(items, np.zeros(items.shape, np.float32), np.full(items.shape, NO_ORIGIN, np.int16))
    config = ExplorationConfig(share=0.5, first_place=2, fit=1.0)
    shown, propensity = explore(ranked, crowd, candidates(2, 3), config, suits=model)
    likely = np.e / (np.e + 1 / np.e)
    explored = shown.rules[:, 1] == EXPLORATION
    first = shown.items[:, 1] == 2
    assert propensity[first, 1] == pytest.approx(0.5 * likely)
    assert propensity[explored & ~first, 1] == pytest.approx(0.5 * (1 - likely))
    error = 4 * np.sqrt(likely * (1 - likely) / explored.sum())
    assert first[explored].mean() == pytest.approx(likely, abs=error)


@pytest.mark.parametrize("fit", [-1.0, np.inf, np.nan])
def test_a_fit_that_cannot_be_is_refused(fit):
    with pytest.raises(ValueError, match="fit must be at least 0 and finite"):
        ExplorationConfig(fit=fit)
