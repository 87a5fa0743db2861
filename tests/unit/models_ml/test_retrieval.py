import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from implicit.cpu.topk import topk as implicit_topk
from scipy.sparse import csr_matrix

from models_ml.retrieval import TopK, top_k_by_factors, top_k_by_order, top_k_by_scores, top_k_of_block


def brute_force(scores: np.ndarray, allowed: np.ndarray, k: int) -> list[list[int]]:
    """Ranked items of each row by score, then by index, among the allowed."""
    lists = []
    for row, possible in zip(scores, allowed, strict=True):
        items = [int(item) for item in np.flatnonzero(possible)]
        lists.append(sorted(items, key=lambda item, row=row: (-row[item], item))[:k])
    return lists


def as_lists(found: TopK) -> list[list[int]]:
    return [[int(item) for item in row if item >= 0] for row in found.items]


# Small whole numbers make exact scores in single precision, and many ties.
shapes = st.tuples(st.integers(1, 9), st.integers(1, 70))


@st.composite
def worlds(draw):
    people, items = draw(shapes)
    users = draw(hnp.arrays(np.float32, (people, 2), elements=st.integers(-2, 2)))
    factors = draw(hnp.arrays(np.float32, (items, 2), elements=st.integers(-2, 2)))
    seen = draw(hnp.arrays(np.bool_, (people, items)))
    start = draw(st.integers(0, items))
    return users, factors, seen, range(start, draw(st.integers(start, items))), draw(st.integers(1, 12))


@settings(deadline=None, max_examples=150)
@given(world=worlds())
def test_lists_by_factors_are_those_of_brute_force(world):
    users, factors, seen, columns, k = world
    allowed = ~seen & factors.any(axis=1) & users.any(axis=1)[:, None]
    allowed[:, : columns.start] = False
    allowed[:, columns.stop :] = False
    found = top_k_by_factors(users, factors, csr_matrix(seen), k, columns=columns, block_bytes=256)
    assert as_lists(found) == brute_force(users @ factors.T, allowed, k)
    filled = found.items >= 0
    rows = np.nonzero(filled)[0]
    np.testing.assert_array_equal(found.scores[filled], (users @ factors.T)[rows, found.items[filled]])
    assert (found.scores[~filled] == -np.inf).all()


@settings(deadline=None, max_examples=150)
@given(world=worlds())
def test_lists_by_a_common_order_are_those_of_brute_force(world):
    _, factors, seen, columns, k = world
    scores = factors[:, 0]
    allowed = ~seen
    allowed[:, : columns.start] = False
    allowed[:, columns.stop :] = False
    found = top_k_by_order(scores, csr_matrix(seen), k, columns=columns)
    assert as_lists(found) == brute_force(np.tile(scores, (len(seen), 1)), allowed, k)


def test_large_random_lists_are_those_of_brute_force_whatever_the_blocks_and_threads():
    random = np.random.default_rng(5)
    users = random.normal(size=(300, 16)).astype(np.float32)
    factors = random.normal(size=(3000, 16)).astype(np.float32)
    seen = csr_matrix(random.random((300, 3000)) < 0.02)
    expected = np.where(seen.toarray(), -np.inf, users @ factors.T).argsort(axis=1)[:, ::-1][:, :50]
    for workers, block_bytes in ((1, 1 << 16), (2, 1 << 20), (3, 1 << 30)):
        found = top_k_by_factors(users, factors, seen, 50, workers=workers, block_bytes=block_bytes)
        np.testing.assert_array_equal(found.items, expected)


def test_an_item_already_seen_never_comes_back_when_a_list_runs_short():
    users, factors = np.ones((1, 1), np.float32), np.array([[3.0], [2.0], [1.0]], np.float32)
    seen = csr_matrix(np.array([[True, False, True]]))
    with_trap, _ = implicit_topk(factors, users, 3, filter_query_items=seen.astype(np.float32))
    assert set(with_trap[0]) == {0, 1, 2}, "the library has changed: the trap that this module avoids is gone"
    assert top_k_by_factors(users, factors, seen, 3).items.tolist() == [[1, -1, -1]]
    assert top_k_by_order(factors[:, 0], seen, 3).items.tolist() == [[1, -1, -1]]


def test_a_stored_zero_in_the_mask_hides_its_item_too():
    seen = csr_matrix((np.array([0.0]), np.array([0]), np.array([0, 1])), shape=(1, 2))
    factors = np.array([[3.0], [2.0]], np.float32)
    assert top_k_by_factors(np.ones((1, 1), np.float32), factors, seen, 2).items.tolist() == [[1, -1]]
    assert top_k_by_order(factors[:, 0], seen, 2).items.tolist() == [[1, -1]]


def test_a_person_without_a_factor_gets_no_list_instead_of_arbitrary_ties():
    users = np.array([[0.0], [1.0]], np.float32)
    found = top_k_by_factors(users, np.array([[1.0], [2.0]], np.float32), csr_matrix((2, 2)), 2)
    assert found.lengths.tolist() == [0, 2]


def test_an_item_without_a_factor_is_in_no_list():
    factors = np.array([[0.0], [-1.0]], np.float32)
    found = top_k_by_factors(np.ones((1, 1), np.float32), factors, csr_matrix((1, 2)), 2)
    assert found.items.tolist() == [[1, -1]]


def test_no_people_or_no_items_make_empty_lists():
    nobody = top_k_by_factors(np.zeros((0, 2), np.float32), np.ones((3, 2), np.float32), csr_matrix((0, 3)), 4)
    assert nobody.items.shape == (0, 4)
    nothing = top_k_by_order(np.zeros(0, np.float32), csr_matrix((2, 0)), 4)
    assert nothing.lengths.tolist() == [0, 0]


@pytest.mark.parametrize(
    "retrieve",
    [
        lambda mask, factors: top_k_by_order(factors[:, 0], mask, 0),
        lambda mask, factors: top_k_by_factors(factors[:1], factors, mask, 0),
        lambda mask, factors: top_k_by_scores(lambda start, stop: factors.T, (1, 2), np.arange(2), mask, 0),
    ],
    ids=["order", "factors", "scores"],
)
def test_a_list_must_have_a_length(retrieve):
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        retrieve(csr_matrix((1, 2)), np.ones((2, 1), np.float32))


def test_factors_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 factors for people and 3 for items"):
        top_k_by_factors(np.ones((1, 2), np.float32), np.ones((4, 3), np.float32), csr_matrix((1, 4)), 1)
    with pytest.raises(ValueError, match="finite"):
        top_k_by_factors(np.full((1, 2), np.nan, np.float32), np.ones((4, 2), np.float32), csr_matrix((1, 4)), 1)
    with pytest.raises(ValueError, match=r"expected people x items \(1, 4\)"):
        top_k_by_factors(np.ones((1, 2), np.float32), np.ones((4, 2), np.float32), csr_matrix((4, 1)), 1)
    with pytest.raises(ValueError, match="3 columns for 2 item scores"):
        top_k_by_order(np.zeros(2, np.float32), csr_matrix((1, 3)), 1)
    with pytest.raises(ValueError, match="item scores must be finite"):
        top_k_by_order(np.array([np.inf], np.float32), csr_matrix((1, 1)), 1)


def test_a_dense_block_is_ranked_without_what_is_minus_infinity():
    scores = np.array([[1, 3, -np.inf, 3, 2], [-np.inf] * 5], dtype=np.float32)
    lists = top_k_of_block(scores, 3)
    assert lists.items.tolist() == [[1, 3, 4], [-1, -1, -1]]
    assert lists.scores[0].tolist() == [3, 3, 2]
    assert top_k_of_block(scores[:, :0], 3).items.tolist() == [[-1] * 3] * 2
