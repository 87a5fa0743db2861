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
        draw: Probability of the draw that made the row a candidate (`exploration_draw`), in (0, 1], shape (rows,); 1 without.

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


def exploration_draw(
    person: NDArray[np.integer], weight: NDArray[np.float64], explored: NDArray[np.bool_], share: float, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Leaves explored people one candidate each, drawn with known probabilities.

    An explored person's row is kept with probability proportional to its weight, for instance the probability that it is the best
    one under the posterior (Thompson sampling); all rows of the others are kept. The probability of a row joins both draws: whether
    a person is explored, and which row. Given the group it is exact, so that off-policy evaluation weighs explored rows by it.

    Args:
        person: Person of each row, shape (rows,).
        weight: Weight of each row, >= 0; rows of weight 0 are not drawn. A person whose rows all have weight 0 is not contacted.
        explored: Whether each person is explored, shape (people,), for instance `held_out(users, "explore/week", share)`.
        share: Probability with which a person is explored, in [0, 1).
        seed: Of the draw.

    Returns:
        Whether each row is kept, and its probability of being kept: `share` times that of the draw if the person is explored, 1 -
        `share` if not; shape (rows,).

    Raises:
        ValueError: If a weight is negative or not finite, or the share is out of range.

    Source: Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 25, 1933; the draw by exponential
    races: Efraimidis and Spirakis, Information Processing Letters 97, 2006.
    """
    _check_share(share)
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("weights of the draw must be finite and at least 0")
    total = np.bincount(person, weight, len(explored))[person]
    drawn_with = np.divide(weight, total, out=np.zeros(len(weight)), where=total > 0)
    race = np.full(len(weight), np.inf)
    arrivals = np.random.default_rng(seed).exponential(size=len(weight))
    np.divide(arrivals, weight, out=race, where=weight > 0)
    order = np.lexsort((race, person))
    first = order[np.diff(person[order], prepend=-1) != 0]
    wins = np.zeros(len(weight), bool)
    wins[first] = np.isfinite(race[first])
    kept = np.where(explored[person], wins, True)
    return kept, np.where(explored[person], share * drawn_with, 1 - share)


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"a share must be at least 0 and less than 1, got {share}")
