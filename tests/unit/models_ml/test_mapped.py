"""Factors of one platform mapped to those of another."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from models_ml import Interactions
from models_ml.als import fit_als
from models_ml.mapped import MappedConfig, MappedModel, fit_mapped

Make = Callable[..., Interactions]
CONFIG = MappedConfig(factors=6, regularization=1.0, alpha=5.0, iterations=4, ridge=0.02)


@pytest.fixture(scope="module")
def model(planted: Interactions) -> MappedModel:
    return fit_mapped(planted, CONFIG)


def test_the_map_is_that_of_a_weighted_ridge_regression(planted: Interactions) -> None:
    # Histories of different lengths, so that people weigh differently.
    planted = planted.where(np.random.default_rng(0).random(planted.entries) < 0.6)
    model = fit_mapped(planted, CONFIG)
    source, target = fit_als(planted, CONFIG.side("knowledge")), fit_als(planted, CONFIG.side("film"))
    x, z = source.fold_in(planted).astype(float), target.fold_in(planted).astype(float)
    both = x.any(axis=1) & z.any(axis=1)
    x, z = x[both], z[both]
    counts = [
        np.bincount(planted.rows[planted.domain_mask(name)], minlength=planted.shape[0])[both]
        for name in planted.domains
    ]
    weight = np.minimum(*counts) ** CONFIG.emphasis
    centred = x - np.average(x, axis=0, weights=weight)
    ridge = CONFIG.ridge * float((weight[:, None] * centred**2).sum()) / CONFIG.factors
    expected = Ridge(alpha=ridge, solver="cholesky").fit(x, z, sample_weight=weight)
    columns = planted.domain_range("film")
    y = target.item_factors[columns.start : columns.stop]
    np.testing.assert_allclose(model.mapped_factors[columns.start : columns.stop], y @ expected.coef_, atol=1e-4)
    np.testing.assert_allclose(model.offsets[columns.start : columns.stop], y @ expected.intercept_, atol=1e-4)


def test_a_strong_ridge_gives_everyone_what_the_mean_person_likes(planted: Interactions) -> None:
    model = fit_mapped(planted, MappedConfig(factors=6, regularization=1.0, alpha=5.0, iterations=4, ridge=1e9))
    columns = planted.domain_range("film")
    scores = model.scores(planted.take(np.arange(10, 20)), columns)
    np.testing.assert_allclose(scores, np.tile(model.offsets[columns.start : columns.stop], (10, 1)), atol=1e-5)


def test_offset_and_all_contributions_make_the_score(planted: Interactions, model: MappedModel) -> None:
    # Also people with both sides: what they have on the target must not be named.
    people, columns = planted.take(np.arange(10, 30)), planted.domain_range("film")
    lists = model.top_k(people, columns, 4)
    reasons = model.explain(people, lists.items, most=16)
    knowledge = planted.domain_range("knowledge")
    named = reasons.items >= 0
    assert named.any()
    assert (reasons.items[named] >= knowledge.start).all()
    source = model.source(planted.domains.index("film"))
    own = (
        source.fold_in(people.where(people.domain_mask("knowledge")))
        @ model.mapped_factors[columns.start : columns.stop].T
    )
    for person in range(20):
        for place, item in enumerate(lists.items[person]):
            score, offset = lists.scores[person, place], model.offsets[item]
            assert own[person, item] + offset == pytest.approx(score, rel=1e-4, abs=1e-5)
            has_negative = (reasons.items[person, place] >= 0).sum() < 8
            total = reasons.shares[person, place].sum() * score
            if has_negative:
                assert total >= own[person, item] - 1e-4
            else:
                assert total == pytest.approx(own[person, item], rel=1e-3)


def test_with_three_platforms_all_others_are_the_source(make: Make) -> None:
    rows = [
        (f"u{person:02}", f"{domain}:{item}", 5.0, 0)
        for person in range(40)
        for domain in ("film", "knowledge", "music")
        for item in range(6)
        if item % 2 == person % 2 and not (person < 4 and domain == "film") and not (person < 2 and domain == "music")
    ]
    interactions = make(rows)
    model = fit_mapped(interactions, CONFIG)
    columns = interactions.domain_range("film")
    # Persons 0 and 1 have knowledge only, 2 and 3 knowledge and music.
    items = model.top_k(interactions.take(np.arange(4)), columns, 3).items
    assert (items % 2 == (np.arange(4) % 2)[:, None]).all()


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="ridge"):
        MappedConfig(ridge=0.0)
    with pytest.raises(ValueError, match="factors"):
        MappedConfig(factors=0)
