"""The bridge of co-occurrence between platforms."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import Ridge

from models_ml import Interactions
from models_ml.bridge import BridgeConfig, fit_bridge
from models_ml.popularity import PopularityConfig, fit_popularity

Make = Callable[..., Interactions]


def dense(interactions: Interactions, values: np.ndarray) -> np.ndarray:
    return np.asarray(interactions.csr(values).toarray())


def test_weights_and_prior_are_those_of_a_ridge_regression(planted: Interactions) -> None:
    config = BridgeConfig(regularization=7.0, activity_discount=0.5, liked_at=4.0)
    model = fit_bridge(planted, config)
    knowledge, film = (planted.domain_range(name) for name in ("knowledge", "film"))
    taken = dense(planted, (planted.strength > 0).astype(float))
    x, y = taken[:, knowledge.start :], taken[:, : film.stop]
    both = x.any(axis=1) & y.any(axis=1)
    x, y = x[both], y[both] / np.sqrt(y[both].sum(axis=1, keepdims=True))
    expected = Ridge(alpha=7.0, solver="cholesky").fit(x, y)
    span = model.spans[planted.domains.index("film")]
    np.testing.assert_array_equal(span.sources, np.arange(knowledge.start, knowledge.stop))
    np.testing.assert_allclose(span.weights, expected.coef_.T, atol=1e-6)
    np.testing.assert_allclose(span.prior, expected.intercept_, atol=1e-6)


def test_without_evidence_it_is_popularity_among_people_on_both_sides(planted: Interactions) -> None:
    model = fit_bridge(planted, BridgeConfig(regularization=1e12, activity_discount=0.0))
    linked = planted.people_with_history("film") & planted.people_with_history("knowledge")
    popular = fit_popularity(planted.take(np.flatnonzero(linked)), PopularityConfig())
    people, columns = planted.take(np.arange(10, 20)), planted.domain_range("film")
    np.testing.assert_array_equal(model.top_k(people, columns, 40).items, popular.top_k(people, columns, 40).items)


def test_past_items_that_are_not_looked_at_leave_the_prior(make: Make) -> None:
    rows = [(f"u{n}", item, 5.0, 0) for n in range(6) for item in ("film:a", "knowledge:x")]
    interactions = make([*rows, ("u0", "film:b", 5.0, 0), ("new", "knowledge:rare", 5.0, 0)])
    model = fit_bridge(interactions, BridgeConfig(most_sources=1, regularization=1.0, activity_discount=0.0))
    person = interactions.take(interactions.positions_of_users(pa.array(["new"])))
    # Everyone on both sides has x, so nothing sets people apart and the prior is the mean.
    np.testing.assert_allclose(model.scores(person, interactions.domain_range("film"))[0], [5, 5 / 6], rtol=1e-6)


def test_active_people_count_less_by_the_discount(make: Make) -> None:
    rows = [("a", f"film:{n}", 5.0, 0) for n in range(4)] + [("b", "film:0", 5.0, 0)]
    interactions = make([*rows, *[(user, "knowledge:x", 5.0, 0) for user in ("a", "b", "new")]])
    model = fit_bridge(interactions, BridgeConfig(activity_discount=0.5, liked_at=3.75))
    person = interactions.take(interactions.positions_of_users(pa.array(["new"])))
    scores = model.scores(person, interactions.domain_range("film"))[0]
    np.testing.assert_allclose(scores, [0.75, 0.25, 0.25, 0.25], rtol=1e-6)


def test_only_the_items_with_the_most_people_are_looked_at(planted: Interactions) -> None:
    model = fit_bridge(planted, BridgeConfig(most_sources=6, most_targets=9))
    linked = planted.people_with_history("film") & planted.people_with_history("knowledge")
    people = np.bincount(planted.take(np.flatnonzero(linked)).indices, minlength=planted.shape[1])
    span = model.spans[planted.domains.index("film")]
    for kept, columns, most in ((span.sources, "knowledge", 6), (span.targets, "film", 9)):
        others = np.setdiff1d(np.array(planted.domain_range(columns)), kept)
        assert len(kept) == most
        assert people[kept].min() >= people[others].max()
    assert np.isfinite(model.scores(planted.take(np.array([12])), planted.domain_range("film"))).sum() == 9


@pytest.mark.parametrize("most_sources", [25, 2000])
def test_prior_and_all_contributions_make_the_score(planted: Interactions, most_sources: int) -> None:
    """Also for people with both sides, whose items on the target say nothing, and where some past items are not looked at."""
    model = fit_bridge(planted, BridgeConfig(regularization=20.0, most_sources=most_sources))
    people, columns = planted.take(np.arange(10, 30)), planted.domain_range("film")
    lists = model.top_k(people, columns, 4)
    reasons = model.explain(people, lists.items, most=40)
    span = model.spans[planted.domains.index("film")]
    for person in range(20):
        past = np.intersect1d(people.take(np.array([person])).indices, span.sources)
        for place in range(4):
            weights = span.weights[np.searchsorted(span.sources, past), lists.items[person, place]]
            score = lists.scores[person, place]
            assert span.prior[lists.items[person, place]] + weights.sum() == pytest.approx(score, rel=1e-4)
            positive = np.sort(weights[weights > 0])[::-1] if weights.sum() > 0 else np.zeros(0)
            named = reasons.items[person, place] >= 0
            np.testing.assert_allclose(reasons.shares[person, place][named], positive / score, rtol=1e-3)
            if len(positive):
                assert reasons.items[person, place, 0] == past[weights.argmax()]


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="regularization"):
        BridgeConfig(regularization=0.0)
    with pytest.raises(ValueError, match="most_sources"):
        BridgeConfig(most_sources=0)
