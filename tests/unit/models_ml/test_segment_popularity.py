import math

import numpy as np
import pyarrow as pa
import pytest

from models_ml.segment_popularity import SegmentPopularityConfig, SegmentPopularityModel, fit_segment_popularity
from models_ml.traits import Traits

# Three people in CN like a, one in US likes b and c; ben of no known country likes b.
ROWS = [
    ("ann", "film:a", 1.0, 0),
    ("ben", "film:b", 1.0, 0),
    ("cat", "film:a", 1.0, 0),
    ("dan", "film:a", 1.0, 0),
    ("eve", "film:b", 1.0, 0),
    ("eve", "film:c", 1.0, 0),
]
COUNTRIES = Traits(("country",), (("CN", "US"),), np.array([[0], [-1], [0], [0], [1]], np.int32))
CONFIG = SegmentPopularityConfig(traits=("country", "planet"), prior=2.0)


@pytest.fixture
def world(make):
    return make(ROWS).with_traits(COUNTRIES)


def test_the_score_is_the_log_of_a_shrunk_share(world):
    model = fit_segment_popularity(world, CONFIG)
    # One imaginary interaction is spread over the three films: p = (3 + 1/3) / 7, (2 + 1/3) / 7, (1 + 1/3) / 7.
    share = np.array([10 / 21, 7 / 21, 4 / 21])
    china = np.log((np.array([3, 0, 0]) + 2 * share) / (3 + 2))
    nobody = np.log(share)
    scores = model.scores(world, world.domain_range("film"))
    np.testing.assert_allclose(scores[0], china, rtol=1e-5)
    np.testing.assert_allclose(scores[1], nobody, rtol=1e-5)


def test_people_of_a_country_get_what_is_popular_there_first(world):
    model = fit_segment_popularity(world, CONFIG)
    strangers = world.take(np.array([-1, -1])).with_traits(
        Traits(("country",), (("CN", "US"),), np.array([[0], [1]], np.int32))
    )
    assert model.top_k(strangers, world.domain_range("film"), 1).items[:, 0].tolist() == [0, 1]


def test_the_reason_is_the_value_that_raises_the_item(world):
    model = fit_segment_popularity(world, CONFIG)
    reasons = model.explain(world, np.array([[0, 1], [0, 1], [0, 1], [0, 1], [1, -1]], np.int32))
    assert model.value_texts.tolist() == ["CN", "US"]
    assert reasons.trait.tolist() == [[0, -1], [-1, -1], [0, -1], [0, -1], [1, -1]]


def test_a_larger_prior_brings_a_segment_closer_to_everybody(world):
    lifts = [
        float(
            np.abs(fit_segment_popularity(world, SegmentPopularityConfig(traits=("country",), prior=m)).log_lift).max()
        )
        for m in (1.0, 10.0, 1000.0)
    ]
    assert lifts[0] > lifts[1] > lifts[2]
    assert lifts[2] < 0.01


def test_without_traits_everybody_gets_what_is_popular_with_everyone(make):
    world = make(ROWS)
    model = fit_segment_popularity(world, CONFIG)
    scores = model.scores(world, world.domain_range("film"))
    assert math.isclose(scores[0, 0], math.log(10 / 21), rel_tol=1e-5)
    assert (scores == scores[0]).all()


def test_of_many_values_those_with_most_people_are_kept(make):
    traits = Traits(("city",), (("x", "y", "z"),), np.array([[0], [1], [2], [1], [2]], np.int32))
    model = fit_segment_popularity(
        make(ROWS).with_traits(traits), SegmentPopularityConfig(traits=("city",), most_values=2)
    )
    assert model.value_texts.tolist() == ["y", "z"]


def test_a_model_comes_back_from_its_arrays(world):
    model = fit_segment_popularity(world, CONFIG)
    again = SegmentPopularityModel.from_arrays(model.to_arrays(), model.config)
    columns = world.domain_range("film")
    assert (again.scores(world, columns) == model.scores(world, columns)).all()
    assert again.describe() == model.describe()
    assert pa.array(again.describe()["values"]).to_pylist() == ["country: CN", "country: US"]
