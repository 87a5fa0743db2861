"""Pseudonyms, and what a run takes as given."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestration.landing.accounts import account_key
from orchestration.landing.errors import OtherSecretError
from orchestration.landing.loading import load_landing
from orchestration.landing.run_context import RunContextError, write_run_context
from tests.unit.landing.folder import NOW, SECRET, Landing, Warehouse


def test_a_pseudonym_is_a_keyed_hash_of_platform_and_account() -> None:
    expected = hmac.new(b"key", b"film\x1fu1", hashlib.sha256).hexdigest()[:32]
    assert account_key(b"key", "film", "u1") == expected
    assert account_key(b"other key", "film", "u1") != expected


def test_every_account_seen_anywhere_gets_one_pseudonym(warehouse: Warehouse, landing: Landing) -> None:
    landing.write("film/users/a.csv", "user_id\nf1\n")
    landing.events(
        "film/events/a.csv", "e1,f1,i,view,2026-01-01,", "e2,f2,i,view,2026-01-01,", "e3,bad,i,view,1970-01-01,"
    )
    landing.write(
        "identity/account_links/a.csv", "knowledge_user_id,film_user_id,method,linked_at\nk1,f3,sso,2026-01-01\n"
    )
    landing.write("social/follows/a.csv", "platform,user_id,follows_user_id\nknowledge,k2,k3\nfilm,f1,f4\n")
    landing.write(
        "privacy/consents/a.csv", "platform,user_id,purpose,granted,changed_at\nfilm,f5,marketing,true,2026-01-01\n"
    )
    landing.write("privacy/erasure_requests/a.csv", "platform,user_id,requested_at\nknowledge,k4,2026-01-01\n")
    warehouse.load(landing)
    rows = warehouse.rows("select platform, user_id, account_key from raw.account order by all")
    assert [row[:2] for row in rows] == [
        *(("film", f"f{n}") for n in range(1, 6)),
        *(("knowledge", f"k{n}") for n in range(1, 5)),
    ]
    assert all(key == account_key(SECRET, platform, user_id) for platform, user_id, key in rows)


def test_known_accounts_are_not_hashed_again(
    warehouse: Warehouse, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.events("film/events/a.csv", "e1,u1,i,view,2026-01-01,")
    warehouse.load(landing)
    hashed: list[str] = []

    def noted(secret: bytes, platform: str, user: str) -> str:
        hashed.append(user)
        return account_key(secret, platform, user)

    monkeypatch.setattr("orchestration.landing.accounts.account_key", noted)
    landing.events("film/events/b.csv", "e2,u1,i,view,2026-01-01,", "e3,u2,i,view,2026-01-01,")
    warehouse.load(landing)
    assert hashed == ["u1", "u2"]  # one known account, to see that the secret is the same, and the new one


def test_another_secret_is_refused_before_anything_is_written(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", "e1,u1,i,view,2026-01-01,")
    warehouse.load(landing)
    landing.events("film/events/b.csv", "e2,u2,i,view,2026-01-01,")
    with pytest.raises(OtherSecretError, match="not the one that this home was made with"):
        load_landing(warehouse.connection, landing.root, secret=b"another", now=NOW)
    assert warehouse.winners() == ["e1"]


def test_a_run_is_as_of_the_latest_event_in_force(warehouse: Warehouse, landing: Landing) -> None:
    landing.events(
        "film/events/a.csv", "e1,u1,i,view,2026-01-01,", "e2,u1,i,view,2026-01-05,", "e2,u1,i,view,2026-01-03,"
    )
    warehouse.load(landing)
    assert write_run_context(warehouse.connection) == datetime(2026, 1, 3)
    assert warehouse.rows("select * from raw.run") == [(datetime(2026, 1, 3), "UTC", 1)]


def test_a_run_may_be_as_of_any_moment_and_zone(warehouse: Warehouse, landing: Landing) -> None:
    landing.events("film/events/a.csv", "e1,u1,i,view,2025-01-01,")
    warehouse.load(landing)
    write_run_context(warehouse.connection)
    moment = datetime(2025, 6, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert write_run_context(warehouse.connection, moment, "Asia/Shanghai") == datetime(2025, 6, 1, tzinfo=UTC).replace(
        tzinfo=None
    )
    assert warehouse.rows("select * from raw.run") == [(datetime(2025, 6, 1), "Asia/Shanghai", 1)]


def test_a_run_as_of_a_time_before_the_first_event_is_the_fault_of_the_call(
    warehouse: Warehouse, landing: Landing
) -> None:
    landing.events("film/events/a.csv", "e1,u1,i,view,2026-01-01,")
    warehouse.load(landing)
    with pytest.raises(RunContextError, match="nothing had happened yet: the first event is of 2026-01-01"):
        write_run_context(warehouse.connection, datetime(2025, 12, 31))


@pytest.mark.parametrize("time_zone", ["Mars/Olympus", "", "../etc", "/etc/passwd"])
def test_an_unknown_time_zone_is_the_fault_of_the_call(warehouse: Warehouse, landing: Landing, time_zone: str) -> None:
    landing.events("film/events/a.csv", "e1,u1,i,view,2026-01-01,")
    warehouse.load(landing)
    with pytest.raises(RunContextError, match="is unknown; expected an IANA name") as caught:
        write_run_context(warehouse.connection, time_zone=time_zone)
    assert caught.value.exit_status == 2


def test_without_events_there_is_no_moment_to_take(warehouse: Warehouse, landing: Landing) -> None:
    landing.write("film/users/a.csv", "user_id\nf1\n")
    warehouse.load(landing)
    with pytest.raises(RunContextError, match="no event to take the time from"):
        write_run_context(warehouse.connection)
