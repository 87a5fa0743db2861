import numpy as np
import pytest

from models_ml.popularity import PopularityConfig, PopularityModel, fit_popularity

ROWS = [
    ("ann", "film:a", 5.0, 0),
    ("ben", "film:a", 3.0, 0),
    ("ann", "film:b", 4.0, 100),
    ("cat", "film:b", 2.0, 100),
    ("cat", "knowledge:x", 1.0, 100),
]


def test_popularity_adds_up_what_people_think_of_an_item(make):
    model = fit_popularity(make(ROWS), PopularityConfig())
    np.testing.assert_allclose(model.item_scores, [1, 6 / 8, 1])


def test_popularity_can_count_the_people_who_like_an_item(make):
    model = fit_popularity(make(ROWS), PopularityConfig(liked_at=3.0))
    np.testing.assert_allclose(model.item_scores, [1, 0.5, 0])


def test_recent_popularity_prefers_what_is_liked_now(make):
    model = fit_popularity(make(ROWS), PopularityConfig(half_life_days=100.0))
    np.testing.assert_allclose(model.item_scores, [4 / 6, 1, 1])


def test_a_person_is_never_given_what_they_have_consumed(make):
    world = make(ROWS)
    lists = fit_popularity(world, PopularityConfig()).top_k(world, world.domain_range("film"), 2)
    assert lists.items.tolist() == [[-1, -1], [1, -1], [0, -1]]


def test_a_name_says_whether_recency_counts():
    assert PopularityConfig().name == "popularity"
    assert PopularityConfig(half_life_days=7.0).name == "recent_popularity"


def test_a_model_comes_back_from_its_arrays(make):
    world = make(ROWS)
    model = fit_popularity(world, PopularityConfig())
    again = PopularityModel.from_arrays(model.to_arrays(), model.config)
    columns = world.domain_range("film")
    assert (again.top_k(world, columns, 2).items == model.top_k(world, columns, 2).items).all()
    assert (
        again.describe()
        == model.describe()
        == {
            "model": "popularity",
            "config": {"kind": "popularity", "half_life_days": None, "liked_at": None, "usual_half_life_days": None},
            "items": 3,
            "items_scored": 3,
        }
    )


def test_a_model_of_another_catalogue_is_refused(make):
    model = fit_popularity(make(ROWS), PopularityConfig())
    with pytest.raises(ValueError, match="fitted on 3 items and is asked about 2"):
        model.top_k(make(ROWS[:3]), range(2), 1)
    with pytest.raises(ValueError, match="other item keys"):
        model.top_k(make([*ROWS[:4], ("cat", "knowledge:y", 1.0, 0)]), range(2), 1)


def test_what_has_more_than_is_usual_for_it_comes_first(make):
    # `steady` has one person a day for 40 days, `burst` four on the last day.
    rows = [(f"u{day:02}", "film:steady", 1.0, day) for day in range(40)]
    rows += [(f"v{n}", "film:burst", 1.0, 39) for n in range(4)]
    rising = PopularityConfig(half_life_days=2.0, usual_half_life_days=20.0)
    assert rising.name == "rising"
    burst, steady = fit_popularity(make(rows), rising).item_scores
    assert burst == 1.0
    # z of `burst`: 4 came, 4 x 2 / 20 were usual.
    assert 0 < steady < burst
    assert fit_popularity(make(rows), PopularityConfig()).item_scores.tolist() == pytest.approx([0.1, 1.0])


def test_what_falls_keeps_half_its_popularity(make):
    rows = [("ann", "film:old", 1.0, 0), ("ben", "film:old", 1.0, 0), ("cat", "film:new", 1.0, 100)]
    new, old = fit_popularity(make(rows), PopularityConfig(half_life_days=10.0, usual_half_life_days=100.0)).item_scores
    assert new == 1.0
    assert old == pytest.approx(0.5 * 2 * 2**-10)


def test_what_is_usual_must_be_longer_than_what_is_recent():
    with pytest.raises(ValueError, match="must be longer"):
        PopularityConfig(half_life_days=10.0, usual_half_life_days=10.0)


def test_popularity_scores_everyone_alike_and_gives_no_reason_of_their_own(make):
    world = make(ROWS)
    model = fit_popularity(world, PopularityConfig())
    assert model.scores(world, world.domain_range("film")).tolist() == [[1.0, 0.75]] * 3
    reasons = model.explain(world, np.zeros((3, 2), np.int32))
    assert (reasons.items == -1).all()
    assert (reasons.trait == -1).all()
