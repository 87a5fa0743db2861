import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.stats import entropy
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

from models_ml.metrics import (
    average_precision,
    calibration,
    coverage,
    diversity,
    gini,
    hit_matrix,
    hit_rate,
    mean_popularity,
    ndcg,
    novelty,
    popularity_percentile,
    recall,
    reciprocal_rank,
)

# Two people, five places. The first likes items 1, 4 and 9 and is shown 4, 0, 1, 2, 3; the second likes item 7 and is shown
# 5, 6 and no more.
ITEMS = np.array([[4, 0, 1, 2, 3], [5, 6, -1, -1, -1]], dtype=np.int32)
LIKED = csr_matrix((np.ones(4, bool), [1, 4, 9, 7], [0, 3, 4]), shape=(2, 10))
RELEVANT = np.array([3, 1])
HITS = hit_matrix(ITEMS, LIKED)


def test_hits_are_the_places_of_what_is_liked():
    assert HITS.tolist() == [[True, False, True, False, False], [False] * 5]


def test_an_empty_place_is_no_hit_even_beside_the_last_item_of_the_row_before():
    liked = csr_matrix((np.ones(1, bool), [9], [0, 1, 1]), shape=(2, 10))
    assert not hit_matrix(np.array([[0], [-1]], dtype=np.int32), liked).any()


def test_recall_by_hand():
    assert recall(HITS, RELEVANT, 1).tolist() == [1, 0]
    assert recall(HITS, RELEVANT, 2).tolist() == [1 / 2, 0]
    assert recall(HITS, RELEVANT, 5).tolist() == [2 / 3, 0]


def test_ndcg_by_hand():
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(HITS, RELEVANT, 5).tolist() == pytest.approx([(1 + 1 / math.log2(4)) / ideal, 0])
    assert ndcg(HITS, RELEVANT, 2).tolist() == pytest.approx([1 / (1 + 1 / math.log2(3)), 0])


def test_average_precision_by_hand():
    assert average_precision(HITS, RELEVANT, 5).tolist() == pytest.approx([(1 / 1 + 2 / 3) / 3, 0])
    assert average_precision(HITS, RELEVANT, 2).tolist() == pytest.approx([1 / 2, 0])


def test_hit_rate_by_hand():
    assert hit_rate(HITS, 5).tolist() == [1, 0]
    assert hit_rate(HITS[:, 1:], 1).tolist() == [0, 0]


def test_a_perfect_list_scores_one_in_everything():
    items = np.array([[9, 1, 4, 0, 2]], dtype=np.int32)
    hits = hit_matrix(items, LIKED[:1])
    for measure in (recall, ndcg, average_precision):
        for k in (1, 2, 3, 5, 8):
            assert measure(hits, RELEVANT[:1], k).tolist() == pytest.approx([1])


def test_novelty_by_hand():
    # Of 7 people 3 know item 4 and 1 knows item 0; one is added everywhere.
    people = np.zeros(10, dtype=int)
    people[4], people[0] = 3, 1
    assert novelty(ITEMS, people, 7, 2).tolist() == pytest.approx([(1 + 2) / 2, 3])
    assert novelty(np.full((1, 2), -1, np.int32), people, 7, 2).tolist() == [0]


ALL_TEN = np.ones(10, dtype=bool)


def test_coverage_by_hand():
    # The items shown are 0 to 6, of ten; each is shown once, five of them to the first person.
    share, low, high = coverage(ITEMS, ALL_TEN, 5)
    assert share == pytest.approx(0.7)
    # Leaving out a person loses .5 or .2: standard error sqrt(1/2 * 2 * .15^2).
    assert (low, high) == pytest.approx((0.7 - 1.96 * 0.15, 0.7 + 1.96 * 0.15))
    assert coverage(ITEMS, ALL_TEN, 1)[0] == pytest.approx(0.2)


def test_coverage_and_exposure_count_within_the_catalogue():
    catalogue = np.arange(14) >= 10
    assert coverage(np.array([[12, 13]], np.int32), catalogue, 2)[0] == 0.5
    assert coverage(np.array([[12, 3]], np.int32), catalogue, 2)[0] == 0.25
    assert gini(np.array([[12, 3]], np.int32), catalogue, 2)[0] == pytest.approx(0.75)
    for measure in (coverage, gini):
        assert measure(np.zeros((0, 2), np.int32), catalogue, 2) == (0, 0, 0)
        assert measure(np.full((3, 2), -1, np.int32), catalogue, 2) == (0, 0, 0)
        assert measure(np.full((3, 2), -1, np.int32), np.zeros(0, bool), 2) == (0, 0, 0)


def test_gini_by_hand():
    # Four items shown 3, 1, 0 and 0 times: 2 (3 x 1 + 4 x 3) / (4 x 4) - 5/4.
    items = np.array([[0, 1], [0, -1], [0, -1]], dtype=np.int32)
    assert gini(items, np.ones(4, bool), 2)[0] == pytest.approx(2 * 15 / 16 - 5 / 4)
    even = np.array([[0, 1], [2, 3]], dtype=np.int32)
    assert gini(even, np.ones(4, bool), 2)[0] == pytest.approx(0)


@settings(max_examples=100, deadline=None)
@given(
    lists=st.lists(st.lists(st.integers(0, 7), min_size=0, max_size=4, unique=True), min_size=1, max_size=9),
    catalogue=st.lists(st.booleans(), min_size=8, max_size=8).filter(any),
)
def test_the_intervals_of_all_lists_together_are_those_of_leaving_each_out(lists, catalogue):
    items = np.array([[*row, *[-1] * (4 - len(row))] for row in lists], dtype=np.int32)
    mask = np.array(catalogue)

    def mean_difference(rows) -> float:
        shows = np.bincount(rows[rows >= 0], minlength=8)[mask]
        pairs = np.abs(shows[:, None] - shows[None, :]).sum()
        return pairs / (2 * len(shows) * shows.sum()) if shows.sum() else 0.0

    def shown_share(rows) -> float:
        return (np.bincount(rows[rows >= 0], minlength=8)[mask] > 0).mean()

    for measure, plain in ((gini, mean_difference), (coverage, shown_share)):
        left_out = np.array([plain(np.delete(items, row, axis=0)) for row in range(len(items))])
        error = np.sqrt((len(items) - 1) / len(items) * ((left_out - left_out.mean()) ** 2).sum())
        value, low, high = measure(items, mask, 4)
        assert value == pytest.approx(plain(items), abs=1e-12)
        assert low == pytest.approx(max(0, plain(items) - 1.96 * error), abs=1e-9)
        assert high == pytest.approx(min(1, plain(items) + 1.96 * error), abs=1e-9)


def test_reciprocal_rank_by_hand():
    assert reciprocal_rank(HITS, 5).tolist() == [1, 0]
    assert reciprocal_rank(HITS[:, 1:], 4).tolist() == [1 / 2, 0]
    assert reciprocal_rank(HITS[:, 1:], 1).tolist() == [0, 0]


def test_the_popularity_of_a_list_by_hand():
    # The catalogue is items 2 to 5, with 0, 7, 7 and 9 people: percentiles 1/8, 4/8, 4/8 and 7/8.
    percentile = popularity_percentile(np.array([99, 99, 0, 7, 7, 9]), range(2, 6))
    assert percentile.tolist() == [0, 0, 1 / 8, 1 / 2, 1 / 2, 7 / 8]
    items = np.array([[5, 3, 2], [4, -1, -1], [-1, -1, -1]], dtype=np.int32)
    assert mean_popularity(items, percentile, 2).tolist() == pytest.approx([(7 / 8 + 1 / 2) / 2, 1 / 2, 0])
    assert popularity_percentile(np.array([3]), range(1, 1)).tolist() == [0]


# Two directions at 60 degrees, one at a right angle to both, and an item of which nothing is known.
FEATURES = csr_matrix(np.array([[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))


def test_diversity_by_hand():
    items = np.array([[0, 1, 2], [0, 1, 3], [2, 3, -1], [-1, -1, -1]], dtype=np.int32)
    found = diversity(items, FEATURES, 3)
    # Cosines of the first list: 1/2, 0 and 0. The second has one pair with features, the others have none.
    assert found[:2].tolist() == pytest.approx([1 - 0.5 / 3, 0.5])
    assert np.isnan(found[2:]).all()
    assert diversity(items, FEATURES, 2)[0] == pytest.approx(0.5)


def test_diversity_is_one_less_the_mean_cosine_of_a_second_library():
    random = np.random.default_rng(0)
    features = csr_matrix(np.maximum(random.random((60, 9)) - 0.4, 0), dtype=np.float32)
    features = csr_matrix(normalize(features), dtype=np.float32)
    items = np.stack([random.permutation(60)[:10] for _ in range(7)]).astype(np.int32)
    for row, found in zip(items, diversity(items, features, 10), strict=True):
        cosines = cosine_similarity(features[row])
        described = np.diff(features[row].indptr) > 0
        pairs = cosines[np.ix_(described, described)][np.triu_indices(described.sum(), 1)]
        assert found == pytest.approx(1 - pairs.mean(), abs=1e-5)


TOPICS = csr_matrix(np.array([[2.0, 0], [0, 1.0], [1.0, 1.0], [0, 0]]))


def test_calibration_by_hand():
    # Likes topic 0 with weight 3 and topic 1 with weight 1: p = (3/4, 1/4). The list is all of topic 1: q' = (.0075, .9925).
    history = csr_matrix(np.array([[3.0, 1.0, 0, 5.0]]))
    found = calibration(np.array([[1, 3]], np.int32), history, TOPICS, 2)
    assert found[0] == pytest.approx(0.75 * math.log(0.75 / 0.0075) + 0.25 * math.log(0.25 / 0.9925))


def test_a_list_with_the_topics_of_the_history_is_calibrated_and_one_without_any_is_not():
    history = csr_matrix(np.array([[1.0, 1.0, 0, 0]] * 3 + [[0, 0, 0, 2.0], [0, 0, 0, 0]]))
    items = np.array([[2, -1], [0, 1], [3, -1], [0, 1], [0, 1]], dtype=np.int32)
    found = calibration(items, history, TOPICS, 2)
    assert found[:3].tolist() == pytest.approx([0, 0, math.log(100)], abs=1e-12)
    assert np.isnan(found[3:]).all(), "without topics in the history there is nothing to be true to"


def test_calibration_is_the_relative_entropy_of_a_second_library():
    random = np.random.default_rng(1)
    topics = csr_matrix(np.maximum(random.random((30, 6)) - 0.5, 0))
    history = csr_matrix(np.maximum(random.random((5, 30)) - 0.7, 0))
    items = np.stack([random.permutation(30)[:8] for _ in range(5)]).astype(np.int32)
    shares = np.nan_to_num(topics.toarray() / topics.toarray().sum(axis=1, keepdims=True))
    for row, found in enumerate(calibration(items, history, topics, 8, smoothing=0.1)):
        wanted = history.toarray()[row] @ shares
        given = shares[items[row]].sum(axis=0)
        wanted, given = wanted / wanted.sum(), given / given.sum()
        assert found == pytest.approx(entropy(wanted, 0.9 * given + 0.1 * wanted))


def test_measures_by_content_do_not_depend_on_the_memory_of_a_block(monkeypatch):
    random = np.random.default_rng(2)
    features = csr_matrix(normalize(random.random((20, 4))), dtype=np.float32)
    history = csr_matrix(random.random((9, 20)))
    items = np.stack([random.permutation(20)[:5] for _ in range(9)]).astype(np.int32)
    whole = diversity(items, features, 5), calibration(items, history, features, 5)
    monkeypatch.setattr("models_ml.metrics._BLOCK_BYTES", 2 * 8 * 4)
    blocks = diversity(items, features, 5), calibration(items, history, features, 5)
    np.testing.assert_array_equal(whole, blocks)


def test_without_anything_relevant_there_is_no_hit():
    assert not hit_matrix(ITEMS, csr_matrix((2, 10), dtype=bool)).any()


def test_lists_of_other_people_are_refused():
    with pytest.raises(ValueError, match="2 lists for 1 people"):
        hit_matrix(ITEMS, LIKED[:1])


@settings(max_examples=100, deadline=None)
@given(shown=st.permutations(range(12)), liked=st.sets(st.integers(0, 11), min_size=1), k=st.integers(1, 15))
def test_measures_are_those_of_a_plain_loop(shown, liked, k):
    items = np.array([shown], dtype=np.int32)
    relevant = csr_matrix((np.ones(len(liked), bool), sorted(liked), [0, len(liked)]), shape=(1, 12))
    hits, number = hit_matrix(items, relevant), np.array([len(liked)])
    gain = ideal = found = precision = first = 0.0
    for rank, item in enumerate(shown[:k], start=1):
        if item in liked:
            found += 1
            first = first or 1 / rank
            gain += 1 / math.log2(rank + 1)
            precision += found / rank
    for rank in range(1, min(k, len(liked)) + 1):
        ideal += 1 / math.log2(rank + 1)
    assert recall(hits, number, k)[0] == pytest.approx(found / min(k, len(liked)))
    assert ndcg(hits, number, k)[0] == pytest.approx(gain / ideal)
    assert average_precision(hits, number, k)[0] == pytest.approx(precision / min(k, len(liked)))
    assert hit_rate(hits, k)[0] == (found > 0)
    assert reciprocal_rank(hits, k)[0] == pytest.approx(first)
