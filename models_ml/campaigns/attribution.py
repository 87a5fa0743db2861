"""Which exposures a conversion is credited to.

Holds the rules (last, linear, position-based) and the look-back window. Credit says what came before a conversion, not what
caused it: that is a lift (`proportions`, `means`), and both are shown side by side. Only exposures that were shown belong here;
records of held-out people do not.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

# What a position-based rule gives the first and the last exposure; those between share the rest.
ENDS = (0.4, 0.4)
RULES = ("last", "linear", "position")


@dataclasses.dataclass(frozen=True, eq=False)
class Attribution:
    """Credit of each exposure for each conversion, sorted by conversion and then by time.

    Attributes:
        conversion: Position of the conversion among those given, shape (credits,).
        exposure: Position of the exposure among those given, shape (credits,).
        last: Weight when the last exposure gets everything, shape (credits,); each rule's weights sum to 1 per conversion.
        linear: Weight when all exposures in the window share alike.
        position: Weight when the first and the last get 40 % each and the others share 20 %; of two, half each.
        unattributed: Positions of the conversions without an exposure in the window, ascending: they are in no credit, and belong
            in a report as such.
    """

    conversion: NDArray[np.int64]
    exposure: NDArray[np.int64]
    last: NDArray[np.float64]
    linear: NDArray[np.float64]
    position: NDArray[np.float64]
    unattributed: NDArray[np.int64]


def attribute(
    conversion_person: NDArray[np.integer],
    conversion_at: NDArray[np.integer],
    exposure_person: NDArray[np.integer],
    exposure_at: NDArray[np.integer],
    *,
    window: int,
    ends: tuple[float, float] = ENDS,
) -> Attribution:
    """Credits each conversion to the exposures of the same person in the window before it.

    An exposure counts if conversion - window <= exposure <= conversion. Exposures at one time keep the order in which they are
    given. Memory is about 64 bytes for each credit, which are at most conversions x exposures of a person.

    Args:
        conversion_person: Person of each conversion, an index >= 0, shape (conversions,).
        conversion_at: Time of each conversion, whole numbers in any unit, same shape.
        exposure_person: Person of each exposure, shape (exposures,).
        exposure_at: Time of each exposure in the same unit, same shape.
        window: Length of the look-back in that unit, >= 0.
        ends: Shares of the first and of the last exposure in the position-based rule, together at most 1.

    Raises:
        ValueError: If shapes differ, a person is negative, the window is negative or the shares of the ends are out of range.
    """
    _check(conversion_person, conversion_at, "conversion")
    _check(exposure_person, exposure_at, "exposure")
    if window < 0:
        raise ValueError(f"the look-back window must be at least 0, got {window}")
    first_share, last_share = ends
    if min(ends) < 0 or not 0 < first_share + last_share <= 1:
        raise ValueError(
            f"the shares of the first and last exposure must be at least 0 and at most 1 together, got {ends}"
        )

    times, rank_of_time = np.unique(exposure_at, return_inverse=True)
    people, rank_of_person = np.unique(exposure_person, return_inverse=True)
    # Person and time as one number that sorts like the pair: with the rank of a time, since times themselves would overflow.
    step = len(times) + 1
    keys = rank_of_person * step + rank_of_time
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    place = np.searchsorted(people, conversion_person)
    known = place < len(people)
    known[known] = people[place[known]] == conversion_person[known]
    at = np.asarray(conversion_at, dtype=np.int64)
    start = np.searchsorted(keys, place * step + np.searchsorted(times, at - window, side="left"))
    stop = np.searchsorted(keys, place * step + np.searchsorted(times, at, side="right"))
    touches = np.where(known, stop - start, 0)

    conversion = np.repeat(np.arange(len(at), dtype=np.int64), touches)
    total = touches[conversion]
    rank = np.arange(len(conversion), dtype=np.int64) - np.repeat(np.cumsum(touches) - touches, touches)
    first, last = rank == 0, rank == total - 1
    middle = (1 - first_share - last_share) / np.maximum(total - 2, 1)
    position = np.select([first, last], [first_share, last_share], default=middle)
    two = total == 2
    position[two] /= first_share + last_share
    position[total == 1] = 1.0
    return Attribution(
        conversion=conversion,
        exposure=order[np.repeat(start, touches) + rank],
        last=last.astype(np.float64),
        linear=1 / total,
        position=position,
        unattributed=np.flatnonzero(touches == 0),
    )


def credit(
    found: Attribution,
    rule: str,
    group: NDArray[np.integer],
    groups: int,
    value: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Credited conversions, or their credited value, by group of exposures.

    Args:
        found: From `attribute`.
        rule: One of `RULES`.
        group: Group of each exposure (its campaign, channel, day), 0 to groups - 1, shape (exposures,).
        groups: Number of groups.
        value: Value of each conversion, shape (conversions,); without it each counts 1.

    Returns:
        Shape (groups,); its sum is that of the conversions that have an exposure.

    Raises:
        ValueError: If the rule is unknown.
    """
    if rule not in RULES:
        raise ValueError(f"unknown attribution rule {rule!r}: one of {', '.join(RULES)}")
    weight = getattr(found, rule)
    if value is not None:
        weight = weight * value[found.conversion]
    total: NDArray[np.float64] = np.bincount(group[found.exposure], weights=weight, minlength=groups).astype(np.float64)
    return total


def _check(person: NDArray[np.integer], at: NDArray[np.integer], what: str) -> None:
    if person.ndim != 1 or person.shape != at.shape:
        raise ValueError(f"one {what} needs one person and one time: shapes {person.shape} and {at.shape}")
    if not (np.issubdtype(person.dtype, np.integer) and np.issubdtype(at.dtype, np.integer)):
        raise ValueError(f"people and times of {what}s must be whole numbers, got {person.dtype} and {at.dtype}")
