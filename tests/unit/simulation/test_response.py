"""The world that answers does what docs/simulation.md says."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.stats import binom, kstest

from simulation.response import Exposures, World, grow
from simulation.tempers import LOST_CAUSE, PERSUADABLE, SLEEPER, SURE_THING, TEMPERS, ResponseConfig

CONFIG = ResponseConfig(people=8_000, campaigns=4, items=12, consent_share=1.0, consent_withdrawn=0.0)


@pytest.fixture(scope="module")
def grown() -> World:
    return grow(CONFIG, 7)


@pytest.fixture
def world(grown: World) -> World:
    return grown.again()


def everyone(world: World, treated: bool | np.ndarray = True, campaign: int = 0) -> Exposures:
    people = world.config.people
    return Exposures(
        person=np.arange(people),
        campaign=np.full(people, campaign),
        item=np.full(people, world.items_of(campaign)[0]),
        treated=np.broadcast_to(np.asarray(treated), people).copy(),
    )


def part(exposures: Exposures, rows: np.ndarray) -> Exposures:
    return Exposures(*(getattr(exposures, field.name)[rows] for field in dataclasses.fields(exposures)))


def who(responses: pa.Table, kind: str) -> np.ndarray:
    return responses.filter(pc.equal(responses["type"], kind))["person"].to_numpy()


def assert_drawn_with(hits: int, chances: np.ndarray) -> None:
    """Hits of independent draws lie within 4.5 standard deviations of the sum of their chances."""
    assert abs(hits - chances.sum()) < 4.5 * np.sqrt((chances * (1 - chances)).sum()) + 1


@pytest.mark.parametrize("temper", range(len(TEMPERS)))
@pytest.mark.parametrize("treated", [True, False])
def test_conversions_come_with_the_stated_probability_of_each_temper(world: World, temper: int, treated: bool) -> None:
    exposures = everyone(world, treated)
    chances = world.chances(exposures, 0)
    of_temper = world.tempers() == temper

    converted = np.isin(np.arange(CONFIG.people), who(world.answer(exposures, 0), "conversion"))

    assert_drawn_with(int(converted[of_temper].sum()), (chances.contacted if treated else chances.without)[of_temper])


def test_the_probabilities_are_the_written_formula(world: World) -> None:
    """A row by hand: log-odds, the push of the contact, and the chance to unsubscribe."""
    exposures = part(everyone(world), np.array([5]))
    population, temper = world._population, int(world.tempers()[5])
    item = int(exposures.item[0])
    fit = float(population.taste[5] @ population.item_topics[item])
    log_odds = CONFIG.base_log_odds[temper] + 0.5 * fit
    push = CONFIG.contact_log_odds[temper] * np.exp(0.25 * fit) * population.stirred[5] * population.strength[0]

    chances = world.chances(exposures, 0)

    assert chances.without[0] == pytest.approx(1 / (1 + np.exp(-log_odds)))
    assert chances.contacted[0] == pytest.approx(1 / (1 + np.exp(-log_odds - push)))
    assert chances.unsubscribe[0] == pytest.approx(1 / (1 + np.exp(-CONFIG.unsubscribe_log_odds[temper])))
    uplift = world.true_uplift(exposures.person, exposures.campaign, exposures.item)
    assert uplift[0] == pytest.approx(chances.contacted[0] - chances.without[0])


def test_clicks_dismissals_and_unsubscribing_come_with_the_stated_probabilities(world: World) -> None:
    exposures = everyone(world)
    chances = world.chances(exposures, 0)
    clicks = chances.contacted + (1 - chances.contacted) * chances.click

    responses = world.answer(exposures, 0)

    assert_drawn_with(who(responses, "click").size, clicks)
    assert_drawn_with(who(responses, "dismiss").size, (1 - clicks) * chances.dismiss)
    assert_drawn_with(who(responses, "unsubscribe").size, (1 - clicks) * chances.unsubscribe)
    clicked = who(responses, "click")
    assert np.isin(who(responses, "conversion"), clicked).all()
    assert not np.isin(clicked, np.union1d(who(responses, "dismiss"), who(responses, "unsubscribe"))).any()


def test_who_is_held_out_does_nothing_but_convert(world: World) -> None:
    responses = world.answer(everyone(world, treated=False), 0)

    assert set(responses["type"].to_pylist()) == {"conversion"}
    assert set(responses["arm"].to_pylist()) == {"control"}


def test_true_value_is_the_mean_over_many_draws_of_contacted_less_held_out(grown: World) -> None:
    """Contact and no contact in worlds of different luck, so that the two are independent."""
    tiny = grow(dataclasses.replace(CONFIG, people=400), 3)
    twice = [everyone(tiny, campaign=0), everyone(tiny, campaign=1)]
    columns = {
        field.name: np.concatenate([getattr(one, field.name) for one in twice])
        for field in dataclasses.fields(Exposures)
    }
    contacted = Exposures(**columns)
    held_out = dataclasses.replace(contacted, treated=np.zeros(len(contacted), dtype=bool))

    def revenue(exposures: Exposures, draw: int) -> float:
        return float(pc.sum(tiny.again(draw).answer(exposures, 0)["amount"]).as_py())

    draws = 400
    gains = np.array([revenue(contacted, draw) - revenue(held_out, draws + draw) for draw in range(draws)])

    assert gains.std() > 0
    assert abs(gains.mean() - tiny.true_value(contacted, 0)) < 4 * gains.std() / np.sqrt(draws)
    assert tiny.true_value(held_out, 0) == 0.0


def test_true_value_counts_the_fatigue_of_the_same_day_and_of_days_before(world: World) -> None:
    exposures = everyone(world)
    rested = world.true_value(exposures, 0)
    doubled = Exposures(
        person=np.repeat(exposures.person, 2),
        campaign=np.tile([1, 0], CONFIG.people),
        item=np.tile([world.items_of(1)[0], exposures.item[0]], CONFIG.people),
        treated=np.tile([True, True], CONFIG.people),
    )
    first_alone = world.true_value(everyone(world, campaign=1), 0)
    same_day = world.true_value(doubled, 0) - first_alone

    world.answer(everyone(world, campaign=1), 0)

    assert same_day < rested
    assert world.true_value(exposures, 13) == pytest.approx(same_day)
    assert world.true_value(exposures, 14) == pytest.approx(rested)


def test_fatigue_weakens_what_helps_and_sharpens_what_harms(world: World) -> None:
    exposures = everyone(world)
    rested = world.chances(exposures, 1)
    world.answer(everyone(world, campaign=1), 0)

    tired = world.chances(exposures, 1)

    def push(chances: object) -> np.ndarray:
        before, after = chances.without, chances.contacted  # type: ignore[attr-defined]
        return np.log(after / (1 - after)) - np.log(before / (1 - before))

    harmed = world.tempers() == SLEEPER
    np.testing.assert_allclose(push(tired)[~harmed], 0.6 * push(rested)[~harmed], rtol=1e-6)
    np.testing.assert_allclose(push(tired)[harmed], 1.3 * push(rested)[harmed], rtol=1e-6)
    assert (tired.unsubscribe > rested.unsubscribe).all()


def test_held_out_rows_do_not_tire(world: World) -> None:
    world.answer(everyone(world, treated=False, campaign=1), 0)

    assert not world.earlier_contacts(0).any()


def test_sleepers_exist_and_lose_by_every_contact_and_nobody_else_does(world: World) -> None:
    rng = np.random.default_rng(1)
    person = rng.integers(0, CONFIG.people, 50_000)
    item = rng.integers(0, CONFIG.items, 50_000)
    uplift = world.true_uplift(person, item % CONFIG.campaigns, item)
    temper = world.tempers()[person]

    shares = np.bincount(world.tempers(), minlength=4) / CONFIG.people
    assert 0.08 < shares[SLEEPER] < 0.2
    assert (uplift[temper == SLEEPER] < 0).all()
    assert (uplift[temper != SLEEPER] > 0).all()
    assert uplift[temper == PERSUADABLE].mean() > 3 * uplift[temper == SURE_THING].mean()
    assert uplift[temper == LOST_CAUSE].mean() < 0.005


def test_sleepers_unsubscribe_more_when_contacted(world: World) -> None:
    left = np.isin(np.arange(CONFIG.people), who(world.answer(everyone(world), 0), "unsubscribe"))
    put_off = world.tempers() == SLEEPER

    assert left[put_off].mean() > 5 * left[~put_off].mean()


def test_the_score_predicts_the_response_and_prefers_those_who_need_no_contact(world: World) -> None:
    exposures = everyone(world, treated=False)
    scores = world.scores(exposures.person, exposures.item)
    without = world.chances(exposures, 0).without
    top = np.argsort(-scores)[: CONFIG.people // 10]

    assert without[top].mean() > 2 * without.mean()
    assert np.isin(world.tempers()[top], [SURE_THING, SLEEPER]).mean() > 0.7
    uplift = world.true_uplift(exposures.person, exposures.campaign, exposures.item)
    assert uplift[top].mean() < 0.5 * np.sort(uplift)[-top.size :].mean()


def test_features_tell_part_of_the_uplift_but_not_all(world: World) -> None:
    """A regression on the features explains some of the uplift; the hidden factor and the noise leave the greater part."""
    exposures = everyone(world)
    uplift = world.true_uplift(exposures.person, exposures.campaign, exposures.item)
    table = world.features()
    columns = [np.log1p(table[name].to_numpy()) for name in ("events_90d", "dismissed_365d", "other_side_visits_90d")]
    known = np.column_stack([np.ones(CONFIG.people), table["promotion_share"].to_numpy(), *columns])
    residual = uplift - known @ np.linalg.lstsq(known, uplift, rcond=None)[0]

    assert 0.05 < 1 - residual.var() / uplift.var() < 0.6


def test_the_same_seed_gives_the_same_people_and_answers_and_another_gives_others() -> None:
    config = dataclasses.replace(CONFIG, people=2_000)
    one, same, other = grow(config, 1), grow(config, 1), grow(config, 2)

    assert one.features().equals(same.features())
    assert not one.features().equals(other.features())
    answers = [world.answer(everyone(world), 0) for world in (one, same, other)]
    assert answers[0].equals(answers[1])
    assert not answers[0].equals(answers[2])
    assert one.again().answer(everyone(one), 0).equals(answers[0])
    assert not one.again(1).answer(everyone(one), 0).equals(answers[0])


def test_an_answer_does_not_depend_on_who_else_is_in_the_table_nor_on_its_order(world: World) -> None:
    exposures = everyone(world)
    some = np.random.default_rng(0).permutation(CONFIG.people)[:1000]

    alone = world.again().answer(part(exposures, some), 0)
    among_all = world.answer(exposures, 0)

    assert alone.equals(among_all.filter(pc.is_in(among_all["person"], pa.array(some))))


def test_luck_is_even_and_differs_by_part_day_person_and_campaign(world: World) -> None:
    person, campaign = np.repeat(np.arange(CONFIG.people), 4), np.tile(np.arange(4), CONFIG.people)
    draws = [
        world._luck("conversion", 0, person, campaign),
        world._luck("click", 0, person, campaign),
        world._luck("conversion", 1, person, campaign),
    ]

    for drawn in draws:
        assert kstest(drawn, "uniform").pvalue > 1e-4
        assert np.unique(drawn).size == drawn.size
    assert np.abs(np.corrcoef([*draws, np.roll(draws[0], 1)])[np.triu_indices(4, 1)]).max() < 0.025


def test_conversions_come_late_with_the_stated_mean_and_satisfaction_later(world: World) -> None:
    responses = world.answer(everyone(world), 3)
    late = responses.filter(pc.equal(responses["type"], "conversion"))["day"].to_numpy() - 3

    # The whole days of an exponential time of mean m: 1 / (exp(1 / m) - 1).
    assert late.min() == 0
    assert late.mean() == pytest.approx(1 / (np.exp(1 / CONFIG.delay_days) - 1), rel=0.15)
    assert (responses["exposed_on"].to_numpy() == 3).all()
    happy = responses.filter(pc.equal(responses["type"], "satisfaction"))
    assert happy["day"].to_numpy().min() >= 5
    assert set(happy["value"].to_pylist()) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert happy["amount"].null_count == len(happy)


def test_nobody_takes_an_item_twice(world: World) -> None:
    exposures = everyone(world)
    bought = who(world.answer(exposures, 0), "conversion")

    chances = world.chances(exposures, 1)

    assert bought.size
    assert not chances.contacted[bought].any()
    assert not chances.without[bought].any()
    again = world.answer(everyone(world, treated=False), 1)
    assert not np.isin(who(again, "conversion"), bought).any()


def test_consent_is_as_stated_and_turns_over_at_the_stated_daily_chances() -> None:
    config = ResponseConfig(people=50_000, consent_withdrawn=0.004, consent_given=0.01)
    world = grow(config, 5)
    first, later = world.consent(0), world.consent(30)

    def inside(hits: int, draws: int, chance: float) -> bool:
        low, high = binom.ppf([1e-6, 1 - 1e-6], draws, chance)
        return bool(low <= hits <= high)

    assert inside(int(first.sum()), config.people, 0.8)
    # Turned over once within 30 days and not back again; the second turn has the other chance.
    agreed, refused = int(first.sum()), int((~first).sum())
    for hits, draws, chance, back in (
        (int((first & ~later).sum()), agreed, 0.004, 0.01),
        (int((~first & later).sum()), refused, 0.01, 0.004),
    ):
        days = np.arange(1, 31)
        away = float((chance * (1 - chance) ** (days - 1) * (1 - back) ** (30 - days)).sum())
        assert inside(hits, draws, away)


def test_who_unsubscribes_may_not_be_contacted_from_the_next_day_on(world: World) -> None:
    left = who(world.answer(everyone(world), 2), "unsubscribe")

    assert left.size
    assert world.consent(2)[left].all()
    assert not world.consent(3)[left].any()
    assert not world.consent(300)[left].any()
    with pytest.raises(ValueError, match=f"{left.size} rows contact people without consent on day 3"):
        world.answer(everyone(world), 3)
    # Those who are held out are not contacted: no consent is needed.
    world.answer(everyone(world, treated=False), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"person": np.array([0, 0])}, "comes twice"),
        ({"person": np.array([0, -1])}, "person numbers must be 0 to 7999"),
        ({"item": np.array([1, 0])}, "1 rows show an item that is not of their campaign"),
        ({"treated": np.array([True])}, "differ in length"),
    ],
)
def test_what_cannot_be_answered_is_refused(world: World, change: dict[str, np.ndarray], message: str) -> None:
    exposures = dataclasses.replace(part(everyone(world), np.array([0, 1])), **change)

    with pytest.raises(ValueError, match=message):
        world.answer(exposures, 0)


def test_the_past_is_not_answered_again_and_no_rows_have_no_answer(world: World) -> None:
    nobody = part(everyone(world), np.zeros(0, dtype=np.int64))

    assert len(world.answer(nobody, 4)) == 0
    assert world.true_value(nobody, 4) == 0.0
    with pytest.raises(ValueError, match="day 3 is past"):
        world.answer(nobody, 3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"items": 2, "campaigns": 3}, "2 items for 3 campaigns"),
        ({"consent_share": 1.2}, "consent_share must be within 0 and 1"),
        ({"people": 0}, "1 or more"),
        ({"delay_days": -1.0}, "0 or more"),
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResponseConfig(**setting)  # type: ignore[arg-type]
