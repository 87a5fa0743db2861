"""Contacts that are made to learn: what an explored person is offered is drawn, with probabilities that are kept.

Holds Thompson sampling over campaigns whose effect is uncertain, the draw itself, and both together. Without them a campaign that
does not seem to pay would never be tried, and what is believed of it never be corrected. Who is explored is decided by the caller
(`holdout`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.float64]

# Sums of probabilities may be this far above 1 by rounding.
_ROUNDING = 1e-9
# How many contacts of its own tell as much of a campaign as what its kind and its people's scores let expect; and the least number
# of answers that an estimate is taken to rest on, so that what is drawn for exploration stays of a size that can be true.
CONTACTS_OF_A_GUESS, _LEAST_ANSWERS = 200.0, 0.5


def explore(
    person: Ints,
    campaign: Ints,
    value: Floats,
    cost: Floats,
    p_conversion: Floats,
    contacts: Floats,
    explored: NDArray[np.bool_],
    share: float,
    seed: Sequence[int],
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """What every candidate is worth after cost, and which ones exploration leaves.

    The estimate of a campaign rests on as many answers as `CONTACTS_OF_A_GUESS` contacts and those that it has had let expect, at
    the mean probability of a conversion over its rows.

    Args:
        person: Person of each row, shape (rows,).
        campaign: Campaign of each row, same shape.
        value: Expected value of each row before cost, same shape.
        cost: Cost of each row, same shape.
        p_conversion: Probability of a conversion of each row if contacted, same shape.
        contacts: Contacts of each campaign that answers may have come to, shape (campaigns,).
        explored: Whether each person is explored, shape (people,).
        share: Probability with which a person is explored, in [0, 1).
        seed: Of the draws.

    Returns:
        Value after cost, of a row that was drawn what it was where it won; whether each row is kept; and its probability of being
        kept, as in `exploration_draw`. Shape (rows,).
    """
    campaigns = len(contacts)
    rate = np.bincount(campaign, p_conversion, campaigns) / np.maximum(np.bincount(campaign, minlength=campaigns), 1)
    answers = np.maximum(rate * (CONTACTS_OF_A_GUESS + contacts), _LEAST_ANSWERS)
    at = np.flatnonzero(explored[person])
    probability, won = np.zeros(len(person)), np.zeros(len(person))
    probability[at], won[at] = thompson_probabilities(person[at], campaign[at], value[at], cost[at], answers, seed=seed)
    kept, draw = exploration_draw(person, probability, explored, share, [*seed, 1])
    return np.where(kept & explored[person], won, value - cost), kept, draw


def thompson_probabilities(
    person: Ints,
    campaign: Ints,
    value: Floats,
    cost: Floats,
    answers: Floats,
    *,
    draws: int = 400,
    seed: int | Sequence[int] = 0,
) -> tuple[Floats, Floats]:
    """How likely each row is to be a person's best contact, and to be worth its cost, while values are uncertain.

    A campaign's values are known up to one factor, which has the posterior of a Poisson rate that was seen `answers` times:
    Gamma(answers) / answers, with mean 1. In each draw of all factors the row of a person that leaves most after cost wins, if that
    is above 0. Few answers make a wide posterior, in which even a campaign that does not pay on average often does.

    Args:
        person: Person of each row, shape (rows,).
        campaign: Campaign of each row, same shape.
        value: Expected value of each row before cost, same shape; one below 0 never wins.
        cost: Cost of each row, same shape.
        answers: Answers that the estimate of each campaign rests on, > 0, shape (campaigns,).
        draws: Number of draws; the standard error of a probability is at most 0.5 / sqrt(draws).
        seed: Of the draws.

    Returns:
        Share of draws that each row wins; of a person these add up to at most 1, and what is missing is the probability that no
        contact is worth its cost. And the mean of what a row leaves after cost in those draws, 0 where it wins none. Shape (rows,).

    Raises:
        ValueError: If answers are not positive or there is no draw.

    Source: Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 25, 1933; Chapelle and Li, "An
    empirical evaluation of Thompson sampling", NeurIPS 2011.
    """
    if draws < 1:
        raise ValueError(f"at least one draw is needed, got {draws}")
    if not (np.isfinite(answers) & (answers > 0)).all():
        raise ValueError("answers must be positive and finite")
    order = np.argsort(person, kind="stable")
    of, worth, price = campaign[order], value[order], cost[order]
    first = np.flatnonzero(np.diff(person[order], prepend=-1))
    lengths = np.diff(first, append=len(order))
    wins, left = np.zeros(len(order)), np.zeros(len(order))
    random = np.random.default_rng(seed)
    for _ in range(draws if len(order) else 0):
        factor = random.gamma(answers) / answers
        net = worth * factor[of] - price
        best = np.repeat(np.maximum.reduceat(net, first), lengths)
        winner = np.flatnonzero((net == best) & (net > 0))
        # Of equal rows of a person the first one wins.
        winner = winner[np.diff(person[order[winner]], prepend=-1) != 0]
        wins[winner] += 1
        left[winner] += net[winner]
    share, mean = np.zeros(len(order)), np.zeros(len(order))
    share[order] = wins / draws
    mean[order] = np.divide(left, wins, out=np.zeros(len(order)), where=wins > 0)
    return share, mean


def exploration_draw(
    person: Ints, probability: Floats, explored: NDArray[np.bool_], share: float, seed: int | Sequence[int]
) -> tuple[NDArray[np.bool_], Floats]:
    """Leaves explored people one candidate or none, drawn with known probabilities; all rows of the others are kept.

    The probability of a row joins both draws: whether a person is explored, and which row. Given the group it is exact, so that
    off-policy evaluation weighs explored rows by it.

    Args:
        person: Person of each row, shape (rows,).
        probability: Probability of each row of an explored person, >= 0, of a person at most 1 together; shape (rows,).
        explored: Whether each person is explored, shape (people,), for instance `held_out(users, "explore/week", share)`.
        share: Probability with which a person is explored, in [0, 1).
        seed: Of the draw.

    Returns:
        Whether each row is kept, and its probability of being kept: `share` times that of the draw if the person is explored, 1 -
        `share` if not; shape (rows,).

    Raises:
        ValueError: If a probability is negative or not finite, a person's add up to more than 1, or the share is out of range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"a share must be at least 0 and less than 1, got {share}")
    if not (np.isfinite(probability) & (probability >= 0)).all():
        raise ValueError("probabilities of the draw must be finite and at least 0")
    mine = np.where(explored[person], probability, 0.0)
    if (np.bincount(person, mine, len(explored)) > 1 + _ROUNDING).any():
        raise ValueError("probabilities of a person's draw add up to more than 1")
    order = np.argsort(person, kind="stable")
    upper = np.cumsum(mine[order])
    begins = np.flatnonzero(np.diff(person[order], prepend=-1))
    before = np.repeat((upper - mine[order])[begins], np.diff(begins, append=len(order)))
    lot = np.random.default_rng(seed).random(len(explored))[person[order]]
    drawn = np.zeros(len(person), bool)
    drawn[order] = (lot >= upper - mine[order] - before) & (lot < upper - before) & (mine[order] > 0)
    return np.where(explored[person], drawn, True), np.where(explored[person], share * probability, 1 - share)
