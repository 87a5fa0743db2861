import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models_ml.als import ALSConfig
from models_ml.cold_items import ColdItemsConfig
from models_ml.content import ItemContent
from models_ml.content_model import ContentModelConfig
from models_ml.ease import EASEConfig
from models_ml.ials import IALSConfig
from models_ml.neighbours import ItemNeighboursConfig, UserNeighboursConfig
from models_ml.preference import PreferenceConfig, Scale
from models_ml.recency import MICROSECONDS_PER_DAY
from models_ml.registry import fit_model, model_from_arrays

CONFIGS = (
    ALSConfig(factors=8, regularization=5.0, alpha=5.0, iterations=4),
    IALSConfig(factors=8, alpha0=0.3, reg=0.5, epochs=4),
    EASEConfig(regularization=10.0),
    ItemNeighboursConfig(),
    UserNeighboursConfig(),
)
FADING = {"weighting": "strength", "half_life_days": 20.0}
FADING_CONFIGS = (
    *(dataclasses.replace(config, **FADING) for config in (*CONFIGS, ContentModelConfig())),
    ColdItemsConfig(base=dataclasses.replace(CONFIGS[0], **FADING)),
)


@pytest.fixture
def staggered(make):
    """Two tastes on each side; each person came a day after the one before, and did two things a day."""
    rows = [
        (f"u{person:02}", f"{domain}:{'ab'[person % 2]}{(item + person // 2) % 9}", 1.0 + item % 3, person + item // 2)
        for person in range(40)
        for domain in ("film", "knowledge")
        for item in range(6)
    ]
    world = make(rows)
    taste = [int(key.split(":")[1][0] == "b") for key in world.item_keys.to_pylist()]
    features = csr_matrix(np.eye(2, dtype=np.float32)[taste])
    return world.with_content(ItemContent(features, ("a", "b"), np.zeros(2, dtype=np.int8)))


def test_an_interaction_counts_half_after_each_half_life_of_later_ones(make):
    history = make(
        [
            ("ann", "film:a", 4.0, 9),
            ("ann", "film:b", 4.0, 5),
            ("ann", "film:c", 0.0, 7),
            ("ann", "film:d", 2.0, 1),
            ("ann", "knowledge:x", 4.0, 6),
            ("ben", "film:a", 3.0, 0),
        ]
    )
    everything = PreferenceConfig(half_life_events=1.0, least_recency=0.2)
    faded = [0.2 + 0.8 * 2.0**-later for later in range(4)]
    # What was not liked counts for nothing, also not as a later interaction.
    expected = [4 * faded[0], 4 * faded[2], 0, 2 * faded[3], 4 * faded[1], 3]
    np.testing.assert_allclose(everything.preference(history, history.as_of), expected, rtol=1e-6)
    film = dataclasses.replace(everything, domain="film")
    expected = [4 * faded[0], 4 * faded[1], 0, 2 * faded[2], 0, 3]
    np.testing.assert_allclose(film.preference(history, history.as_of), expected, rtol=1e-6)


def test_without_a_half_life_neither_order_nor_age_matters(make):
    history = make([("ann", "film:a", 4.0, 0), ("ann", "film:b", 2.0, 8)])
    for config in (PreferenceConfig(), PreferenceConfig(half_life_events=0.1, least_recency=1.0)):
        assert config.preference(history, history.as_of).tolist() == [4, 2]


def test_a_preference_halves_with_each_half_life_of_age(make):
    history = make(
        [
            ("ann", "film:a", 4.0, 60),
            ("ann", "film:b", 4.0, 30),
            ("ann", "knowledge:x", 3.0, 0),
            ("ben", "film:a", 2.0, 45),
            ("ben", "film:b", 0.0, 60),
        ]
    )
    strength = PreferenceConfig(weighting="strength", half_life_days=30.0)
    np.testing.assert_allclose(strength.preference(history, history.as_of), [4, 2, 0.75, 2**0.5, 0], rtol=1e-6)
    binary = dataclasses.replace(strength, weighting="binary", domain="film")
    np.testing.assert_allclose(binary.preference(history, history.as_of), [1, 0.5, 0, 2**-0.5, 0], rtol=1e-6)
    both = dataclasses.replace(strength, half_life_events=1.0, least_recency=0.0)
    np.testing.assert_allclose(both.preference(history, history.as_of), [4, 1, 0.1875, 2**0.5, 0], rtol=1e-6)


def test_ages_are_measured_from_the_newest_entry_of_training_and_later_ones_have_age_zero(make):
    training = make([("ann", "film:a", 4.0, 10), ("ann", "film:b", 4.0, 0), ("ben", "film:b", 2.0, 0)])
    config = PreferenceConfig(weighting="strength", half_life_days=10.0)
    scale = config.scale(training)
    assert scale.mean == pytest.approx((4 + 2 + 1) / 3)
    assert scale.as_of == training.as_of
    later = make([("ann", "film:a", 4.0, 10), ("ann", "film:b", 4.0, 0), ("ben", "film:b", 2.0, 40)])
    expected = np.array([[4, 2], [0, 2]]) / scale.mean
    np.testing.assert_allclose(config.relative_preference(later, scale).toarray(), expected, rtol=1e-6)
    # Ben alone has done nothing since day 0, and that is as long ago as it is beside Ann.
    np.testing.assert_allclose(
        config.relative_preference(training.take(np.array([1])), scale).toarray(), [[0, 1 / scale.mean]], rtol=1e-6
    )


def test_a_platform_that_ended_long_ago_is_measured_from_its_own_last_day(make):
    ages = 10 * 365
    rows = [("ann", "film:a", 4.0, 0), ("ann", "film:b", 4.0, 10), ("ann", "knowledge:x", 4.0, ages)]
    config = PreferenceConfig(domain="film", weighting="strength", half_life_days=10.0)
    scale = config.scale(make(rows))
    assert scale.as_of == make(rows).as_of - (ages - 10) * MICROSECONDS_PER_DAY
    found = config.relative_preference(make(rows), scale).toarray()
    np.testing.assert_allclose(found, [[2 / 3, 4 / 3, 0]], rtol=1e-6)


def test_training_without_anything_that_counts_has_a_scale_too(make):
    for history in (make([]), make([("ann", "film:a", 0.0, 3)])):
        assert PreferenceConfig(**FADING).scale(history) == Scale(1.0, 0)


@pytest.mark.parametrize("config", FADING_CONFIGS, ids=lambda config: config.kind)
def test_people_asked_in_blocks_get_what_all_asked_at_once_get_also_from_a_restored_model(staggered, config):
    fitted = fit_model(staggered, config)
    columns = staggered.domain_range("film")
    scores, lists = fitted.scores(staggered, columns), fitted.top_k(staggered, columns, 3)
    reasons = fitted.explain(staggered, lists.items)
    assert np.isfinite(scores).any()
    restored = model_from_arrays(fitted.to_arrays(), config)
    # The first block ends 20 days before training does.
    for model, block in ((fitted, np.arange(20)), (restored, np.arange(20)), (restored, np.array([31, 4]))):
        some = staggered.take(block)
        assert some.as_of < staggered.as_of
        np.testing.assert_allclose(model.scores(some, columns), scores[block], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(model.top_k(some, columns, 3).scores, lists.scores[block], rtol=1e-4, atol=1e-6)
        again = model.explain(some, lists.items[block])
        np.testing.assert_allclose(again.shares, reasons.shares[block], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        ALSConfig(factors=3, regularization=5.0, alpha=10.0),
        IALSConfig(factors=3, alpha0=0.1, reg=0.3),
        EASEConfig(regularization=10.0),
        ItemNeighboursConfig(shrinkage=5.0),
        UserNeighboursConfig(neighbours=100),
    ],
    ids=lambda config: config.kind,
)
def test_with_a_half_life_in_days_training_forgets_what_people_did_long_ago(make, config):
    # Long ago everybody who had a went on to b; lately everybody who has a goes on to c.
    rows = [(f"u{person:02}", f"film:{item}", 1.0, 0) for person in range(12) for item in "ab"]
    rows += [(f"v{person:02}", f"film:{item}", 1.0, 400) for person in range(6) for item in "ac"]
    history = make([*rows, ("zoe", "film:a", 1.0, 400)])
    zoe = history.take(history.positions_of_users(history.user_keys.slice(len(history.user_keys) - 1)))
    plain, fading = (
        fit_model(history, dataclasses.replace(config, weighting="strength", half_life_days=half_life))
        for half_life in (None, 30.0)
    )
    assert plain.top_k(zoe, range(3), 1).items.tolist() == [[1]]
    assert fading.top_k(zoe, range(3), 1).items.tolist() == [[2]]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_recency_depends_on_the_person_alone_and_not_on_who_else_is_asked(planted, config):
    model = fit_model(planted, dataclasses.replace(config, half_life_events=3.0))
    columns = planted.domain_range("film")
    some = np.array([200, 33, 20])
    np.testing.assert_array_equal(
        model.top_k(planted, columns, 5).items[some], model.top_k(planted.take(some), columns, 5).items
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_with_recency_lists_follow_what_a_person_did_last(make, config):
    # Two tastes; zoe has long had the one and has just turned to the other.
    rows = [
        (f"u{person:02}", f"film:{'ab'[person % 2]}{item}", 1.0, (item + person) % 9)
        for person in range(24)
        for item in range(9)
        if item != person // 3
    ]
    turned = [("zoe", f"film:a{item}", 1.0, item) for item in range(6)] + [("zoe", "film:b0", 1.0, 100)]
    history = make([*rows, *turned])
    zoe = history.take(np.array([24]))

    def share_of_new_taste(half_life):
        model = fit_model(history, dataclasses.replace(config, half_life_events=half_life, least_recency=0.0))
        scores = np.maximum(model.scores(zoe, range(18))[0], 0)
        return scores[9:].sum() / scores.sum()

    assert share_of_new_taste(0.3) > share_of_new_taste(None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"half_life_events": 0.0}, "half_life_events"),
        ({"half_life_events": -1.0}, "half_life_events"),
        ({"least_recency": 1.5}, "least_recency"),
        ({"weighting": "strength", "half_life_days": 0.0}, "half_life_days must be positive"),
        ({"weighting": "binary", "half_life_days": float("nan")}, "half_life_days must be positive"),
        ({"weighting": "weight", "half_life_days": 30.0}, "fade twice"),
        ({"weighting": "none"}, "weighting"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        ContentModelConfig(**wrong)
