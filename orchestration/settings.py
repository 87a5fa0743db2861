"""Where a run happens and with which numbers: the environment turned into one frozen, validated object.

Everything that the code location, the command line and the tests may vary stands here. Nothing else reads `ZHIYING_*`
variables, and nothing reads them at import time: a `Settings` object is made where a graph is assembled.
"""

import contextlib
import hashlib
import hmac
import json
import math
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PROJECT_DIR = Path(__file__).resolve().parent.parent
DBT_PROJECT_DIR = PROJECT_DIR / "dbt_project"

_PREFIX = "ZHIYING_"
_SHORTEST_SECRET = 16
_MOST_PLAN_DAYS = 60
# Read by dbt's profile; written by the dbt resource, never by a person.
DBT_VARIABLES = frozenset({"ZHIYING_BUILD_DB"})


class SettingsError(ValueError):
    """A setting is unknown or has a value that cannot be used; the message says which and what would do."""

    exit_status = 2


@dataclass(frozen=True)
class Settings:
    """All that a run may vary.

    Args:
        home: Folder that holds everything a run writes.
        landing: Folder that the platforms deliver to.
        time_zone: IANA name; days are calendar days in it.
        as_of: Explicit point in time of the run (UTC, naive), or None for the latest event in the warehouse.
        max_quarantine_share: Share of a table's rows, 0 to 1, above which a run stops before publishing.
        list_length: Ranks per person and target in `recommendations.user_item`.
        related_length: Ranks per item and target in `recommendations.item_item`.
        keep_publications: How many publications stay on disk, the current one included.
        memory_limit: DuckDB memory limit of one connection, as DuckDB writes it.
        seed: Seed of everything that draws.
        evaluated_people: Most people on whom a configuration is judged during the search.
        exploration_share: Share of the places of a list that go to items that little is known about, 0 (none) to less than 1.
        exploration_first_place: First place of a list that can go to one, counted from 1.
        exploration_most_interactions: People who have had to do with an item, at most, for little to be known about it.
        exploration_most_items: Most items that are explored on a day.
        exploration_favour: How much the least known are favoured: 0 draws all alike, 1 and more those that fewest people know.
        exploration_fit: How much those are favoured that suit the person, >= 0; 0 draws without regard to the person.
        candidates: Names of the models that are tried; None tries all. Popularity is always tried. Whether there are such models
            is checked where the protocol is made (`recommendations.steps.selection_config`).
        blend_calibrations: How scores of the members of a blend are made comparable, in the order in which they are tried, at
            least one of `score` and `reciprocal_rank`.
        ease_items: Items with the most people that EASE looks at, at least 1. Fitting takes 12 x ease_items^2 bytes and time in
            proportion to ease_items^3.
        choose_as_of: Whether the judgement at one point in time also chooses parameters and champions anew, on what had happened
            by then. It takes a second search.
        plan_days: Calendar days that contacts are planned for, from the day after `as_of`, 1 to 60.
        handover_days: How many of these are handed over and so committed, at most `plan_days`; the rest may still change.
        taste_clusters: Number of clusters that people are put in by taste, at least 2; None finds it.
        taste_min_items: Items that a person has had to do with, at least, to be put in one.
    """

    home: Path
    landing: Path
    time_zone: str = "UTC"
    as_of: datetime | None = None
    max_quarantine_share: float = 0.01
    list_length: int = 50
    related_length: int = 20
    keep_publications: int = 5
    memory_limit: str = "2GB"
    seed: int = 20260131
    evaluated_people: int = 4000
    exploration_share: float = 0.0
    exploration_first_place: int = 4
    exploration_most_interactions: int = 5
    exploration_most_items: int = 1000
    exploration_favour: float = 1.0
    exploration_fit: float = 0.5
    candidates: tuple[str, ...] | None = None
    blend_calibrations: tuple[str, ...] = ("score",)
    ease_items: int = 3000
    choose_as_of: bool = False
    plan_days: int = 7
    handover_days: int = 1
    taste_clusters: int | None = None
    taste_min_items: int = 5

    def __post_init__(self) -> None:
        """Refuses values that would fail later, far from their cause.

        Raises:
            SettingsError: If a value is out of its range.
        """
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SettingsError(
                f"ZHIYING_TIME_ZONE: {self.time_zone!r} is not an IANA time zone; for instance Asia/Shanghai or UTC"
            ) from error
        if not 0 <= self.max_quarantine_share <= 1:
            raise SettingsError(f"ZHIYING_MAX_QUARANTINE_SHARE: {self.max_quarantine_share} is not between 0 and 1")
        if not re.fullmatch(r"\d+(\.\d+)?\s*([KMGT]i?B|%)", self.memory_limit):
            raise SettingsError(f"ZHIYING_MEMORY_LIMIT: {self.memory_limit!r} is not a size; for instance 2GB")
        if not 0 <= self.exploration_share < 1:
            raise SettingsError(
                f"ZHIYING_EXPLORATION_SHARE: {self.exploration_share} is not at least 0 and less than 1"
            )
        for name in ("exploration_favour", "exploration_fit"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise SettingsError(f"{_PREFIX}{name.upper()}: {value} is not at least 0 and finite")
        if self.exploration_most_interactions < 0:
            raise SettingsError(
                f"ZHIYING_EXPLORATION_MOST_INTERACTIONS: {self.exploration_most_interactions} is negative"
            )
        if self.seed < 0:
            raise SettingsError(f"ZHIYING_SEED: {self.seed} is negative")
        if self.taste_clusters is not None and self.taste_clusters < 2:
            raise SettingsError(
                f"ZHIYING_TASTE_CLUSTERS: {self.taste_clusters} is not at least 2; leave it empty to have the number found"
            )
        for name in (
            "list_length",
            "related_length",
            "keep_publications",
            "evaluated_people",
            "exploration_first_place",
            "exploration_most_items",
            "ease_items",
            "taste_min_items",
        ):
            if getattr(self, name) < 1:
                raise SettingsError(f"{_PREFIX}{name.upper()}: {getattr(self, name)} is not at least 1")
        for name in ("plan_days", "handover_days"):
            if not 1 <= getattr(self, name) <= _MOST_PLAN_DAYS:
                raise SettingsError(
                    f"{_PREFIX}{name.upper()}: {getattr(self, name)} is not between 1 and {_MOST_PLAN_DAYS}"
                )
        if self.handover_days > self.plan_days:
            raise SettingsError(
                f"ZHIYING_HANDOVER_DAYS: {self.handover_days} days cannot be handed over if {self.plan_days} are planned; "
                "raise ZHIYING_PLAN_DAYS or hand over fewer"
            )

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, *, working_directory: Path | None = None
    ) -> "Settings":
        """Reads the `ZHIYING_*` variables.

        Args:
            environment: Variables to read; the process's own if None.
            working_directory: Folder that relative paths start from; the process's own if None.

        Returns:
            Validated settings; `home` and `landing` are absolute.

        Raises:
            SettingsError: If a `ZHIYING_*` variable is not known or cannot be used.
        """
        variables = dict(os.environ if environment is None else environment)
        base = working_directory or Path.cwd()
        known: dict[str, Callable[[str], object]] = {
            "HOME": str,
            "LANDING": str,
            "SECRET": str,
            "TIME_ZONE": str,
            "AS_OF": parse_time,
            "MAX_QUARANTINE_SHARE": float,
            "LIST_LENGTH": int,
            "RELATED_LENGTH": int,
            "KEEP_PUBLICATIONS": int,
            "MEMORY_LIMIT": str,
            "SEED": int,
            "EVALUATED_PEOPLE": int,
            "EXPLORATION_SHARE": float,
            "EXPLORATION_FIRST_PLACE": int,
            "EXPLORATION_MOST_INTERACTIONS": int,
            "EXPLORATION_MOST_ITEMS": int,
            "EXPLORATION_FAVOUR": float,
            "EXPLORATION_FIT": float,
            "CANDIDATES": _names,
            "BLEND_CALIBRATIONS": _names,
            "EASE_ITEMS": int,
            "CHOOSE_AS_OF": _yes_or_no,
            "PLAN_DAYS": int,
            "HANDOVER_DAYS": int,
            "TASTE_CLUSTERS": int,
            "TASTE_MIN_ITEMS": int,
        }
        values: dict[str, object] = {}
        for variable, text in variables.items():
            if not variable.startswith(_PREFIX) or variable in DBT_VARIABLES or text == "":
                continue
            name = variable.removeprefix(_PREFIX)
            if name not in known:
                raise SettingsError(f"{variable} is not a setting; known are {', '.join(_PREFIX + k for k in known)}")
            try:
                values[name.lower()] = known[name](text)
            except ValueError as error:
                raise SettingsError(f"{variable}: {error}") from error
        values.pop("secret", None)  # kept out of the object, which is printed and logged; see `secret`
        home = (base / Path(str(values.pop("home", ".zhiying"))).expanduser()).resolve()
        landing_value = values.pop("landing", None)
        landing = (base / Path(str(landing_value)).expanduser()).resolve() if landing_value else home / "landing"
        return cls(home=home, landing=landing, **values)  # type: ignore[arg-type]

    def with_options(self, **options: object) -> "Settings":
        """Returns a copy in which every option that is not None replaces a setting."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]

    @property
    def warehouse_file(self) -> Path:
        """The build file: the pipeline's own, nobody else opens it."""
        return self.home / "warehouse" / "build.duckdb"

    @property
    def models_dir(self) -> Path:
        """Folder of the trained models, one sub-folder an address."""
        return self.home / "models"

    @property
    def tuned_file(self) -> Path:
        """Parameters that a long search has found."""
        return self.home / "tuning" / "parameters.json"

    @property
    def studies_dir(self) -> Path:
        """What long searches have tried."""
        return self.home / "tuning" / "studies"

    @property
    def published_dir(self) -> Path:
        """Folder of the publications."""
        return self.home / "published"

    @property
    def decisions_dir(self) -> Path:
        """Folder of the plans that were handed over, one sub-folder a plan; nothing in it ever changes."""
        return self.home / "decisions"

    @property
    def exports_dir(self) -> Path:
        """Folder of the lists for those who deliver, one sub-folder a day."""
        return self.home / "exports"

    @property
    def restricted_dir(self) -> Path:
        """Folder of what only those who deliver may read."""
        return self.home / "restricted"

    @property
    def dagster_dir(self) -> Path:
        """Dagster's own storage."""
        return self.home / "dagster"

    @property
    def reports_dir(self) -> Path:
        """Run logs and reports for people."""
        return self.home / "reports"

    def prepare_home(self) -> None:
        """Makes the folders of the home that a run writes to.

        Raises:
            SettingsError: If the home cannot be written.
        """
        try:
            for folder in (self.models_dir, self.published_dir, self.dagster_dir, self.reports_dir):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.warehouse_file.parent, self.restricted_dir):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            probe = self.home / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise SettingsError(
                f"The home {self.home} cannot be written ({error.strerror}); name another with --home or ZHIYING_HOME"
            ) from error

    def secret(self, environment: Mapping[str, str] | None = None) -> bytes:
        """The key of the pseudonyms: `ZHIYING_SECRET`, or a file made on the first run (mode 0600).

        Whoever has it can tell which account a `user_key` belongs to, so it is neither logged nor published.

        Raises:
            SettingsError: If it is too short to be one.
        """
        given = (os.environ if environment is None else environment).get("ZHIYING_SECRET")
        if given:
            if len(given) < _SHORTEST_SECRET:
                raise SettingsError(
                    f"ZHIYING_SECRET: shorter than {_SHORTEST_SECRET} characters; try openssl rand -hex 32"
                )
            return given.encode()
        path = self.restricted_dir / "secret"
        if not path.exists():
            self._make_secret(path)
        secret = path.read_text().strip()
        if len(secret) < _SHORTEST_SECRET:
            raise SettingsError(f"{path} holds no secret; put back the one that this home was made with")
        return secret.encode()

    def _make_secret(self, path: Path) -> None:
        """Makes the file whole or not at all; of two processes that do so at once, the first wins."""
        self.restricted_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = path.with_name(f".secret.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
        scratch.unlink()

    def fingerprint(self) -> str:
        """Identity of every setting that changes what is published, the secret included (as a keyed hash)."""
        values = {
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
            "candidates": None if self.candidates is None else sorted(set(self.candidates)),
            "blend_calibrations": self.blend_calibrations,
            "choose_as_of": self.choose_as_of,
            "ease_items": self.ease_items,
            "evaluated_people": self.evaluated_people,
            "exploration": {
                name: getattr(self, f"exploration_{name}")
                for name in ("share", "first_place", "most_interactions", "most_items", "favour", "fit")
            },
            "tuned": hashlib.sha256(self.tuned_file.read_bytes()).hexdigest() if self.tuned_file.exists() else None,
            "handover_days": self.handover_days,
            "list_length": self.list_length,
            "plan_days": self.plan_days,
            "related_length": self.related_length,
            "secret": hmac.new(self.secret(), b"settings", hashlib.sha256).hexdigest(),
            "seed": self.seed,
            "taste_clusters": self.taste_clusters,
            "taste_min_items": self.taste_min_items,
            "time_zone": self.time_zone,
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _names(text: str) -> tuple[str, ...]:
    """Names between commas, at least one."""
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    if not names:
        raise ValueError(f"{text!r} names nothing; leave it empty for all")
    return names


def _yes_or_no(text: str) -> bool:
    """Whether a text says yes: `yes`, `true` or 1; `no`, `false` and 0 say no."""
    known = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.strip().lower() not in known:
        raise ValueError(f"{text!r} is neither yes nor no")
    return known[text.strip().lower()]


def parse_time(text: str) -> datetime:
    """ISO 8601 date or time to naive UTC; an offset is honoured, none means UTC.

    Raises:
        ValueError: If the text is not ISO 8601.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an ISO 8601 time; for instance 2026-01-31T18:00:00+08:00") from error
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
