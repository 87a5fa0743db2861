"""Whatever is delivered in whatever order: every row is accounted for, and the winners are those of a simple model."""

from dataclasses import dataclass

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.landing.folder import Landing, Warehouse


@dataclass(frozen=True)
class Row:
    """A film event: a key, or None for a row that must be refused, and an item that tells rows apart."""

    key: int | None
    item: int

    @property
    def csv(self) -> str:
        if self.key is None:
            return ["too,short", f",u,f{self.item},view,2026-01-01,", f"x,u,f{self.item},rating,2026-01-01,9"][
                self.item % 3
            ]
        return f"e{self.key},u,f{self.item},view,2026-01-01,"


ROWS = st.lists(st.builds(Row, st.one_of(st.none(), st.integers(0, 6)), st.integers(0, 99)), max_size=6)
FILES = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), ROWS, min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(deliveries=st.lists(FILES, min_size=1, max_size=5))
def test_every_row_is_accounted_for_and_the_newest_delivery_wins(
    deliveries: list[dict[str, list[Row]]], tmp_path_factory: object
) -> None:
    landing = Landing(tmp_path_factory.mktemp("landing"))  # type: ignore[attr-defined]
    warehouse = Warehouse(duckdb.connect(":memory:"))
    in_force: dict[str, tuple[int, list[Row]]] = {}  # file -> number of the delivery, rows
    number = 0
    seen: set[str] = set()
    for files in deliveries:
        for name in sorted(files):
            landing.events(f"film/events/{name}.csv", *(row.csv for row in files[name]))
            if name not in in_force or [row.csv for row in in_force[name][1]] != [row.csv for row in files[name]]:
                number += 1
                in_force[name] = (number, files[name])
        report = warehouse.load(landing)

        winners: dict[str, str] = {}
        holders: dict[str, str] = {}
        for _, name, rows in sorted((number, name, rows) for name, (number, rows) in in_force.items()):
            for row in rows:
                if row.key is not None:
                    winners[f"e{row.key}"] = f"f{row.item}"
                    holders[f"e{row.key}"] = name
        stored = dict(warehouse.rows("select event_id, film_id from raw.film__events where _is_current"))
        assert stored == winners
        assert warehouse.value("select count(*) from raw.film__events where _is_current") == len(winners)

        expected = {}
        for name, (_, rows) in in_force.items():
            refused = sum(row.key is None for row in rows)
            loaded = sum(holder == name for holder in holders.values())
            expected[f"film/events/{name}.csv"] = (len(rows), loaded, refused, len(rows) - refused - loaded)
        assert warehouse.audit() == expected
        assert {
            file.file: (file.rows_read, file.rows_loaded, file.rows_quarantined, file.rows_duplicate)
            for file in report.files
        } == expected

        seen |= set(winners)
        assert {row[0] for row in warehouse.rows("select row_key from raw.removed_row")} == seen - set(winners)
        assert not warehouse.load(landing).has_news
    warehouse.connection.close()
