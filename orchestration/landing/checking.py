"""The checks of the contract as SQL: from a delivered value to a typed one, or to the reason why not.

Everything is an expression over one delivered row, so that a file is read, typed and judged in one pass of the engine.
Reasons and the masked row are computed for refused rows only. Where the delivered values come from is decided in
`reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestration.landing.contract import Column, ColumnType, Rule, Table

EARLIEST = datetime(1990, 1, 1)
LATEST_AHEAD = timedelta(days=1)
MASK = "***"

_VALUE_SHOWN = 60
_VALUE_KEPT = 1000
_LINE_KEPT = 10_000
_CODES_SHOWN = 15

# Seven digits or more, and nothing but spaces, dots, dashes and brackets between them.
_BETWEEN_DIGITS = r"[\s\p{Z}\p{Pd}.()\[\]]*"
_PHONE = rf"{_BETWEEN_DIGITS}[+]?({_BETWEEN_DIGITS}\p{{Nd}}){{7,}}{_BETWEEN_DIGITS}"

_TIME = r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)\s?([Zz]|[+-][01]\d(?::?[0-5]\d)?)?)?"

_EXPECTED: Mapping[ColumnType, str] = {
    "text": "text without NUL characters",
    "timestamp": "a time in ISO 8601 such as 2026-01-31T18:30:00Z",
    "bool": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "money": "a number with at most 4 decimals",
    "list": "a list of texts (a|b|c in CSV)",
}


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivered value as SQL expressions.

    Attributes:
        text: The value as text, NULL if it was not given; shown in reasons and kept in the quarantine.
        scalar: The text from which the typed value is read; NULL if it is nested where a scalar belongs.
        native: The typed value itself where the file already has the right type, or None.
        given: Whether there is a value; by default, whether `text` is not blank.
    """

    text: str
    scalar: str | None = None
    native: str | None = None
    given: str | None = None


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def cleaned_list(elements: str) -> str:
    """A list without blank elements; NULL if one holds a NUL character."""
    kept = f"list_filter({elements}, lambda x: trim(x) <> '')"
    return f"case when not contains(array_to_string({elements}, ''), chr(0)) then {kept} end"


def checked_rows(
    table: Table, delivered: Mapping[str, Delivered], scan: str, *, problem: str, line: str, now: datetime
) -> str:
    """The query that types and judges the rows of a file.

    Args:
        table: The landing table.
        delivered: The delivered values by column name; a column that is not there was not delivered.
        scan: A query of the file's rows with a column `row_number`; `delivered`, `problem` and `line` refer to it.
        problem: Expression for why a row could not be split into columns, NULL for the others.
        line: Expression for the text of such a row.
        now: The wall clock in UTC, without zone.

    Returns:
        A query with the contract's columns, `row_number`, `column_name`, `reason` and `raw`. `reason` is NULL for good
        rows only.
    """
    columns = [_ColumnCheck(table, column, delivered.get(column.name), now) for column in table.columns]
    typed = ", ".join(f"{check.typed} as {check.value}" for check in columns)
    failing = [check for check in columns if check.failures]
    flags = "".join(f", coalesce({check.fails}, false) as {check.flag}" for check in failing)
    is_bad = " or ".join(["problem_found is not null", *(check.flag for check in failing)])
    first = " ".join(f"when {check.flag} then {literal(check.name)}" for check in failing)
    reasons = ", ".join(f"case when {check.flag} then {check.reason} end" for check in failing)
    raw = ", ".join(f"{literal(check.name)}, {check.masked}" for check in columns if check.is_delivered)
    values = ", ".join(f"{check.value} as {quoted(check.name)}" for check in columns)
    # What is needed for refused rows only stands within a CASE, where the engine computes it for those rows only.
    return f"""
        with scanned as ({scan}),
        typed as (select *, {problem} as problem_found, {typed} from scanned),
        flagged as (select *{flags} from typed),
        judged as (select *, {is_bad} as is_bad from flagged)
        select
            {values},
            row_number,
            case when is_bad and problem_found is null then case {first} end end as column_name,
            case when problem_found is not null then problem_found
                 when is_bad then array_to_string(list_filter([{reasons}], lambda x: x is not null), '; ')
            end as reason,
            case when problem_found is not null then {_masked_line(line)}
                 when is_bad then json_object({raw})::varchar
            end as raw
        from judged
    """


def _masked_line(line: str) -> str:
    """The shape of a line: every letter as x, every digit as 9."""
    visible = f"replace(rtrim(left({line}, {_LINE_KEPT}), chr(10) || chr(13)), chr(0), chr(9216))"
    return rf"regexp_replace(regexp_replace({visible}, '[\p{{L}}\p{{M}}]', 'x', 'g'), '\p{{N}}', '9', 'g')"


class _ColumnCheck:
    """One column: its typed value, and the conditions under which it is refused, first match first."""

    def __init__(self, table: Table, column: Column, delivered: Delivered | None, now: datetime) -> None:
        self.name = column.name
        self._column = column
        self.is_delivered = delivered is not None
        self.value = quoted("t_" + column.name)
        self.flag = quoted("f_" + column.name)
        self._text = "null::varchar" if delivered is None else f"({delivered.text})"
        self._given = (delivered and delivered.given) or f"coalesce(trim({self._text}) <> '', false)"
        self.typed = f"null::{column.sql_type}" if delivered is None else _typed(column, delivered)
        self.failures = list(self._failures(table, now))

    @property
    def fails(self) -> str:
        """Whether the column is at fault."""
        return "(" + " or ".join(condition for condition, _ in self.failures) + ")"

    @property
    def reason(self) -> str:
        """What was found and what was expected, for a row in which it is at fault."""
        cases = " ".join(f"when {condition} then {message}" for condition, message in self.failures)
        return f"{literal(self.name + ': ')} || case {cases} end"

    @property
    def masked(self) -> str:
        """The delivered text as it may be kept."""
        text = self._text
        hidden = "true" if self._column.personal else f"{self._contact} is not null"
        return f"case when {text} is null then null when {hidden} then '{MASK}' else left({text}, {_VALUE_KEPT}) end"

    @property
    def _contact(self) -> str:
        """What contact data the delivered text may be, as in a row that slipped by a column; NULL if none."""
        text = self._text
        phone = f"regexp_full_match({text}, {literal(_PHONE)})"
        if self.name.endswith(("_id", "_ids")):
            phone = "false"
        elif self._column.type == "timestamp":  # a day is written as a phone number may be
            phone = f"{self.value} is null and {phone}"
        elif self._column.type not in ("text", "list"):
            phone = f"{self.flag} and {phone}"
        return (
            f"case when contains({text}, '@') then 'a value with @' when {phone} then 'a value like a phone number' end"
        )

    def _found(self, expected: str) -> str:
        """Message for a value that is there but does not fit."""
        if self._column.personal:
            return literal(f"found a personal value (hidden), expected {expected}")
        text = self._text
        shown = (
            f"coalesce({self._contact} || ' (hidden)', "
            f"'\"' || replace(left({text}, {_VALUE_SHOWN}), chr(0), chr(9216)) || '\"')"
        )
        return f"'found ' || {shown} || {literal(f', expected {expected}')}"

    def _failures(self, table: Table, now: datetime) -> list[tuple[str, str]]:
        column, value = self._column, self.value
        rules = [failure for rule in table.rules if rule.column == self.name for failure in self._rule_failures(rule)]
        if not self.is_delivered:
            return rules
        failures = [(f"{value} is null and {self._given}", self._found(_EXPECTED[column.type]))]
        if column.required:
            failures.insert(0, (f"not {self._given}", literal(f"missing, expected {_EXPECTED[column.type]}")))
        if column.codes is not None:
            codes = ", ".join(literal(code) for code in column.codes.codes)
            coded = f"upper({value})" if column.codes.any_case else value
            few = len(column.codes.codes) <= _CODES_SHOWN
            allowed = (
                f"one of {', '.join(column.codes.codes)}" if few else f"one of {column.codes.description.rstrip('.')}"
            )
            failures.append((f"{coded} not in ({codes})", self._found(allowed)))
        if column.range is not None:
            failures.append((_outside(value, column.range, None), self._found(_span(column.range, None))))
        if column.type == "timestamp":
            failures.append((f"{value} < timestamp '{EARLIEST}'", self._found(f"a time from {EARLIEST.year} on")))
            if not column.planned:
                latest = now + LATEST_AHEAD
                expected = f"a time not more than a day ahead of now ({now:%Y-%m-%dT%H:%MZ})"
                failures.append((f"{value} > timestamp '{latest}'", self._found(expected)))
        return failures + rules

    def _rule_failures(self, rule: Rule) -> list[tuple[str, str]]:
        applies = f"{quoted('t_' + rule.when_column)} = {literal(rule.when_value)}"
        suffix = f" where {rule.when_column} is {rule.when_value}"
        expected = _span(rule.range, rule.step) if rule.range is not None else "a value"
        failures: list[tuple[str, str]] = []
        if rule.required:
            failures.append((f"{applies} and {self.value} is null", literal(f"missing, expected {expected}{suffix}")))
        if rule.range is not None and self.is_delivered:
            outside = _outside(self.value, rule.range, rule.step)
            failures.append((f"{applies} and {outside}", self._found(f"{expected}{suffix}")))
        return failures


def _outside(value: str, limits: tuple[float, float], step: float | None) -> str:
    condition = f"{value} not between {limits[0]} and {limits[1]}"
    if step is None:
        return f"({condition})"
    steps = f"({value} - {limits[0]}) / {step}"
    return f"({condition} or abs({steps} - round({steps})) > 1e-9)"


def _span(limits: tuple[float, float], step: float | None) -> str:
    span = f"{limits[0]:g} to {limits[1]:g}"
    return span if step is None else f"{span} in steps of {step:g}"


def _typed(column: Column, delivered: Delivered) -> str:
    """The typed value; NULL if the delivered one cannot be read as the type."""
    if delivered.native is not None:
        return delivered.native
    scalar = delivered.text if delivered.scalar is None else delivered.scalar
    number = f"trim({scalar})"
    match column.type:
        case "text":
            return f"case when trim({scalar}) <> '' and not contains({scalar}, chr(0)) then {scalar} end"
        case "bool":
            return f"try_cast({number} as boolean)"
        case "integer":
            return _where_matching(number, r"[+-]?[0-9]+(\.0*)?", f"try_cast({number} as integer)")
        case "number":
            cast = f"try_cast({number} as double)"
            return _where_matching(number, _NUMBER, f"case when isfinite({cast}) then {cast} end")
        case "money":
            return _money(number)
        case "timestamp":
            return _timestamp(number)
        case "list":
            split = cleaned_list(f"string_split({scalar}, '|')")
            return f"case when trim({scalar}) <> '' then {split} end"


_SHORT = r"[+-]?[0-9]+(\.[0-9]{0,4}0*)?"
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


def _where_matching(text: str, pattern: str, value: str) -> str:
    return f"case when regexp_full_match({text}, {literal(pattern)}) then {value} end"


def _money(value: str) -> str:
    """A DECIMAL(18,4), NULL where that would drop decimals; noise of binary fractions is no decimal."""
    wide = f"try_cast({value} as decimal(38,12)) = try_cast({value} as decimal(18,4))"
    return (
        f"case when regexp_full_match({value}, '{_SHORT}') then try_cast({value} as decimal(18,4)) "
        f"when regexp_full_match({value}, '{_NUMBER}') and {wide} then try_cast({value} as decimal(18,4)) end"
    )


def _timestamp(text: str) -> str:
    """An ISO 8601 text as UTC, whatever the time zone of the session."""
    parts = f"regexp_extract({text}, {literal('^' + _TIME + '$')}, ['day', 'clock', 'zone'])"
    offset = (
        "case when p.zone in ('', 'Z', 'z') then 0 else "
        "(case when p.zone[1] = '-' then -1 else 1 end) * (p.zone[2:3]::integer * 60 "
        "+ case when length(p.zone) > 3 then right(p.zone, 2)::integer else 0 end) end"
    )
    clock = "case when p.clock = '' then '00:00' else replace(p.clock, ',', '.') end"
    moment = f"try_cast(p.day || ' ' || {clock} as timestamp) - to_minutes({offset})"
    return f"list_transform([{parts}], lambda p: case when p.day <> '' then {moment} end)[1]"
