"""Popularity at a person's own times."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml import Interactions, interactions_from_arrow
from models_ml.contemporary import ContemporaryPopularityConfig, fit_contemporary_popularity
from tests.unit.models_ml.conftest import preference_table

Make = Callable[..., Interactions]

# Three people take up A and B early, two people C late; D is known to one who is on the film side only.
ROWS = [
    *[(f"early{person}", f"film:{item}", 5.0, 0) for person in range(3) for item in "AB"],
    *[(f"early{person}", "knowledge:x", 5.0, 1) for person in range(3)],
    *[(f"late{person}", "film:C", 5.0, 600) for person in range(2)],
    *[(f"late{person}", "knowledge:y", 5.0, 601) for person in range(2)],
    *[(f"alone{person}", "film:D", 5.0, 600) for person in range(3)],
    ("newcomer", "knowledge:y", 5.0, 605),
    ("pioneer", "knowledge:x", 5.0, 2),
]


def listed(interactions: Interactions, user: str, config: ContemporaryPopularityConfig) -> list[str]:
    model = fit_contemporary_popularity(interactions, config)
    person = interactions.take(interactions.positions_of_users(_key(user)))
    items = model.top_k(person, interactions.domain_range("film"), 10).items[0]
    return [interactions.item_keys[int(item)].as_py() for item in items if item >= 0]


def _key(user: str) -> pa.Array:
    return pa.array([user])


def test_a_newcomer_gets_what_was_taken_up_at_the_time_at_which_they_came(make: Make) -> None:
    interactions = make(ROWS)
    config = ContemporaryPopularityConfig(half_life_days=30.0)
    assert listed(interactions, "newcomer", config) == ["film:D", "film:C", "film:A", "film:B"]
    assert listed(interactions, "pioneer", config) == ["film:A", "film:B", "film:D", "film:C"]


def test_breadth_asks_only_people_who_are_on_several_platforms(make: Make) -> None:
    config = ContemporaryPopularityConfig(half_life_days=30.0, breadth=0.5)
    assert listed(make(ROWS), "newcomer", config) == ["film:C", "film:A", "film:B"]


def test_a_model_of_one_domain_knows_nothing_about_who_is_elsewhere_only(make: Make) -> None:
    assert listed(make(ROWS), "newcomer", ContemporaryPopularityConfig(domain="film")) == []


def test_a_short_own_half_life_follows_where_the_person_is_now(make: Make) -> None:
    rows = [*ROWS, *[("mover", f"knowledge:{item}", 5.0, 0) for item in "abcd"], ("mover", "knowledge:y", 5.0, 600)]
    interactions = make(rows)
    usual = ContemporaryPopularityConfig(half_life_days=30.0)
    now = ContemporaryPopularityConfig(half_life_days=30.0, own_half_life_days=60.0)
    assert listed(interactions, "mover", usual)[0] == "film:A"
    assert listed(interactions, "mover", now)[0] == "film:D"


entries = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["film:a", "film:b", "film:c", "knowledge:x"]), st.integers(0, 900)),
    min_size=1,
    max_size=25,
    unique_by=lambda entry: entry[:2],
)


@settings(max_examples=40, deadline=None)
@given(entries, st.floats(5.0, 500.0), st.floats(0.0, 5.0), st.sampled_from([None, 90.0]))
def test_scores_are_those_of_the_formula(
    rows: list[tuple[int, str, int]], half_life: float, prior: float, own: float | None
) -> None:
    """Summed up term by term over pairs of interactions, instead of by periods and matrices."""
    interactions = interactions_from_arrow(preference_table([(f"u{user}", item, 5.0, day) for user, item, day in rows]))
    config = ContemporaryPopularityConfig(
        half_life_days=half_life, prior=prior, own_half_life_days=own, liked_at=3.75, period_days=1.0, most_periods=901
    )
    model = fit_contemporary_popularity(interactions, config)
    if "film" not in {item.split(":")[0] for _, item, _ in rows}:
        return
    columns = interactions.domain_range("film")
    scores = model.scores(interactions, columns)
    films = [(item, day) for _, item, day in rows if item.startswith("film")]
    keys = interactions.item_keys.to_pylist()
    for position, user in enumerate(interactions.user_keys.to_pylist()):
        mine = [day for other, _, day in rows if f"u{other}" == user]
        weights = [1.0 if own is None else 2 ** (-(max(mine) - day) / own) for day in mine]
        expected = np.zeros(len(columns))
        for moment, weight in zip(mine, weights, strict=True):
            mass = np.zeros(len(columns))
            for item, day in films:
                mass[keys.index(item) - columns.start] += 2 ** (-abs(moment - day) / half_life) + prior / len(films)
            if mass.sum() > 0:
                expected += weight / sum(weights) * mass / mass.sum()
        np.testing.assert_allclose(np.where(np.isfinite(scores[position]), scores[position], 0), expected, atol=1e-5)


def test_no_past_item_speaks_for_what_was_popular_at_its_time(make: Make) -> None:
    interactions = make(ROWS)
    model = fit_contemporary_popularity(interactions, ContemporaryPopularityConfig())
    lists = model.top_k(interactions, interactions.domain_range("film"), 3)
    assert (lists.items >= 0).any()
    assert (model.explain(interactions, lists.items).items == -1).all()


def test_times_outside_of_training_count_as_its_first_and_last(make: Make) -> None:
    interactions = make(ROWS)
    model = fit_contemporary_popularity(interactions, ContemporaryPopularityConfig())
    day = 86_400_000_000
    assert model.periods_of(np.array([interactions.last_at.min() - 900 * day]))[0] == 0
    assert model.periods_of(np.array([interactions.as_of + 900 * day]))[0] == len(model.shares) - 1


def test_more_periods_than_allowed_are_made_longer(make: Make) -> None:
    config = ContemporaryPopularityConfig(period_days=1.0, most_periods=10)
    model = fit_contemporary_popularity(make(ROWS), config)
    assert len(model.shares) == 10
    assert model.describe()["period_days"] == pytest.approx(60.5, abs=0.01)


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="half-lives"):
        ContemporaryPopularityConfig(half_life_days=0.0)
    with pytest.raises(ValueError, match="breadth"):
        ContemporaryPopularityConfig(breadth=-1.0)
    with pytest.raises(ValueError, match="most_periods"):
        ContemporaryPopularityConfig(most_periods=0)
