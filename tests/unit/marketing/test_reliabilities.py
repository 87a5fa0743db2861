"""What was predicted against what followed, as a table."""

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from models_ml.campaigns.reliability import reliability
from orchestration.marketing.measuring import write_measurement
from orchestration.marketing.reliabilities import (
    CONVERSION,
    PRESENT,
    RELIABILITY_SCHEMA,
    followed_reliability,
    reliability_table,
)
from tests.unit.marketing.measured_world import World


def followed(world: World) -> list[dict[str, Any]]:
    write_measurement(world.connection, world.measure())
    return followed_reliability(world.connection).to_pylist()


def test_predictions_are_set_beside_what_followed_within_30_days_by_answer_and_bin() -> None:
    world = World()
    world.campaign("spring")
    likely, unlikely = (tuple(f"{kind} {number}" for number in range(10)) for kind in ("likely", "unlikely"))
    world.people(*likely, *unlikely)
    for user in (*likely, *unlikely):
        p_conversion = 0.5 if user in likely else 0.1
        contact = world.contact("spring", user, arm="treatment", p_conversion=p_conversion, p_click=0.3)
        world.delivered(contact, "spring", user)
        # A click of the last moment of the 30 days counts, one after them does not.
        if user in likely[:8]:
            world.answer(contact, "click", day=29.9)
        if user in unlikely:
            world.answer(contact, "click", day=30)
    for user in (*likely[:6], unlikely[0]):
        world.bought(user, day=3)
    rows = {row["reliability_key"]: row for row in followed(world)}
    assert {key: (row["contacts"], row["predicted"], row["observed"]) for key, row in rows.items()} == {
        "decided/conversion/1": (10, pytest.approx(0.1), 0.1),
        "decided/conversion/2": (10, pytest.approx(0.5), 0.6),
        "decided/click/1": (20, pytest.approx(0.3), 0.4),
    }
    for row, hits in ((rows["decided/conversion/2"], 6), (rows["decided/click/1"], 8)):
        bounds = proportion_confint(hits, row["contacts"], method="wilson")
        assert (row["observed_low"], row["observed_high"]) == pytest.approx(bounds)


def test_contacts_whose_prediction_is_not_known_are_not_judged() -> None:
    world = World()
    world.campaign("spring")
    world.people("ann", "ben")
    for user, p_click in (("ann", 0.2), ("ben", None)):
        contact = world.contact("spring", user, arm="treatment", p_conversion=None, p_click=p_click)
        world.delivered(contact, "spring", user)
    rows = followed(world)
    assert [(row["answer"], row["contacts"]) for row in rows] == [("click", 1)]


def test_where_nothing_was_predicted_the_table_is_empty() -> None:
    assert followed(World()) == []
    assert reliability_table(PRESENT, CONVERSION, None) == RELIABILITY_SCHEMA.empty_table()


def test_a_table_has_the_bins_of_the_reliability() -> None:
    random = np.random.default_rng(3)
    probabilities = random.random(500)
    found = reliability(probabilities, random.random(500) < probabilities)
    table = reliability_table(PRESENT, CONVERSION, found)
    assert table.schema == RELIABILITY_SCHEMA
    assert table["bin"].to_pylist() == list(range(1, 11))
    assert table["predicted"].to_pylist() == found.predicted.tolist()
    assert table["observed_high"].to_pylist() == found.high.tolist()
    assert table["contacts"].to_pylist() == [50] * 10
