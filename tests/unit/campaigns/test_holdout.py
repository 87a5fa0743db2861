import hashlib

import numpy as np
import pytest

from models_ml.campaigns.eligibility import CODES, eligibility_codes
from models_ml.campaigns.holdout import hash_share, held_out, offer_probability

USERS = [f"user-{number}" for number in range(20_000)]


def test_the_hash_is_blake2b_keyed_with_the_salt():
    digest = hashlib.blake2b(b"ada", key=b"salt", digest_size=8).digest()
    assert hash_share(["ada"], "salt")[0] == (int.from_bytes(digest, "big") >> 11) / 2**53


def test_shares_are_even_and_independent_between_salts():
    one, other = hash_share(USERS, "global"), hash_share(USERS, "campaign/1")
    assert one.min() >= 0
    assert one.max() < 1
    counts = np.histogram(one, 10, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


def test_a_person_stays_held_out_whoever_else_there_is_and_when_the_share_grows():
    few, many = held_out(USERS[:100], "global", 0.1), held_out(USERS, "global", 0.1)
    np.testing.assert_array_equal(few, many[:100])
    assert (held_out(USERS, "global", 0.2) >= many).all()
    assert not held_out(USERS, "global", 0.0).any()


@pytest.mark.parametrize("share", [-0.1, 1.0, np.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="a share must be"):
        held_out(USERS, "global", share)


@pytest.mark.parametrize("salt", ["", "x" * 65])
def test_a_salt_must_have_a_length_that_the_hash_takes(salt):
    with pytest.raises(ValueError, match="a salt must have"):
        hash_share(USERS, salt)


def test_the_offer_probability_is_that_of_both_holdouts_and_the_draw():
    found = offer_probability(0.1, np.array([0.0, 0.5]), np.array([1.0, 0.2]))
    np.testing.assert_allclose(found, [0.9, 0.09])


def test_the_first_reason_is_given():
    codes = eligibility_codes(
        3, {"campaign_holdout": np.array([1, 1, 0], bool), "no_consent": np.array([0, 1, 0], bool)}
    )
    assert [CODES[code] for code in codes] == ["campaign_holdout", "no_consent", "eligible"]


def test_an_unknown_reason_is_refused():
    with pytest.raises(ValueError, match="unknown reasons bad_mood"):
        eligibility_codes(1, {"bad_mood": np.array([True])})
