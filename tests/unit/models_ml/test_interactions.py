import dataclasses
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_ml.interactions import interactions_from_arrow
from models_ml.traits import Traits

ROWS = [
    ("ben", "knowledge:a", 2.0, 1),
    ("ann", "film:z", 1.0, 2),
    ("ann", "film:b", 0.0, 3),
    ("ben", "film:b", 4.0, 4),
    ("cat", "knowledge:a", 3.0, 5),
]


def test_rows_become_a_matrix_of_people_and_items(make):
    found = make(ROWS)
    assert found.user_keys.to_pylist() == ["ann", "ben", "cat"]
    assert found.item_keys.to_pylist() == ["film:b", "film:z", "knowledge:a"]
    assert found.csr(found.weight).toarray().tolist() == [[0, 1, 0], [4, 0, 2], [0, 0, 3]]
    assert found.domain_range("film") == range(0, 2)
    assert found.domain_range("knowledge") == range(2, 3)
    assert found.item_domain.tolist() == [0, 0, 1]
    assert found.weight.dtype == np.float32


def test_items_are_grouped_by_domain_even_if_their_keys_are_not(make_table):
    table = make_table([("ann", "film:1", 1.0, 1), ("ann", "film:2", 1.0, 1), ("ann", "film:3", 1.0, 1)])
    table = table.set_column(2, "domain", pa.array(["b", "a", "b"]))
    found = interactions_from_arrow(table)
    assert found.item_keys.to_pylist() == ["film:2", "film:1", "film:3"]
    assert found.domain_range("b") == range(1, 3)


def test_a_consumed_item_with_weight_zero_stays_consumed(make):
    assert make(ROWS).consumed().toarray()[0].tolist() == [True, True, False]


def test_an_item_that_was_only_looked_at_may_be_recommended(make):
    found = make(ROWS, consumed=[True, False, True, True, True])
    assert found.consumed().toarray()[0].tolist() == [True, False, False]


def test_an_impression_is_no_history_but_its_item_is_known(make):
    found = make([*ROWS, ("dan", "film:new", 0.0, 6)], consumed=[True] * 5 + [False])
    assert found.entries == 5
    assert "film:new" in found.item_keys.to_pylist()
    assert not found.people_with_history("film")[found.user_keys.to_pylist().index("dan")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(ROWS))))
def test_the_order_of_the_rows_does_not_matter(make, order):
    assert make([ROWS[row] for row in order]).fingerprint() == make(ROWS).fingerprint()


@pytest.mark.parametrize(
    "change",
    [("ben", "film:z", 4.0, 4), ("dan", "film:b", 4.0, 4), ("ben", "film:b", 4.5, 4), ("ben", "film:b", 4.0, 7)],
    ids=["item", "person", "weight", "time"],
)
def test_the_fingerprint_sees_every_change_of_content(make, change):
    changed = [*ROWS[:3], change, *ROWS[4:]]
    assert make(changed).fingerprint() != make(ROWS).fingerprint()
    assert make(ROWS, consumed=[True, False, True, True, True]).fingerprint() != make(ROWS).fingerprint()


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.5, 1e39])
def test_a_weight_that_is_no_finite_number_from_zero_is_refused_with_its_row(make, weight):
    with pytest.raises(ValueError, match=r"weight is .* in row 1"):
        make([ROWS[0], ("ann", "film:z", weight, 2)])


def test_a_missing_value_is_refused_with_column_and_row(make_table):
    table = make_table(ROWS).set_column(4, "is_consumed", pa.array([True, True, None, True, True]))
    with pytest.raises(ValueError, match="is_consumed is NULL in row 2"):
        interactions_from_arrow(table)


def test_a_missing_column_is_named(make_table):
    with pytest.raises(ValueError, match=r"lack the column.* last_at"):
        interactions_from_arrow(make_table(ROWS).drop_columns("last_at"))


def test_a_pair_that_occurs_twice_is_refused(make):
    with pytest.raises(ValueError, match="row 5 occurs twice"):
        make([*ROWS, ("ann", "film:z", 1.0, 9)])


def test_an_item_in_two_domains_is_refused(make_table):
    table = make_table(ROWS).set_column(2, "domain", pa.array(["knowledge", "film", "film", "knowledge", "knowledge"]))
    with pytest.raises(ValueError, match="'film:b' occurs in two domains"):
        interactions_from_arrow(table)


def test_an_empty_platform_is_an_empty_range(make):
    found = make([row for row in ROWS if row[1].startswith("film")])
    assert len(found.domain_range("knowledge")) == 0
    assert not found.people_with_history("knowledge").any()


def test_nothing_at_all_is_an_empty_matrix(make):
    found = make([])
    assert found.shape == (0, 0)
    assert found.as_of == 0
    assert found.consumed().shape == (0, 0)


def test_an_unknown_domain_is_refused(make):
    with pytest.raises(ValueError, match="unknown domain 'music', known are film, knowledge"):
        make(ROWS).domain_range("music")


def test_a_matrix_that_does_not_fit_its_keys_is_refused(make):
    found = make([*ROWS, ("ann", "film:y", 1.0, 1), ("ann", "film:x", 1.0, 1)])
    with pytest.raises(ValueError, match="items x people"):
        type(found)(
            user_keys=found.item_keys,
            item_keys=found.user_keys,
            **{
                name: getattr(found, name)
                for name in (
                    "domains",
                    "domain_offsets",
                    "indptr",
                    "indices",
                    "weight",
                    "strength",
                    "is_consumed",
                    "last_at",
                )
            },
        )


@pytest.mark.parametrize("broken", ["weight", "domain_offsets"])
def test_arrays_that_do_not_belong_together_are_refused(make, broken):
    found = make(ROWS)
    with pytest.raises(ValueError, match=broken):
        dataclasses.replace(found, **{broken: getattr(found, broken)[:-1]})


def test_a_matrix_taken_out_can_be_changed_without_changing_the_interactions(make):
    found = make(ROWS)
    before = found.fingerprint()
    found.csr(found.weight.copy()).eliminate_zeros()
    assert found.fingerprint() == before
    with pytest.raises(ValueError, match="read-only"):
        found.weight[0] = 9


def test_rows_can_be_taken_in_any_order_with_strangers_between(make):
    found = make(ROWS)
    some = found.take(np.array([2, -1, 0]))
    assert some.user_keys.to_pylist() == ["cat", "", "ann"]
    assert some.csr(some.weight).toarray().tolist() == [[0, 0, 3], [0, 0, 0], [0, 1, 0]]
    assert found.positions_of_users(pa.array(["cat", "eve", "ann"])).tolist() == [2, -1, 0]


def test_without_a_strength_the_decay_of_the_weight_is_undone(make_table):
    table = make_table([("ann", "film:a", 1.0, 0), ("ann", "film:b", 4.0, 20)])
    assert interactions_from_arrow(table, half_life_days=10).strength.tolist() == [4, 4]
    assert interactions_from_arrow(table).strength.tolist() == [1, 4]


def test_an_old_rating_of_exactly_the_threshold_is_liked(make_table):
    weights = [3.75 * 2 ** (-age / 1095) for age in range(1000)]
    rows = [("ann", f"film:{age:04}", round(weight, 9), 1000 - age) for age, weight in enumerate(weights)]
    rows.append(("ann", "film:less", 3.7499, 1000))
    liked = interactions_from_arrow(make_table(rows), half_life_days=1095).liked(3.75)
    assert liked.tolist() == [True] * 1000 + [False]


def test_a_strength_that_comes_with_the_table_is_taken(make_table):
    table = make_table(ROWS).append_column("strength", pa.array([9.0, 8.0, 7.0, 6.0, 5.0]))
    assert interactions_from_arrow(table, half_life_days=10).strength.tolist() == [7, 8, 6, 9, 5]


def test_times_are_microseconds_since_1970_in_utc(make):
    assert make(ROWS).as_of == datetime(2024, 1, 6, tzinfo=UTC).timestamp() * 1_000_000


def test_people_and_items_without_an_entry_can_be_in_the_index(make_table):
    table = make_table([("ben", "film:b", 5.0, 0)])
    items = pa.table({"item_key": ["knowledge:z", "film:a"], "domain": ["knowledge", "film"]})
    world = interactions_from_arrow(table, users=pa.array(["cat", "ann"]), items=items)
    assert world.user_keys.to_pylist() == ["ann", "ben", "cat"]
    assert world.item_keys.to_pylist() == ["film:a", "film:b", "knowledge:z"]
    assert world.domain_range("knowledge") == range(2, 3)
    assert world.csr(world.weight).toarray().tolist() == [[0, 0, 0], [0, 5, 0], [0, 0, 0]]


def test_an_item_that_the_catalogue_puts_on_another_platform_is_refused(make_table):
    items = pa.table({"item_key": ["film:b"], "domain": ["knowledge"]})
    with pytest.raises(ValueError, match="occurs in two domains"):
        interactions_from_arrow(make_table([("ben", "film:b", 5.0, 0)]), items=items)


def test_traits_follow_their_people(make):
    world = make([("ann", "film:a", 1.0, 0), ("ben", "film:b", 1.0, 0)])
    world = world.with_traits(Traits(("country",), (("CN", "US"),), np.array([[0], [1]], np.int32)))
    assert world.take(np.array([1, -1, 0])).traits.codes[:, 0].tolist() == [1, -1, 0]
    assert world.where(np.array([False, True])).traits is world.traits


def test_traits_of_other_people_are_refused(make):
    world = make([("ann", "film:a", 1.0, 0)])
    with pytest.raises(ValueError, match="traits of 2 people for 1 user keys"):
        world.with_traits(Traits((), (), np.zeros((2, 0), np.int32)))


def test_the_fingerprint_knows_traits(make):
    world = make([("ann", "film:a", 1.0, 0)])
    known = world.with_traits(Traits(("country",), (("CN",),), np.array([[0]], np.int32)))
    assert known.fingerprint() != world.fingerprint()
