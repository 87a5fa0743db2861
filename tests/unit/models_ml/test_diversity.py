import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.metrics.pairwise import cosine_similarity

from models_ml.diversity import _likeness, diversify

# Two works that are the same, one that shares nothing with them, and one in between.
A, B, C, D = range(4)
FEATURES = csr_matrix(np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32))
POOL = np.array([[A, B, C, D]], dtype=np.int32)
RELEVANCE = np.array([[1, 0.9, 0.8, 0.75]], dtype=np.float32)


def chosen(trade_off, k=4, **options):
    return diversify(POOL, RELEVANCE, FEATURES, k, np.array([trade_off], dtype=np.float32), **options)[0].tolist()


def test_the_choice_by_hand():
    """With one half: A .5; then B .45 - .5, C .4 - 0, D .375 - .3; then B .45 - .5, D .375 - .4."""
    assert chosen(0.5) == [0, 2, 3, 1]


def test_without_diversity_the_order_stays():
    assert chosen(1.0) == [0, 1, 2, 3]


def test_with_diversity_alone_each_is_the_one_least_like_those_above():
    assert chosen(0.0) == [0, 2, 3, 1]


def test_what_is_fixed_is_chosen_first_and_counts():
    """D first, as it is fixed in front; then A 1 - .6, B .9 - .6, C .8 - .8, all halved."""
    pool = np.array([[D, A, B, C]], dtype=np.int32)
    relevance = np.array([[0, 1, 0.9, 0.8]], dtype=np.float32)
    found = diversify(pool, relevance, FEATURES, 3, np.array([0.5]), fixed=np.array([1]))
    assert found.tolist() == [[0, 1, 3]]


def test_a_pool_that_runs_out_is_padded():
    pool = np.array([[A, -1, C, -1]], dtype=np.int32)
    assert diversify(pool, RELEVANCE, FEATURES, 6, np.array([0.5])).tolist() == [[0, 2, -1, -1, -1, -1]]
    assert diversify(pool[:, :0], RELEVANCE[:, :0], FEATURES, 2, np.array([0.5])).tolist() == [[-1, -1]]


@pytest.mark.parametrize(("k", "trade_off"), [(0, 0.5), (1, -0.1), (1, 1.1), (1, float("nan"))])
def test_what_makes_no_sense_is_refused(k, trade_off):
    with pytest.raises(ValueError, match="must"):
        chosen(trade_off, k)


def test_likeness_is_the_cosine_within_each_pool_and_nothing_between_pools():
    random = np.random.default_rng(0)
    features = random.random((30, 12)) * (random.random((30, 12)) < 0.3)
    features[5] = 0
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    pools = np.array([random.permutation(30)[:8] for _ in range(5)], dtype=np.int32)
    pools[2, 6:] = -1
    found = _likeness(csr_matrix(features.astype(np.float32)), pools)
    for pool, likeness in zip(pools, found, strict=True):
        there = pool >= 0
        expected = cosine_similarity(features[pool[there]])
        np.testing.assert_allclose(likeness[np.ix_(there, there)], expected, atol=1e-6)


def greedy(pool, relevance, topics, k, t):
    """The definition, one person at a time; exact, because topics are alike or not and all numbers are sums of halves."""
    left, order = [place for place in range(len(pool)) if pool[place] >= 0], []
    while left and len(order) < k:
        best = max(
            left,
            key=lambda place: (
                t * relevance[place]
                - (1 - t) * max((topics[pool[place]] == topics[pool[other]] for other in order), default=0),
                -place,
            ),
        )
        left.remove(best)
        order.append(best)
    return order + [-1] * (k - len(order))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blocks_of_people_get_what_the_definition_gives_each(data):
    items, people, width = 12, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 8))
    topics = np.array(data.draw(st.lists(st.integers(0, 3), min_size=items, max_size=items)))
    features = csr_matrix(np.eye(4, dtype=np.float32)[topics])
    pools = np.array([data.draw(st.permutations(range(items)))[:width] for _ in range(people)], dtype=np.int32)
    empty = np.array(data.draw(st.lists(st.booleans(), min_size=width, max_size=width)))
    pools[:, empty] = -1
    relevance = np.array([[data.draw(st.integers(-8, 8)) / 8 for _ in range(width)] for _ in range(people)])
    trade_off = np.array([data.draw(st.sampled_from([0, 0.25, 0.5, 0.75, 1])) for _ in range(people)])
    k = data.draw(st.integers(1, 10))
    found = diversify(pools, relevance.astype(np.float32), features, k, trade_off.astype(np.float32), block_bytes=1)
    for person in range(people):
        expected = greedy(pools[person], relevance[person], topics, k, trade_off[person])
        assert found[person].tolist() == expected
