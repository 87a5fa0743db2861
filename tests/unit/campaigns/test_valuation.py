import dataclasses

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from models_ml.campaigns import valuation
from models_ml.campaigns.qini import RANDOM, RESPONSE_ONLY
from models_ml.campaigns.valuation import (
    KINDS,
    LEARNERS,
    PRIOR,
    RECALIBRATED,
    RESPONSE,
    UPLIFT,
    ContactFeatures,
    ContactHistory,
    RatePriors,
    ValuationConfig,
    value_contacts,
)

SHARE = 0.7


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def contacts(rows, **columns):
    """Contacts that differ in nothing but what is given."""
    base = {
        "score_share": np.full(rows, 0.5),
        "kind": np.zeros(rows, int),
        "segment": np.zeros(rows, int),
        "person": np.arange(rows),
        "recent_contacts": np.zeros(rows, int),
        "activity": np.full(rows, 20.0),
        "value_per_conversion": np.full(rows, 10.0),
        "cost": np.full(rows, 0.1),
    }
    return ContactFeatures(**{**base, **columns})


def history_of(features, treated, converted, **columns):
    rows = len(treated)
    base = {
        "clicked": np.zeros(rows, bool),
        "propensity": np.full(rows, SHARE),
        "observed_days": np.full(rows, 30.0),
    }
    return ContactHistory(features, treated, converted=converted, **{**base, **columns})


def rates(click=0.04, conversion=0.01, segments=2):
    shape = (len(KINDS), segments + 1)
    return RatePriors(np.full(shape, click), np.full(shape, conversion), np.full(shape, 500.0))


def world(rows, seed, *, alike=False):
    """Contact moves the less active, and puts off the most active, who buy anyway; or it moves all alike.

    Returns:
        History, its uplift, and its probability of a conversion if contacted.
    """
    random = np.random.default_rng(seed)
    activity, score = random.gamma(1, 20, rows), random.random(rows)
    recent = random.poisson(0.5, rows)
    base = -3.5 + 0.6 * np.log1p(activity) + 0.8 * score
    push = np.full(rows, 0.7) if alike else 1.6 - 0.55 * np.log1p(activity) + 0.6 * score
    push = np.where(push > 0, push * 0.6**recent, push)
    treated = random.random(rows) < SHARE
    features = contacts(
        rows,
        score_share=score,
        kind=random.integers(0, 4, rows),
        segment=random.integers(-1, 2, rows),
        person=random.integers(0, rows // 2 + 1, rows),
        recent_contacts=recent,
        activity=activity,
    )
    converted = random.random(rows) < expit(base + push * treated)
    clicked = treated & (random.random(rows) < 0.2 * score)
    return (
        history_of(features, treated, converted, clicked=clicked),
        expit(base + push) - expit(base),
        expit(base + push),
    )


def test_without_contacts_the_measured_rate_is_shaped_by_the_score():
    features = contacts(300, score_share=np.linspace(0, 1, 300), segment=np.arange(300) % 2)
    measured = rates()
    measured.click[0, 1], measured.conversion[0, 1] = 0.2, 0.08
    found = value_contacts(features, None, measured)
    assert (found.source, found.click_source, found.reliability, found.qini) == (PRIOR, PRIOR, None, None)
    assert found.reason == "no contact has been followed yet"
    for segment, click, conversion in ((0, 0.04, 0.01), (1, 0.2, 0.08)):
        here = features.segment == segment
        assert found.p_click[here].mean() == pytest.approx(click)
        assert found.p_conversion[here].mean() == pytest.approx(conversion)
        assert (np.diff(found.p_conversion[here]) > 0).all()
    np.testing.assert_allclose(found.uplift, 0.4 * found.p_conversion)
    np.testing.assert_allclose(found.expected_value, 10 * found.uplift)


def test_a_cell_that_was_not_measured_takes_the_rate_of_its_kind_else_the_assumed_one():
    features = contacts(4, segment=np.array([0, 1, -1, 0]), kind=np.array([0, 0, 0, 1]))
    measured = rates()
    measured.conversion[0] = [0.5, 0.3, 0.02]
    measured.strength[0, 0] = 0
    measured.conversion[0, 1] = np.nan
    measured.conversion[1] = np.nan
    np.testing.assert_allclose(value_contacts(features, None, measured).p_conversion, [0.02, 0.02, 0.02, 0.005])
    np.testing.assert_allclose(value_contacts(features, None, RatePriors.unknown(2)).p_click, 0.03)


def test_recent_contacts_lower_value_before_fatigue_is_learnt():
    found = value_contacts(contacts(3, recent_contacts=np.array([0, 1, 2])), None, rates())
    np.testing.assert_allclose(found.uplift, 0.4 * 0.01 * np.array([1, 0.6, 0.36]))
    np.testing.assert_allclose(found.p_click, 0.04 * np.array([1, 0.6, 0.36]))
    # What would have happened without contact stays.
    np.testing.assert_allclose(found.p_conversion - found.uplift, 0.6 * 0.01)


def test_contacts_that_were_not_followed_long_enough_teach_nothing():
    past, _, _ = world(6000, 0)
    young = dataclasses.replace(past, observed_days=np.full(6000, 6.9))
    found = value_contacts(past.features, young, rates())
    without = value_contacts(past.features, None, rates())
    assert found.source == PRIOR
    np.testing.assert_array_equal(found.expected_value, without.expected_value)


def test_some_exposures_recalibrate_the_prior_and_keep_its_order():
    features = contacts(200, score_share=np.linspace(0, 1, 200))
    treated = np.arange(200) % 10 < 8
    # 15 conversions of 160, where 1.6 were expected; too few for a model.
    converted = treated & (np.arange(200) % 10 == 0)
    converted[::40] = False
    past = history_of(features, treated, converted)
    found = value_contacts(features, past, rates())
    assert found.source == RECALIBRATED
    assert "response model: 15 rows with an answer, 30 are needed" in found.reason
    assert "uplift model: 15 treated rows with an answer, 30 are needed" in found.reason
    assert found.p_conversion[treated].mean() == pytest.approx(15 / 160, rel=0.1)
    assert (np.diff(found.p_conversion) >= 0).all()
    assert found.reliability.rows.sum() == 160
    few = value_contacts(features, past, rates(), ValuationConfig(least_exposures=161))
    assert few.source == PRIOR
    assert few.reason.startswith("160 treated contacts followed for 7 days, 161 are needed")


def test_more_conversions_of_the_held_out_lower_what_a_contact_is_worth():
    features = contacts(400)
    treated = np.arange(400) % 2 == 0
    some = treated & (np.arange(400) % 20 == 0)

    def value(control):
        converted = some | (~treated & (np.arange(400) % 40 < control))
        return value_contacts(features, history_of(features, treated, converted), rates()).expected_value.sum()

    assert value(0) > value(2) > value(4) > value(20) == 0


def test_enough_answers_make_a_calibrated_model_of_answers():
    past, _, _ = world(20_000, 0, alike=True)
    others, _, truth = world(20_000, 1, alike=True)
    found = value_contacts(others.features, past, rates())
    assert (found.source, found.click_source) == (RESPONSE, RESPONSE)
    assert found.p_conversion.mean() == pytest.approx(truth.mean(), rel=0.05)
    assert spearmanr(found.p_conversion, truth).statistic > 0.9
    assert found.p_click.mean() == pytest.approx(others.clicked[others.treated].mean(), rel=0.1)
    assert found.reliability.expected_calibration_error < 2 * found.reliability.error_by_chance


def test_where_contact_moves_all_alike_response_is_not_replaced_by_a_worse_ranking():
    past, truth, _ = world(20_000, 0, alike=True)
    found = value_contacts(past.features, past, rates())
    assert found.source == RESPONSE
    assert found.qini.scores[found.learner].value < found.qini.scores[RESPONSE_ONLY].value
    assert found.reason.startswith("uplift model: Qini of interaction ")
    assert spearmanr(found.uplift, truth).statistic > 0.85


def test_uplift_is_learnt_and_ranks_better_than_the_prior():
    past, _, _ = world(20_000, 0)
    others, truth, _ = world(20_000, 1)
    found = value_contacts(others.features, past, rates())
    prior = value_contacts(others.features, None, rates())
    assert (found.source, found.reason) == (UPLIFT, None)
    assert found.qini.scores[found.learner].low > 0
    learnt, assumed = (spearmanr(one.uplift, truth).statistic for one in (found, prior))
    assert learnt > 0.9 > assumed
    assert found.uplift.mean() == pytest.approx(truth.mean(), abs=0.01)
    # Sleepers: contact puts the most active off, and money is lost.
    sleepers = truth < -0.05
    assert sleepers.sum() > 500
    assert found.uplift[sleepers].mean() < -0.02
    assert found.expected_value[sleepers].mean() < 0 < prior.expected_value[sleepers].mean()
    # The probability without contact, which is what is left, is one.
    without = found.p_conversion - found.uplift
    assert ((without >= 0) & (without <= 1)).all()


def test_fatigue_is_learnt_where_enough_weary_people_answered():
    past, _, _ = world(20_000, 0)
    rested, weary = (
        value_contacts(contacts(1, activity=np.full(1, 2.0), recent_contacts=np.full(1, recent)), past, rates())
        for recent in (0, 2)
    )
    assert rested.source == UPLIFT
    assert 0 < weary.uplift[0] < 0.8 * rested.uplift[0]


def test_a_model_that_has_not_seen_weary_people_takes_the_assumed_fatigue():
    past, _, _ = world(20_000, 0)
    never = dataclasses.replace(past.features, recent_contacts=np.zeros(20_000, int))
    found = value_contacts(
        contacts(4, activity=np.array([2.0, 2.0, 500.0, 500.0]), recent_contacts=np.array([0, 1, 0, 1])),
        dataclasses.replace(past, features=never),
        rates(),
    )
    assert found.source == UPLIFT
    assert found.uplift[1] == pytest.approx(0.6 * found.uplift[0])
    # Weariness is no remedy for being put off.
    assert found.uplift[3] <= found.uplift[2] < 0


def test_a_model_of_answers_that_has_not_seen_weary_people_takes_the_assumed_fatigue():
    past, _, _ = world(6000, 0, alike=True)
    never = dataclasses.replace(past.features, recent_contacts=np.zeros(6000, int))
    later = contacts(2, recent_contacts=np.array([0, 1]))
    found = value_contacts(later, dataclasses.replace(past, features=never), rates())
    assert (found.source, found.click_source) == (RESPONSE, RESPONSE)
    assert found.p_click[1] == pytest.approx(0.6 * found.p_click[0])
    assert found.uplift[1] == pytest.approx(0.6 * found.uplift[0])
    assert found.p_conversion[1] == pytest.approx(found.p_conversion[0] - 0.4 * found.uplift[0])


def test_contacts_whose_arm_was_not_drawn_say_nothing_about_uplift():
    past, _, _ = world(20_000, 0)
    sure = dataclasses.replace(past, propensity=np.where(np.arange(20_000) % 2 == 0, 1.0, np.nan))
    found = value_contacts(past.features, sure, rates())
    assert found.source == RESPONSE
    assert found.reason == "uplift model: 0 treated rows with an answer, 30 are needed"
    np.testing.assert_allclose(found.incremental_share, 0.4)


def test_the_same_history_gives_the_same_values_whatever_the_blocks(monkeypatch):
    past, _, _ = world(6000, 0)
    first = value_contacts(past.features, past, rates())
    monkeypatch.setattr(valuation, "_BLOCK_ROWS", 700)
    second = value_contacts(past.features, past, rates())
    np.testing.assert_allclose(first.expected_value, second.expected_value, rtol=1e-10)
    assert first.reason == second.reason


def test_a_long_history_is_cut_to_whole_people():
    past, _, _ = world(6000, 0)
    kept = valuation._learnt_from(past, ValuationConfig(most_history=2000))
    people, rows = np.unique(kept.features.person, return_counts=True)
    assert 1900 < rows.sum() <= 2000
    assert (rows == np.bincount(past.features.person)[people]).all()


def test_further_columns_are_learnt_from():
    random = np.random.default_rng(0)
    shown = random.normal(size=(10_000, 1))
    treated = random.random(10_000) < SHARE
    converted = random.random(10_000) < expit(-2 + treated * shown[:, 0])
    features = contacts(10_000, further=shown)
    found = value_contacts(features, history_of(features, treated, converted), rates())
    assert found.source == UPLIFT
    assert spearmanr(found.uplift, shown[:, 0]).statistic > 0.95


def learnt_from_the_best(uplift):
    """History of the best scores only, among which the answer falls with the score, and its values for all scores."""
    random = np.random.default_rng(0)
    score = random.uniform(0.8, 1, 8000)
    treated = random.random(8000) < SHARE
    base = -1.5 - 6 * (score - 0.8)
    push = uplift * (1 - (score - 0.9))
    converted = random.random(8000) < expit(base + push * treated)
    past = history_of(contacts(8000, score_share=score), treated, converted)
    everyone = contacts(101, score_share=np.linspace(0, 1, 101))
    return value_contacts(everyone, past, rates()), value_contacts(everyone, None, rates())


@pytest.mark.parametrize(("uplift", "source"), [(0.0, RESPONSE), (1.0, UPLIFT)])
def test_beyond_what_was_seen_values_go_on_as_the_prior_does(uplift, source):
    found, prior = learnt_from_the_best(uplift)
    assert found.source == source
    # Within, where it was learnt: the lower the score, the more answers.
    assert found.p_conversion[85] > found.p_conversion[95]
    below = slice(0, 80)

    def log_odds(probability):
        return np.log(probability / (1 - probability))

    np.testing.assert_allclose(
        np.diff(log_odds(found.p_conversion[below])), np.diff(log_odds(prior.p_conversion[below])), rtol=1e-9
    )
    assert (np.diff(found.p_conversion[below]) > 0).all()
    if source == UPLIFT:
        np.testing.assert_allclose(
            found.uplift[below] / found.uplift[79], prior.p_conversion[below] / prior.p_conversion[79], rtol=1e-9
        )


def test_a_recalibrated_prior_keeps_to_the_contacts_that_it_was_recalibrated_on():
    score = np.linspace(0.8, 1, 200)
    treated = np.ones(200, bool)
    # The answers are those of the lowest scores, so that the line falls flat.
    past = history_of(contacts(200, score_share=score), treated, np.arange(200) < 25, propensity=np.ones(200))
    everyone = contacts(101, score_share=np.linspace(0, 1, 101))
    found, prior = value_contacts(everyone, past, rates()), value_contacts(everyone, None, rates())
    assert found.source == RECALIBRATED
    odds, assumed = (np.log(one.p_conversion / (1 - one.p_conversion)) for one in (found, prior))
    np.testing.assert_allclose(np.diff(odds[:80]), np.diff(assumed[:80]), rtol=1e-9)
    assert odds[95] - odds[85] < 0.5 * (assumed[95] - assumed[85])


def test_no_contacts_have_no_values():
    past, _, _ = world(6000, 0)
    found = value_contacts(contacts(0), past, rates())
    assert found.expected_value.shape == found.p_click.shape == (0,)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"kind": np.array([0, 4])}, "kind of contacts must be from 0 to 3, got 0 to 4"),
        ({"segment": np.array([0, 2])}, "segment of contacts must be from -1 to 1, got 0 to 2"),
        ({"segment": np.array([0.0, 1.0])}, "segment of contacts must be integers, got float64"),
        ({"recent_contacts": np.array([-1, 0])}, "recent_contacts of contacts must be at least 0"),
        ({"score_share": np.array([0.5, 1.2])}, "score_share of contacts must be in"),
        ({"value_per_conversion": np.array([1.0, np.nan])}, "row 1 has nan"),
        ({"activity": np.zeros(3)}, r"activity of contacts has shape \(3,\)"),
    ],
)
def test_wrong_contacts_are_named(columns, said):
    with pytest.raises(ValueError, match=said):
        value_contacts(contacts(2, **columns), None, rates())


def test_wrong_history_and_rates_are_named():
    features, none = contacts(2), np.zeros(2, bool)
    past = history_of(features, none, none)
    for wrong, said in (
        ({"propensity": np.array([0.0, 1.0])}, "propensity of history must be above 0"),
        ({"observed_days": np.zeros(3)}, "observed_days of history has shape"),
        ({"treated": np.zeros(2)}, "treated must be one bool"),
        ({"features": contacts(2, further=np.zeros((2, 1)))}, "0 further columns, history has 1"),
    ):
        with pytest.raises(ValueError, match=said):
            value_contacts(features, dataclasses.replace(past, **wrong), rates())
    with pytest.raises(ValueError, match="rates of conversion must be at most 1"):
        value_contacts(features, None, rates(conversion=1.5))
    with pytest.raises(ValueError, match="4 kinds x"):
        value_contacts(features, None, RatePriors(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((3, 2))))
    with pytest.raises(ValueError, match="fatigue must be above 0"):
        ValuationConfig(fatigue=0)


def odd_world(rows, seed, *, effect=0.12):
    """Contact helps people of middling activity and puts off those of little and of much: no straight line tells who is which."""
    generator = np.random.default_rng(seed)
    activity = np.expm1(generator.uniform(0, 6, rows))
    features = contacts(rows, activity=activity, segment=generator.integers(0, 2, rows))
    middling = np.abs(np.log1p(activity) - 3) < 1.5
    uplift = effect * np.where(middling, 1.0, -0.5)
    treated = generator.random(rows) < SHARE
    converted = generator.random(rows) < 0.12 + uplift * treated
    return history_of(features, treated, converted), uplift


def test_a_learner_that_sees_more_than_straight_lines_is_chosen_where_there_is_more():
    past, _ = odd_world(20_000, 0)
    others, truth = odd_world(20_000, 1)
    found = value_contacts(others.features, past, rates())
    assert found.source == UPLIFT
    assert found.learner in ("t_learner", "x_learner")
    assert set(found.qini.scores) == {"interaction", "t_learner", "x_learner", RESPONSE_ONLY, RANDOM}
    assert found.qini.ahead(found.learner, "interaction")[1] > 0
    usual = value_contacts(
        others.features, past, rates(), ValuationConfig(learners={"interaction": LEARNERS["interaction"]})
    )
    assert usual.learner == "interaction"
    assert usual.source != UPLIFT
    assert spearmanr(found.uplift, truth).statistic > 0.7 > spearmanr(usual.uplift, truth).statistic
    assert found.uplift[truth < 0].mean() < 0 < usual.uplift[truth < 0].mean()


def test_the_usual_learner_is_kept_where_it_is_right():
    past, _, _ = world(20_000, 0)
    found = value_contacts(past.features, past, rates())
    assert (found.source, found.learner) == (UPLIFT, "interaction")


def test_where_contact_causes_nothing_no_learner_is_used():
    for seed in range(3):
        past, _ = odd_world(10_000, seed, effect=0.0)
        found = value_contacts(past.features, past, rates())
        assert (found.source, found.learner) == (RESPONSE, "interaction")


def test_without_learners_nothing_can_be_valued():
    with pytest.raises(ValueError, match="at least one"):
        ValuationConfig(learners={})
