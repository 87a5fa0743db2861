"""Whether people were glad to have been reached: the panel of satisfaction by arm.

Holds how completion, return, refund, unsubscribing and ratings after a start become lifts. The start is when a person was found
eligible, the same for both arms, not when an exposure was shown: a held-out person has none. What counts as an event is decided
by the caller.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.lift import Lift
from models_ml.campaigns.means import difference_of_means, moments
from models_ml.campaigns.proportions import difference_of_shares

DAY = 86_400_000_000
# Days within which an event counts. A return is looked at three times: the next day, the week, the month.
WINDOWS = {"completion": (30,), "return": (1, 7, 30), "refund": (30,), "unsubscribe": (30,)}
RATING = "rating"


@dataclasses.dataclass(frozen=True, eq=False)
class Subjects:
    """The people of experiments; whoever is in two campaigns is two subjects.

    Attributes:
        start_at: When each was found eligible, microseconds since 1970, shape (subjects,).
        treated: Whether each is in the treatment arm, shape (subjects,).
        cell: Campaign (or campaign and segment) of each, 0 to cells - 1, shape (subjects,).
        cells: Number of cells.
    """

    start_at: NDArray[np.int64]
    treated: NDArray[np.bool_]
    cell: NDArray[np.integer]
    cells: int


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """What subjects did, in any order.

    Attributes:
        subject: Index of the subject of each event, shape (events,).
        at: When, microseconds since 1970, shape (events,).
        value: The rating, for ratings; None otherwise.
    """

    subject: NDArray[np.integer]
    at: NDArray[np.int64]
    value: NDArray[np.float64] | None = None


def panel(subjects: Subjects, events: Mapping[str, Events], observed_until: int) -> dict[str, Lift]:
    """Lift of each measure by cell.

    `completion_30d`, `return_1d`, `return_7d`, `return_30d`, `refund_30d` and `unsubscribe_30d` are shares of all subjects who
    have been followed for that long, so they are effects of the campaign. `rating` is the mean, over those who rated after the
    start, of each one's mean rating: who rates may depend on the arm, so it describes and does not prove.

    Args:
        subjects: The people of both arms.
        events: By kind, of `WINDOWS` and `rating`; a kind that is missing has no measure (it was not recorded, which is not zero).
        observed_until: Up to when events are known, microseconds since 1970.

    Returns:
        Measures in a fixed order, each a lift with shape (cells,).

    Raises:
        ValueError: If a kind is unknown, shapes differ, or ratings have no value.
    """
    unknown = set(events) - {*WINDOWS, RATING}
    if unknown:
        raise ValueError(f"unknown events {sorted(unknown)}: give any of {', '.join((*WINDOWS, RATING))}")
    if not subjects.start_at.shape == subjects.treated.shape == subjects.cell.shape:
        raise ValueError("each subject needs one start, one arm and one cell")
    found = {}
    for kind, windows in WINDOWS.items():
        if kind in events:
            first = first_after_start(subjects, events[kind])
            for days in windows:
                found[f"{kind}_{days}d"] = _share_within(subjects, first, days, observed_until)
    if RATING in events:
        found[RATING] = _mean_rating(subjects, events[RATING])
    return found


def first_after_start(subjects: Subjects, events: Events) -> NDArray[np.int64]:
    """Microseconds from the start to the first event after it, the largest integer if there is none, shape (subjects,)."""
    if events.subject.shape != events.at.shape:
        raise ValueError(
            f"each event needs one subject and one time: shapes {events.subject.shape} and {events.at.shape}"
        )
    since = events.at - subjects.start_at[events.subject]
    first = np.full(len(subjects.start_at), np.iinfo(np.int64).max)
    np.minimum.at(first, events.subject[since > 0], since[since > 0])
    return first


def _share_within(subjects: Subjects, first: NDArray[np.int64], days: int, observed_until: int) -> Lift:
    """Only subjects who were followed for the whole window count: those who did it early would be counted too often."""
    followed = subjects.start_at + days * DAY <= observed_until
    done = followed & (first <= days * DAY)

    def number(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(subjects.cell[which], minlength=subjects.cells)

    held_out = ~subjects.treated
    return difference_of_shares(
        number(done & held_out),
        number(followed & held_out),
        number(done & subjects.treated),
        number(followed & subjects.treated),
    )


def _mean_rating(subjects: Subjects, events: Events) -> Lift:
    """Each subject counts once, however many ratings they gave."""
    if events.value is None or events.value.shape != events.at.shape:
        raise ValueError("each rating needs a value")
    later = events.at > subjects.start_at[events.subject]
    rated = np.bincount(events.subject[later], minlength=len(subjects.start_at))
    total = np.bincount(events.subject[later], weights=events.value[later], minlength=len(subjects.start_at))
    arms = []
    for arm in (~subjects.treated, subjects.treated):
        who = arm & (rated > 0)
        arms.append(moments(total[who] / rated[who], subjects.cell[who], subjects.cells))
    return dataclasses.replace(difference_of_means(*arms), method="Welch, among those who rated")
