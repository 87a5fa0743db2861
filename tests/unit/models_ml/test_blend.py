import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from models_ml.blend import BlendConfig, BlendModel, blend_weights, calibrated, consumed_places, fit_blend
from models_ml.ease import EASEConfig
from models_ml.interactions import Interactions
from models_ml.metrics import hit_matrix, ndcg
from models_ml.model import ModelConfig, top_k_by_model
from models_ml.neighbours import ItemNeighboursConfig, UserNeighboursConfig
from models_ml.popularity import PopularityConfig
from models_ml.reasons import Reasons
from models_ml.registry import config_from_json, fit_model, model_from_arrays

MEMBERS = (EASEConfig(regularization=3.0), ItemNeighboursConfig(neighbours=20), PopularityConfig())


@dataclasses.dataclass(frozen=True)
class FixedConfig(ModelConfig):
    kind = "fixed"


@dataclasses.dataclass(frozen=True, eq=False)
class Fixed:
    """A member whose scores are given."""

    values: np.ndarray
    config: FixedConfig = FixedConfig()

    def scores(self, people: Interactions, columns: range):
        rows = [int(key[1:]) for key in people.user_keys.to_pylist()]
        return self.values[rows][:, columns.start : columns.stop].astype(np.float32)

    def top_k(self, people, columns, k):
        return top_k_by_model(self, people, columns, k)

    def explain(self, people, items, most=3):
        return Reasons.nothing(*items.shape, most)


def world(people: int, items: int, consumed=()) -> Interactions:
    """People and items without history but for what is consumed."""
    rows = sorted(consumed)
    return Interactions(
        user_keys=pa.array([f"u{person}" for person in range(people)]),
        item_keys=pa.array([f"film:{item:03}" for item in range(items)]),
        domains=("film",),
        domain_offsets=np.array([0, items]),
        indptr=np.searchsorted([person for person, _ in rows], np.arange(people + 1)).astype(np.int64),
        indices=np.array([item for _, item in rows], dtype=np.int32),
        weight=np.ones(len(rows), dtype=np.float32),
        strength=np.ones(len(rows), dtype=np.float32),
        is_consumed=np.ones(len(rows), dtype=np.bool_),
        last_at=np.zeros(len(rows), dtype=np.int64),
    )


def blend(members, weights, calibration="score") -> BlendModel:
    config = BlendConfig(tuple(member.config for member in members), weights, calibration)
    return BlendModel(config, world(1, members[0].values.shape[1]).item_keys, tuple(members))


def test_scores_are_standardised_over_what_may_be_recommended():
    # Item 0 is consumed: the others have mean 2 and variance 2 / 3.
    scores = np.array([[9.0, 1.0, 2.0, 3.0, -np.inf]], dtype=np.float32)
    values, has_say, *_ = calibrated(scores, consumed_places(world(1, 5, {(0, 0)}), range(5)), "score")
    spread = math.sqrt(2 / 3)
    np.testing.assert_allclose(values, [[7 / spread, -1 / spread, 0, 1 / spread, -1 / spread]], rtol=1e-5, atol=1e-6)
    assert has_say.tolist() == [True]


def test_reciprocal_ranks_skip_what_is_consumed_and_break_ties_by_item():
    scores = np.array([[9.0, 1.0, 3.0, 3.0, -np.inf]], dtype=np.float32)
    values, *_ = calibrated(scores, consumed_places(world(1, 5, {(0, 0)}), range(5)), "reciprocal_rank")
    np.testing.assert_allclose(values, [[0, 1 / 63, 1 / 61, 1 / 62, 0]], rtol=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("mean", [0.0, 50.0])
def test_scores_are_standardised_alike_whether_few_or_many_are_known(share, mean):
    """Person by person with NumPy in double precision; the last knows nothing, the one before scores all alike."""
    random = np.random.default_rng(3)
    scores = random.normal(mean, 1, (30, 400)).astype(np.float32)
    scores[28] = mean
    scores[random.random(scores.shape) > share] = -np.inf
    scores[29] = -np.inf
    hidden = random.random(scores.shape) < 0.05
    values, has_say, *_ = calibrated(scores, tuple(np.nonzero(hidden)), "score")
    for person, known in enumerate(np.isfinite(scores)):
        own = scores[person][known & ~hidden[person]].astype(float)
        assert has_say[person] == bool(own.size)
        spread = own.std() if own.size and own.std() > 0 else np.inf
        expected = np.zeros(400)
        if own.size:
            expected[known] = (scores[person][known] - own.mean()) / spread
            expected[~known] = expected[known & ~hidden[person]].min()
        np.testing.assert_allclose(values[person], expected, atol=1e-4 * (1 + mean))


def test_reciprocal_ranks_are_those_of_a_stable_sort():
    scores = np.random.default_rng(4).integers(-3, 4, (9, 50)).astype(np.float32) / 3
    scores[scores == 0] *= -1
    scores[:, ::7] = -np.inf
    values, *_ = calibrated(scores, consumed_places(world(9, 50), range(50)), "reciprocal_rank")
    for person in range(9):
        order = np.argsort(-scores[person], kind="stable")[: np.isfinite(scores[person]).sum()]
        np.testing.assert_allclose(values[person, order], 1 / (61 + np.arange(len(order))), rtol=1e-6)
    assert not values[:, ::7].any()


def test_the_scale_of_a_member_does_not_matter():
    random = np.random.default_rng(0)
    first, second = random.random((6, 12)), random.random((6, 12))
    people = world(6, 12)
    plain = blend([Fixed(first), Fixed(second)], (0.4, 0.6)).scores(people, range(12))
    scaled = blend([Fixed(1000 * first - 7), Fixed(second / 50 + 3)], (0.4, 0.6)).scores(people, range(12))
    np.testing.assert_allclose(plain, scaled, atol=1e-3)
    standard = [(one - one.mean(axis=1, keepdims=True)) / one.std(axis=1, keepdims=True) for one in (first, second)]
    np.testing.assert_allclose(plain, 0.4 * standard[0] + 0.6 * standard[1], atol=1e-4)


def test_a_member_that_knows_nothing_of_a_person_leaves_them_to_the_others():
    known = np.arange(8.0).reshape(2, 4)
    silent = np.array([[-np.inf] * 4, [3.0, 2.0, 1.0, 0.0]])
    for calibration in ("score", "reciprocal_rank"):
        alone = blend([Fixed(known)], (1.0,), calibration).scores(world(2, 4), range(4))
        both = blend([Fixed(known), Fixed(silent)], (0.3, 0.7), calibration).scores(world(2, 4), range(4))
        np.testing.assert_allclose(both[0], alone[0], rtol=1e-6)
        assert both[1].argmax() == 0
    nobody = blend([Fixed(silent), Fixed(silent)], (1.0, 1.0))
    assert nobody.top_k(world(2, 4), range(4), 2).lengths.tolist() == [0, 2]


def test_an_item_that_only_one_member_knows_ranks_below_for_the_other():
    first = np.array([[1.0, 2.0, 3.0, 4.0]])
    second = np.array([[-np.inf, 0.0, 1.0, 2.0]])
    found = blend([Fixed(first), Fixed(second)], (0.5, 0.5)).scores(world(1, 4), range(4))
    assert np.argsort(-found[0]).tolist() == [3, 2, 1, 0]
    unknown = blend([Fixed(second), Fixed(second)], (0.5, 0.5)).scores(world(1, 4), range(4))
    assert np.isneginf(unknown[0]).tolist() == [True, False, False, False]


def test_weights_are_those_with_the_best_ndcg():
    # What people like follows the sum of two signals; a third is noise.
    random = np.random.default_rng(5)
    signals = random.standard_normal((3, 150, 60))
    taste = signals[0] + signals[1]
    liked = csr_matrix(taste >= -np.sort(-taste, axis=1)[:, 4:5])
    members = [Fixed(signal) for signal in signals]
    people = world(150, 60)
    weights = blend_weights(members, people, range(60), liked)
    assert sum(weights) == pytest.approx(1)
    assert weights[2] <= 0.1
    assert abs(weights[0] - weights[1]) <= 0.3

    def quality(tried) -> float:
        lists = blend(members, tried).top_k(people, range(60), 10)
        return float(ndcg(hit_matrix(lists.items, liked), np.diff(liked.indptr), 10).mean())

    reached = quality(weights)
    steps = [step / 10 for step in range(11)]
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-9]
    assert reached >= max(quality(tuple(max(0.0, part) for part in tried)) for tried in grid) - 0.01
    assert blend_weights(members, people, range(60), liked) == weights


def test_weights_are_found_without_what_was_consumed():
    # The last member ranks first what has been consumed, and then what is liked; the first is wrong about the rest.
    wrong, right = np.zeros((4, 10)), np.zeros((4, 10))
    wrong[:, 1], wrong[:, 2], right[:, 0], right[:, 2] = 5, 4, 9, 5
    people = world(4, 10, {(person, 0) for person in range(4)})
    liked = csr_matrix((np.ones(4, dtype=bool), [2] * 4, np.arange(5)), shape=(4, 10))
    weights = blend_weights([Fixed(wrong), Fixed(right)], people, range(10), liked, k=1)
    assert weights[1] > 0.5


def test_a_member_that_says_nothing_earns_no_weight():
    # What is liked comes first by index: silence must not count as a list in that order.
    wrong, silent = np.array([[1.0, 2.0, 0.0]]), np.full((1, 3), -np.inf)
    liked = csr_matrix(np.array([[True, False, False]]))
    assert blend_weights([Fixed(wrong), Fixed(silent)], world(1, 3), range(3), liked, k=1) == (1, 0)


def test_nobody_to_judge_by_gives_equal_weights():
    members = [Fixed(np.zeros((3, 4))), Fixed(np.ones((3, 4)))]
    assert blend_weights(members, world(3, 4), range(4), csr_matrix((3, 4), dtype=bool)) == (0.5, 0.5)


def test_a_configuration_goes_through_json_with_its_members():
    inner = BlendConfig(MEMBERS[:2], (0.5, 0.5), "reciprocal_rank")
    config = BlendConfig((inner, MEMBERS[2]), (0.8, 0.2), label="blend_warm", segment="warm")
    again = config_from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.fingerprint() == config.fingerprint()
    assert config.name == "blend_warm"
    swapped = BlendConfig(MEMBERS[:2], (0.4, 0.6))
    assert swapped.fingerprint() != BlendConfig(MEMBERS[:2], (0.5, 0.5)).fingerprint()


def test_a_stored_blend_gives_the_same_lists_and_keeps_the_item_keys_once(planted):
    config = BlendConfig((*MEMBERS, UserNeighboursConfig(neighbours=5)), (0.4, 0.3, 0.1, 0.2))
    model = fit_blend(planted, config, fit_model)
    arrays = model.to_arrays()
    assert [name for name in arrays if name.endswith("item_keys")] == ["item_keys"]
    again = model_from_arrays(arrays, config)
    for domain in planted.domains:
        columns = planted.domain_range(domain)
        ours, theirs = model.top_k(planted, columns, 5), again.top_k(planted, columns, 5)
        np.testing.assert_array_equal(ours.items, theirs.items)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
    reasons, others = model.explain(planted, ours.items), again.explain(planted, ours.items)
    assert (reasons.items[:, :, 0] >= 0).any()
    np.testing.assert_array_equal(reasons.items, others.items)
    assert again.describe() == model.describe()


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=20),
    weight=st.sampled_from([0.0, 1.0, 5.0]),
    calibration=st.sampled_from(["score", "reciprocal_rank"]),
)
def test_every_small_world_can_be_fitted_ranked_and_explained(make, pairs, weight, calibration):
    small = make([(f"u{person}", f"film:{item}", weight, 0) for person, item in sorted(pairs)])
    model = fit_blend(small, BlendConfig(MEMBERS, (0.5, 0.3, 0.2), calibration), fit_model)
    for domain in ("film", "knowledge"):
        columns = small.domain_range(domain)
        lists = model.top_k(small, columns, 3)
        assert np.isfinite(lists.scores[lists.items >= 0]).all()
        assert model.explain(small, lists.items).items.shape == (*lists.items.shape, 3)
        everything = small.csr(np.ones(small.entries, dtype=np.bool_))
        assert sum(blend_weights(model.members, small, columns, everything)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("members", "weights", "calibration"),
    [
        ((), (), "score"),
        (MEMBERS, (1.0,), "score"),
        (MEMBERS[:1], (0.0,), "score"),
        (MEMBERS[:1], (-1.0,), "score"),
        (MEMBERS[:1], (1.0,), "rank"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(members, weights, calibration):
    with pytest.raises(ValueError, match=r"weight|calibration"):
        BlendConfig(members, weights, calibration)


def test_weights_do_not_count_on_items_that_are_left_out():
    """The first member ranks ten items that nobody can like in front, and is perfect otherwise."""
    random = np.random.default_rng(7)
    taste = random.standard_normal((80, 40))
    liked = taste >= -np.sort(-taste[:, 10:], axis=1)[:, 3:4]
    liked[:, :10] = False
    first = taste.copy()
    first[:, :10] = 9.0
    members = [Fixed(first), Fixed(taste + random.standard_normal(taste.shape))]
    left_out = np.arange(40) < 10
    weights = {
        name: blend_weights(members, world(80, 40), range(40), csr_matrix(liked), excluded=mask)
        for name, mask in (("left out", left_out), ("in the way", None))
    }
    assert weights["left out"] == (1.0, 0.0)
    assert weights["in the way"][0] < 1.0


def test_the_calibrated_scores_of_a_person_do_not_depend_on_who_else_is_asked():
    random = np.random.default_rng(3)
    scores = random.normal(size=(40, 500)).astype(np.float32)
    # A fifth of what is known of a person decides how it is calculated; some here are known fully, some hardly.
    scores[random.random(scores.shape) < np.linspace(0, 0.99, 40)[:, None]] = -np.inf
    hidden = random.random(scores.shape) < 0.02
    together, has_say, *_ = calibrated(scores, tuple(np.nonzero(hidden)), "score")
    for person in range(40):
        alone, own, *_ = calibrated(scores[[person]], tuple(np.nonzero(hidden[[person]])), "score")
        np.testing.assert_array_equal(alone[0], together[person])
        assert own[0] == has_say[person]
