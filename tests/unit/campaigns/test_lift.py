import pytest

from models_ml.campaigns.lift import check_level
from models_ml.campaigns.proportions import difference_of_shares


def test_a_table_of_lifts_has_null_and_a_reason_where_nothing_is_known():
    table = difference_of_shares([1, 0], [10, 0], [3, 2], [10, 5]).table()
    assert table.num_rows == 2
    row = table.to_pylist()[1]
    assert row["reason"] == "nobody in an arm"
    assert [row[name] for name in ("control", "difference", "low", "high", "p_value")] == [None] * 5
    assert (row["treatment"], row["people_control"], row["people_treatment"]) == (0.4, 0, 5)
    first = table.to_pylist()[0]
    assert first["reason"] is None
    assert first["difference"] == pytest.approx(0.2)
    assert first["method"] == "Newcombe, hybrid score"


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_that_is_no_level_is_refused(level):
    with pytest.raises(ValueError, match="confidence level"):
        check_level(level)
