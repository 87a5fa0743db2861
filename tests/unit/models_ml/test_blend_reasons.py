"""What speaks for the places of a blend, and what past items add to its score."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_ml.blend import BlendConfig, BlendModel
from models_ml.interactions import Interactions
from models_ml.mapped import MappedConfig
from models_ml.model import Additive
from models_ml.registry import FAMILIES, fit_model
from models_ml.retrieval import NO_ITEM

KINDS = tuple(kind for kind in FAMILIES if kind != "blend")
NO_SUM = {"popularity", "segment_popularity", "contemporary_popularity"}
CONFIGS = {kind: FAMILIES[kind].config() for kind in KINDS} | {"mapped": MappedConfig(factors=8, regularization=1.0)}


@pytest.fixture(scope="module")
def models(told):
    return {kind: fit_model(told, config) for kind, config in CONFIGS.items()}


def blend_of(models, kinds, weights=None, calibration="score") -> BlendModel:
    members = tuple(models[kind] for kind in kinds)
    config = BlendConfig(tuple(member.config for member in members), weights or (1.0,) * len(kinds), calibration)
    return BlendModel(config, models["popularity"].item_keys, members)


def some(told: Interactions, seed: int) -> Interactions:
    """People of the planted world of whom a part of the history is known, of some nothing."""
    random = np.random.default_rng(seed)
    people = told.take(np.append(random.choice(told.shape[0], 12, replace=False), [3, 13]))
    kept = random.random(people.entries) < random.uniform(0, 1.2, people.shape[0])[people.rows]
    return people.where(kept)


def dense(model: Additive, people: Interactions, items: np.ndarray) -> np.ndarray:
    """What each item of the catalogue adds to each place, shape (people, k, items)."""
    parts = np.zeros((*items.shape, people.shape[1]))
    for found in model.contributions(people, items):
        for person, past, own in zip(found.people, found.past, found.parts, strict=True):
            assert (np.diff(past[past >= 0]) > 0).all()
            parts[person][:, past[past >= 0]] += own[:, past >= 0]
    return parts


def taken_apart(model: BlendModel, people: Interactions, items: np.ndarray, columns: range):
    """What past items add to the blended score, what else does, and the constant of each person, in double precision.

    All from the members' scores and their own sums over past items.
    """
    by_item = np.zeros((*items.shape, people.shape[1]))
    rest, constant, whole = np.zeros(items.shape), np.zeros((people.shape[0], 1)), np.zeros((people.shape[0], 1))
    consumed = people.consumed().toarray()[:, columns.start : columns.stop]
    for member, weight in zip(model.members, model.config.weights, strict=True):
        scores = member.scores(people, columns).astype(float)
        asked = np.where(np.isfinite(scores) & ~consumed, scores, np.nan)
        for person in np.flatnonzero(np.isfinite(asked).any(axis=1)):
            mean, spread = np.nanmean(asked[person]), np.nanstd(asked[person])
            scale = weight / spread if spread > 1e-5 * abs(mean) else 0.0
            own = np.where(np.isfinite(scores[person]), scores[person], np.nanmin(asked[person]))
            own = own[np.maximum(items[person] - columns.start, 0)]
            whole[person] += weight
            if isinstance(member, Additive):
                parts = dense(member, people.take([person]), items[[person]])[0]
                by_item[person] += scale * parts
                rest[person] += scale * (own - parts.sum(axis=1))
                constant[person] += scale * mean
            else:
                rest[person] += scale * (own - mean)
    whole[whole == 0] = 1
    return by_item / whole[:, :, None], rest / whole, constant / whole


def ranked(model, told, seed, domain, k=6):
    people, columns = some(told, seed), told.domain_range(domain)
    return people, columns, model.top_k(people, columns, k)


def test_every_kind_of_model_but_popularity_is_a_sum_over_past_items(models):
    assert {kind for kind in KINDS if not isinstance(models[kind], Additive)} == NO_SUM


any_blend = given(
    weights=st.dictionaries(st.sampled_from(KINDS), st.sampled_from([0.1, 0.5, 1.0]), min_size=1, max_size=5),
    seed=st.integers(0, 10_000),
    domain=st.sampled_from(["film", "knowledge"]),
)
examples = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@examples
@any_blend
def test_what_past_items_add_and_the_rest_are_the_blended_score(models, told, weights, seed, domain):
    model = blend_of(models, tuple(weights), tuple(weights.values()))
    people, columns, lists = ranked(model, told, seed, domain)
    by_item, rest, constant = taken_apart(model, people, lists.items, columns)
    filled = lists.items != NO_ITEM
    np.testing.assert_allclose(dense(model, people, lists.items)[filled], by_item[filled], rtol=1e-3, atol=1e-3)
    added = dense(model, people, lists.items).sum(axis=2) + rest - constant
    np.testing.assert_allclose(added[filled], lists.scores[filled], rtol=1e-3, atol=2e-3)


@examples
@any_blend
def test_the_named_items_are_those_that_add_most_and_their_shares_leave_out_the_constant(
    models, told, weights, seed, domain
):
    model = blend_of(models, tuple(weights), tuple(weights.values()))
    people, columns, lists = ranked(model, told, seed, domain)
    by_item, rest, _ = taken_apart(model, people, lists.items, columns)
    reasons = model.explain(people, lists.items)
    for person, place in zip(*np.nonzero(reasons.items[:, :, 0] != NO_ITEM), strict=True):
        named = reasons.items[person, place]
        named, parts = named[named != NO_ITEM], by_item[person, place]
        largest = np.sort(parts)[::-1][: len(named)]
        np.testing.assert_allclose(parts[named], largest, rtol=1e-3, atol=1e-3)
        whole = parts.sum() + rest[person, place]
        np.testing.assert_allclose(reasons.shares[person, place, : len(named)] * whole, largest, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NO_SUM])
def test_a_blend_of_one_model_has_the_reasons_of_that_model(kind, models, told):
    for domain in told.domains:
        people, _, lists = ranked(models[kind], told, 1, domain)
        ours = blend_of(models, (kind,)).explain(people, lists.items)
        theirs = models[kind].explain(people, lists.items)
        assert (theirs.items != NO_ITEM).any() or (kind, domain) == ("ease", "film")
        np.testing.assert_allclose(ours.shares, theirs.shares, rtol=1e-2, atol=1e-3)
        np.testing.assert_array_equal(ours.features, theirs.features)


def test_a_member_that_names_no_past_item_has_its_part_of_the_whole(models, told):
    """The more popularity adds, the less is left to past items."""
    people, _, lists = ranked(models["als"], told, 2, "film")
    shares = [
        blend_of(models, ("als", "popularity"), weights).explain(people, lists.items).shares.sum(axis=2)
        for weights in ((1.0, 0.0), (0.8, 0.2))
    ]
    alone, beside = blend_of(models, ("popularity",)), people.domain_range("film")
    above = np.take_along_axis(alone.scores(people, beside), np.maximum(lists.items - beside.start, 0), axis=1) > 0.1
    both = (shares[0] > 0) & (shares[1] > 0) & above & (lists.items != NO_ITEM)
    assert both.any()
    assert (shares[1] < shares[0])[both].all()


@pytest.mark.parametrize("kind", sorted(NO_SUM))
def test_where_more_comes_of_popularity_than_of_all_past_items_no_past_item_is_named(kind, models, told):
    model = blend_of(models, (kind, "als", "ease"), (0.6, 0.2, 0.2))
    people, columns, lists = ranked(model, told, 3, "film", k=12)
    reasons = model.explain(people, lists.items)
    members = [blend_of(models, (name,)) for name in (kind, "als", "ease")]
    place = np.maximum(lists.items - columns.start, 0)
    scores = [np.take_along_axis(member.scores(people, columns), place, axis=1) for member in members]
    popular, *others = (
        weight * np.where(np.isfinite(one), one, 0) for weight, one in zip((0.6, 0.2, 0.2), scores, strict=True)
    )
    filled = (lists.items != NO_ITEM) & np.isfinite(scores[1]) & np.isfinite(scores[2])
    leads = popular > np.sum(others, axis=0)
    assert leads[filled].any()
    assert not leads[filled].all()
    assert (reasons.speaker[filled] == 0).tolist() == leads[filled].tolist()
    assert (reasons.items[leads & filled] == NO_ITEM).all()
    assert (reasons.items[~leads & filled][:, 0] != NO_ITEM).mean() > 0.9


def test_who_speaks_among_the_models_of_history_is_the_loudest(models, told):
    people, _, lists = ranked(models["als"], told, 4, "film")
    reasons = blend_of(models, ("als", "content"), (0.01, 0.99)).explain(people, lists.items)
    has_features = (reasons.features[:, :, 0] != NO_ITEM) & (lists.items != NO_ITEM)
    assert has_features.any()
    assert (reasons.speaker[has_features] == 1).all()
    quiet = blend_of(models, ("als", "content"), (0.99, 0.01)).explain(people, lists.items)
    assert (quiet.features[quiet.speaker == 0] == NO_ITEM).all()
    assert (quiet.speaker == 0).mean() > 0.9


def test_a_member_without_weight_neither_speaks_nor_adds(models, told):
    people, _, lists = ranked(models["als"], told, 5, "film")
    reasons = blend_of(models, ("content", "als"), (0.0, 1.0)).explain(people, lists.items)
    alone = blend_of(models, ("als",)).explain(people, lists.items)
    np.testing.assert_array_equal(reasons.items, alone.items)
    np.testing.assert_array_equal(reasons.shares, alone.shares)
    assert (reasons.features == NO_ITEM).all()


def test_of_reciprocal_ranks_the_shares_are_those_of_the_loudest_members_own_score(models, told):
    people, _, lists = ranked(models["als"], told, 6, "film")
    model = blend_of(models, ("als", "item_neighbours"), (0.9, 0.1), "reciprocal_rank")
    assert not list(model.contributions(people, lists.items))
    reasons, own = model.explain(people, lists.items), models["als"].explain(people, lists.items)
    speaks = (reasons.speaker == 0) & (lists.items != NO_ITEM)
    assert speaks.any()
    np.testing.assert_array_equal(reasons.shares[speaks], own.shares[speaks])


def test_a_blend_within_a_blend_passes_its_sums_on(models, told):
    inner = blend_of(models, ("als", "popularity"), (0.7, 0.3))
    config = BlendConfig((inner.config, CONFIGS["ease"]), (0.5, 0.5))
    model = BlendModel(config, inner.item_keys, (inner, models["ease"]))
    people, columns, lists = ranked(model, told, 7, "film")
    by_item, rest, constant = taken_apart(model, people, lists.items, columns)
    filled = lists.items != NO_ITEM
    np.testing.assert_allclose(dense(model, people, lists.items)[filled], by_item[filled], rtol=1e-3, atol=1e-3)
    total = (by_item.sum(axis=2) + rest - constant)[filled]
    np.testing.assert_allclose(total, lists.scores[filled], rtol=1e-3, atol=2e-3)


def test_the_reasons_of_a_person_do_not_depend_on_who_else_is_asked(models, told):
    model = blend_of(models, ("als", "ease", "content", "contemporary_popularity"))
    people, _, lists = ranked(model, told, 8, "film")
    together = model.explain(people, lists.items)
    for person in range(people.shape[0]):
        alone = model.explain(people.take([person]), lists.items[[person]])
        for field in dataclasses.fields(alone):
            np.testing.assert_allclose(
                getattr(alone, field.name)[0], getattr(together, field.name)[person], rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("calibration", ["score", "reciprocal_rank"])
def test_lists_know_what_their_reasons_need_in_whatever_order_the_items_come(models, told, calibration):
    """A second scoring finds the same; an item that was not listed has none but the second."""
    kinds = ("als", "item_neighbours", "content", "contemporary_popularity", "segment_popularity")
    model = blend_of(models, kinds, (0.3, 0.2, 0.2, 0.2, 0.1), calibration)
    people, columns, lists = ranked(model, told, 9, "film", k=9)
    random = np.random.default_rng(0)
    items = random.permuted(lists.items, axis=1)[:, :5]
    unlisted = np.where(items == items[0, 0], NO_ITEM, items)
    unlisted[0, 0] = next(item for item in columns if item not in lists.items[0])
    for asked in (lists.items, items, unlisted):
        for ours, theirs in zip(
            dataclasses.astuple(model.explain(people, asked, ranked=lists)),
            dataclasses.astuple(model.explain(people, asked)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_was_listed_is_not_scored_again_to_say_why(models, told, monkeypatch):
    model = blend_of(models, ("als", "popularity"))
    people, _, lists = ranked(model, told, 10, "film")
    monkeypatch.setattr("models_ml.blend.calibrated", lambda *_: pytest.fail("scored again"))
    assert (model.explain(people, lists.items, ranked=lists).items != NO_ITEM).any()
