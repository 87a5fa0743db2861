"""Contact caps as windows over the places (day and channel) of a plan.

Holds the translation of caps and earlier contacts into the few windows that matter, each with the contacts that every person has
left in it. "One contact per person, day and channel" is such a window too. Who gets the contacts is left to the solvers.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from models_ml.campaigns.allocation_problem import ContactCap, Problem

_PLENTY = 30_000


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Sets of places in which a person can be contacted only so often.

    A place is `day * channels + channel`.

    Attributes:
        covers: Whether a window holds a place, shape (windows, places).
        left: Contacts left in each window for each person, shape (windows + 1, people), int16; the last row never runs out.
        of_place: Windows of each place, padded with the row that never runs out, shape (places, most windows of a place).
        laminar: Whether any two windows are nested or apart. Then taking a person's best contacts one after the other is exact,
            because the choices are the independent sets of a laminar matroid.
    """

    covers: NDArray[np.bool_]
    left: NDArray[np.int16]
    of_place: NDArray[np.int64]
    laminar: bool


def contact_windows(problem: Problem) -> Windows:
    """The windows of a problem without those that another one makes superfluous.

    Windows over the same places are merged into the tighter one per person, and a window inside one that leaves nobody more
    contacts is dropped. Memory: 2 bytes x windows x people.
    """
    places = problem.days * problem.channels
    day, channel = np.divmod(np.arange(places), problem.channels)
    caps = (*problem.limits.caps, *(ContactCap(1, 1, (one,)) for one in range(problem.channels)))
    left_of: dict[bytes, NDArray[np.int16]] = {}
    for cap in caps:
        of_channel = cap.covers(channel)
        for first in range(1 - cap.window_days, problem.days):
            covers = of_channel & (day >= first) & (day < first + cap.window_days)
            left = _left(problem, cap, first)
            known = left_of.get(covers.tobytes())
            left_of[covers.tobytes()] = left if known is None else np.minimum(known, left)
    covers = np.array([np.frombuffer(key, bool) for key in left_of]).reshape(-1, places)
    lefts = list(left_of.values())
    kept = _needed(covers, lefts)
    left = np.full((len(kept) + 1, problem.people), _PLENTY, np.int16)
    for row, window in enumerate(kept):
        left[row] = lefts[window]
    covers = covers[kept]
    width = int(covers.sum(axis=0).max(initial=0))
    of_place = np.full((places, width), len(kept), np.int64)
    for place in range(places):
        inside = np.flatnonzero(covers[:, place])
        of_place[place, : len(inside)] = inside
    return Windows(covers, left, of_place, _is_laminar(covers))


def _left(problem: Problem, cap: ContactCap, first: int) -> NDArray[np.int16]:
    """Contacts left in a window; one number for everybody if nobody had any before, else shape (people,)."""
    most = min(cap.most, _PLENTY)
    if problem.earlier is not None:
        inside = (problem.earlier.day >= first) & (problem.earlier.day < first + cap.window_days)
        inside &= cap.covers(problem.earlier.channel)
        if inside.any():
            made = np.bincount(problem.earlier.person[inside], minlength=problem.people)
            return np.maximum(most - made, 0).astype(np.int16)
    return np.array([most], np.int16)


def _needed(covers: NDArray[np.bool_], lefts: list[NDArray[np.int16]]) -> list[int]:
    size = covers.sum(axis=1)
    tightest = np.array([left.min(initial=_PLENTY) for left in lefts])
    loosest = np.array([left.max(initial=0) for left in lefts])
    kept: list[int] = []
    for window in np.argsort(-size, kind="stable"):
        if size[window] > 1 and tightest[window] >= size[window]:
            continue
        around = [other for other in kept if not (covers[window] & ~covers[other]).any()]
        if any(loosest[other] <= tightest[window] for other in around):
            continue
        kept.append(int(window))
    return kept


def _is_laminar(covers: NDArray[np.bool_]) -> bool:
    sizes = covers.sum(axis=1)
    both = covers.astype(np.int64) @ covers.T.astype(np.int64)
    return bool(((both == 0) | (both == np.minimum(sizes[:, None], sizes[None, :]))).all())
