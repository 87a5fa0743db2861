"""Clusters of people by taste: what was planted is found and called by its topics, and nothing hangs on chance or order."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.campaigns.tastes import NO_TASTE, TasteConfig, Tastes, cluster_tastes, topics_of_clusters

# Topics 2 t and 2 t + 1 belong to taste t; the last one is half of what everybody likes.
TASTES, EACH, FACTORS = 5, 60, 8
COMMON = 2 * TASTES
DEFAULT = TasteConfig()


class Planted:
    """People of five tastes: directions 2 t and 2 t + 1 of a random rotation, any length, a little noise."""

    def __init__(self, sizes: tuple[int, ...] = (EACH,) * TASTES, seed: int = 3) -> None:
        chance = np.random.default_rng(seed)
        self.taste = np.repeat(np.arange(len(sizes)), sizes)
        people = len(self.taste)
        centres = np.linalg.qr(chance.normal(size=(FACTORS, FACTORS)))[0][self.taste]
        length = chance.lognormal(0, 1.5, size=(people, 1))
        self.factors = (length * (centres + chance.normal(0, 0.1, (people, FACTORS)))).astype(np.float32)
        shares = np.zeros((people, COMMON + 1))
        shares[:, COMMON] = 0.5
        shares[np.arange(people), 2 * self.taste] = 0.3
        shares[np.arange(people), 2 * self.taste + 1] = 0.2
        self.shares = shares
        order = chance.permutation(people)
        self.taste, self.factors, self.shares = self.taste[order], self.factors[order], self.shares[order]
        self.keys = [f"u{number:04}" for number in range(people)]

    def found(self, config: TasteConfig = DEFAULT, order: NDArray[np.int64] | None = None) -> Tastes:
        there = np.arange(len(self.keys)) if order is None else order
        return cluster_tastes(
            [self.keys[n] for n in there], self.factors[there], csr_matrix(self.shares[there]), config
        )


def test_planted_tastes_are_found_and_called_by_what_only_they_like() -> None:
    planted = Planted()
    found = planted.found()
    assert found.clusters == TASTES
    assert max(found.silhouettes, key=found.silhouettes.__getitem__) == TASTES
    # Never by the topic that everybody likes as much, though it is the largest of each.
    assert sorted(found.topics) == [(2 * taste, 2 * taste + 1) for taste in range(TASTES)]
    assert [found.topics[taste][0] // 2 for taste in found.taste] == planted.taste.tolist()


def test_how_much_people_have_done_is_no_taste() -> None:
    planted = Planted()
    found = planted.found()
    planted.factors = planted.factors * np.random.default_rng(0).choice([0.25, 1, 64], (len(planted.keys), 1))
    assert planted.found().taste.tolist() == found.taste.tolist()


def test_the_largest_taste_comes_first() -> None:
    found = Planted((30, 70, 50, 40, 60)).found()
    assert found.topics == ((2, 3), (8, 9), (4, 5), (6, 7), (0, 1))
    assert np.bincount(found.taste).tolist() == [70, 60, 50, 40, 30]


def overlapping() -> Planted:
    """Tastes that run into one another, so that chance could decide."""
    planted = Planted()
    planted.factors = np.random.default_rng(5).normal(size=planted.factors.shape).astype(np.float32)
    return planted


def test_two_runs_give_the_same_members() -> None:
    planted = overlapping()
    first, second = planted.found(), planted.found()
    assert first.taste.tolist() == second.taste.tolist()
    assert (first.topics, first.silhouettes) == (second.topics, second.silhouettes)


@pytest.mark.parametrize("sample", [100, 4000])
def test_the_order_of_people_changes_nothing(sample: int) -> None:
    planted, config = overlapping(), TasteConfig(sample=sample)
    order = np.random.default_rng(1).permutation(len(planted.keys))
    found, turned = planted.found(config), planted.found(config, order)
    assert turned.taste.tolist() == found.taste[order].tolist()
    assert (turned.topics, turned.silhouettes) == (found.topics, found.silhouettes)


def test_the_people_outside_the_sample_are_clustered_with_it() -> None:
    planted = Planted()
    found = planted.found(TasteConfig(sample=100))
    assert [found.topics[taste][0] // 2 for taste in found.taste] == planted.taste.tolist()


def test_a_cluster_with_too_few_people_is_none() -> None:
    planted = Planted((100, 100, 100, 100, 9))
    config = TasteConfig(clusters=TASTES)
    found = planted.found(config)
    assert (found.clusters, len(found.topics)) == (TASTES, 4)
    assert np.array_equal(found.taste == NO_TASTE, planted.taste == 4)
    # 9 of 409 are more than 1 %, and enough where ten are not asked for; of 3 % they are not.
    assert len(planted.found(replace(config, min_people=9)).topics) == TASTES
    assert len(planted.found(replace(config, min_people=9, min_share=0.03)).topics) == 4


def test_who_has_no_factor_is_in_none() -> None:
    planted = Planted()
    planted.factors[::7] = 0
    found = planted.found()
    assert set(found.taste[::7]) == {NO_TASTE}
    assert NO_TASTE not in np.delete(found.taste, np.arange(0, len(planted.keys), 7))


def test_too_few_people_or_people_all_alike_have_no_tastes() -> None:
    assert Planted((8,) * TASTES).found().topics != ()
    assert Planted((8, 8, 8, 8, 7)).found().topics == ()
    planted = Planted()
    planted.factors = np.ones_like(planted.factors)
    found = planted.found()
    assert (found.topics, set(found.taste)) == ((), {NO_TASTE})


def test_what_does_not_fit_is_refused() -> None:
    planted = Planted()
    with pytest.raises(ValueError, match="one row of each"):
        cluster_tastes(planted.keys[1:], planted.factors, csr_matrix(planted.shares))
    for wrong in ({"clusters": 1}, {"fewest": 1}, {"fewest": 5, "most": 4}):
        with pytest.raises(ValueError, match="at least 2"):
            TasteConfig(**wrong)


def called(shares: list[list[float]], cluster: list[int], config: TasteConfig = DEFAULT) -> list[tuple[int, ...]]:
    return topics_of_clusters(np.array(cluster), csr_matrix(np.array(shares)), sorted(set(cluster)), config)


def test_a_cluster_is_called_by_at_most_three_topics_with_the_largest_lift() -> None:
    # Usual shares 0.24, 0.1, 0.1, 0.06, 0.5; of the first cluster topics 0 to 3 have lifts 1.25, 2, 2, 2.
    assert called([[0.3, 0.2, 0.2, 0.12, 0.18], [0.18, 0, 0, 0, 0.82]], [0, 1]) == [(1, 2, 3), (4,)]


def test_a_small_topic_names_a_cluster_only_where_no_larger_one_does() -> None:
    # All of topics 0 (0.02) and 1 (0.25) is of the first cluster: the lift is the same, but 0.02 is too little to come first.
    shares = [[0.02, 0.25, 0.25, 0.24, 0.24], [0, 0, 0, 0.5, 0.5]]
    assert called(shares, [0, 1])[0] == (1, 2)
    assert called(shares, [0, 1], TasteConfig(min_topic_share=0.01))[0] == (0, 1, 2)
    # With one large topic the small one is the second; what others like as much is not.
    assert called([[0.02, 0.25, 0, 0.37, 0.36], [0, 0, 0, 0.5, 0.5]], [0, 1])[0] == (0, 1)


def test_clusters_of_the_same_name_get_the_next_topic_until_they_differ() -> None:
    # Of the first two, topics 0 to 2 have lift 1.5; what one has besides, the third has more of.
    one = [0.3, 0.3, 0.3, 0.1, 0.0, 0.0]
    other = [0.3, 0.3, 0.3, 0.0, 0.1, 0.0]
    third = [0.0, 0.0, 0.0, 0.4, 0.4, 0.2]
    assert called([one, other, third], [0, 1, 2]) == [(0, 1, 2, 3), (0, 1, 2, 4), (3, 4, 5)]
    # Nothing is left to tell these two apart.
    assert called([one, one, third], [0, 1, 2]) == [(0, 1, 2, 3), (0, 1, 2, 3), (3, 4, 5)]


def test_clusters_that_no_topic_tells_apart_are_one_taste() -> None:
    planted = Planted()
    planted.shares[planted.taste == 1] = planted.shares[np.flatnonzero(planted.taste == 0)[0]]
    found = planted.found()
    assert (found.clusters, len(found.topics)) == (TASTES, TASTES - 1)
    together = found.taste[planted.taste <= 1]
    assert len(set(together)) == 1
    assert (found.taste == together[0]).sum() == 2 * EACH


def test_a_cluster_that_likes_nothing_with_a_topic_is_none() -> None:
    planted = Planted()
    planted.shares[planted.taste == 2] = 0
    found = planted.found()
    assert len(found.topics) == TASTES - 1
    assert np.array_equal(found.taste == NO_TASTE, planted.taste == 2)
