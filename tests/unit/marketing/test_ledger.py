"""What was handed over is kept for ever, whole or not at all."""

import os
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.marketing.contact_schema import CONTACT_SCHEMA, PLAN_SCHEMA
from orchestration.marketing.ledger import DateCommittedError, DecisionLedger
from tests.unit.marketing.handed_over import AS_OF, FIRST_DAY, contact, contacts, plan_row

NEXT_DAY = FIRST_DAY + timedelta(days=1)


@pytest.fixture
def ledger(tmp_path: Path) -> DecisionLedger:
    return DecisionLedger(tmp_path / "decisions")


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema intermediate")
    connection.execute("create table intermediate.int_account__contactable (account_key varchar, user_key varchar)")
    return connection


def commit(ledger: DecisionLedger, plan_id: str, day: date, *people: str) -> bool:
    document = plan_row(plan_id, as_of=AS_OF + (day - FIRST_DAY), first=day, until=day) | {"handed_dates": [day]}
    return ledger.commit(plan_id, document, contacts(*(contact(plan_id, person, day) for person in people)))


def past(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return connection.execute("select plan_id, user_key from marketing.past_contact order by all").fetchall()


def test_a_day_is_committed_even_if_nobody_is_contacted_on_it(ledger: DecisionLedger) -> None:
    assert ledger.committed_dates() == set()
    commit(ledger, "plan-1", FIRST_DAY)
    assert ledger.committed_dates() == {FIRST_DAY}


def test_plans_come_in_order_of_time_not_of_their_address(ledger: DecisionLedger) -> None:
    commit(ledger, "plan-a", NEXT_DAY)
    commit(ledger, "plan-z", FIRST_DAY)
    assert ledger.plan_ids() == ["plan-z", "plan-a"]
    assert ledger.documents()["plan-a"]["as_of"] == (AS_OF + timedelta(days=1)).isoformat()


def test_a_plan_is_committed_once_and_stays_as_it_was(ledger: DecisionLedger) -> None:
    assert commit(ledger, "plan-1", FIRST_DAY, "ann")
    assert not commit(ledger, "plan-1", FIRST_DAY, "ann", "bob")
    assert ledger.contacts("plan-1")["user_key"].to_pylist() == ["ann"]


def test_a_day_is_not_committed_by_a_second_plan(ledger: DecisionLedger) -> None:
    commit(ledger, "plan-1", FIRST_DAY, "ann")
    with pytest.raises(DateCommittedError, match="2026-03-02 of plan plan-2 was handed over by plan plan-1"):
        commit(ledger, "plan-2", FIRST_DAY, "bob")
    assert ledger.plan_ids() == ["plan-1"]


@pytest.mark.parametrize(
    "wrong",
    [{"plan_id": "plan-2"}, {"status": "planned"}, {"contact_date": NEXT_DAY}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_is_not_handed_over_is_not_kept(ledger: DecisionLedger, wrong: dict[str, object]) -> None:
    rows = contacts(contact("plan-1", "ann") | wrong)
    with pytest.raises(ValueError, match="plan plan-1 hands over"):
        ledger.commit("plan-1", plan_row("plan-1") | {"handed_dates": [FIRST_DAY]}, rows)
    assert ledger.plan_ids() == []


def test_a_commit_that_is_killed_leaves_nothing_and_can_be_repeated(
    ledger: DecisionLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(source: object, target: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            commit(ledger, "plan-1", FIRST_DAY, "ann")
    assert ledger.plan_ids() == []
    assert ledger.committed_dates() == set()
    commit(ledger, "plan-2", FIRST_DAY, "bob")
    assert [path.name for path in ledger.root.iterdir()] == ["plan-2"]


def test_decisions_can_be_read_by_their_owner_only(ledger: DecisionLedger) -> None:
    commit(ledger, "plan-1", FIRST_DAY, "ann")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [ledger.root, *ledger.root.rglob("*")]}
    assert modes == {"decisions": "0o700", "plan-1": "0o700", "plan.json": "0o600", "contact.parquet": "0o600"}


def test_an_empty_ledger_makes_empty_tables(ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection) -> None:
    assert ledger.load(connection) == 0
    types = dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() where table_name = 'past_contact' order by column_index"
        ).fetchall()
    )
    assert list(types) == CONTACT_SCHEMA.names
    assert (types["contact_date"], types["not_before"], types["segment_keys"]) == ("DATE", "TIMESTAMP", "VARCHAR[]")
    assert connection.execute("from marketing.past_plan").to_arrow_table().schema.names == PLAN_SCHEMA.names


def test_the_table_follows_the_ledger(ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection) -> None:
    commit(ledger, "plan-1", FIRST_DAY, "ann", "bob")
    assert ledger.load(connection) == 2
    commit(ledger, "plan-2", NEXT_DAY, "cat")
    assert ledger.load(connection) == 3
    assert past(connection) == [("plan-1", "ann"), ("plan-1", "bob"), ("plan-2", "cat")]
    shutil.rmtree(ledger.root / "plan-1")
    assert ledger.load(connection) == 1
    assert past(connection) == [("plan-2", "cat")]
    plans = connection.execute("select plan_id, as_of, first_date, cost from marketing.past_plan").fetchall()
    assert plans == [("plan-2", AS_OF + timedelta(days=1), NEXT_DAY, 0.1)]


def test_only_new_plans_are_read(
    ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that is loaded need not be there to be read, whether it has contacts or none."""
    commit(ledger, "plan-1", FIRST_DAY, "ann")
    commit(ledger, "plan-2", NEXT_DAY)
    ledger.load(connection)
    for plan_id in ("plan-1", "plan-2"):
        (ledger.root / plan_id / "contact.parquet").unlink()
    commit(ledger, "plan-3", NEXT_DAY + timedelta(days=1), "cat")
    assert ledger.load(connection) == 2


def test_tables_of_other_columns_are_made_anew(ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection) -> None:
    commit(ledger, "plan-1", FIRST_DAY, "ann")
    ledger.load(connection)
    connection.execute("alter table marketing.ledger_contact drop column uplift")
    ledger.load(connection)
    assert connection.execute("select user_key, uplift from marketing.past_contact").fetchall() == [("ann", None)]


def test_a_plan_of_before_a_column_was_added_is_loaded_without_it(
    ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection
) -> None:
    document = {name: value for name, value in plan_row("plan-1").items() if name not in ("value_reason", "qini")}
    ledger.commit("plan-1", document | {"handed_dates": [FIRST_DAY]}, contacts(contact("plan-1", "ann")))
    connection.execute("create schema marketing")
    connection.execute("create table marketing.past_plan as select 'plan-1' as plan_id, 'prior' as value_source")
    assert ledger.load(connection) == 1
    found = connection.execute("select plan_id, currency, value_reason, qini from marketing.past_plan").fetchall()
    assert found == [("plan-1", "USD", None, None)]


def test_contacts_follow_their_people_as_accounts_are_joined_and_parted(
    ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection
) -> None:
    commit(ledger, "plan-1", FIRST_DAY, "ann-film", "bob", "gone")
    accounts = "intermediate.int_account__contactable"
    connection.execute(f"insert into {accounts} values ('ann-film', 'ann-film'), ('bob', 'bob')")
    ledger.load(connection)
    assert past(connection) == [("plan-1", "ann-film"), ("plan-1", "bob"), ("plan-1", "gone")]
    connection.execute(f"update {accounts} set user_key = 'ann' where account_key = 'ann-film'")
    assert past(connection) == [("plan-1", "ann"), ("plan-1", "bob"), ("plan-1", "gone")]
    connection.execute(f"update {accounts} set user_key = 'ann-film' where account_key = 'ann-film'")
    assert past(connection) == [("plan-1", "ann-film"), ("plan-1", "bob"), ("plan-1", "gone")]


def test_a_table_of_before_gives_way_to_the_view(ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create schema marketing")
    connection.execute("create table marketing.past_contact as select 1 as one")
    commit(ledger, "plan-1", FIRST_DAY, "ann")
    ledger.load(connection)
    assert past(connection) == [("plan-1", "ann")]


def test_a_load_that_fails_changes_nothing(ledger: DecisionLedger, connection: duckdb.DuckDBPyConnection) -> None:
    commit(ledger, "plan-1", FIRST_DAY, "ann")
    ledger.load(connection)
    commit(ledger, "plan-2", NEXT_DAY, "bob")
    (ledger.root / "plan-2" / "contact.parquet").write_bytes(b"torn")
    with pytest.raises(duckdb.Error):
        ledger.load(connection)
    assert past(connection) == [("plan-1", "ann")]
    assert connection.execute("select plan_id from marketing.past_plan").fetchall() == [("plan-1",)]


def test_contacts_come_back_as_they_were(ledger: DecisionLedger) -> None:
    row = contact("plan-1", "ann", decided_at=datetime(2026, 3, 1, 23, 50, 0, 123456))
    ledger.commit("plan-1", plan_row("plan-1") | {"handed_dates": [FIRST_DAY]}, contacts(row))
    assert ledger.contacts("plan-1").to_pylist() == [row]
    with pytest.raises(LookupError, match="No plan 'plan-2'"):
        ledger.contacts("plan-2")
