"""Who may be contacted at all, with the reason for everybody who may not.

Holds the order of the reasons and the choice of the first one that applies. The facts themselves (consent at the time, what was
dismissed, who converted) are looked up by the caller; being eligible and not chosen is `allocation`'s to explain.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ELIGIBLE = "eligible"
# In the order in which they are given: what the law and the person decided first, then the experiment, then the campaign.
EXCLUSIONS = (
    "erased",
    "no_consent",
    "unsubscribed",
    "no_account",
    "outside_segment",
    "already_converted",
    "dismissed",
    "global_holdout",
    "campaign_holdout",
    "item_not_available",
    "campaign_not_active",
)
CODES = (ELIGIBLE, *EXCLUSIONS)


def eligibility_codes(rows: int, excluded: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.int8]:
    """The first reason against each row.

    Holdouts come after everything that the person or the past decides: who is held out would have been contacted but for the
    draw, so that those held out and the eligible are comparable.

    Args:
        rows: Number of rows (person and campaign, or finer).
        excluded: Whether each reason applies, by name from `EXCLUSIONS`, each of shape (rows,). Absent reasons apply to nobody.

    Returns:
        Index into `CODES`, shape (rows,), int8; 0 is eligible.

    Raises:
        ValueError: If a reason is unknown or has another shape.
    """
    unknown = sorted(set(excluded) - set(EXCLUSIONS))
    if unknown:
        raise ValueError(f"unknown reasons {', '.join(unknown)}; known are {', '.join(EXCLUSIONS)}")
    codes = np.zeros(rows, np.int8)
    for reason in reversed(EXCLUSIONS):
        if reason in excluded:
            if excluded[reason].shape != (rows,):
                raise ValueError(f"{reason} has shape {excluded[reason].shape}, not {(rows,)}")
            codes[excluded[reason]] = CODES.index(reason)
    return codes
