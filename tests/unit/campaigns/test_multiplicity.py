import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from models_ml.campaigns.multiplicity import adjusted

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)


def test_holm_and_benjamini_hochberg_by_hand():
    given = [0.01, 0.04, 0.03]
    assert adjusted(given, "holm").tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert adjusted(given, "benjamini_hochberg").tolist() == pytest.approx([0.03, 0.04, 0.04])


@settings(deadline=None, max_examples=15)
@given(p_values=P_VALUES)
def test_both_agree_with_another_library(p_values):
    np.testing.assert_allclose(adjusted(p_values, "holm"), multipletests(p_values, method="holm")[1], atol=1e-12)
    np.testing.assert_allclose(adjusted(p_values, "benjamini_hochberg"), false_discovery_control(p_values), atol=1e-12)


@settings(deadline=None)
@given(p_values=P_VALUES, method=st.sampled_from(["holm", "benjamini_hochberg"]))
def test_adjusting_never_helps_and_keeps_the_order(p_values, method):
    found = adjusted(p_values, method)
    assert (found >= p_values - 1e-12).all()
    assert (found <= 1).all()
    assert (np.diff(found[np.argsort(p_values, kind="stable")]) >= -1e-12).all()


def test_a_test_that_was_not_made_does_not_count():
    found = adjusted([0.01, np.nan, 0.04], "holm")
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.04])
    assert np.isnan(found[1])
    assert np.isnan(adjusted([np.nan])).all()


def test_what_is_no_family_of_p_values_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        adjusted([1.2])
    with pytest.raises(ValueError, match="one-dimensional"):
        adjusted([[0.1]])
