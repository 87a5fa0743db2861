import numpy as np
import pyarrow as pa
import pytest

from models_ml.traits import Traits, traits_from_arrow

KEYS = pa.array(["ann", "ben", "cat", "dan"])
TABLE = pa.table(
    {
        "user_key": ["cat", "ann", "ben", "eve"],
        "country": ["CN", "US", None, "FR"],
        "birth_decade": pa.array([1990, 1980, 1990, 1970], pa.int32()),
    }
)


def test_traits_stand_in_the_order_of_the_people_and_codes_in_the_order_of_values():
    traits = traits_from_arrow(TABLE, KEYS, ["country", "birth_decade"])
    assert traits.values == (("CN", "US"), ("1980", "1990"))
    assert traits.codes.tolist() == [[1, 0], [-1, 1], [0, 1], [-1, -1]]


def test_a_stranger_has_no_traits():
    traits = traits_from_arrow(TABLE, KEYS, ["country"])
    assert traits.take(np.array([2, -1, 0])).codes.tolist() == [[0], [-1], [1]]


def test_a_second_row_for_a_person_is_refused():
    with pytest.raises(ValueError, match="two rows for one user_key"):
        traits_from_arrow(pa.concat_tables([TABLE, TABLE]), KEYS, ["country"])


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"lacks the column\(s\) device"):
        traits_from_arrow(TABLE, KEYS, ["country", "device"])


def test_codes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="one column and one list for each trait"):
        Traits(("country",), (("CN",),), np.zeros((3, 2), np.int32))


def test_the_fingerprint_knows_every_value():
    one = traits_from_arrow(TABLE, KEYS, ["country"])
    assert one.fingerprint() == traits_from_arrow(TABLE, KEYS, ["country"]).fingerprint()
    assert one.fingerprint() != one.take(np.array([0, 0, 2, 3])).fingerprint()
    assert one.fingerprint() != Traits(("region",), one.values, one.codes).fingerprint()
