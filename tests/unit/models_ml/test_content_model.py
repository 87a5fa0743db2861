import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_sparse
from sklearn.metrics.pairwise import cosine_similarity

from models_ml import Interactions, content_model
from models_ml.content import FEATURE_KINDS, ItemContent, normalised_rows
from models_ml.content_model import (
    ContentModel,
    ContentModelConfig,
    content_reasons,
    fit_content_model,
    strongest_columns,
)

Make = Callable[..., Interactions]
Rows = Sequence[tuple[str, str, float, int]]
ROWS: Rows = (
    ("ann", "film:1", 2.0, 0),
    ("ann", "film:2", 1.0, 1),
    ("bob", "film:3", 4.0, 2),
    ("bob", "knowledge:3", 1.0, 2),
    ("cat", "knowledge:1", 5.0, 3),
    ("dan", "film:4", 3.0, 3),
    ("eve", "knowledge:2", 0.0, 3),
)
TOPICS = {
    "film:1": ("space", "war"),
    "film:2": ("space",),
    "film:3": ("love",),
    "knowledge:1": ("space",),
    "knowledge:2": ("war", "love"),
    "knowledge:3": ("cooking",),
}
NAMES = ("cooking", "love", "space", "war")


def with_topics(interactions: Interactions, topics: dict[str, tuple[str, ...]] = TOPICS) -> Interactions:
    """Content in which every topic of an item weighs the same."""
    rows = [[float(name in topics.get(key, ())) for name in NAMES] for key in interactions.item_keys.to_pylist()]
    kinds = np.zeros(len(NAMES), dtype=np.int8)
    return interactions.with_content(
        ItemContent(normalised_rows(csr_matrix(np.reshape(rows, (-1, len(NAMES))))), NAMES, kinds)
    )


@pytest.fixture
def known(make: Make) -> Interactions:
    return with_topics(make(ROWS))


def item(interactions: Interactions, key: str) -> int:
    return interactions.item_keys.to_pylist().index(key)


def listed(model: ContentModel, people: Interactions, domain: str, k: int = 10) -> dict[str, list[str]]:
    lists = model.top_k(people, people.domain_range(domain), k).items
    keys = people.item_keys.to_pylist()
    return {
        person: [keys[place] for place in row if place >= 0]
        for person, row in zip(people.user_keys.to_pylist(), lists, strict=True)
    }


def test_the_score_is_the_cosine_between_what_a_person_likes_and_the_item(known: Interactions) -> None:
    model = fit_content_model(known, ContentModelConfig(weighting="strength"))
    features = known.content.features.toarray()
    profile = known.csr(known.strength).toarray() @ features

    scores = model.scores(known, range(known.shape[1]))

    expected = cosine_similarity(profile, features)
    np.testing.assert_allclose(np.where(np.isfinite(scores), scores, 0), expected, atol=1e-6)


def test_without_a_shared_feature_there_is_no_score(known: Interactions) -> None:
    scores = fit_content_model(known, ContentModelConfig()).scores(known, range(known.shape[1]))

    # dan likes a film that nothing is known about, eve consumed something and did not like it.
    assert np.isneginf(scores[3:]).all()
    assert np.isneginf(scores[:, item(known, "film:4")]).all()
    assert np.isneginf(scores[0, item(known, "film:3")])


def test_topics_lead_from_one_platform_to_the_other(known: Interactions) -> None:
    model = fit_content_model(known, ContentModelConfig())

    # ann: space 2 / sqrt 2 + 1, war 2 / sqrt 2; so knowledge:1 (space) before knowledge:2 (war and love).
    assert listed(model, known, "knowledge")["ann"] == ["knowledge:1", "knowledge:2"]
    assert listed(model, known, "film")["cat"] == ["film:2", "film:1"]


def test_a_profile_of_one_domain_ignores_the_other(known: Interactions) -> None:
    model = fit_content_model(known, ContentModelConfig(domain="film"))

    assert listed(model, known, "film")["cat"] == []
    assert listed(model, known, "knowledge")["bob"] == ["knowledge:2"]


def test_the_profile_is_the_share_of_interest_in_each_topic(make: Make) -> None:
    interactions = with_topics(
        make([("ann", "film:2", 3.0, 0), ("ann", "film:3", 1.0, 0), ("ann", "knowledge:3", 4.0, 0)])
    )
    profile = (
        fit_content_model(interactions, ContentModelConfig(weighting="strength")).profile(interactions).toarray()[0]
    )

    # features.user_interest for items of one topic each: 4, 1 and 3 of 8.
    np.testing.assert_allclose(profile / profile.sum(), [4 / 8, 1 / 8, 3 / 8, 0], rtol=1e-6)


@pytest.mark.parametrize(("weighting", "share"), [("weight", 1 / 5), ("strength", 1 / 2), ("binary", 1 / 2)])
def test_the_weighting_says_what_counts(make: Make, weighting: str, share: float) -> None:
    interactions = make([("ann", "film:2", 1.0, 0), ("ann", "film:3", 4.0, 0)])
    strength = np.array([7, 7], dtype=np.float32)
    interactions = with_topics(dataclasses.replace(interactions, strength=strength))
    profile = (
        fit_content_model(interactions, ContentModelConfig(weighting=weighting)).profile(interactions).toarray()[0]
    )

    np.testing.assert_allclose(profile[2] / profile.sum(), share, rtol=1e-6)


def test_lists_are_the_best_scores_without_what_is_consumed() -> None:
    interactions = random_world()
    model = fit_content_model(interactions, ContentModelConfig())
    columns = interactions.domain_range("knowledge")

    lists = model.top_k(interactions, columns, 7)

    scores = model.scores(interactions, columns)
    scores[interactions.consumed()[:, columns.start : columns.stop].toarray()] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    best = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(lists.items, np.where(np.isfinite(best), columns.start + order, -1))
    np.testing.assert_array_equal(lists.scores, best)
    assert (lists.items == -1).any()


def random_world(people: int = 40, items: int = 120) -> Interactions:
    """Unrelated people, items and features; a person without history, an item without features."""
    generator = np.random.default_rng(5)
    history = random_sparse(people, items, density=0.08, format="csr", random_state=generator, dtype=np.float32)
    history = history.multiply(np.arange(people)[:, None] != 3).tocsr()
    history.eliminate_zeros()
    history.sort_indices()
    features = random_sparse(items, 30, density=0.1, format="csr", random_state=generator, dtype=np.float32)
    content = ItemContent(normalised_rows(features), tuple(f"t{n}" for n in range(30)), np.zeros(30, dtype=np.int8))
    return Interactions(
        user_keys=pa.array([f"u{n:02}" for n in range(people)]),
        item_keys=pa.array([f"i{n:03}" for n in range(items)]),
        domains=("film", "knowledge"),
        domain_offsets=np.array([0, items // 2, items]),
        indptr=history.indptr.astype(np.int64),
        indices=history.indices,
        weight=history.data,
        strength=history.data,
        is_consumed=np.ones(history.nnz, dtype=np.bool_),
        last_at=np.zeros(history.nnz, dtype=np.int64),
        content=content,
    )


@pytest.mark.parametrize("pairs", [2_000_000, 300, 1])
def test_reasons_are_the_largest_parts_of_the_score_whatever_the_size_of_a_block(
    monkeypatch: pytest.MonkeyPatch, pairs: int
) -> None:
    monkeypatch.setattr(content_model, "_PAIRS", pairs)
    interactions = random_world()
    model = fit_content_model(interactions, ContentModelConfig())
    items = np.random.default_rng(1).integers(-1, interactions.shape[1], (interactions.shape[0], 9)).astype(np.int32)
    items[7] = -1

    reasons = model.explain(interactions, items, most=3)

    features = interactions.content.features.toarray().astype(np.float64)
    history = interactions.csr(interactions.weight).toarray().astype(np.float64)
    for person, place in np.ndindex(*items.shape):
        target = features[items[person, place]] * (items[person, place] >= 0)
        parts = history[person] * (features @ target)
        best = [column for column in np.argsort(-parts, kind="stable") if parts[column] > 0][:3]
        assert reasons.items[person, place].tolist() == [*best, -1, -1, -1][:3]
        np.testing.assert_allclose(
            reasons.shares[person, place], [*(parts[best] / (parts.sum() or 1)), 0, 0, 0][:3], rtol=1e-4
        )
        parts = (history[person] @ features) * target
        best = [column for column in np.argsort(-parts, kind="stable") if parts[column] > 0][:3]
        assert reasons.features[person, place].tolist() == [*best, -1, -1, -1][:3]
    assert (reasons.trait == -1).all()


def test_the_shares_of_all_past_items_add_up_to_the_score(known: Interactions) -> None:
    model = fit_content_model(known, ContentModelConfig())
    lists = model.top_k(known, known.domain_range("knowledge"), 3)

    reasons = model.explain(known, lists.items, most=known.shape[1])

    np.testing.assert_allclose(reasons.shares.sum(axis=2), lists.items >= 0, atol=1e-6)


def test_equal_reasons_are_named_in_the_order_of_their_index() -> None:
    content = ItemContent(
        csr_matrix(np.full((4, 2), np.sqrt(0.5), dtype=np.float32)), ("a", "b"), np.zeros(2, dtype=np.int8)
    )
    history = csr_matrix(np.array([[0, 1, 1, 1]], dtype=np.float32))

    reasons = content_reasons(content, history, np.array([[0]], dtype=np.int32), 2)

    assert reasons.items.tolist() == [[[1, 2]]]
    assert reasons.features.tolist() == [[[0, 1]]]
    np.testing.assert_allclose(reasons.shares, 1 / 3, rtol=1e-6)


def test_words_of_the_text_speak_only_where_no_topic_and_nobody_is_shared() -> None:
    """Features are a topic, a person and two words, of which the words are the strongest by far."""
    rows = np.array([[0.1, 0.2, 0.9, 0.3], [0.1, 0.2, 0.9, 0.3], [0.1, 0, 0.9, 0.3], [0, 0, 0.9, 0.3]])
    kinds = np.array([FEATURE_KINDS.index(kind) for kind in ("topic", "person", "term", "term")], dtype=np.int8)
    content = ItemContent(csr_matrix(rows.astype(np.float32)), ("war", "Ann Lee", "chapter", "interesting"), kinds)
    history = csr_matrix(np.array([[1, 0, 0, 0]], dtype=np.float32))

    reasons = content_reasons(content, history, np.array([[1, 2, 3]], dtype=np.int32), 2)

    assert reasons.features.tolist() == [[[1, 0], [0, -1], [2, 3]]]


def test_the_strongest_columns_are_positive_only() -> None:
    matrix = csr_matrix(np.array([[0, 3, -1, 3, 5], [0, 0, 0, 0, 0], [-2, 0, 0, 0, 1]], dtype=np.float32))

    columns, values = strongest_columns(matrix, 3)

    assert columns.tolist() == [[4, 1, 3], [-1, -1, -1], [4, -1, -1]]
    assert values.tolist() == [[5, 3, 3], [0, 0, 0], [1, 0, 0]]


def test_a_model_comes_back_from_its_arrays(known: Interactions) -> None:
    model = fit_content_model(known, ContentModelConfig(weighting="binary"))

    again = ContentModel.from_arrays(model.to_arrays(), model.config)

    columns = range(known.shape[1])
    np.testing.assert_array_equal(again.scores(known, columns), model.scores(known, columns))
    assert again.describe() == model.describe()


def test_it_refuses_another_catalogue(known: Interactions, make: Make) -> None:
    with pytest.raises(ValueError, match="item"):
        fit_content_model(known, ContentModelConfig()).scores(make(ROWS[:3]), range(1))


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(ValueError, match="weighting must be"):
        ContentModelConfig(weighting="loud")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "topics"),
    [
        ((), {}),
        (ROWS, None),
        (ROWS, {}),
        (ROWS, {key: value for key, value in TOPICS.items() if key.startswith("film")}),
        ((("ann", "film:1", 1.0, 0),), TOPICS),
        (tuple(("ann", key, 1.0, 0) for key in TOPICS), TOPICS),
        (tuple((f"u{n}", "film:1", 5.0, 0) for n in range(4)), TOPICS),
    ],
    ids=[
        "no entries",
        "no content",
        "no topics",
        "topics of one platform",
        "one pair",
        "all consumed",
        "one item for all",
    ],
)
def test_odd_worlds_end_in_short_lists(make: Make, rows: Rows, topics: dict[str, tuple[str, ...]] | None) -> None:
    interactions = make(rows) if topics is None else with_topics(make(rows), topics)
    model = fit_content_model(interactions, ContentModelConfig())
    for domain in interactions.domains:
        columns = interactions.domain_range(domain)
        lists = model.top_k(interactions, columns, 5)
        assert lists.items.shape == (interactions.shape[0], 5)
        people, _ = np.nonzero(lists.items >= 0)
        assert not interactions.consumed().toarray()[people, lists.items[lists.items >= 0]].any()
        assert model.scores(interactions, columns).shape == (interactions.shape[0], len(columns))
        reasons = model.explain(interactions, lists.items)
        np.testing.assert_array_equal(reasons.items[:, :, 0] >= 0, lists.items >= 0)
