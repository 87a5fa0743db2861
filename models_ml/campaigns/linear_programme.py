"""The exact programme of an allocation, solved by HiGHS.

Holds the construction of the linear programme and its solution by the interior point method without crossover (large), by the
simplex method, and as a mixed-integer programme (small). Making a fractional solution feasible is left to `feasible_choice`.

Source: Huangfu and Hall, "Parallelizing the dual revised simplex method", Mathematical Programming Computation 10, 2018 (HiGHS).
"""

import dataclasses
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models_ml.campaigns.programme import Prices, Programme


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """A solution of the programme.

    Attributes:
        share: Share of each row, in [0, 1], shape (rows,).
        optimum: Value of the optimum less penalties; for a mixed-integer programme the bound that was proven.
        prices: Prices of the shared limits; None for a mixed-integer programme.
        proven: Whether the solver ended with an optimum within its tolerances.
    """

    share: NDArray[np.float64]
    optimum: float
    prices: Prices | None
    proven: bool

    @property
    def is_integral(self) -> bool:
        """Whether every share is 0 or 1."""
        return bool((np.abs(self.share - np.round(self.share)) < 1e-7).all())


class LinearProgramme:
    """The programme: rows, whether people are reached, and people short of the minimum reach, as variables in [0, 1].

    Constraints: what rows use of each shared limit; contacts of a person in a window, where the person has more rows in it than
    contacts; a person is reached only with a contact; people reached and people short make up the minimum.
    """

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        blocks: list[sparse.csr_matrix] = []
        low: list[NDArray[np.float64]] = []
        high: list[NDArray[np.float64]] = []
        rows = np.arange(programme.rows)
        with_reach = np.flatnonzero(np.bincount(programme.person, minlength=programme.people))
        with_reach = with_reach[programme.counts_for_reach[with_reach]]
        self._columns = programme.rows + len(with_reach) + programme.segments
        self._resource_rows: list[tuple[str, NDArray[np.int64], slice]] = []
        at = 0
        for one in programme.resources:
            most = np.bincount(one.index, one.amount, len(one.capacity))
            binding = np.flatnonzero(most > one.capacity)
            block = sparse.csr_matrix((one.amount, (one.index, rows)), shape=(len(one.capacity), self._columns))
            blocks.append(block[binding])
            low.append(np.full(len(binding), -np.inf))
            high.append(one.capacity[binding])
            self._resource_rows.append((one.kind, binding, slice(at, at + len(binding))))
            at += len(binding)
        reach_at = at
        if programme.segments:
            person_of = np.full(programme.people, -1)
            person_of[with_reach] = np.arange(len(with_reach))
            column = programme.rows + np.arange(len(with_reach))
            no_rows = sparse.csr_matrix((programme.segments, programme.rows))
            short = sparse.identity(programme.segments, format="csr")
            blocks.append(sparse.hstack([no_rows, programme.members[with_reach].T, short], format="csr"))
            low.append(programme.minimum.astype(float))
            high.append(np.full(programme.segments, np.inf))
            own = np.flatnonzero(person_of[programme.person] >= 0)
            blocks.append(
                sparse.csr_matrix(
                    (
                        np.append(np.ones(len(own)), -np.ones(len(column))),
                        (
                            np.append(person_of[programme.person[own]], np.arange(len(column))),
                            np.append(own, column),
                        ),
                    ),
                    shape=(len(with_reach), self._columns),
                )
            )
            low.append(np.zeros(len(with_reach)))
            high.append(np.full(len(with_reach), np.inf))
        for window, covers in enumerate(programme.windows.covers):
            inside = np.flatnonzero(covers[programme.place])
            person = programme.person[inside]
            left = programme.windows.left[window]
            binds = np.bincount(person, minlength=programme.people) > left
            inside = inside[binds[person]]
            number = np.cumsum(binds) - 1
            blocks.append(
                sparse.csr_matrix(
                    (np.ones(len(inside)), (number[programme.person[inside]], inside)),
                    shape=(int(binds.sum()), self._columns),
                )
            )
            low.append(np.full(blocks[-1].shape[0], -np.inf))
            high.append(left[binds].astype(float))
        self._reach_rows = slice(reach_at, reach_at + programme.segments)
        self._matrix = sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix((0, self._columns))
        self._low = np.concatenate([*low, np.zeros(0)])
        self._high = np.concatenate([*high, np.zeros(0)])

    def solve(self, method: str, seconds: float = np.inf) -> Solution:
        """Solves the programme.

        Args:
            method: `ipm` (interior point, no crossover), `simplex` or `mip` (rows are chosen entirely or not at all).
            seconds: Time after which the solver gives up; what it has then is not `proven`.
        """
        programme = self.programme
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = self._columns, self._matrix.shape[0]
        model.sense_ = highspy.ObjSense.kMaximize
        worth = np.zeros(self._columns)
        worth[: programme.rows] = programme.value
        upper = np.ones(self._columns)
        if programme.segments:
            worth[-programme.segments :] = -programme.penalty
            upper[-programme.segments :] = np.inf
        model.col_cost_, model.col_lower_, model.col_upper_ = worth, np.zeros(self._columns), upper
        model.row_lower_, model.row_upper_ = self._low, self._high
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = self._matrix.indptr
        model.a_matrix_.index_ = self._matrix.indices
        model.a_matrix_.value_ = self._matrix.data
        if method == "mip":
            model.integrality_ = [highspy.HighsVarType.kInteger] * programme.rows + [
                highspy.HighsVarType.kContinuous
            ] * (self._columns - programme.rows)
        solver = _solver(method, seconds)
        solver.passModel(model)
        solver.run()
        return self._read(solver, method)

    def _read(self, solver: Any, method: str) -> Solution:
        programme = self.programme
        found, info = solver.getSolution(), solver.getInfo()
        proven = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
        share = np.clip(np.asarray(found.col_value)[: programme.rows], 0.0, 1.0)
        if len(share) < programme.rows:
            share = np.zeros(programme.rows)
        if method == "mip":
            return Solution(share, float(info.mip_dual_bound), None, proven)
        prices = programme.no_prices()
        dual = np.asarray(found.row_dual)
        if len(dual) == self._matrix.shape[0]:
            for kind, binding, rows in self._resource_rows:
                prices.of[kind][binding] = np.maximum(dual[rows], 0.0)
            prices.reach[:] = np.clip(-dual[self._reach_rows], 0.0, programme.penalty)
        return Solution(share, float(info.objective_function_value), prices, proven)


class _QuietHighs(highspy.Highs):
    """HiGHS without a word: highspy 1.16 prints its version while callbacks are set up, before output can be switched off."""

    def enableCallbacks(self) -> None:  # noqa: N802
        """Switches output off first."""
        self.silent()
        super().enableCallbacks()  # type: ignore[no-untyped-call]


def _solver(method: str, seconds: float) -> Any:
    solver: Any = _QuietHighs()  # type: ignore[no-untyped-call]
    if np.isfinite(seconds):
        solver.setOptionValue("time_limit", float(seconds))
    if method == "ipm":
        solver.setOptionValue("solver", "ipm")
        solver.setOptionValue("run_crossover", "off")
    elif method == "simplex":
        solver.setOptionValue("solver", "simplex")
    elif method == "mip":
        solver.setOptionValue("mip_rel_gap", 0.0)
        solver.setOptionValue("mip_abs_gap", 1e-9)
        solver.setOptionValue("mip_feasibility_tolerance", 1e-9)
    else:
        raise ValueError(f"the method must be ipm, simplex or mip, got {method!r}")
    return solver
