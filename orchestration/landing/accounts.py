"""Pseudonyms of accounts: a keyed hash of platform and user id, the same on every run with the same secret."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import duckdb
import pyarrow as pa

from orchestration.landing.checking import literal, quoted
from orchestration.landing.contract import Contract, Table
from orchestration.landing.errors import OtherSecretError

KEY_LENGTH = 32

_NEW_ACCOUNTS = "landing_new_accounts"


def account_key(secret: bytes, platform: str, user_id: str) -> str:
    """The pseudonym of an account: HMAC-SHA-256 of platform and user id, the first `KEY_LENGTH` hexadecimal digits.

    Args:
        secret: The key; whoever has it can find the account of a pseudonym by trying.
        platform: knowledge or film.
        user_id: The account on that platform.
    """
    return hmac.digest(secret, f"{platform}\x1f{user_id}".encode(), "sha256").hex()[:KEY_LENGTH]


def expect_same_secret(connection: duckdb.DuckDBPyConnection, secret: bytes) -> None:
    """Refuse a secret with which the pseudonyms of the warehouse were not made: people would fall into two.

    Args:
        connection: A connection to the build file with the raw schema.
        secret: Key of the pseudonyms.

    Raises:
        OtherSecretError: If the pseudonym of a known account is another one.
    """
    for platform, user_id, key in connection.execute(
        "select platform, user_id, account_key from raw.account limit 1"
    ).fetchall():
        if account_key(secret, platform, user_id) != key:
            raise OtherSecretError(
                "the secret is not the one that this home was made with: give the same ZHIYING_SECRET (or restricted/secret) as "
                "before, or use a new home"
            )


def add_accounts(
    connection: duckdb.DuckDBPyConnection, contract: Contract, rows: Iterable[tuple[Table, str]], secret: bytes
) -> int:
    """Add the accounts that appear in new rows and are not known yet to raw.account.

    Args:
        connection: A connection within a transaction.
        contract: The landing contract.
        rows: Landing tables, each with a query of its new rows.
        secret: Key of the pseudonyms.

    Returns:
        Number of accounts added.
    """
    platforms = {code for code_set in contract.code_sets if code_set.name == "platform" for code in code_set.codes}
    seen = [
        f"select {literal(column.account) if column.account in platforms else quoted(column.account)} as platform, "
        f"{quoted(column.name)} as user_id from ({query})"
        for table, query in rows
        for column in table.columns
        if column.account is not None
    ]
    if not seen:
        return 0
    new = connection.execute(
        f"select distinct platform, user_id from ({' union all '.join(seen)}) "
        "anti join raw.account using (platform, user_id) order by platform, user_id"
    ).to_arrow_table()
    keys = [
        account_key(secret, platform, user_id)
        for platform, user_id in zip(new["platform"].to_pylist(), new["user_id"].to_pylist(), strict=True)
    ]
    connection.register(_NEW_ACCOUNTS, new.append_column("account_key", pa.array(keys, pa.string())))
    try:
        connection.execute(f"insert into raw.account select platform, user_id, account_key from {_NEW_ACCOUNTS}")
    finally:
        connection.unregister(_NEW_ACCOUNTS)
    return len(keys)
