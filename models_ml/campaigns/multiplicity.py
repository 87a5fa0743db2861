"""Many lifts at once: which of them still count.

Holds the adjustment of p-values over the campaigns (or segments, or outcomes) of one report. Which tests make up a family is
decided by the caller.
"""

from typing import Literal, assert_never

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests

from models_ml.bootstrap import holm

Method = Literal["holm", "benjamini_hochberg"]


def adjusted(p_values: ArrayLike, method: Method = "holm") -> NDArray[np.float64]:
    """P-values of one family, adjusted for their number.

    Holm: rejecting those below a keeps the chance of any false one below a, whatever depends on what. Benjamini-Hochberg:
    it keeps the expected share of false ones among the rejected below a, if tests are independent or positively dependent.

    Args:
        p_values: Shape (tests,); NaN for a test that could not be made, which does not count.
        method: `holm` where each claim must stand, `benjamini_hochberg` where a list may hold some false ones.

    Returns:
        Shape (tests,), each at least what it was and at most 1; NaN stays NaN.

    Raises:
        ValueError: If a p-value is outside [0, 1].

    Source: Holm, Scandinavian Journal of Statistics 1979; Benjamini and Hochberg, Journal of the Royal Statistical Society B 1995.
    """
    given = np.asarray(p_values, dtype=np.float64)
    if given.ndim != 1:
        raise ValueError(f"p-values of one family must be one-dimensional, got shape {given.shape}")
    made = ~np.isnan(given)
    if ((given[made] < 0) | (given[made] > 1)).any():
        raise ValueError("p-values must be in [0, 1]")
    found = np.full(given.shape, np.nan)
    if not made.any():
        return found
    match method:
        case "holm":
            found[made] = holm(given[made][:, None])[:, 0]
        case "benjamini_hochberg":
            found[made] = multipletests(given[made], method="fdr_bh")[1]
        case _:
            assert_never(method)
    return found
