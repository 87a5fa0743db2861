"""What is assumed of contacts, and how much of it gives way to what was measured.

Holds the place of a recommendation score among those of its campaign, the shaping of measured rates by it, the share of conversions
that contact causes, and fatigue.
Which of these a value rests on in the end, and what is learnt instead, is decided in `valuation`; where the rates come from,
by the caller (`posterior`).

Memory: about 60 bytes for each row beside the arguments.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from models_ml.campaigns.learners import Flags, Floats
from models_ml.campaigns.score_prior import ScorePriorConfig, prior_from_shares

# Room left at 0 and 1, so that the logarithm of the odds is finite.
_EDGE = 1e-9
_MOST_STEPS = 60


def score_shares(campaign: NDArray[np.integer], score: Floats, campaigns: int) -> Floats:
    """Share of a campaign's rows with a lower score, ties counted half; NaN where no row of the campaign has a score.

    Args:
        campaign: Campaign of each row, shape (rows,).
        score: Recommendation score; NaN where the person's list does not name the item, which is then below any that a list names;
            shape (rows,).
        campaigns: Number of campaigns.
    """
    share = np.full(len(campaign), np.nan)
    for one in range(campaigns):
        at = np.flatnonzero(campaign == one)
        known = np.where(np.isnan(score[at]), -np.inf, score[at])
        if not np.isfinite(known).any():
            continue
        ordered = np.sort(known)
        below, not_above = np.searchsorted(ordered, known), np.searchsorted(ordered, known, "right")
        share[at] = (below + not_above) / 2 / len(at)
    return share


def curve_of_shares(shares_below: Floats, curve: ScorePriorConfig) -> Floats:
    """Log odds by the place of a score, up to a constant; NaN where there is no score.

    Args:
        shares_below: Share of scores that are lower, in [0, 1], or NaN; shape (rows,).
        curve: Only the shape and the distance between its ends count.
    """
    found = np.full(len(shares_below), np.nan)
    scored = np.isfinite(shares_below)
    found[scored] = logit(prior_from_shares(shares_below[scored], curve))
    return found


def cell_shifts(log_odds: Floats, cell: NDArray[np.integer], rates: Floats) -> Floats:
    """What to add to log odds so that the mean probability of the rows of each cell is the cell's rate.

    Args:
        log_odds: From `curve_of_shares`, shape (rows,); rows of NaN do not count.
        cell: Cell of each row, in 0 .. cells - 1, shape (rows,).
        rates: Rate of each cell, in (0, 1), shape (cells,).

    Returns:
        Shape (cells,); NaN for a cell without rows.
    """
    scored = np.isfinite(log_odds)
    log_odds, cell, cells = log_odds[scored], cell[scored], len(rates)
    rows = np.bincount(cell, minlength=cells).astype(np.float64)
    present = rows > 0
    if not present.any():
        return np.full(cells, np.nan)
    # The probabilities of all rows are below the rate at the lower end and above it at the upper one.
    low, high = logit(rates) - log_odds.max(), logit(rates) - log_odds.min()
    shift = np.where(present, (low + high) / 2, 0.0)
    for _ in range(_MOST_STEPS):
        probability = expit(log_odds + shift[cell])
        mean = np.bincount(cell, probability, cells) / np.maximum(rows, 1)
        away = np.where(present, mean - rates, 0.0)
        if (np.abs(away) <= 1e-12 * rates).all():
            break
        high, low = np.where(away > 0, shift, high), np.where(away < 0, shift, low)
        slope = np.bincount(cell, probability * (1 - probability), cells) / np.maximum(rows, 1)
        step = shift - np.divide(away, slope, out=np.zeros(cells), where=slope > 0)
        # Newton's step, or half the bracket where it would leave it.
        shift = np.where((step > low) & (step < high), step, (low + high) / 2)
    return np.where(present, shift, np.nan)


def shaped_rates(log_odds: Floats, cell: NDArray[np.integer], rates: Floats, shifts: Floats) -> Floats:
    """Probability of each row: its cell's rate, higher where the score is higher.

    A row without a score has the rate itself, and so has a row of a cell without a shift.

    Args:
        log_odds: From `curve_of_shares`, shape (rows,).
        cell: Cell of each row, shape (rows,).
        rates: Rate of each cell, shape (cells,).
        shifts: From `cell_shifts`, shape (cells,).
    """
    shaped = expit(log_odds + shifts[cell])
    return np.asarray(np.clip(np.where(np.isfinite(shaped), shaped, rates[cell]), _EDGE, 1 - _EDGE))


def incremental_shares(
    group: NDArray[np.integer],
    groups: int,
    stratum: NDArray[np.integer],
    treated: Flags,
    converted: Flags,
    *,
    prior: float,
    weight: float,
    group_weight: float,
) -> Floats:
    """Share of the conversions of contacted people that contact causes, (treated - control) / treated, for each group.

    What is estimated is the ratio of the rates without and with contact. It is that of Mantel and Haenszel over strata,
    numerator and denominator with the prior added as if it had been seen in `weight` conversions:

        ratio = (weight x (1 - prior) + sum of Xc Nt / N) / (weight + sum of Xt Nc / N)

    with conversions X and rows N of the arms of a stratum, which is the posterior mean under a gamma prior if conversions of
    the held out are Poisson. First for all groups together, then for each with the share of all for its prior. Pooling within
    strata only: arms of campaigns with different holdouts are not compared with one another.

    Args:
        group: Group of each row (the kind), in 0 .. groups - 1, shape (rows,).
        groups: Number of groups.
        stratum: Rows whose arms were drawn with the same probability (the campaign), shape (rows,).
        treated: Whether the lot said contact, shape (rows,).
        converted: Whether there was a conversion, shape (rows,).
        prior: Share that is assumed, in [0, 1].
        weight: Conversions expected without contact after which what was seen counts as much as the prior, > 0.
        group_weight: The same for what was seen of a group against the share of all, > 0.

    Returns:
        Shape (groups,), in [0, 1].

    Source: Mantel and Haenszel, "Statistical aspects of the analysis of data from retrospective studies of disease", JNCI
    1959; the ratio of risks: Rothman, Greenland and Lash, "Modern Epidemiology", 2008, chapter 15.
    """
    if not 0 <= prior <= 1 or not 0 < weight < np.inf or not 0 < group_weight < np.inf:
        raise ValueError(
            f"prior must be in [0, 1], weights positive and finite, got {prior}, {weight} and {group_weight}"
        )
    _, at, number = np.unique(np.column_stack([group, stratum]), axis=0, return_index=True, return_inverse=True)
    number = number.ravel()

    def count(rows: Flags) -> Floats:
        return np.bincount(number[rows], minlength=len(at)).astype(np.float64)

    people_treated, people_control = count(treated), count(~treated)
    people = people_treated + people_control
    seen = count(converted & ~treated) * people_treated / people
    expected = count(converted & treated) * people_control / people
    ratio = (weight * (1 - prior) + seen.sum()) / (weight + expected.sum())
    # The prior of a group stays a share: a ratio above 1 would otherwise be passed on to groups that were never measured.
    ratio = min(ratio, 1.0)
    of = group[at]
    ratios = (group_weight * ratio + np.bincount(of, seen, groups)) / (group_weight + np.bincount(of, expected, groups))
    return np.asarray(np.clip(1 - ratios, 0.0, 1.0))


def fatigue_factor(recent_contacts: NDArray[np.integer], keeps: float) -> Floats:
    """What is left of the effect of a contact after recent ones, keeps^contacts but never quite 0, shape (rows,)."""
    return np.asarray(np.maximum(keeps ** recent_contacts.astype(np.float64), _EDGE))


def fatigue_of_conversions(share: Floats, factor: Floats) -> tuple[Floats, Floats]:
    """What fatigue leaves of the probability of a conversion with contact, and the share of what is left that contact causes.

    Fatigue takes from what contact causes and leaves what would have happened anyway: with the share a of rested people and
    the factor f, 1 - a + a f of the probability is left, and a f / (1 - a + a f) of that is caused.

    Args:
        share: Share of the conversions of rested people that contact causes, in [0, 1], shape (rows,).
        factor: From `fatigue_factor`, shape (rows,).
    """
    left = 1 - share + share * factor
    return left, share * factor / left
