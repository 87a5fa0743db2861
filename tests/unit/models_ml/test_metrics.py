import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from models_ml.metrics import average_precision, coverage, hit_matrix, hit_rate, ndcg, novelty, recall

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


def test_coverage_by_hand():
    # The items shown are 0 to 6, of ten; each is shown once, five of them to the first person.
    share, low, high = coverage(ITEMS, range(10), 5)
    assert share == pytest.approx(0.7)
    # Leaving out a person loses .5 or .2: standard error sqrt(1/2 * 2 * .15^2).
    assert (low, high) == pytest.approx((0.7 - 1.96 * 0.15, 0.7 + 1.96 * 0.15))
    assert coverage(ITEMS, range(10), 1)[0] == pytest.approx(0.2)


def test_coverage_counts_within_the_catalogue_of_the_target():
    assert coverage(np.array([[12, 13]], np.int32), range(10, 14), 2)[0] == 0.5
    assert coverage(np.zeros((0, 2), np.int32), range(4), 2) == (0, 0, 0)
    assert coverage(np.full((3, 2), -1, np.int32), range(0), 2) == (0, 0, 0)


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
    gain = ideal = found = precision = 0.0
    for rank, item in enumerate(shown[:k], start=1):
        if item in liked:
            found += 1
            gain += 1 / math.log2(rank + 1)
            precision += found / rank
    for rank in range(1, min(k, len(liked)) + 1):
        ideal += 1 / math.log2(rank + 1)
    assert recall(hits, number, k)[0] == pytest.approx(found / min(k, len(liked)))
    assert ndcg(hits, number, k)[0] == pytest.approx(gain / ideal)
    assert average_precision(hits, number, k)[0] == pytest.approx(precision / min(k, len(liked)))
    assert hit_rate(hits, k)[0] == (found > 0)
