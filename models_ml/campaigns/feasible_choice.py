"""A choice that keeps every limit, built up greedily from scores.

Holds the state of what is left of each limit and the vectorised greedy fill: in each round every person proposes the best row that
still fits, and of the proposals those are taken, best first, that fit together. Which scores are good ones is left to the solvers.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models_ml.campaigns.programme import Prices, Programme

# Proposals that did not fit next to the others of a round are tried this many times before the people propose again.
_PASSES = 3


class FeasibleChoice:
    """Rows chosen so far and what they leave of every limit.

    Attributes:
        chosen: Whether a row is chosen, shape (rows,).
        left: What is left of each limit by kind of resource.
        contacts_left: Contacts left by window and person.
        reached: Whether a person is contacted, shape (people,).
    """

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.chosen = np.zeros(programme.rows, bool)
        self.left = {one.kind: one.room.copy() for one in programme.resources}
        self.contacts_left = programme.windows.left.copy()
        self.reached = np.zeros(programme.people, bool)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Indices of the chosen rows."""
        return np.flatnonzero(self.chosen)

    def fits(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each row by itself keeps all limits, next to what is chosen."""
        fits = ~self.chosen[rows]
        for one in self.programme.resources:
            fits &= one.amount[rows] <= self.left[one.kind][one.index[rows]]
        person, place = self.programme.person[rows], self.programme.place[rows]
        for windows_of in self.programme.windows.of_place.T:
            fits &= self.contacts_left[windows_of[place], person] > 0
        return fits

    def fill(
        self, rows: NDArray[np.int64], score: NDArray[np.float64], order: NDArray[np.float64], most_rounds: int = 1000
    ) -> None:
        """Adds rows as long as one fits.

        Args:
            rows: Rows that may be added, ascending.
            score: By which a person prefers a row, of all rows of the programme; higher is better.
            order: By which rows of different people are served, likewise.
            most_rounds: Rounds after which it ends; each takes one more contact of every person who can have one.
        """
        for _ in range(most_rounds):
            rows = rows[self.fits(rows)]
            if not len(rows):
                return
            best = _best_per_person(self.programme.person[rows], score[rows])
            proposals = rows[best]
            proposals = proposals[np.argsort(-order[proposals], kind="stable")]
            self._take_what_fits(proposals)

    def fill_reach(self, score: NDArray[np.float64], prices: NDArray[np.float64], most_rounds: int = 1000) -> None:
        """Contacts people of segments below their minimum reach until it is met or nobody is left.

        Args:
            score: Of all rows; the best row of a person counts.
            prices: What a person is worth to each segment that is short, shape (segments,). The best sum of both goes first, so
                that somebody who makes up for several dear segments goes before one who makes up for one.
            most_rounds: Rounds after which it ends.
        """
        programme = self.programme
        if not programme.segments:
            return
        rows = np.flatnonzero(programme.counts_for_reach[programme.person])
        for _ in range(most_rounds):
            need = programme.missing(self.rows)
            is_wanted = programme.members @ (need > 0) > 0
            person = programme.person[rows]
            rows = rows[~self.reached[person] & is_wanted[person]]
            rows = rows[self.fits(rows)]
            if not len(rows):
                return
            proposals = rows[_best_per_person(programme.person[rows], score[rows])]
            bonus = programme.members @ np.where(need > 0, prices, 0.0)
            proposals = proposals[np.argsort(-(score[proposals] + bonus[programme.person[proposals]]), kind="stable")]
            self._take_what_fits(proposals[_needed(programme.members[programme.person[proposals]], need)])

    def drop_needless(self) -> None:
        """Takes rows of negative value back that the minimum reach does not need, the worst first."""
        programme = self.programme
        rows = self.rows
        contacts = np.bincount(programme.person[rows], minlength=programme.people)
        spare = programme.reached(rows) - programme.minimum
        starts, segments = programme.members.indptr, programme.members.indices
        bad = rows[programme.value[rows] < 0]
        for row in bad[np.argsort(programme.value[bad])]:
            person = programme.person[row]
            last = contacts[person] == 1
            mine = segments[starts[person] : starts[person + 1]]
            if last and (spare[mine] <= 0).any():
                continue
            spare[mine] -= last
            contacts[person] -= 1
            self._change(np.array([row]), -1)
            self.reached[person] = contacts[person] > 0

    def _take_what_fits(self, proposals: NDArray[np.int64]) -> None:
        """Takes rows of different people in order, those that fit next to all that come before them."""
        for _ in range(_PASSES):
            together = np.ones(len(proposals), bool)
            for one in self.programme.resources:
                index = one.index[proposals]
                running = _running(index, one.amount[proposals], len(one.capacity))
                together &= running <= self.left[one.kind][index]
            self._change(proposals[together], 1)
            self.reached[self.programme.person[proposals[together]]] = True
            proposals = proposals[~together]
            proposals = proposals[self.fits(proposals)]
            if not len(proposals):
                return

    def _change(self, rows: NDArray[np.int64], sign: int) -> None:
        """Adds (1) or takes back (-1) rows of different people."""
        for one in self.programme.resources:
            taken = np.bincount(one.index[rows], one.amount[rows], len(one.capacity))
            self.left[one.kind] -= sign * taken
        person, place = self.programme.person[rows], self.programme.place[rows]
        for windows_of in self.programme.windows.of_place.T:
            self.contacts_left[windows_of[place], person] -= np.int16(sign)
        self.chosen[rows] = sign > 0


def priced_choice(
    programme: Programme,
    prices: Prices,
    preferred: NDArray[np.float64] | None = None,
    caps_charge: NDArray[np.float64] | None = None,
) -> FeasibleChoice:
    """The feasible choice that prices of the shared limits lead to.

    First the minimum reach is served, then rows worth more than they are charged, then whatever still fits and has value. A
    person prefers the row with the most value after the charge; among people, rows with the most value per charge are served first,
    because they lose most where a limit does not suffice for all.

    Args:
        programme: Rows and limits.
        prices: Prices of the shared limits.
        preferred: Shares in [0, 1] of a fractional solution, of all rows; rows above one half are served before all others.
        caps_charge: What each row is charged for the person's own caps; rows worth more than both charges come first.
    """
    charge = programme.charge(prices)
    score = programme.value - charge
    order = programme.value / np.maximum(charge, 1e-12 * max(1.0, float(np.abs(programme.value).max(initial=0.0))))
    choice = FeasibleChoice(programme)
    if preferred is not None:
        choice.fill(np.flatnonzero(preferred > 0.5), score, np.round(preferred, 3) + 1e-9 * np.tanh(order))
    choice.fill_reach(score, prices.reach)
    tie = 1e-9 * np.abs(programme.value)
    if caps_charge is not None:
        choice.fill(
            np.flatnonzero((score - caps_charge > -tie) & (score > 0) & (programme.value > 0)),
            score - caps_charge,
            order,
        )
    choice.fill(np.flatnonzero((score > -tie) & (programme.value > 0)), score, order)
    choice.fill(np.flatnonzero(programme.value > 0), score, order)
    choice.drop_needless()
    return choice


def _best_per_person(person: NDArray[np.int64], score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of the best row of each person, the first among equals; rows are sorted by person."""
    starts = np.flatnonzero(np.diff(person, prepend=-1))
    best = np.maximum.reduceat(score, starts)
    is_best = np.flatnonzero(score == np.repeat(best, np.diff(np.append(starts, len(person)))))
    return is_best[np.diff(person[is_best], prepend=-1) > 0]


def _needed(members: sparse.csr_matrix, need: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether any segment of each person, (people, segments), still needs somebody after those before, shape (people,)."""
    running = _running(members.indices, np.ones(members.nnz), len(need))
    person = np.repeat(np.arange(members.shape[0]), np.diff(members.indptr))
    return np.bincount(person[running <= need[members.indices]], minlength=members.shape[0]) > 0


def _running(index: NDArray[np.integer], amount: NDArray[np.float64], limits: int) -> NDArray[np.float64]:
    """Sum of the amounts up to and with each row, of the rows with its index."""
    if limits == 1:
        return np.cumsum(amount)
    order = np.argsort(index, kind="stable")
    running = np.cumsum(amount[order])
    grouped = index[order]
    starts = np.flatnonzero(np.diff(grouped, prepend=-1))
    before = np.where(starts > 0, running[starts - 1], 0.0)
    running -= np.repeat(before, np.diff(np.append(starts, len(index))))
    out = np.empty(len(index))
    out[order] = running
    return out
