"""Whether the arms have the sizes that they were meant to have.

Holds the chi-square check of the sample ratio. A mismatch means that people were lost or counted in one arm more than in
another, and then no lift of that experiment is to be believed; what is done about it is the caller's.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

# Low on purpose: the check is made for every campaign every day, and an alarm stops a result.
ALARM_BELOW = 0.001


@dataclasses.dataclass(frozen=True, eq=False)
class SampleRatio:
    """Sizes of arms beside the planned ones, one entry for each cell.

    Attributes:
        people: Number of people by arm, shape (cells, arms).
        expected: Number that the planned shares give, same shape.
        p_value: Of sizes at least as far off by chance, shape (cells,); NaN where there is nobody.
        alarm: Whether the p-value is below 0.001, shape (cells,); False where there is nobody.
    """

    people: NDArray[np.int64]
    expected: NDArray[np.float64]
    p_value: NDArray[np.float64]
    alarm: NDArray[np.bool_]


def sample_ratio(people: ArrayLike, shares: ArrayLike) -> SampleRatio:
    """Pearson's chi-square test of the sizes of two or more arms.

    It is an approximation below about five expected people in an arm; at p < 0.001 it then errs towards an alarm.

    Args:
        people: Number of people by arm as they were randomised (not as they were reached), shape (cells, arms) or (arms,).
        shares: Planned share of each arm, > 0, any scale, shape (arms,) or (cells, arms).

    Raises:
        ValueError: If there are fewer than two arms, a size is not a whole number, or a share is not positive.

    Source: Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019.
    """
    sizes = np.atleast_2d(np.asarray(people, dtype=np.float64))
    planned = np.broadcast_to(np.asarray(shares, dtype=np.float64), sizes.shape)
    if sizes.shape[1] < 2:
        raise ValueError("a sample ratio needs at least two arms, one column for each")
    if not (np.isfinite(sizes).all() and (sizes >= 0).all() and (sizes == np.floor(sizes)).all()):
        raise ValueError("sizes of arms must be whole numbers of people, 0 where there is nobody")
    if not (np.isfinite(planned).all() and (planned > 0).all()):
        raise ValueError("planned shares must be positive: leave out an arm that nobody was meant to be in")
    expected = planned / planned.sum(axis=1, keepdims=True) * sizes.sum(axis=1, keepdims=True)
    p_value = np.full(len(sizes), np.nan)
    some = sizes.sum(axis=1) > 0
    if some.any():
        p_value[some] = stats.chisquare(sizes[some], expected[some], axis=1).pvalue
    with np.errstate(invalid="ignore"):
        return SampleRatio(sizes.astype(np.int64), expected, p_value, p_value < ALARM_BELOW)
