import csv
import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from models_ml.content import ItemContent
from models_ml.interactions import interactions_from_arrow
from models_ml.rules import (
    EXPLORATION,
    NO_ORIGIN,
    NO_RULE,
    RULE_COLUMNS,
    Ranked,
    RulesReport,
    apply_rules,
    rules_from_arrow,
)
from models_ml.traits import traits_from_arrow
from tests.unit.models_ml.conftest import preference_table

AS_OF = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1e6)
SEED_FILE = Path(__file__).resolve().parents[3] / "dbt_project" / "seeds" / "recommendation_rules.csv"

# item -> kind, language, topics, people, series
CATALOGUE = {
    "film:0": ("movie", "en", ["Drama"], ["Lee"], ["Saga"]),
    "film:1": ("movie", "zh-cn", ["Drama", "Crime"], ["Lee", "Mann"], None),
    "film:2": ("short", "zh", ["Drama"], ["Mann"], ["saga"]),
    "film:3": ("short", "de", ["Crime"], ["Lee"], ["Noir Nights"]),
    "film:4": ("movie", None, None, None, ["Saga"]),
    "film:5": ("documentary", "zhuang", ["War"], ["Lee"], None),
    "knowledge:0": ("course", "en", ["Drama"], ["Lee"], ["Saga"]),
    "knowledge:1": ("ebook", "de", ["Crime"], [], None),
}
# person -> country, region, birth decade
PEOPLE = {
    "ann": ("CN", "Guangdong", 1990),
    "ben": ("CN", "Hunan", 2010),
    "cat": ("FR", None, 2000),
    "dan": (None, None, None),
}
FILM, KNOWLEDGE = range(6), range(6, 8)


def world(rows=(), consumed=None, features=None):
    table = pa.table(
        {
            "user_key": [*PEOPLE],
            "country": [person[0] for person in PEOPLE.values()],
            "region": [person[1] for person in PEOPLE.values()],
            "birth_decade": pa.array([person[2] for person in PEOPLE.values()], pa.int32()),
        }
    )
    made = interactions_from_arrow(
        preference_table(rows, consumed),
        domains=("film", "knowledge"),
        users=table["user_key"],
        items=pa.table({"item_key": [*CATALOGUE], "domain": [key.split(":")[0] for key in CATALOGUE]}),
    )
    made = made.with_traits(traits_from_arrow(table, made.user_keys, ("country", "region", "birth_decade")))
    if features is None:
        return made
    matrix = csr_matrix(np.array(features, dtype=np.float32))
    names = tuple(f"t{number}" for number in range(matrix.shape[1]))
    return made.with_content(ItemContent(matrix, names, np.zeros(len(names), dtype=np.int8)))


def catalogue():
    return pa.table(
        {
            "item_key": [*CATALOGUE],
            "domain": [key.split(":")[0] for key in CATALOGUE],
            "item_id": [key.split(":")[1] for key in CATALOGUE],
            "kind": [item[0] for item in CATALOGUE.values()],
            "language": [item[1] for item in CATALOGUE.values()],
            "topics": pa.array([item[2] for item in CATALOGUE.values()], pa.list_(pa.string())),
            "people": pa.array([item[3] for item in CATALOGUE.values()], pa.list_(pa.string())),
            "series": pa.array([item[4] and item[4][0] for item in CATALOGUE.values()], pa.string()),
        }
    )


SCHEMA = pa.schema(
    [(name, pa.string()) for name in RULE_COLUMNS if name not in ("min_age", "number", "is_active")]
    + [("min_age", pa.int32()), ("number", pa.float64()), ("is_active", pa.bool_())]
)


def made(*rules, people=None):
    """Rules from rows that say only what matters; without a rule_id they are r0, r1 and so on."""
    rows = [{"rule_id": f"r{number}", "is_active": True, **rule} for number, rule in enumerate(rules)]
    table = pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in rows], schema=SCHEMA)
    return rules_from_arrow(table, catalogue(), people or world(), AS_OF)


def pools(*lists):
    """Ranked pools; one list is everyone's."""
    listed = [lists[0]] * len(PEOPLE) if len(lists) == 1 else lists
    width = max(len(row) for row in listed)
    items = np.array([[*row, *[-1] * (width - len(row))] for row in listed], dtype=np.int32).reshape(len(listed), width)
    scores = np.where(items >= 0, 9.0 - np.arange(width), -np.inf).astype(np.float32)
    return Ranked.of(items, scores, np.where(items >= 0, 5, NO_ORIGIN).astype(np.int16))


def applied(rules, ranked, k, people=None, columns=FILM, **options):
    lists, report = apply_rules(ranked, people or world(), rules, columns, k, **options)
    return [[int(item) for item in row if item >= 0] for row in lists.items], report


def test_an_exclusion_is_kept_from_whom_it_concerns():
    rules = made({"action": "exclude", "item_id": "0", "target_domain": "film", "country": "cn"})
    lists, report = applied(rules, pools([0, 1, 2, 3]), 3)
    assert lists == [[1, 2, 3], [1, 2, 3], [0, 1, 2], [0, 1, 2]]
    assert report == RulesReport(lists=4, places={"r0": 2})


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"topic": "drama"}, [3, 4, 5]),
        ({"topic": "Drama", "item_kind": "short"}, [0, 1, 3, 4, 5]),
        ({"item_kind": "Movie"}, [2, 3, 5]),
        ({"language": "zh"}, [0, 3, 4, 5]),
        ({"language": "zh-CN"}, [0, 2, 3, 4, 5]),
        ({"item_id": "film:4"}, [0, 1, 2, 3, 5]),
        ({"item_id": "4"}, [0, 1, 2, 3, 5]),
        ({"topic": "drama", "target_domain": "knowledge"}, [0, 1, 2, 3, 4, 5]),
        ({"series": "Saga"}, [1, 3, 5]),
        ({"series": "saga", "item_kind": "movie"}, [1, 2, 3, 5]),
        ({"series": "noir"}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_what_a_rule_is_about(rule, left):
    lists, _ = applied(made({"action": "exclude", **rule}), pools([0, 1, 2, 3, 4, 5]), 6)
    assert lists == [left] * 4


@pytest.mark.parametrize(
    ("rule", "concerned"),
    [
        ({}, "ann ben cat dan"),
        ({"country": "CN"}, "ann ben"),
        ({"country": "CN", "region": "guangdong"}, "ann"),
        ({"region": "Hunan"}, "ben"),
        # In March 2026 the youngest of the 1990s are 26 and the youngest of the 2000s 16; the 2010s may be 6.
        ({"min_age": 26}, "ben cat dan"),
        ({"min_age": 27}, "ann ben cat dan"),
        ({"min_age": 16}, "ben dan"),
        ({"min_age": 6}, "dan"),
    ],
)
def test_whom_a_rule_concerns(rule, concerned):
    people = world()
    rules = made({"action": "exclude", "item_id": "0", **rule})
    mask = rules.concerns(rules.rules[0], people)
    assert " ".join(people.user_keys.take(pa.array(np.flatnonzero(mask))).to_pylist()) == concerned
    assert np.array_equal(
        rules.forbidden(people, np.array([1, 0, 6], dtype=np.int32)), mask[:, None] & [False, True, True]
    )


def test_people_of_whom_nothing_is_known_may_be_too_young_and_live_nowhere():
    nobody = dataclasses.replace(world(), traits=None)
    rules = made(
        {"action": "exclude", "item_id": "0", "min_age": 18}, {"action": "exclude", "item_id": "1", "country": "CN"}
    )
    assert applied(rules, pools([0, 1, 2]), 3, nobody)[0] == [[1, 2]] * 4


def test_a_pin_goes_to_the_front_unless_consumed_or_excluded():
    """Ann has consumed film 3, Ben has only looked at it; it is not shown in France; Dan's pool does not hold it."""
    people = world([("ann", "film:3", 1.0, 0), ("ben", "film:3", 1.0, 0)], [True, False])
    rules = made(
        {"action": "pin", "item_id": "3", "target_domain": "film"},
        {"action": "exclude", "item_id": "3", "country": "FR"},
    )
    lists, report = apply_rules(pools([0, 1, 2], [0, 1, 3], [0, 1, 3], [0, 1, 2]), people, rules, FILM, 3)
    assert lists.items.tolist() == [[0, 1, 2], [3, 0, 1], [0, 1, -1], [3, 0, 1]]
    assert rules.names(lists.rules.ravel()).to_pylist() == [
        *[None, None, None],
        *["r0", None, None],
        *[None, None, None],
        *["r0", None, None],
    ]
    # What the pool holds keeps score and origin; what it does not hold gets the first score and no origin.
    assert lists.scores[[1, 3], 0].tolist() == [7, 9]
    assert lists.origins[[1, 3], 0].tolist() == [5, NO_ORIGIN]
    assert report.places == {"r0": 2, "r1": 1}
    assert report.shortened == ("cat",)
    assert report.emptied == ()


def test_pins_stand_in_the_order_of_their_names_once_each_and_no_more_than_there_are_places():
    rules = made(
        {"rule_id": "c", "action": "pin", "item_id": "film:2"},
        {"rule_id": "b", "action": "pin", "item_id": "film:5"},
        {"rule_id": "d", "action": "pin", "item_id": "film:2"},
    )
    lists, report = applied(rules, pools([0, 1, 2]), 3)
    assert lists == [[5, 2, 0]] * 4
    assert report.places == {"b": 4, "c": 4, "d": 0}
    lists, report = applied(rules, pools([0, 1, 2]), 1)
    assert lists == [[5]] * 4
    assert report.places == {"b": 4, "c": 0, "d": 0}


def test_a_pin_fills_an_empty_pool_with_a_score():
    lists, report = apply_rules(pools([], [], [], []), world(), made({"action": "pin", "item_id": "film:2"}), FILM, 2)
    assert lists.items.tolist() == [[2, -1]] * 4
    assert lists.scores[:, 0].tolist() == [1.0] * 4
    assert report.shortened == ()


def test_a_cap_per_topic_counts_every_topic_of_an_item():
    """Drama 0 and 1 fill drama; 2 is passed over; 1 was the first crime, so 3 is the second and stays."""
    lists, report = applied(made({"action": "cap", "per": "topic", "number": 2}), pools([0, 1, 2, 3, 4, 5]), 5)
    assert lists == [[0, 1, 3, 4, 5]] * 4
    assert report == RulesReport(lists=4, places={"r0": 4})


def test_a_cap_per_person_and_a_cap_on_a_kind_hold_together():
    """Lee: 0 and 1, so 3 and 5 are passed over; one short: 2. Nothing else caps 4."""
    rules = made(
        {"action": "cap", "per": "person", "number": 2},
        {"action": "cap", "item_kind": "short", "number": 1},
    )
    lists, report = applied(rules, pools([0, 1, 2, 3, 4, 5]), 4)
    assert lists == [[0, 1, 2, 4]] * 4
    assert report.places == {"r0": 4, "r1": 0}
    assert report.relaxed == 0


def test_a_cap_per_series_counts_one_series_however_it_is_spelt_and_nothing_else():
    """0 and 2 are of one series, so 4 is passed over; 1 and 5 are of none and are never counted together."""
    lists, report = applied(made({"action": "cap", "per": "series", "number": 2}), pools([0, 1, 2, 4, 5, 3]), 5)
    assert lists == [[0, 1, 2, 5, 3]] * 4
    assert report == RulesReport(lists=4, places={"r0": 4})
    of_one = made({"action": "cap", "series": "SAGA", "number": 1})
    assert applied(of_one, pools([0, 1, 2, 4, 5, 3]), 4)[0] == [[0, 1, 5, 3]] * 4


def test_a_cap_per_series_changes_nothing_where_no_item_is_of_any():
    bare = catalogue().set_column(7, "series", pa.nulls(len(CATALOGUE), pa.string()))
    row = {
        **dict.fromkeys(SCHEMA.names),
        "rule_id": "r0",
        "is_active": True,
        "action": "cap",
        "per": "series",
        "number": 1.0,
    }
    rules = rules_from_arrow(pa.Table.from_pylist([row], schema=SCHEMA), bare, world(), AS_OF)
    assert rules.acting(FILM) == []
    assert applied(rules, pools([0, 1, 2, 4, 5, 3]), 5)[0] == [[0, 1, 2, 4, 5]] * 4


def test_a_cap_holds_for_whom_it_concerns():
    lists, _ = applied(made({"action": "cap", "topic": "drama", "number": 1, "country": "FR"}), pools([0, 1, 3, 4]), 3)
    assert lists == [[0, 1, 3], [0, 1, 3], [0, 3, 4], [0, 1, 3]]


def test_only_the_first_places_are_counted_as_taken_away():
    """Of the dramas passed over, film 1 stood among the first three places and film 2 did not."""
    lists, report = applied(made({"action": "cap", "topic": "drama", "number": 1}), pools([0, 1, 4, 2, 3]), 3)
    assert lists == [[0, 4, 3]] * 4
    assert report.places == {"r0": 4}


def test_a_person_is_held_to_the_caps_that_concern_them_only():
    rules = made(
        {"action": "cap", "topic": "drama", "number": 1, "country": "FR"},
        {"action": "cap", "topic": "crime", "number": 1},
    )
    assert applied(rules, pools([0, 2, 1, 3, 4]), 4)[0] == [[0, 2, 1, 4]] * 2 + [[0, 3, 4, 2], [0, 2, 1, 4]]


def test_a_cap_per_person_on_one_topic_does_not_count_what_is_of_another():
    """Lee's film 3 is no drama, so film 1 is his second drama and film 0 the first."""
    rules = made({"action": "cap", "per": "person", "topic": "drama", "number": 2})
    assert applied(rules, pools([3, 5, 0, 1, 4]), 5)[0] == [[3, 5, 0, 1, 4]] * 4


def test_a_cap_gives_way_in_order_rather_than_leave_a_list_short():
    lists, report = applied(made({"action": "cap", "per": "topic", "number": 1}), pools([0, 1, 2, 3]), 4)
    assert lists == [[0, 3, 1, 2]] * 4
    assert report.relaxed == 4
    assert report.places == {"r0": 0}
    assert report.shortened == ()


def test_what_is_pinned_counts_for_a_cap():
    rules = made({"action": "pin", "item_id": "film:2"}, {"action": "cap", "topic": "drama", "number": 1})
    assert applied(rules, pools([0, 1, 3, 4]), 3)[0] == [[2, 3, 4]] * 4


def test_what_is_pinned_is_not_passed_over_by_a_cap():
    rules = made(
        {"action": "pin", "item_id": "film:2"},
        {"action": "pin", "item_id": "film:1"},
        {"action": "cap", "topic": "drama", "number": 1},
    )
    assert applied(rules, pools([0, 1, 3, 4]), 3)[0] == [[2, 1, 3]] * 4


def test_an_exclusion_never_gives_way_and_says_whom_it_leaves_without_a_list():
    rules = made({"action": "exclude", "topic": "drama", "region": "Hunan"})
    lists, report = applied(rules, pools([0, 1, 2], [0, 1, 2], [0, 3], []), 2)
    assert lists == [[0, 1], [], [0, 3], []]
    assert (report.shortened, report.emptied) == (("ben",), ("ben",))
    assert report.places == {"r0": 2}


def test_a_reserve_fills_up_what_exclusions_leave_short():
    """Ben keeps film 3 of his pool. Of the reserve he has consumed 5, may not see 2 and has 3 already, so 4 and 0 are left,
    of which 0 is a drama. Cat's pool was short from the start: nothing else is left for her."""
    people = world([("ben", "film:5", 1.0, 0)])
    rules = made({"action": "exclude", "topic": "drama", "country": "CN"})
    reserve = Ranked.of(
        np.array([[5, 2, 3, 4, 0, -1]], dtype=np.int32),
        np.array([[1, 0.8, 0.6, 0.5, 0.1, -np.inf]], dtype=np.float32),
        np.full((1, 6), 7, dtype=np.int16),
    )
    ranked = pools([0, 1, 2], [0, 1, 3], [0], [0, 1, 2])
    lists, report = apply_rules(ranked, people, rules, FILM, 2, reserve=reserve, block_bytes=1)
    assert lists.items.tolist() == [[5, 3], [3, 4], [0, -1], [0, 1]]
    # The last scores of the pools are 7.
    np.testing.assert_allclose(lists.scores[:2], [[7 - 0, 7 - 0.4], [7, 7 - 0.5]])
    assert lists.origins.tolist() == [[7, 7], [5, 7], [5, NO_ORIGIN], [5, 5]]
    assert (report.shortened, report.emptied) == ((), ())
    wide, _ = apply_rules(ranked, people, rules, FILM, 5, reserve=reserve)
    assert wide.items.tolist() == [[5, 3, 4, -1, -1], [3, 4, -1, -1, -1], [0, -1, -1, -1, -1], [0, 1, 2, -1, -1]]
    assert apply_rules(ranked, people, made(), FILM, 5, reserve=reserve)[0].items[2].tolist() == [0, -1, -1, -1, -1]


def test_diversity_moves_up_what_is_unlike_the_rest():
    """With k = 2 and one half, an item all like one above falls by 2 places: film 1, which is film 0 again, stands at
    1 - 2/2 - 1 = -1 behind film 2 with 1 - 2/2 = 0, all halved."""
    features = [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0]]
    people = world(features=features)
    rules = made({"action": "diversity", "number": 0.5, "country": "CN"})
    lists, report = applied(rules, pools([0, 1, 2, 3]), 2, people)
    assert lists == [[0, 2], [0, 2], [0, 1], [0, 1]]
    assert report.places == {"r0": 2}


def test_how_far_diversity_moves_an_item_is_reckoned_in_places_of_the_list():
    """With k = 4 and three quarters, film 1, which is film 0 again, falls by 4/3 places: behind film 2, before film 3."""
    features = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    rules = made({"action": "diversity", "number": 0.75})
    assert applied(rules, pools([0, 1, 2, 3]), 4, world(features=features))[0] == [[0, 2, 1, 3]] * 4


def test_pins_that_are_alike_stay_in_front_together():
    features = [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0]]
    rules = made(
        {"action": "pin", "item_id": "film:2"},
        {"action": "pin", "item_id": "film:3"},
        {"action": "diversity", "number": 0.1},
    )
    assert applied(rules, pools([0, 1, 4]), 4, world(features=features))[0] == [[2, 3, 0, 4]] * 4


def test_of_two_rules_of_diversity_the_stronger_holds_and_1_is_none():
    features = [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0]]
    people = world(features=features)
    weak = {"action": "diversity", "number": 0.9}
    none = {"action": "diversity", "number": 1.0}
    strong = {"action": "diversity", "number": 0.5, "region": "Hunan"}
    # With k = 2 and .9, film 1 falls by 2/9 of a place only.
    for rules in ([weak, strong], [strong, weak]):
        lists, report = applied(made(*rules), pools([0, 1, 2, 3]), 2, people)
        assert lists == [[0, 1], [0, 2], [0, 1], [0, 1]]
        assert report.places[f"r{rules.index(strong)}"] == 1
    assert applied(made(none), pools([0, 1, 2, 3]), 2)[0] == [[0, 1]] * 4


def test_diversity_keeps_pins_in_front_and_caps():
    """Film 4 is pinned. Without the cap on shorts, film 3 would come before film 1, which is film 0 again."""
    features = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    people = world(features=features)
    rules = made(
        {"action": "pin", "item_id": "film:4"},
        {"action": "cap", "item_kind": "short", "number": 1},
        {"action": "diversity", "number": 0.1},
    )
    lists, _ = applied(rules, pools([0, 1, 2, 3]), 4, people)
    assert lists == [[4, 2, 0, 1]] * 4
    # With room for five, the cap gives way, behind everything else.
    assert applied(rules, pools([0, 1, 2, 3]), 5, people)[0] == [[4, 2, 0, 1, 3]] * 4


def test_diversity_without_content_is_refused():
    with pytest.raises(ValueError, match="nothing is known of what items are about"):
        applied(made({"action": "diversity", "number": 0.5}), pools([0, 1]), 2)


def test_rules_of_the_other_platform_and_sleeping_rules_change_nothing():
    rules = made(
        {"action": "exclude", "topic": "drama", "target_domain": "knowledge"},
        {"action": "pin", "item_id": "film:5", "is_active": False},
        {"action": "min_share", "number": 0.3},
    )
    assert rules.ids == ("r0",)
    lists, report = applied(rules, pools([0, 1, 2]), 2)
    assert lists == [[0, 1]] * 4
    assert report == RulesReport(lists=4)
    assert applied(rules, pools([6, 7]), 2, columns=KNOWLEDGE)[0] == [[7]] * 4


def test_a_rule_that_changes_nothing_is_reported():
    rules = made(
        {"action": "exclude", "item_id": "no-such"},
        {"action": "exclude", "topic": "opera"},
        {"action": "exclude", "item_id": "0", "country": "XX"},
        # A cap that has nothing to count is kept to.
        {"action": "cap", "per": "person", "item_id": "film:4", "number": 1},
        {"action": "exclude", "item_id": "0"},
    )
    assert [warning.split(";")[0] for warning in rules.warnings] == [
        "rule 'r0' is about no item that is known",
        "rule 'r1' is about no item that is known",
        "rule 'r2' concerns nobody",
    ]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "hide", "item_id": "0"}, "unknown action 'hide'; known are exclude, pin, cap"),
        ({"action": "exclude"}, "exclude everything"),
        ({"action": "pin", "topic": "drama"}, "an item_id is expected"),
        (
            {"action": "exclude", "item_id": "0", "target_domain": "radio"},
            "unknown platform 'radio'; known are film, know",
        ),
        ({"action": "cap", "topic": "drama"}, "number is None; a whole number"),
        ({"action": "cap", "per": "topic", "number": 0}, "number is 0"),
        ({"action": "cap", "per": "topic", "number": 1.5}, "number is 1.5"),
        ({"action": "cap", "per": "kind", "number": 1}, "per 'kind'; a cap can be per topic, person, series"),
        ({"action": "exclude", "item_id": "0", "per": "topic"}, "exclude per 'topic'"),
        ({"action": "diversity", "number": 1.5}, "number is 1.5; a number from 0 to 1"),
        ({"action": "diversity", "number": 0.5, "topic": "drama"}, "diversity with topic"),
        ({"action": "min_share"}, "number is None"),
        ({"action": "min_share", "number": 0.3, "country": "CN"}, "min_share with country"),
        ({"action": "pin", "item_id": "0", "min_age": 18}, "pin with min_age 18"),
        ({"action": "exclude", "item_id": "0", "min_age": 0}, "exclude with min_age 0"),
        ({"action": "exclude", "item_id": "0", "rule_id": "exploration"}, "rule_id"),
        ({"action": "exclude", "item_id": "0", "rule_id": None}, "rule_id"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_even_asleep(rule, message):
    with pytest.raises(ValueError, match=message):
        made({**rule, "is_active": False})


def test_two_rules_of_one_name_and_tables_without_their_columns_are_refused():
    twice = {"rule_id": "same", "action": "exclude", "item_id": "0"}
    with pytest.raises(ValueError, match="'same'"):
        made(twice, twice)
    with pytest.raises(ValueError, match=r"rules lacks the column\(s\) number"):
        rules_from_arrow(SCHEMA.empty_table().drop(["number"]), catalogue(), world(), AS_OF)
    with pytest.raises(ValueError, match=r"items lacks the column\(s\) people"):
        rules_from_arrow(SCHEMA.empty_table(), catalogue().drop(["people"]), world(), AS_OF)
    with pytest.raises(ValueError, match="at least 1"):
        applied(made(), pools([0]), 0)


def test_the_rules_that_are_shipped_make_sense_asleep_and_awake():
    with SEED_FILE.open(encoding="utf-8") as file:
        rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    for awake in (False, True):
        read = [
            {
                **row,
                "number": row["number"] and float(row["number"]),
                "min_age": row["min_age"] and int(row["min_age"]),
                "is_active": awake or row["is_active"] == "true",
            }
            for row in rows
        ]
        rules = made(*({name: row[name] for name in RULE_COLUMNS} for row in read))
        assert len(rules.ids) == sum(row["is_active"] and row["action"] != "min_share" for row in read)
    assert {row["action"] for row in rows} == {"exclude", "pin", "cap", "min_share", "diversity"}


def test_an_item_that_the_catalogue_does_not_have_is_known_by_its_key():
    row = dict.fromkeys(SCHEMA.names) | {"rule_id": "r", "action": "exclude", "item_id": "film:0", "is_active": True}
    rules = rules_from_arrow(pa.Table.from_pylist([row], schema=SCHEMA), catalogue().slice(3), world(), AS_OF)
    assert applied(rules, pools([0, 1]), 2)[0] == [[1]] * 4


def test_reports_of_blocks_add_up():
    first = RulesReport(2, {"a": 1, "b": 2}, 1, ("x",), ())
    second = RulesReport(3, {"b": 3, "c": 1}, 0, ("y", "z"), ("y",))
    assert RulesReport.total([first, second]) == RulesReport(5, {"a": 1, "b": 5, "c": 1}, 1, ("x", "y", "z"), ("y",))
    assert RulesReport.total([]) == RulesReport()


def test_the_name_of_an_explored_place():
    rules = made({"action": "exclude", "item_id": "0"})
    codes = np.array([EXPLORATION, NO_RULE, 0], dtype=np.int16)
    assert rules.names(codes).to_pylist() == ["exploration", None, "r0"]


RULE = st.one_of(
    st.fixed_dictionaries(
        {"action": st.just("exclude")},
        optional={
            "item_id": st.sampled_from([key for key in CATALOGUE if key.startswith("film")]),
            "country": st.sampled_from(["CN", "FR"]),
            "min_age": st.sampled_from([18, 90]),
        },
    ).filter(lambda rule: "item_id" in rule),
    st.fixed_dictionaries(
        {"action": st.just("exclude"), "topic": st.sampled_from(["drama", "crime", "war"]), "country": st.just("CN")}
    ),
    st.fixed_dictionaries(
        {"action": st.just("pin"), "item_id": st.sampled_from([key for key in CATALOGUE if key.startswith("film")])},
        optional={"country": st.sampled_from(["CN", "FR"])},
    ),
    st.fixed_dictionaries(
        {"action": st.just("cap"), "number": st.integers(1, 3)},
        optional={
            "per": st.sampled_from(["topic", "person", "series"]),
            "series": st.sampled_from(["saga", "noir nights"]),
            "topic": st.sampled_from(["drama", "crime"]),
            "country": st.sampled_from(["CN", "FR"]),
        },
    ),
    st.fixed_dictionaries({"action": st.just("diversity"), "number": st.sampled_from([0, 0.3, 0.5, 0.9, 1])}),
)


def by_definition(rules, concerned, allowed, pool):
    """What one person is shown without diversity, however long the list: in front, kept, and passed over by a cap."""
    pins = [int(np.argmax(rule.items)) for rule in rules.rules if rule.action == "pin" and concerned[rule.rule_id]]
    front = [item for item in dict.fromkeys(pins) if item in allowed]

    def labels(rule, item):
        column = {"topic": 2, "person": 3, "series": 4, "": None}[rule.per]
        named = [""] if column is None else CATALOGUE[[*CATALOGUE][item]][column] or []
        return {(rule.rule_id, label.lower()) for label in named if rule.items[item] and concerned[rule.rule_id]}

    caps = [rule for rule in rules.rules if rule.action == "cap"]
    kept, passed = [*front], []
    for item in (item for item in pool if item in allowed and item not in front):
        full = any(
            sum(label in labels(cap, other) for other in kept) >= cap.number
            for cap in caps
            for label in labels(cap, item)
        )
        (passed if full else kept).append(item)
    return front, kept, passed


@settings(max_examples=40, deadline=None)
@given(st.lists(RULE, max_size=5), st.data())
def test_lists_are_what_the_definition_says_whatever_the_rules(rows, data):
    consumed = data.draw(st.lists(st.sets(st.sampled_from(FILM), max_size=3), min_size=4, max_size=4))
    orders = [data.draw(st.permutations(FILM))[: data.draw(st.integers(0, 6))] for _ in PEOPLE]
    ranked = pools(*[[item for item in order if item not in own] for order, own in zip(orders, consumed, strict=True)])
    k = data.draw(st.integers(1, 6))
    people = world(
        [(key, f"film:{item}", 1.0, 0) for key, own in zip(PEOPLE, consumed, strict=True) for item in own],
        features=[[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1], [0, 0], [1, 0], [1, 0], [0, 1]],
    )
    rules = made(*rows, people=people)
    lists, report = apply_rules(ranked, people, rules, FILM, k)

    is_diverse = any(rule.action == "diversity" and rule.number < 1 for rule in rules.rules)
    forbidden = rules.forbidden(people, np.array(FILM, dtype=np.int32))
    relaxed = 0
    for person, key in enumerate(PEOPLE):
        concerned = {rule.rule_id: rules.concerns(rule, people)[person] for rule in rules.rules}
        allowed = {item for item in FILM if item not in consumed[person] and not forbidden[person, item]}
        pool = [int(item) for item in ranked.items[person] if item >= 0]
        front, kept, passed = by_definition(rules, concerned, allowed, pool)
        length = min(k, len(kept) + len(passed))
        row = lists.items[person, :length].tolist()
        assert (lists.items[person, length:] == -1).all()
        if is_diverse:
            assert row[: len(front)] == front[:k]
            assert len(set(row)) == length
            assert set(row) <= set(kept) if k <= len(kept) else set(row[: len(kept)]) == set(kept)
            assert row[len(kept) :] == passed[: max(0, k - len(kept))]
        else:
            assert row == (kept + passed)[:k]
        relaxed += bool(passed) and k > len(kept)
        assert (key in report.shortened) == (length < min(k, len(pool)))
        assert (key in report.emptied) == (length == 0 < len(pool))
    assert report.relaxed == relaxed


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([None, "one", "ONE", "other"]), min_size=6, max_size=6), st.permutations(FILM), st.data()
)
def test_no_list_holds_more_of_a_series_than_its_cap_and_what_is_of_none_is_never_passed_over(series, order, data):
    number = data.draw(st.integers(1, 3))
    of_film = [name and name.lower() for name in series]
    most = sum(min(number, of_film.count(name)) for name in ("one", "other")) + of_film.count(None)
    k = data.draw(st.integers(1, max(1, most)))
    items = catalogue().set_column(7, "series", pa.array([*series, None, None], pa.string()))
    row = {"rule_id": "r", "is_active": True, "action": "cap", "per": "series", "number": float(number)}
    row = {**dict.fromkeys(SCHEMA.names), **row}
    rules = rules_from_arrow(pa.Table.from_pylist([row], schema=SCHEMA), items, world(), AS_OF)
    lists, report = applied(rules, pools(order), k)
    assert report.relaxed == 0
    shown = lists[0]
    assert len(shown) == k
    for name in ("one", "other"):
        assert sum(of_film[item] == name for item in shown) <= number
    before_last = order[: order.index(shown[-1])]
    assert [item for item in before_last if of_film[item] is None] == [
        item for item in shown[:-1] if of_film[item] is None
    ]


@settings(max_examples=20, deadline=None)
@given(st.lists(RULE, max_size=5), st.lists(st.permutations(FILM), min_size=4, max_size=4))
def test_a_list_does_not_depend_on_the_block_or_on_who_else_is_in_it(rows, orders):
    people = world(features=[[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1], [0, 0], [1, 0], [1, 0], [0, 1]])
    rules, ranked = made(*rows), pools(*orders)
    whole, _ = apply_rules(ranked, people, rules, FILM, 4)
    narrow, _ = apply_rules(ranked, people, rules, FILM, 4, block_bytes=1)
    order = np.array([2, 0])
    part = Ranked(*(getattr(ranked, field.name)[order] for field in dataclasses.fields(Ranked)))
    some, _ = apply_rules(part, people.take(order), rules, FILM, 4)
    for field in dataclasses.fields(Ranked):
        assert np.array_equal(getattr(narrow, field.name), getattr(whole, field.name))
        assert np.array_equal(getattr(some, field.name), getattr(whole, field.name)[order])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from(FILM), unique=True, max_size=6), min_size=4, max_size=4), st.integers(1, 8))
def test_without_rules_the_first_k_stay_bit_for_bit(lists, k):
    ranked = pools(*lists)
    found, report = apply_rules(ranked, world(), made(), FILM, k)
    width = min(k, ranked.items.shape[1])
    for field in dataclasses.fields(Ranked):
        before, after = getattr(ranked, field.name), getattr(found, field.name)
        assert after.dtype == before.dtype
        assert np.array_equal(after[:, :width], before[:, :width])
    assert (found.items[:, width:] == -1).all()
    assert report == RulesReport(lists=4)


def test_an_exclusion_that_concerns_only_who_may_not_be_profiled_does_something():
    unprofiled = world().take(np.array([[*PEOPLE].index("cat")]))
    nobody = world().take(np.zeros(0, dtype=np.int64))
    for action, warnings in (("exclude", 0), ("pin", 1)):
        row = dict.fromkeys(SCHEMA.names) | {"rule_id": "r", "action": action, "is_active": True}
        row |= {"target_domain": "film", "item_id": "0", "country": "FR"}
        table = pa.Table.from_pylist([row], schema=SCHEMA)
        assert len(rules_from_arrow(table, catalogue(), nobody, AS_OF, unprofiled).warnings) == warnings
