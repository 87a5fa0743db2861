"""The landing contract as typed, validated objects.

`contract.yml` beside this module is the only place where the contract is written; this module reads it and refuses
a contract that contradicts itself. What is derived from it lives elsewhere: readers and checks (`reading`), raw tables
(`raw_schema`), the documentation page and the dbt sources (`generate`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml

ColumnType = Literal["text", "timestamp", "bool", "integer", "number", "money", "list"]

CONTRACT_PATH = Path(__file__).with_name("contract.yml")

#: DuckDB type in which each contract type is stored. Timestamps are UTC, without zone.
SQL_TYPES: Mapping[ColumnType, str] = {
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "bool": "BOOLEAN",
    "integer": "INTEGER",
    "number": "DOUBLE",
    "money": "DECIMAL(18,4)",
    "list": "VARCHAR[]",
}

_NUMERIC: frozenset[ColumnType] = frozenset({"integer", "number", "money"})


class ContractError(ValueError):
    """The contract itself is wrong: it names something that it does not define, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class CodeSet:
    """The values that a coded column may hold.

    Attributes:
        name: Name by which columns refer to it.
        description: What the codes say.
        codes: The codes, as they must be written.
        any_case: Whether lower case is accepted too (ISO codes); the value is stored as delivered.
    """

    name: str
    description: str
    codes: tuple[str, ...]
    any_case: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a landing table.

    Attributes:
        name: Name, as in the file.
        type: Contract type; `SQL_TYPES` gives the stored type.
        description: One sentence.
        required: Whether a row without it is refused.
        codes: The values allowed, or None for any.
        range: Lowest and highest value allowed, both included, or None.
        unit: Unit of a measure, or None.
        personal: Whether the value is masked wherever it would be shown.
        account: Whose user id it is: a platform, or the name of the column that holds the platform; None if it is no user.
        planned: Whether a time may lie in the future.
    """

    name: str
    type: ColumnType
    description: str
    required: bool = False
    codes: CodeSet | None = None
    range: tuple[float, float] | None = None
    unit: str | None = None
    personal: bool = False
    account: str | None = None
    planned: bool = False

    @property
    def sql_type(self) -> str:
        """The DuckDB type in which the column is stored."""
        return SQL_TYPES[self.type]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a column must hold in the rows where another column has a given code.

    Attributes:
        when_column: The deciding column.
        when_value: The code for which the rule holds.
        column: The column that is narrowed.
        required: Whether it must be there.
        range: Lowest and highest value allowed, or None.
        step: Allowed values are `range[0]` plus whole multiples of it, or None for any.
    """

    when_column: str
    when_value: str
    column: str
    required: bool = False
    range: tuple[float, float] | None = None
    step: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One landing table: the folder `<source>/<name>`.

    Attributes:
        source: First folder below the landing folder.
        name: Second folder.
        description: What it holds.
        grain: What one row is.
        key: Columns that identify a row; all required.
        columns: The columns in contract order.
        rules: Conditions that depend on a code.
    """

    source: str
    name: str
    description: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()

    @property
    def path(self) -> str:
        """Folder below the landing folder, `<source>/<name>`."""
        return f"{self.source}/{self.name}"

    @property
    def raw_name(self) -> str:
        """Name of the table in the raw schema, `<source>__<name>`."""
        return f"{self.source}__{self.name}"

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Names of the columns that a file must have."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def user_column(self) -> str | None:
        """The column that names the person whom a row is about, or None."""
        return "user_id" if any(column.name == "user_id" for column in self.columns) else None

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: If the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.path} has no column {name!r}")


@dataclass(frozen=True, slots=True)
class Contract:
    """All landing tables and code sets.

    Attributes:
        version: Version of the contract.
        code_sets: Code sets in the order of the file.
        tables: Tables in the order of the file.
    """

    version: int
    code_sets: tuple[CodeSet, ...]
    tables: tuple[Table, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources in the order of the file."""
        return tuple(dict.fromkeys(table.source for table in self.tables))

    def table(self, source: str, name: str) -> Table:
        """The table `<source>/<name>`.

        Raises:
            KeyError: If the contract has no such table.
        """
        for table in self.tables:
            if (table.source, table.name) == (source, name):
                return table
        raise KeyError(f"the contract has no table {source}/{name}")


def load_contract(path: Path = CONTRACT_PATH) -> Contract:
    """Read a contract from YAML.

    Args:
        path: The file; by default the contract of the project.

    Returns:
        The validated contract.

    Raises:
        ContractError: If the file is not a contract, or contradicts itself; the message names the place.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    _expect_keys("the contract", document, required=("version", "code_sets", "tables"))
    code_sets = {name: _parse_code_set(name, entry) for name, entry in document["code_sets"].items()}
    tables = tuple(_parse_table(entry, code_sets) for entry in document["tables"])
    paths = [table.path for table in tables]
    _expect(len(set(paths)) == len(paths), "the contract", "a table is there twice")
    return Contract(version=int(document["version"]), code_sets=tuple(code_sets.values()), tables=tables)


@functools.cache
def project_contract() -> Contract:
    """The contract of the project, read once per process."""
    return load_contract()


def _parse_code_set(name: str, entry: Any) -> CodeSet:
    place = f"code set {name!r}"
    _expect_keys(place, entry, required=("description", "codes"), optional=("any_case",))
    codes = tuple(entry["codes"])
    _expect(bool(codes) and all(isinstance(code, str) for code in codes), place, "codes must be text (quote NO and ON)")
    _expect(len(set(codes)) == len(codes), place, "a code is there twice")
    return CodeSet(name, entry["description"], codes, bool(entry.get("any_case", False)))


def _parse_table(entry: Any, code_sets: Mapping[str, CodeSet]) -> Table:
    _expect_keys(
        "a table",
        entry,
        required=("source", "table", "description", "grain", "key", "columns"),
        optional=("rules",),
    )
    place = f"table {entry['source']}/{entry['table']}"
    columns = tuple(_parse_column(place, column, code_sets) for column in entry["columns"])
    by_name = {column.name: column for column in columns}
    _expect(len(by_name) == len(columns), place, "a column is there twice")
    for name in entry["key"]:
        _expect(name in by_name and by_name[name].required, place, f"key column {name!r} must be a required column")
    for column in columns:
        _expect(not column.name.startswith("_"), place, f"column {column.name!r} must not start with '_'")
        if column.account is not None and column.account not in _codes_of("platform", code_sets):
            _expect(
                column.account in by_name and by_name[column.account].required,
                place,
                f"account of {column.name!r} must be a platform or a required column that holds one",
            )
    rules = tuple(_parse_rule(place, rule, by_name) for rule in entry.get("rules", ()))
    return Table(
        source=entry["source"],
        name=entry["table"],
        description=entry["description"],
        grain=entry["grain"],
        key=tuple(entry["key"]),
        columns=columns,
        rules=rules,
    )


def _parse_column(table_place: str, entry: Any, code_sets: Mapping[str, CodeSet]) -> Column:
    _expect_keys(
        f"{table_place}, a column",
        entry,
        required=("name", "type", "description"),
        optional=("required", "codes", "range", "unit", "personal", "account", "planned"),
    )
    place = f"{table_place}, column {entry['name']!r}"
    _expect(entry["type"] in SQL_TYPES, place, f"type {entry['type']!r} is none of {', '.join(SQL_TYPES)}")
    column_type = cast("ColumnType", entry["type"])
    codes = entry.get("codes")
    _expect(codes is None or codes in code_sets, place, f"code set {codes!r} is not defined")
    _expect(codes is None or column_type == "text", place, "only text can be coded")
    limits = _parse_range(place, entry.get("range"), column_type)
    planned = bool(entry.get("planned", False))
    _expect(not planned or column_type == "timestamp", place, "only a timestamp can be planned")
    _expect("account" not in entry or bool(entry.get("personal")), place, "a user id must be personal")
    return Column(
        name=entry["name"],
        type=column_type,
        description=entry["description"],
        required=bool(entry.get("required", False)),
        codes=None if codes is None else code_sets[codes],
        range=limits,
        unit=entry.get("unit"),
        personal=bool(entry.get("personal", False)),
        account=entry.get("account"),
        planned=planned,
    )


def _parse_rule(table_place: str, entry: Any, columns: Mapping[str, Column]) -> Rule:
    place = f"{table_place}, a rule"
    _expect_keys(place, entry, required=("when", "column"), optional=("required", "range", "step"))
    _expect(
        isinstance(entry["when"], dict) and len(entry["when"]) == 1, place, "`when` must name one column and a code"
    )
    ((when_column, when_value),) = entry["when"].items()
    deciding = columns.get(when_column)
    _expect(
        deciding is not None and deciding.codes is not None and when_value in deciding.codes.codes,
        place,
        f"`when` needs a code of a coded column, found {when_column}: {when_value}",
    )
    narrowed = columns.get(entry["column"])
    if narrowed is None:
        raise ContractError(f"{place}: column {entry['column']!r} is not defined")
    step = entry.get("step")
    limits = _parse_range(place, entry.get("range"), narrowed.type)
    _expect(step is None or (limits is not None and step > 0), place, "`step` must be positive and needs a `range`")
    return Rule(
        when_column=when_column,
        when_value=when_value,
        column=narrowed.name,
        required=bool(entry.get("required", False)),
        range=limits,
        step=None if step is None else float(step),
    )


def _parse_range(place: str, entry: Any, column_type: ColumnType) -> tuple[float, float] | None:
    if entry is None:
        return None
    _expect(column_type in _NUMERIC, place, "only a number can have a range")
    _expect(
        isinstance(entry, list) and len(entry) == 2 and entry[0] < entry[1], place, "range must be [lowest, highest]"
    )
    return float(entry[0]), float(entry[1])


def _codes_of(name: str, code_sets: Mapping[str, CodeSet]) -> tuple[str, ...]:
    return code_sets[name].codes if name in code_sets else ()


def _expect(condition: bool, place: str, message: str) -> None:
    if not condition:
        raise ContractError(f"{place}: {message}")


def _expect_keys(place: str, entry: Any, required: Sequence[str], optional: Sequence[str] = ()) -> None:
    _expect(isinstance(entry, dict), place, "must be a mapping")
    missing = [key for key in required if key not in entry]
    unknown = [key for key in entry if key not in (*required, *optional)]
    _expect(not missing, place, f"lacks {', '.join(missing)}")
    _expect(not unknown, place, f"has unknown keys {', '.join(map(str, unknown))}")
