import numpy as np

from models_ml.als import ALSConfig, fit_als
from models_ml.popularity import PopularityConfig, fit_popularity
from models_ml.serving import serve

# Everyone likes a and b, some like c; d is disliked by the only person who knows it.
ROWS = [
    ("ann", "film:a", 5.0, 0),
    ("ann", "film:b", 5.0, 0),
    ("ben", "film:a", 5.0, 0),
    ("ben", "film:c", 2.0, 0),
    ("cat", "film:d", 0.0, 0),
]


def served(make, k):
    world = make(ROWS)
    model = fit_als(world, ALSConfig(factors=2, regularization=0.1, alpha=2.0))
    return world, serve(model, fit_popularity(world, PopularityConfig()), world, world.domain_range("film"), k)


def names(world, lists):
    return [[world.item_keys[int(item)].as_py()[-1] if item >= 0 else "-" for item in row] for row in lists.items]


def test_a_short_list_is_filled_with_what_is_neither_consumed_nor_listed(make):
    world, found = served(make, 4)
    assert names(world, found.lists) == [
        ["c", "d", "-", "-"],
        ["b", "d", "-", "-"],
        ["a", "b", "c", "-"],
    ]
    assert found.is_fallback.tolist() == [
        [False, True, False, False],
        [False, True, False, False],
        [True, True, True, False],
    ]


def test_scores_never_increase_along_a_list_and_say_how_far_the_fallback_is_off(make):
    _, found = served(make, 4)
    scores = found.lists.scores
    assert (np.diff(np.where(np.isfinite(scores), scores, -1e9), axis=1) <= 0).all()
    # d is liked by nobody: one below the last score of the model. The list without a model is popularity itself.
    assert scores[0, 1] == np.float32(scores[0, 0] - 1)
    np.testing.assert_allclose(scores[2, :3], [1, 0.5, 0.2])


def test_a_full_list_is_left_as_it_is(make):
    world, found = served(make, 1)
    assert names(world, found.lists) == [["c"], ["b"], ["a"]]
    assert found.is_fallback.tolist() == [[False], [False], [True]]


def test_a_popularity_model_is_not_its_own_fallback(make):
    world = make(ROWS)
    model = fit_popularity(world, PopularityConfig())
    assert not serve(model, model, world, world.domain_range("film"), 4).is_fallback.any()
