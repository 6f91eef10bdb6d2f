"""Card payments made up by rule: input for those who have no file of their own.

The simulation is the one that the Fraud Detection Handbook (Le Borgne, Siblini, Lebichot, Bontempi) publishes in its
chapter "Transaction data simulator": customers and terminals lie in a square of 100 by 100, a customer pays at
terminals within a radius, as often and as much as the customer's own profile says, mostly around noon. Three kinds of
fraud are laid over it. Files have the handbook's columns.

The same arguments give the same rows, and the first days do not depend on how many days are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

SCHEMA: Final = pl.Schema(
    {
        "TRANSACTION_ID": pl.Int32(),
        "TX_DATETIME": pl.Datetime("ns"),
        "CUSTOMER_ID": pl.Int32(),
        "TERMINAL_ID": pl.Int32(),
        "TX_AMOUNT": pl.Float64(),
        "TX_FRAUD": pl.Int8(),
        "TX_FRAUD_SCENARIO": pl.Int8(),
    }
)
"""Columns of a file of payments, in the order of the file. `TX_DATETIME` is UTC, `TX_AMOUNT` has two decimals."""

SIDE: Final = 100.0
"""Length of the square's sides."""

REACH: Final = 5.0
"""Radius in which a customer pays, where 10,000 terminals share the square."""

SECONDS_A_DAY: Final = 86_400
NANOSECONDS: Final = 1_000_000_000

LARGE_CENTS: Final = 22_000
"""Scenario 1: whatever is above 220.00 is fraud."""

TERMINALS_A_DAY, TERMINAL_DAYS = 2 / 10_000, 28
"""Scenario 2: this share of the terminals is compromised anew each day, for so many days; all they take is fraud."""

CUSTOMERS_A_DAY, CUSTOMER_DAYS = 3 / 5_000, 14
"""Scenario 3: this share of the customers is compromised anew each day, for so many days."""

STOLEN_SHARE, STOLEN_FACTOR = 1 / 3, 5
"""Scenario 3: this share of their payments is fraud, of so many times the amount."""


@dataclass(frozen=True, slots=True)
class Population:
    """How much to simulate. Of the handbook: 5,000 customers, 10,000 terminals."""

    customers: int
    terminals: int
    days: int
    seed: int
    first_day: date = date(2018, 4, 1)

    def __post_init__(self) -> None:
        """Refuses what would not fit the columns of the file."""
        for name, maximum in (("customers", 2**31 - 1), ("terminals", 2**31 - 1), ("days", 36_500)):
            if not 1 <= getattr(self, name) <= maximum:
                raise ValueError(f"{name} must be from 1 to {maximum}, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2^63-1, not {self.seed}")

    @property
    def reach(self) -> float:
        """Radius in which a customer pays: some 78 terminals lie in it, however many there are."""
        return float(min(REACH * (10_000 / self.terminals) ** 0.5, 2 * SIDE))


def payments(population: Population) -> Iterator[pl.DataFrame]:
    """The payments of each day in turn, in order of time, with columns `SCHEMA`."""
    world = _World(population)
    number = 0
    for day in range(population.days):
        columns = world.day(day)
        count = len(columns["TX_AMOUNT"])
        if number + count > 2**31:
            raise ValueError(f"day {day} brings the payments to {number + count}; TRANSACTION_ID ends at 2^31-1")
        columns["TRANSACTION_ID"] = np.arange(number, number + count)
        yield pl.DataFrame(columns).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
        number += count


class _World:
    """Customers, terminals, who is compromised."""

    def __init__(self, population: Population) -> None:
        self.population = population
        random = self._random(0)
        count = population.customers
        self.places = random.uniform(0, SIDE, (count, 2))
        self.amount_mean = random.uniform(5, 100, count)
        self.payments_a_day = random.uniform(0, 4, count)
        self.terminals = _Terminals(self._random(1).uniform(0, SIDE, (population.terminals, 2)), population.reach)
        self.terminal_until = np.full(population.terminals, -1, dtype=np.int64)
        self.customer_until = np.full(count, -1, dtype=np.int64)

    def _random(self, purpose: int, day: int = 0) -> np.random.Generator:
        """A stream of its own for each purpose and day, so that none depends on how much another has drawn."""
        return np.random.default_rng([self.population.seed, purpose, day])

    def day(self, day: int) -> dict[str, NDArray[np.generic]]:
        random = self._random(2, day)
        customer = np.repeat(np.arange(self.population.customers), random.poisson(self.payments_a_day))
        second = random.normal(SECONDS_A_DAY / 2, 20_000, len(customer)).astype(np.int64)
        inside = (second > 0) & (second < SECONDS_A_DAY)
        customer, second = customer[inside], second[inside]
        cents = self._cents(random, customer)
        terminal = self.terminals.choose(random, self.places[customer])
        scenario, cents = self._frauds(day, customer, terminal, cents)
        found = np.flatnonzero(terminal >= 0)
        order = found[np.argsort(second[found], kind="stable")]
        midnight = (self.population.first_day.toordinal() - date(1970, 1, 1).toordinal() + day) * SECONDS_A_DAY
        return {
            "TX_DATETIME": ((midnight + second[order]) * NANOSECONDS).astype("datetime64[ns]"),
            "CUSTOMER_ID": customer[order],
            "TERMINAL_ID": terminal[order],
            # A quotient of whole numbers is the float nearest to the decimal, the one that its digits are read as.
            "TX_AMOUNT": cents[order] / 100,
            "TX_FRAUD": scenario[order] > 0,
            "TX_FRAUD_SCENARIO": scenario[order],
        }

    def _cents(self, random: np.random.Generator, customer: Integers) -> Integers:
        """Amounts around the customer's mean; the few that come out negative are drawn anew, evenly up to twice it."""
        mean = self.amount_mean[customer]
        amount = random.normal(mean, mean / 2)
        again = random.uniform(0, 2 * mean)
        cents: Integers = np.rint(np.where(amount < 0, again, amount) * 100).astype(np.int64)
        return cents

    def _frauds(self, day: int, customer: Integers, terminal: Integers, cents: Integers) -> tuple[Integers, Integers]:
        """Scenario of each payment (0 is none; the later scenario wins) and the amounts after it."""
        random = self._random(3, day)
        _compromise(random, self.terminal_until, TERMINALS_A_DAY, day + TERMINAL_DAYS)
        _compromise(random, self.customer_until, CUSTOMERS_A_DAY, day + CUSTOMER_DAYS)
        stolen = (self.customer_until[customer] > day) & (random.uniform(size=len(customer)) < STOLEN_SHARE)
        scenario = np.where(cents > LARGE_CENTS, 1, 0)
        scenario[self.terminal_until[terminal] > day] = 2
        scenario[stolen] = 3
        return scenario, np.where(stolen, cents * STOLEN_FACTOR, cents)


def _compromise(random: np.random.Generator, until: Integers, share: float, end: int) -> None:
    """Picks about `share` of all, compromised from now until the day `end`."""
    count = int(len(until) * share + random.uniform())
    until[random.choice(len(until), count, replace=False)] = end


class _Terminals:
    """Terminals by place: which lie within reach of a point.

    They are sorted into square cells as wide as the reach, so that those within reach of a point lie in the three by
    three cells around its own: in each of three rows of cells a single run of the sorted order.
    """

    def __init__(self, places: Floats, reach: float) -> None:
        self.reach = reach
        cells = (places // reach).astype(np.int64) + 1  # with an empty cell around all
        self.width = int(SIDE // reach) + 3
        cell = cells[:, 1] * self.width + cells[:, 0]
        self.order = np.argsort(cell, kind="stable")
        self.places = places[self.order]
        self.starts = np.searchsorted(cell[self.order], np.arange(self.width * self.width + 1))

    def choose(self, random: np.random.Generator, points: Floats) -> Integers:
        """One of the terminals within reach of each point, each as likely; -1 where there is none."""
        cells = (points // self.reach).astype(np.int64) + 1
        rows = (cells[:, 1, None] + np.array([-1, 0, 1])) * self.width + cells[:, 0, None]
        first = self.starts[rows - 1]
        ends = np.cumsum(self.starts[rows + 2] - first, axis=1)
        chosen = np.full(len(points), -1, dtype=np.int64)
        waiting = np.flatnonzero(ends[:, 2] > 0)
        # Draw from the nine cells until a draw is within reach: about one in three is. The few points that wait
        # after so many rounds may have no terminal within reach at all, and get a full search.
        for _ in range(32):
            if not len(waiting):
                break
            draw = random.integers(0, ends[waiting, 2])
            position = _position(draw, first[waiting], ends[waiting])
            near = self._near(position, points[waiting])
            chosen[waiting[near]] = position[near]
            waiting = waiting[~near]
        for index in waiting:
            every = np.arange(ends[index, 2])
            count = len(every)
            position = _position(every, np.tile(first[index], (count, 1)), np.tile(ends[index], (count, 1)))
            position = position[self._near(position, np.tile(points[index], (count, 1)))]
            if len(position):
                chosen[index] = position[random.integers(0, len(position))]
        return np.where(chosen >= 0, self.order[chosen], -1)

    def _near(self, position: Integers, points: Floats) -> NDArray[np.bool_]:
        return ((self.places[position] - points) ** 2).sum(axis=1) < self.reach**2  # type: ignore[no-any-return]


def _position(draw: Integers, first: Integers, ends: Integers) -> Integers:
    """Where the draw-th terminal of three runs stands in the sorted order."""
    row = (draw[:, None] >= ends).sum(axis=1)
    at = np.arange(len(draw))
    before = np.where(row > 0, ends[at, row - 1], 0)
    return first[at, row] + draw - before  # type: ignore[no-any-return]
