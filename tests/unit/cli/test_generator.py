"""Generated payments: the published distributions, the three frauds, the same rows from the same seed."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import polars as pl
import pytest

from qenex.cli.generator import SCHEMA, Population, _Terminals, payments


def generate(customers: int = 400, terminals: int = 1_000, days: int = 20, seed: int = 1) -> pl.DataFrame:
    return pl.concat(payments(Population(customers, terminals, days, seed)))


@pytest.fixture(scope="module")
def large() -> pl.DataFrame:
    return generate(customers=2_000, terminals=4_000, days=60)


def test_columns_are_those_of_the_handbook_in_its_order() -> None:
    assert generate().schema == SCHEMA


def test_the_same_seed_gives_the_same_bytes() -> None:
    # A pinned hash: whoever changes the simulation changes what a seed stands for, and must mean to.
    frame = generate(days=5)
    digest = sha256()
    for column in frame.columns:
        digest.update(frame[column].cast(pl.Int64 if column != "TX_AMOUNT" else pl.Float64).to_numpy().tobytes())
    assert digest.hexdigest()[:16] == "44c075019c3d5ee9"
    assert generate(days=5).equals(frame)
    assert not generate(days=5, seed=2).equals(frame)


def test_the_first_days_do_not_depend_on_how_many_follow() -> None:
    short, long = generate(days=4), generate(days=9)
    assert long.head(len(short)).equals(short)


def test_payments_are_numbered_in_order_of_time_without_gaps(large: pl.DataFrame) -> None:
    assert large["TRANSACTION_ID"].to_list() == list(range(len(large)))
    assert large["TX_DATETIME"].is_sorted()
    assert large["TX_DATETIME"].dt.date().n_unique() == 60


def test_customers_pay_as_often_and_as_much_as_published(large: pl.DataFrame) -> None:
    # 0 to 4 a day evenly: 2 on average, less the 3 % whose time falls outside the day; amounts 5 to 100, evenly.
    a_day = len(large) / 60 / 2_000
    assert 1.8 < a_day < 2.05
    honest = large.filter(pl.col("TX_FRAUD_SCENARIO") == 0)["TX_AMOUNT"]
    assert 50 < float(honest.mean()) < 56
    assert 38 < float(honest.std()) < 46
    seconds = large["TX_DATETIME"].dt.truncate("1d") - large["TX_DATETIME"]
    noon = -seconds.dt.total_seconds().cast(pl.Int64)
    assert 42_500 < float(noon.mean()) < 43_900
    assert noon.min() > 0
    assert noon.max() < 86_400


def test_amounts_are_the_floats_of_two_decimals_and_never_negative(large: pl.DataFrame) -> None:
    amount = large["TX_AMOUNT"].to_numpy()
    assert (amount >= 0).all()
    assert (np.rint(amount * 100) / 100 == amount).all()


def test_a_customer_pays_only_within_reach_whatever_the_number_of_terminals() -> None:
    for terminals in (300, 4_000):
        frame = generate(customers=200, terminals=terminals, days=30)
        many = frame.group_by("CUSTOMER_ID").agg(pl.len(), pl.col("TERMINAL_ID").n_unique().alias("used"))
        assert many["used"].max() < 130
        assert 30 < float(many["used"].mean()) < 78


def test_scenario_one_is_every_amount_above_220_and_nothing_else(large: pl.DataFrame) -> None:
    assert large.filter(pl.col("TX_FRAUD_SCENARIO") == 1)["TX_AMOUNT"].min() > 220
    assert large.filter(pl.col("TX_FRAUD_SCENARIO") == 0)["TX_AMOUNT"].max() <= 220


def test_scenario_two_is_all_that_a_compromised_terminal_takes(large: pl.DataFrame) -> None:
    day = pl.col("TX_DATETIME").dt.date()
    taken = (
        large.filter(pl.col("TX_FRAUD_SCENARIO") != 3)
        .group_by("TERMINAL_ID", day)
        .agg((pl.col("TX_FRAUD_SCENARIO") == 2).mean().alias("share"))
    )
    assert set(taken["share"].unique()) == {0.0, 1.0}


def test_scenario_three_multiplies_a_third_of_a_customers_payments_by_five(large: pl.DataFrame) -> None:
    stolen = large.filter(pl.col("TX_FRAUD_SCENARIO") == 3)
    cents = (stolen["TX_AMOUNT"] * 100).round().cast(pl.Int64)
    assert (cents % 5 == 0).all()
    assert 200 < float(stolen["TX_AMOUNT"].mean()) < 330
    share = len(stolen) / len(large.filter(pl.col("CUSTOMER_ID").is_in(stolen["CUSTOMER_ID"].unique().implode())))
    assert 0.02 < share < 1 / 3


def test_labels_say_fraud_where_there_is_a_scenario(large: pl.DataFrame) -> None:
    assert ((large["TX_FRAUD_SCENARIO"] > 0) == (large["TX_FRAUD"] == 1)).all()
    assert 0.004 < float((large["TX_FRAUD"] == 1).mean()) < 0.02


def test_terminals_within_reach_are_found_as_a_full_search_finds_them() -> None:
    random = np.random.default_rng(3)
    places, points = random.uniform(0, 100, (60, 2)), random.uniform(0, 100, (500, 2))
    for reach in (3.0, 9.7, 40.0, 200.0):
        terminals = _Terminals(places, reach)
        near = ((points[:, None] - places) ** 2).sum(axis=2) < reach**2
        seen = np.zeros_like(near)
        for _ in range(60):
            chosen = terminals.choose(random, points)
            assert ((chosen < 0) == ~near.any(axis=1)).all()
            found = chosen >= 0
            assert near[found, chosen[found]].all()
            seen[found, chosen[found]] = True
        few = near.sum(axis=1) <= 4
        assert (seen[few] == near[few]).all()


def test_each_terminal_within_reach_is_as_likely() -> None:
    random = np.random.default_rng(4)
    places = np.array([[50.0, 50.0], [52.0, 50.0], [50.0, 53.0], [99.0, 99.0]])
    chosen = _Terminals(places, 5.0).choose(random, np.full((30_000, 2), 50.5))
    counts = np.bincount(chosen, minlength=4)
    assert counts[3] == 0
    assert np.abs(counts[:3] - 10_000).max() < 400


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"customers": 0}, "customers must be from 1"),
        ({"terminals": 2**31}, "terminals must be from 1"),
        ({"days": 0}, "days must be from 1"),
        ({"seed": -1}, "seed must be from 0"),
    ],
)
def test_what_would_not_fit_a_file_is_refused(wrong: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Population(**({"customers": 1, "terminals": 1, "days": 1, "seed": 0} | wrong))
