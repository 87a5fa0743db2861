"""Holdouts that stay the same: a salted hash decides who is never contacted.

Holds the draw of people by hash, for all campaigns together and for one, and the probability of being offered a contact, which is
stored with the decision. What the held out are compared with is left to the experiments' modules.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_BITS = 53


def hash_share(users: Iterable[str], salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) for each user, evenly spread, the same on every run and machine, unrelated between salts.

    The first 53 bits of a BLAKE2b digest keyed with the salt, over 2^53.

    Args:
        users: Stable keys of the users.
        salt: Names the draw, for instance `campaign/spring`; another salt is an independent draw. At most 64 bytes in UTF-8.

    Returns:
        Shape (users,), float64.

    Raises:
        ValueError: If the salt is empty or too long.

    Source: Kohavi et al., "Practical guide to controlled experiments on the web", KDD 2007 (assignment by hash).
    """
    key = salt.encode()
    if not 1 <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
        raise ValueError(f"a salt must have 1 to {hashlib.blake2b.MAX_KEY_SIZE} bytes, got {len(key)}")
    keyed = hashlib.blake2b(key=key, digest_size=8)
    digests = bytearray()
    for user in users:
        one = keyed.copy()
        one.update(user.encode())
        digests += one.digest()
    # Over 2^53, so that the largest number is still below 1 in float64.
    return (np.frombuffer(bytes(digests), ">u8") >> np.uint64(64 - _BITS)).astype(np.float64) / 2.0**_BITS


def held_out(users: Iterable[str], salt: str, share: float) -> NDArray[np.bool_]:
    """Whether each user is held out. A larger share keeps everybody who is held out by a smaller one.

    Args:
        users: Stable keys of the users.
        salt: Names the draw: one for the global holdout, another for each campaign.
        share: Share of people held out, in [0, 1).

    Raises:
        ValueError: If the share is out of range.
    """
    _check_share(share)
    return hash_share(users, salt) < share


def offer_probability(
    global_share: float, campaign_share: NDArray[np.float64], draw: NDArray[np.float64] | float = 1.0
) -> NDArray[np.float64]:
    """Probability with which randomisation lets a contact be offered: not held out globally, not by its campaign, and drawn.

    The two holdouts have salts of their own, so that they are independent.

    Args:
        global_share: Share of the global holdout, in [0, 1).
        campaign_share: Share of the holdout of each row's campaign, in [0, 1), shape (rows,).
        draw: Probability of the draw that made the row a candidate (`exploration`), in (0, 1], shape (rows,); 1 without.

    Returns:
        Shape (rows,).

    Raises:
        ValueError: If a share or probability is out of range.
    """
    _check_share(global_share)
    for share in (campaign_share.min(initial=0.0), campaign_share.max(initial=0.0)):
        _check_share(float(share))
    if not ((np.asarray(draw) > 0) & (np.asarray(draw) <= 1)).all():
        raise ValueError("the probability of a draw must be above 0 and at most 1")
    return np.asarray((1 - global_share) * (1 - campaign_share) * draw, np.float64)


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"a share must be at least 0 and less than 1, got {share}")
