"""The one shape of a measured lift.

Holds what is said about two arms that were compared, cell by cell (a cell is a campaign, a segment, a day, whatever the caller
groups by). How a lift is measured is in `proportions`, `means` and `sequential`; which of many lifts count is in `multiplicity`.
"""

import dataclasses

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Lift:
    """Two arms and their difference, one entry for each cell; all arrays have one shape.

    Attributes:
        control: Value of the control arm: a share, a mean per person, or a ratio of means.
        treatment: The same of the treatment arm.
        difference: treatment - control, in the units of the value.
        low: Lower bound of the difference; NaN where there is a `reason`.
        high: Upper bound, likewise.
        p_value: Two-sided, of no difference; NaN where there is a `reason`.
        people_control: Number of people in the control arm.
        people_treatment: Number of people in the treatment arm.
        reason: Why there is no interval; empty where there is one.
        method: How the interval was made, in the field's words.
    """

    control: NDArray[np.float64]
    treatment: NDArray[np.float64]
    difference: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p_value: NDArray[np.float64]
    people_control: NDArray[np.int64]
    people_treatment: NDArray[np.int64]
    reason: NDArray[np.str_]
    method: str

    def table(self) -> pa.Table:
        """One row per cell in the cells' order, a column for each attribute; what is not known is null, never NaN."""
        columns = {}
        for field in dataclasses.fields(self)[:-1]:
            values = np.ravel(getattr(self, field.name))
            if field.name == "reason":
                columns[field.name] = pa.array(values.tolist(), pa.string(), mask=values == "")
            else:
                columns[field.name] = pa.array(values, from_pandas=True)
        columns["method"] = pa.array([self.method] * self.difference.size, pa.string())
        return pa.table(columns)


def check_level(level: float) -> None:
    """Raises ValueError unless a confidence level is in (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"the confidence level must be in (0, 1), for instance 0.95, got {level}")
