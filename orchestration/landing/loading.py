"""Loading a landing folder into the raw schema: what is new is read, and all of it takes effect at once.

Files are read and checked into temporary tables first. One transaction then replaces deliveries, decides which row wins
each key, keeps the counters of the ledger true and adds the pseudonyms, so that a load that is killed leaves the old
state or the new one. The cost is that of the new files, plus a look at the key columns of the tables they belong to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from orchestration.landing.accounts import add_accounts, expect_same_secret
from orchestration.landing.checking import literal, quoted
from orchestration.landing.contract import Contract, Table, project_contract
from orchestration.landing.errors import FileChangedError, FileRefusedError, NoEventsError
from orchestration.landing.ledger import FoundFile, LandingState, landing_state
from orchestration.landing.raw_schema import ensure_raw_schema
from orchestration.landing.reading import AfterReading, read_file, staging_table
from orchestration.landing.report import MAX_REFUSALS, FileOutcome, LoadReport, Refusal, TableOutcome

DEFAULT_MAX_QUARANTINE_SHARE = 0.01
EVENT_TABLES = ("knowledge/events", "film/events")


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is.

    Attributes:
        done: Files read.
        total: Files to read.
        file: The file that was read last.
    """

    done: int
    total: int
    file: str

    def __str__(self) -> str:
        return f"{self.done} of {self.total} files read: {self.file}"


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A delivery of this load: a file that was read into a temporary table, or refused."""

    delivery_id: int
    found: FoundFile
    content_hash: str | None
    refusal: FileRefusedError | None
    unknown_columns: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    seconds: float = 0.0


def load_landing(
    connection: duckdb.DuckDBPyConnection,
    landing_dir: Path,
    *,
    contract: Contract | None = None,
    secret: bytes,
    now: datetime | None = None,
    max_quarantine_share: float = DEFAULT_MAX_QUARANTINE_SHARE,
    progress: Callable[[LoadProgress], None] | None = None,
    after_reading: AfterReading | None = None,
) -> LoadReport:
    """Load what is new or changed in a landing folder into the raw schema.

    Without news nothing is written. Where a file is broken, the others load.

    Args:
        connection: A read-write connection to the build file, outside a transaction.
        landing_dir: The landing folder.
        contract: The landing contract; by default the one of the project.
        secret: Key of the pseudonyms of accounts.
        now: The wall clock, which decides what lies in the future; a time without zone is UTC.
        max_quarantine_share: Share of a table's rows, 0 to 1, from which the report calls it over the limit.
        progress: Called after each file.
        after_reading: Called with the path of each file before it is checked that it did not change; for tests.

    Returns:
        What was done.

    Raises:
        MissingLandingError: If there is no such folder.
        NoEventsError: If neither platform has an event; what was read is kept, so that the quarantine can be looked at.
        RawSchemaError: If the raw schema was made for another contract.
        OtherSecretError: If the pseudonyms in the raw schema were made with another secret.
    """
    report = _load(
        connection,
        landing_dir,
        contract or project_contract(),
        secret,
        _utc(now),
        max_quarantine_share,
        progress,
        after_reading,
    )
    if not report.has_events:
        raise NoEventsError(_no_events_message(landing_dir, report), report)
    return report


def _utc(now: datetime | None) -> datetime:
    moment = datetime.now(UTC) if now is None else now
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _no_events_message(landing_dir: Path, report: LoadReport) -> str:
    events = " and ".join(EVENT_TABLES)
    why = f"; the first of the refusals: {report.refusals[0]}" if report.refusals else ""
    return f"{landing_dir}: no event to load: at least one of {events} must hold a valid row{why}"


def _load(
    connection: duckdb.DuckDBPyConnection,
    landing_dir: Path,
    contract: Contract,
    secret: bytes,
    now: datetime,
    max_quarantine_share: float,
    progress: Callable[[LoadProgress], None] | None,
    after_reading: AfterReading | None,
) -> LoadReport:
    started = time.perf_counter()
    ensure_raw_schema(connection, contract)
    expect_same_secret(connection, secret)
    state = landing_state(connection, landing_dir, contract)
    last_delivery, last_batch = connection.execute(
        "select coalesce(max(delivery_id), 0), coalesce(max(batch), 0) from raw.delivery"
    ).fetchall()[0]
    deliveries: list[_Delivery] = []
    removed = 0
    if state.has_news:
        deliveries = _read_news(connection, state, last_delivery, now, progress, after_reading)
        try:
            removed = _apply(connection, contract, state, deliveries, last_batch + 1, secret, now)
        finally:
            for table in _tables_of(deliveries):
                connection.execute(f"drop table if exists {_staging(table)}")
    tables = _table_outcomes(connection, contract, max_quarantine_share)
    return LoadReport(
        batch=(last_batch + bool(deliveries)) if state.has_news else None,
        files=_file_outcomes(connection, state, deliveries),
        tables=tables,
        refusals=_refusals(connection, last_delivery),
        unknown_folders=state.discovery.unknown_folders,
        unread_files=state.discovery.unread_files,
        rows_removed=removed,
        has_events=any(table.rows_loaded for table in tables if f"{table.source}/{table.table_name}" in EVENT_TABLES),
        seconds=time.perf_counter() - started,
    )


def _staging(table: Table) -> str:
    return f"landing_rows_{table.raw_name}"


def _tables_of(deliveries: Sequence[_Delivery]) -> list[Table]:
    return list(
        {delivery.found.landing_file.table.path: delivery.found.landing_file.table for delivery in deliveries}.values()
    )


def _read_news(
    connection: duckdb.DuckDBPyConnection,
    state: LandingState,
    last_delivery: int,
    now: datetime,
    progress: Callable[[LoadProgress], None] | None,
    after_reading: AfterReading | None,
) -> list[_Delivery]:
    """Read the new files into temporary tables, one per landing table."""
    news = [found for found in state.news if found.status != "restored"]
    staged: set[str] = set()
    deliveries: list[_Delivery] = []
    for place, found in enumerate(news, start=1):
        file = found.landing_file
        if file.table.path not in staged:
            connection.execute(staging_table(file.table, _staging(file.table)))
            staged.add(file.table.path)
        started = time.perf_counter()
        delivery = _Delivery(last_delivery + place, found, found.content_hash, found.refusal)
        if found.content_hash is not None:
            try:
                reading = read_file(
                    connection,
                    file.table,
                    file.path,
                    file.extension,
                    expected_hash=found.content_hash,
                    into=_staging(file.table),
                    delivery_id=delivery.delivery_id,
                    now=now,
                    after_reading=after_reading,
                )
            except FileRefusedError as refusal:
                changed = isinstance(refusal, FileChangedError)
                delivery = replace(delivery, refusal=refusal, content_hash=None if changed else found.content_hash)
            else:
                delivery = replace(
                    delivery, unknown_columns=reading.unknown_columns, missing_columns=reading.missing_columns
                )
        deliveries.append(replace(delivery, seconds=time.perf_counter() - started))
        if progress is not None:
            progress(LoadProgress(place, len(news), file.file))
    return deliveries


def _apply(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    state: LandingState,
    deliveries: Sequence[_Delivery],
    batch: int,
    secret: bytes,
    now: datetime,
) -> int:
    """Let the deliveries take effect, in one transaction.

    Returns:
        Number of keys that vanished.
    """
    removed = 0
    connection.execute("begin transaction")
    try:
        _enter_deliveries(connection, state, deliveries, batch, now)
        for table in _tables_of(deliveries):
            replaced = [
                delivery.found.delivery_id
                for delivery in deliveries
                if delivery.found.landing_file.table is table
                and delivery.refusal is None
                and delivery.found.delivery_id is not None
            ]
            removed += _TableLoad(connection, table, batch).run(replaced)
        add_accounts(connection, contract, [(table, _good_rows(table)) for table in _tables_of(deliveries)], secret)
        _remember_files(connection, state, deliveries)
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise
    return removed


def _good_rows(table: Table) -> str:
    return f"select * from {_staging(table)} where _reason is null"


def _enter_deliveries(
    connection: duckdb.DuckDBPyConnection,
    state: LandingState,
    deliveries: Sequence[_Delivery],
    batch: int,
    now: datetime,
) -> None:
    """Enter the deliveries in the ledger, with counters still at 0, and take those that they replace out of force."""
    out_of_force = [found.refused_id for found in state.news if found.refused_id is not None]
    for delivery in deliveries:
        found = delivery.found
        if delivery.refusal is None and found.delivery_id is not None:
            out_of_force.append(found.delivery_id)
    if out_of_force:
        connection.execute(
            "update raw.delivery set is_current = false where list_contains(?, delivery_id)", [out_of_force]
        )
    if deliveries:
        connection.executemany(
            "insert into raw.delivery values (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?, ?, ?, true)",
            [
                (
                    delivery.delivery_id,
                    batch,
                    delivery.found.landing_file.table.source,
                    delivery.found.landing_file.table.name,
                    delivery.found.landing_file.file,
                    delivery.found.size_bytes,
                    delivery.content_hash,
                    delivery.found.modified_ns,
                    "loaded" if delivery.refusal is None else "refused",
                    list(delivery.unknown_columns),
                    list(delivery.missing_columns),
                    now,
                )
                for delivery in deliveries
            ],
        )
    refused = [
        (
            delivery.delivery_id,
            delivery.found.landing_file.table.source,
            delivery.found.landing_file.table.name,
            delivery.found.landing_file.file,
            delivery.refusal.column_name,
            delivery.refusal.reason,
        )
        for delivery in deliveries
        if delivery.refusal is not None
    ]
    if refused:
        connection.executemany("insert into raw.quarantine values (?, ?, ?, ?, null, ?, ?, null)", refused)


class _TableLoad:
    """Takes the staged rows of one landing table into its raw table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: Table, batch: int) -> None:
        self._connection = connection
        self._table = table
        self._raw = f"raw.{quoted(table.raw_name)}"
        self._new = f"({_good_rows(table)})"
        self._key = ", ".join(quoted(name) for name in table.key)
        self._batch = batch

    def run(self, replaced: Sequence[int]) -> int:
        """Replace deliveries, decide winners, insert, count.

        Args:
            replaced: Deliveries in force that new ones replace.

        Returns:
            Number of keys that vanished.
        """
        if replaced:
            self._take_out(replaced)
        self._yield_to_new_rows()
        if replaced:
            self._bring_back()
        self._insert()
        self._forget_returned()
        self._quarantine()
        return self._note_removed() if replaced else 0

    def _take_out(self, replaced: Sequence[int]) -> None:
        """Delete the rows of replaced deliveries; `landing_gone` keeps the keys that they won."""
        user = "null::varchar" if self._table.user_column is None else quoted(self._table.user_column)
        ids = ", ".join(str(delivery_id) for delivery_id in replaced)
        self._connection.execute(
            f"create or replace temp table landing_gone as select {self._key}, {user} as gone_user "
            f"from {self._raw} where _delivery_id in ({ids}) and _is_current"
        )
        self._connection.execute(f"delete from {self._raw} where _delivery_id in ({ids})")

    def _yield_to_new_rows(self) -> None:
        """Rows in force whose key comes again are duplicates from now on: the newest delivery wins."""
        self._flip(
            f"select rowid as place, _delivery_id from {self._raw} "
            f"semi join (select {self._key} from {self._new}) using ({self._key}) where _is_current",
            wins=False,
        )

    def _bring_back(self) -> None:
        """Where the winner of a key is gone, the newest of its duplicates wins."""
        self._flip(
            f"""
            select place, _delivery_id from (
                select rowid as place, _delivery_id, row_number() over (
                    partition by {self._key} order by _delivery_id desc, _row_number desc
                ) as rank
                from {self._raw}
                semi join (
                    select {self._key} from landing_gone anti join {self._new} using ({self._key})
                ) using ({self._key})
            ) where rank = 1
            """,
            wins=True,
        )

    def _flip(self, rows: str, *, wins: bool) -> None:
        self._connection.execute(f"create or replace temp table landing_flip as {rows}")
        flipped = self._connection.execute(
            "select _delivery_id, count(*) from landing_flip group by _delivery_id"
        ).fetchall()
        if not flipped:
            return
        self._connection.execute(
            f"update {self._raw} set _is_current = {wins}, _batch = {self._batch} "
            f"where rowid in (select place from landing_flip)"
        )
        change = 1 if wins else -1
        self._connection.executemany(
            "update raw.delivery set rows_loaded = rows_loaded + ?, rows_duplicate = rows_duplicate - ? "
            "where delivery_id = ?",
            [(change * count, change * count, delivery_id) for delivery_id, count in flipped],
        )

    def _insert(self) -> None:
        """Insert the new rows; of those with the same key the last one wins."""
        self._connection.execute(
            f"""
            create or replace temp table landing_loser as
            select _delivery_id, _row_number from (
                select _delivery_id, _row_number, row_number() over (
                    partition by {self._key} order by _delivery_id desc, _row_number desc
                ) as rank
                from {self._new}
                semi join (
                    select {self._key} from {self._new} group by {self._key} having count(*) > 1
                ) using ({self._key})
            ) where rank > 1
            """
        )
        columns = ", ".join(f"rows.{quoted(column.name)}" for column in self._table.columns)
        self._connection.execute(
            f"""
            insert into {self._raw}
            select {columns}, rows._delivery_id, {self._batch}, rows._row_number, loser._row_number is null
            from {self._new} as rows
            left join landing_loser as loser
                on loser._delivery_id = rows._delivery_id and loser._row_number = rows._row_number
            """
        )
        self._connection.execute(
            f"""
            update raw.delivery set
                rows_read = counted.rows_read,
                rows_quarantined = counted.rows_quarantined,
                rows_duplicate = counted.rows_duplicate,
                rows_loaded = counted.rows_read - counted.rows_quarantined - counted.rows_duplicate
            from (
                select _delivery_id, count(*) as rows_read, count(_reason) as rows_quarantined,
                    coalesce(any_value(losers), 0) as rows_duplicate
                from {_staging(self._table)}
                left join (select _delivery_id, count(*) as losers from landing_loser group by _delivery_id)
                    using (_delivery_id)
                group by _delivery_id
            ) as counted
            where delivery.delivery_id = counted._delivery_id
            """
        )

    def _quarantine(self) -> None:
        self._connection.execute(
            f"""
            insert into raw.quarantine
            select _delivery_id, delivery.source, delivery.table_name, delivery.file, _row_number, _column_name,
                _reason, _raw
            from {_staging(self._table)}
            join raw.delivery on delivery.delivery_id = _delivery_id
            where _reason is not null
            """
        )

    @property
    def _row_key(self) -> str:
        return f"concat_ws('|', {self._key})"

    def _forget_returned(self) -> None:
        """A key that comes back is no removed row any more."""
        self._connection.execute(
            f"delete from raw.removed_row where source = {literal(self._table.source)} "
            f"and table_name = {literal(self._table.name)} and row_key in (select {self._row_key} from {self._new})"
        )

    def _note_removed(self) -> int:
        """Note the keys that no file holds any more."""
        place = f"{literal(self._table.source)}, {literal(self._table.name)}"
        removed = self._connection.execute(
            f"""
            insert into raw.removed_row
            select {place}, {self._row_key}, gone_user, {self._batch}
            from landing_gone anti join (select {self._key} from {self._raw} where _is_current) using ({self._key})
            returning 1
            """
        ).fetchall()
        return len(removed)


def _remember_files(
    connection: duckdb.DuckDBPyConnection, state: LandingState, deliveries: Sequence[_Delivery]
) -> None:
    """Keep size, time and hash of each file, so that it need not be read again while it is untouched."""
    hashes = {delivery.found.landing_file.file: delivery.content_hash for delivery in deliveries}
    rows = [
        (found.landing_file.file, found.size_bytes, found.modified_ns, file_hash, found.seen_ns)
        for found in state.found
        if (file_hash := hashes.get(found.landing_file.file, found.content_hash)) is not None
    ]
    connection.execute("delete from raw.file_state")
    if rows:
        # One statement, because a statement per file takes longer than a second for thousands of files.
        connection.execute(
            "insert into raw.file_state select unnest(?::varchar[]), unnest(?::bigint[]), unnest(?::bigint[]), "
            "unnest(?::varchar[]), unnest(?::bigint[])",
            [list(column) for column in zip(*rows, strict=True)],
        )


def _file_outcomes(
    connection: duckdb.DuckDBPyConnection, state: LandingState, deliveries: Sequence[_Delivery]
) -> tuple[FileOutcome, ...]:
    in_force = {
        row[0]: row[1:]
        for row in connection.execute(
            "select file, rows_read, rows_loaded, rows_quarantined, rows_duplicate, unknown_columns, missing_columns "
            "from raw.delivery where is_current and status = 'loaded'"
        ).fetchall()
    }
    reasons = dict(
        connection.execute(
            "select quarantine.file, reason from raw.quarantine join raw.delivery using (delivery_id) "
            "where is_current and status = 'refused' and row_number is null"
        ).fetchall()
    )
    by_file = {delivery.found.landing_file.file: delivery for delivery in deliveries}
    outcomes = []
    for found in state.found:
        file = found.landing_file
        delivery = by_file.get(file.file)
        counts = in_force.get(file.file, (0, 0, 0, 0, [], []))
        outcomes.append(
            FileOutcome(
                file=file.file,
                source=file.table.source,
                table_name=file.table.name,
                status="refused" if delivery is not None and delivery.refusal is not None else found.status,
                is_news=found.is_news,
                rows_read=counts[0],
                rows_loaded=counts[1],
                rows_quarantined=counts[2],
                rows_duplicate=counts[3],
                unknown_columns=tuple(counts[4]),
                missing_columns=tuple(counts[5]),
                reason=reasons.get(file.file),
                seconds=0.0 if delivery is None else delivery.seconds,
            )
        )
    return tuple(outcomes)


def _table_outcomes(
    connection: duckdb.DuckDBPyConnection, contract: Contract, max_quarantine_share: float
) -> tuple[TableOutcome, ...]:
    rows = connection.execute(
        """
        select source, table_name, count(*) filter (status = 'loaded'), count(*) filter (status = 'refused'),
            sum(rows_read)::bigint, sum(rows_loaded)::bigint, sum(rows_quarantined)::bigint, sum(rows_duplicate)::bigint
        from raw.delivery where is_current group by source, table_name
        """
    ).fetchall()
    counts = {(source, name): rest for source, name, *rest in rows}
    outcomes = []
    for table in contract.tables:
        files, refused, read, loaded, quarantined, duplicate = counts.get((table.source, table.name), [0] * 6)
        outcomes.append(
            TableOutcome(
                source=table.source,
                table_name=table.name,
                files=files,
                files_refused=refused,
                rows_read=read,
                rows_loaded=loaded,
                rows_quarantined=quarantined,
                rows_duplicate=duplicate,
                is_over_limit=quarantined > max_quarantine_share * read,
            )
        )
    return tuple(outcomes)


def _refusals(connection: duckdb.DuckDBPyConnection, last_delivery: int) -> tuple[Refusal, ...]:
    rows = connection.execute(
        "select file, row_number, column_name, reason, raw from raw.quarantine where delivery_id > ? "
        "order by delivery_id, row_number nulls first limit ?",
        [last_delivery, MAX_REFUSALS],
    ).fetchall()
    return tuple(Refusal(*row) for row in rows)
