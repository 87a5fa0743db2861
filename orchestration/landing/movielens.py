"""Landing files from the MovieLens family of public rating data sets.

Reads ml-100k, ml-1m, ml-10m, the CSV releases (ml-latest, ml-25m, ml-32m), MovieTweetings and the RecBole form of them, from a
folder or a zip, and writes film/films, film/users (where the source knows users) and film/events as Parquet. Rows stay inside
DuckDB. Checking the result against the contract and loading it is left to the rest of the station.

Ratings become 1 to 5 in halves: MovieTweetings' 0 to 10 are halved, MovieLens' 0.5 to 5 stay; what is then below 1 (0.5 stars; 0
and 1 of 10) becomes 1.
"""

from __future__ import annotations

import codecs
import dataclasses
import enum
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done and how many there are."""

_DEEPEST_FOLDER = 2
_MEMORY_LIMIT = "1500MB"

_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip

_EXPECTED = (
    "u.data and u.item (ml-100k), ratings.dat and movies.dat (ml-1m, ml-10m, MovieTweetings), ratings.csv and movies.csv "
    "(ml-latest, ml-25m and later), or NAME.inter and NAME.item (RecBole)"
)


class MovieLensError(ValueError):
    """The source is not of the MovieLens family, or cannot be read as what it looks like."""

    exit_status = 2


class MovieLensVariant(enum.StrEnum):
    """The layouts of the family, by their common names."""

    ML_100K = "ml-100k"
    ML_1M = "ml-1m"
    ML_10M = "ml-10m"
    ML_CSV = "ml-csv"
    MOVIETWEETINGS = "movietweetings"
    RECBOLE = "recbole"


@dataclasses.dataclass(frozen=True)
class LandSummary:
    """What was landed.

    Attributes:
        source: The source as given.
        variant: Layout that was found.
        rows: Rows written per table (`film/events` and so on).
        files: Files written, relative to the landing folder.
        dropped: What was left behind: reason to number of rows, or of values for a column that has no place to go.
        notes: What was changed on the way, in words.
    """

    source: Path
    variant: MovieLensVariant
    rows: Mapping[str, int]
    files: tuple[str, ...]
    dropped: Mapping[str, int]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """The summary in lines for a person."""
        lines = [f"{self.source}: {self.variant.value}"]
        lines += [
            f"  {table}: {self.rows[table]:,} rows in {file}" for table, file in zip(self.rows, self.files, strict=True)
        ]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  left behind: {count:,} x {reason}" for reason, count in self.dropped.items()]
        return "\n".join(lines)


def detect_movielens(source: Path) -> MovieLensVariant:
    """Says which layout of the family a source has.

    The three releases with `::` are told apart by what is in them: ratings above 5, film numbers of seven digits that start with
    a zero, or users with two fields are MovieTweetings; tags.dat or half stars are ml-10m; else it is ml-1m.

    Args:
        source: Folder or .zip; the files may be up to two folders down.

    Returns:
        The variant.

    Raises:
        MovieLensError: If the source does not exist or no layout fits.
    """
    with _opened(source, None) as folder:
        return _detect(source, folder)


def land_movielens(source: Path, landing: Path, *, progress: Progress | None = None) -> LandSummary:
    """Writes a data set of the family as landing files.

    Each file is written under a temporary name and then renamed; the same source gives the same bytes again.

    Args:
        source: Folder or .zip of the data set.
        landing: Landing folder, made if it is missing.
        progress: Called as the work goes on.

    Returns:
        Rows and files written, and what was dropped.

    Raises:
        MovieLensError: If the source is not of the family or has no rating that can be read.
    """
    tell = progress or (lambda step, done, total: None)
    tell("finding out the layout", 0, 4)
    if not source.exists():
        raise MovieLensError(f"{source} does not exist: expected a folder or a .zip with {_EXPECTED}")
    landing.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=landing, prefix=".movielens-") as scratch, _opened(source, scratch) as folder:
        variant = _detect(source, folder)
        with duckdb.connect(
            config={"memory_limit": _MEMORY_LIMIT, "temp_directory": scratch, "threads": 2}
        ) as connection:
            reading = _Reading(connection, folder, variant)
            reading.prepare()
            written: dict[str, tuple[str, int]] = {}
            for step, table in enumerate(("film/films", "film/users", "film/events"), start=1):
                tell(f"writing {table}", step, 4)
                query = reading.query(table)
                if query is None:
                    continue
                temporary = Path(scratch) / (table.replace("/", "-") + ".parquet")
                rows = _copy(connection, query, temporary)
                if rows:
                    name = f"{table}/{variant.value}.parquet"
                    (landing / name).parent.mkdir(parents=True, exist_ok=True)
                    written[table] = (name, rows)
            if "film/events" not in written:
                raise MovieLensError(f"{source} looks like {variant.value} but holds no rating that can be read")
            dropped, notes = reading.account()
            for table, (name, _) in written.items():
                (Path(scratch) / (table.replace("/", "-") + ".parquet")).replace(landing / name)
    tell("done", 4, 4)
    return LandSummary(
        source=source,
        variant=variant,
        rows={table: rows for table, (_, rows) in written.items()},
        files=tuple(name for name, _ in written.values()),
        dropped=dropped,
        notes=notes,
    )


@contextmanager
def _opened(source: Path, scratch: str | None) -> Iterator[Path]:
    """The folder that holds the data set's files; a zip is unpacked for as long as it is needed."""
    if not source.exists():
        raise MovieLensError(f"{source} does not exist: expected a folder or a .zip with {_EXPECTED}")
    if source.is_dir():
        yield _data_folder(source, source)
        return
    if not zipfile.is_zipfile(source):
        raise MovieLensError(f"{source} is neither a folder nor a .zip: expected one with {_EXPECTED}")
    with tempfile.TemporaryDirectory(dir=scratch, prefix="movielens-") as unpacked:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                if not member.is_dir() and _is_data_file(Path(member.filename).name):
                    archive.extract(member, unpacked)
        yield _data_folder(source, Path(unpacked))


def _is_data_file(name: str) -> bool:
    return bool(
        re.fullmatch(r"u\.(data|item|user)|(ratings|movies|users|tags)\.dat|(ratings|movies|links)\.csv", name)
    ) or (name.endswith((".inter", ".item", ".user")))


def _data_folder(source: Path, root: Path) -> Path:
    """The one folder at or below root that holds ratings."""
    found = sorted(
        {path.parent for path in root.rglob("*") if path.is_file() and _is_ratings_file(path.name)},
        key=lambda folder: (len(folder.parts), folder),
    )
    found = [folder for folder in found if len(folder.relative_to(root).parts) <= _DEEPEST_FOLDER]
    if not found:
        names = sorted(path.name for path in root.iterdir())
        raise MovieLensError(
            f"{source} is not of the MovieLens family: expected {_EXPECTED}; found {', '.join(names[:8]) or 'no file'}"
        )
    if len(found) > 1 and found[0] != root:
        folders = ", ".join(str(folder.relative_to(root)) for folder in found)
        raise MovieLensError(f"{source} holds more than one data set ({folders}): name one of them")
    return found[0]


def _is_ratings_file(name: str) -> bool:
    return name in ("u.data", "ratings.dat", "ratings.csv") or name.endswith(".inter")


def _detect(source: Path, folder: Path) -> MovieLensVariant:
    def need(*names: str) -> None:
        for name in names:
            if not (folder / name).is_file():
                raise MovieLensError(f"{folder / name} is missing in {source}: expected {_EXPECTED}")

    if (folder / "u.data").is_file():
        need("u.item")
        return MovieLensVariant.ML_100K
    if (folder / "ratings.csv").is_file():
        need("movies.csv")
        _expect_header(folder / "ratings.csv", ("userId", "movieId", "rating", "timestamp"))
        _expect_header(folder / "movies.csv", ("movieId", "title", "genres"))
        return MovieLensVariant.ML_CSV
    if (folder / "ratings.dat").is_file():
        need("movies.dat")
        return _detect_double_colon(folder)
    inter = sorted(folder.glob("*.inter"))
    if len(inter) > 1:
        raise MovieLensError(f"{source} holds more than one .inter file: expected one")
    need(inter[0].with_suffix(".item").name)
    return MovieLensVariant.RECBOLE


def _expect_header(path: Path, names: tuple[str, ...]) -> None:
    with path.open(encoding="utf-8-sig") as lines:
        header = lines.readline().strip().split(",")
    missing = [name for name in names if name not in header]
    if missing:
        raise MovieLensError(f"{path}: column {missing[0]} is missing in line 1: expected {', '.join(names)}")


def _detect_double_colon(folder: Path) -> MovieLensVariant:
    with duckdb.connect() as connection:
        row = connection.execute(
            f"""
            select
                coalesce(max(rating) > 5 or bool_or(film like '0______'), false) as is_movietweetings,
                coalesce(bool_or(rating - floor(rating) = 0.5), false) as has_halves,
                count(rating),
            from (
                select try_cast(split_part(line, '::', 3) as double) as rating, split_part(line, '::', 2) as film,
                from ({_lines(folder / "ratings.dat")})
            )
            """
        ).fetchone()
    is_movietweetings, has_halves, readable = row or (False, False, 0)
    if not readable:
        raise MovieLensError(f"{folder / 'ratings.dat'}: no line of the form user::film::rating::time")
    users = folder / "users.dat"
    if users.is_file():
        with users.open(encoding="utf-8", errors="replace") as lines:
            is_movietweetings = is_movietweetings or lines.readline().count("::") == 1
    if is_movietweetings:
        return MovieLensVariant.MOVIETWEETINGS
    return MovieLensVariant.ML_10M if has_halves or (folder / "tags.dat").is_file() else MovieLensVariant.ML_1M


class _Reading:
    """The SQL of one data set: views `rating` and `film` in one shape, whatever the layout."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, variant: MovieLensVariant) -> None:
        self._connection = connection
        self._folder = folder
        self._variant = variant
        self._notes: list[str] = []
        self._dropped: dict[str, int] = {}
        self._users: str | None = None

    def prepare(self) -> None:
        """Makes the views `source_rating` and `source_film` and the query of users."""
        try:
            {
                MovieLensVariant.ML_100K: self._prepare_100k,
                MovieLensVariant.ML_CSV: self._prepare_csv,
                MovieLensVariant.RECBOLE: self._prepare_recbole,
            }.get(self._variant, self._prepare_double_colon)()
        except duckdb.Error as error:
            raise MovieLensError(
                f"{self._folder} cannot be read as {self._variant.value}: {_first_line(error)}"
            ) from error

    def query(self, table: str) -> str | None:
        """The rows of a landing table, or None if the source knows nothing of it."""
        return {"film/films": _FILMS, "film/users": self._users, "film/events": _EVENTS.format(**self._scale)}[table]

    def account(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """What was dropped, and what was changed."""
        unreadable, scale, raised = self._row(
            f"""
            select
                count(*) filter (where {_UNREADABLE}),
                count(*) filter (where not ({_UNREADABLE}) and not ({_ON_SCALE.format(**self._scale)})),
                count(*) filter (where rating / {self._scale["halving"]} < 1 and not ({_UNREADABLE})),
            from source_rating
            """
        )
        self._drop("rating row with a missing or unreadable field", unreadable)
        self._drop(f"rating outside the scale of {self._variant.value}", scale)
        (films,) = self._row("select count(*) from source_film where film_id is null or title is null")
        self._drop("film row with a missing or unreadable field", films)
        (repeated,) = self._row("select count(*) - count(distinct film_id) from source_film where title is not null")
        self._drop("film row repeated (the first is kept)", repeated)
        if self._variant is MovieLensVariant.MOVIETWEETINGS:
            self._notes.insert(0, "ratings of 0 to 10 were halved")
        if raised:
            self._notes.append(f"{raised:,} ratings below 1 were raised to 1")
        return self._dropped, tuple(self._notes)

    @property
    def _scale(self) -> dict[str, float]:
        """Lowest rating of the source, and what its ratings are divided by to end at 5."""
        if self._variant is MovieLensVariant.MOVIETWEETINGS:
            return {"lowest": 0, "halving": 2}
        return {"lowest": 0.5, "halving": 1}

    def _row(self, query: str) -> tuple[int, ...]:
        row = self._connection.execute(query).fetchone()
        return tuple(int(value or 0) for value in row or ())

    def _drop(self, reason: str, count: int) -> None:
        if count:
            self._dropped[reason] = self._dropped.get(reason, 0) + count

    def _make(self, name: str, query: str, *, keep: bool = False) -> None:
        # Films are read once and kept: they are few, and counted as well as written.
        self._connection.execute(f"create {'table' if keep else 'view'} {name} as {query}")

    def _prepare_100k(self) -> None:
        self._make(
            "source_rating",
            _ratings_from(_split(_lines(self._folder / "u.data"), "\\t")),
        )
        flags = " || ".join(
            f"case when part[{number + 6}] = '1' then [{_text(genre)}] else [] end"
            for number, genre in enumerate(_GENRES_100K)
        )
        self._make(
            "source_film",
            f"""
            select
                nullif(part[1], '') as film_id,
                nullif(part[2], '') as title,
                list_filter({flags}, lambda genre: genre <> 'unknown') as genres,
                null::varchar as imdb_id,
            from ({_split(_lines(self._folder / "u.item"), "|")})
            """,
            keep=True,
        )
        if (self._folder / "u.user").is_file():
            self._users = f"""
                with
                person as (
                    select part[1] as user_id, try_cast(part[2] as integer) as age, part[3] as gender,
                    from ({_split(_lines(self._folder / "u.user"), "|")})
                    where part[1] <> ''
                ),
                first_seen as (
                    select user_id, min(to_timestamp(rated_at) at time zone 'UTC') as at, from source_rating group by user_id
                )
                select
                    person.user_id,
                    (year(first_seen.at) - person.age)::integer as birth_year,
                    {_GENDER.format(column="person.gender")} as gender,
                from person
                left join first_seen using (user_id)
                order by try_cast(person.user_id as bigint), person.user_id
            """
            self._notes.append("year of birth = year of the first rating - age")
            (people,) = self._row(f"select count(*) from ({self._users})")
            self._drop("value of occupation (the contract has no place for it)", people)
            self._drop("value of zip code (the contract has no place for it)", people)

    def _prepare_double_colon(self) -> None:
        self._make("source_rating", _ratings_from(_split(_lines(self._folder / "ratings.dat"), "::")))
        imdb_id = "'tt' || found.film_id" if self._variant is MovieLensVariant.MOVIETWEETINGS else "null::varchar"
        self._make(
            "source_film",
            f"""
            select
                nullif(found.film_id, '') as film_id,
                nullif(found.title, '') as title,
                string_split(found.genres, '|') as genres,
                {imdb_id} as imdb_id,
            from (
                select regexp_extract(line, '^(.+?)::(.*)::([^:]*)$', ['film_id', 'title', 'genres']) as found,
                from ({_lines(self._folder / "movies.dat")})
            )
            """,
            keep=True,
        )
        users = self._folder / "users.dat"
        if self._variant is MovieLensVariant.ML_1M and users.is_file():
            self._users = f"""
                select part[1] as user_id, {_GENDER.format(column="part[2]")} as gender,
                from ({_split(_lines(users), "::")})
                where part[1] <> ''
                order by try_cast(part[1] as bigint), part[1]
            """
            (people,) = self._row(f"select count(*) from ({self._users})")
            self._drop("value of age (a bracket, no year of birth)", people)
            self._drop("value of occupation (the contract has no place for it)", people)
            self._drop("value of zip code (the contract has no place for it)", people)

    def _prepare_csv(self) -> None:
        self._make(
            "source_rating",
            f"""
            select
                nullif(trim("userId"), '') as user_id,
                nullif(trim("movieId"), '') as film_id,
                try_cast(rating as double) as rating,
                try_cast("timestamp" as bigint) as rated_at,
            from {_csv(self._folder / "ratings.csv")}
            """,
        )
        links = self._folder / "links.csv"
        imdb = "select null::varchar as film_id, null::varchar as imdb_id, where false"
        if links.is_file():
            imdb = f"""
                select
                    nullif(trim("movieId"), '') as film_id,
                    any_value('tt' || lpad(trim("imdbId"), greatest(7, length(trim("imdbId")))::integer, '0')) as imdb_id,
                from {_csv(links)}
                where trim("imdbId") <> ''
                group by all
            """
        self._make(
            "source_film",
            f"""
            select
                nullif(trim(film."movieId"), '') as film_id,
                nullif(film.title, '') as title,
                string_split(film.genres, '|') as genres,
                link.imdb_id,
            from {_csv(self._folder / "movies.csv")} as film
            left join ({imdb}) as link on link.film_id = nullif(trim(film."movieId"), '')
            """,
            keep=True,
        )

    def _prepare_recbole(self) -> None:
        inter = next(iter(sorted(self._folder.glob("*.inter"))))
        rating = _recbole(inter, ("user_id", "item_id", "rating", "timestamp"))
        self._make(
            "source_rating",
            f"""
            select
                nullif(user_id, '') as user_id,
                nullif(item_id, '') as film_id,
                try_cast(rating as double) as rating,
                try_cast("timestamp" as double)::bigint as rated_at,
            from ({rating})
            """,
        )
        item = inter.with_suffix(".item")
        names = _recbole_header(item)
        title = next((name for name in ("movie_title", "title") if name in names), "item_id")
        genre = next((name for name in ("genre", "class", "genres") if name in names), None)
        year = "release_year" if "release_year" in names else None
        dated = (
            f"""\"{title}" || coalesce(' (' || try_cast(try_cast({year} as double) as integer) || ')', '')"""
            if year
            else title
        )
        self._make(
            "source_film",
            f"""
            select
                nullif(item_id, '') as film_id,
                nullif({dated}, '') as title,
                {f'''string_split("{genre}", ' ')''' if genre else "null::varchar[]"} as genres,
                null::varchar as imdb_id,
            from ({_recbole(item, names)})
            """,
            keep=True,
        )
        user = inter.with_suffix(".user")
        if user.is_file() and {"user_id", "gender"} <= set(_recbole_header(user)):
            self._users = f"""
                select user_id, {_GENDER.format(column="gender")} as gender,
                from ({_recbole(user, _recbole_header(user))})
                where user_id <> ''
                order by user_id
            """
            (people,) = self._row(f"select count(*) from ({self._users})")
            for name in _recbole_header(user):
                if name not in ("user_id", "gender"):
                    self._drop(f"value of {name} (the contract has no place for it)", people)


_GENDER = "case {column} when 'F' then 'female' when 'M' then 'male' end"

_UNREADABLE = "user_id is null or film_id is null or rating is null or rated_at is null"
_ON_SCALE = "rating between {lowest} and 5 * {halving} and rating * 2 / {halving} = floor(rating * 2 / {halving})"

_FILMS = """
    with
    first_row as (
        select * from source_film
        where film_id is not null and title is not null
        qualify row_number() over (partition by film_id order by rowid) = 1
    ),
    cleaned as (
        select
            film_id,
            trim(title) as full_title,
            regexp_extract(trim(title), '\\(([12][0-9]{3})(?:[-–][0-9]{0,4})?\\)$', 1) as year_text,
            list_filter(
                list_transform(genres, lambda genre: trim(genre)),
                lambda genre: genre not in ('', '(no genres listed)', 'unknown', 'N/A')
            ) as genres,
            imdb_id,
        from first_row
    )
    select
        film_id,
        coalesce(
            nullif(trim(case when year_text = '' then full_title
                else regexp_replace(full_title, '\\s*\\([^()]*\\)$', '') end), ''),
            full_title
        ) as title,
        case
            when list_has_any(genres, ['Series', 'TV Series', 'TV Mini-Series', 'Mini-Series', 'Reality-TV']) then 'series'
            when list_contains(genres, 'Short') then 'short'
            when list_contains(genres, 'Documentary') then 'documentary'
            when list_contains(genres, 'Animation') then 'animation'
            else 'movie'
        end as kind,
        case when len(genres) > 0 then genres end as genres,
        try_cast(year_text as integer) as release_year,
        imdb_id,
    from cleaned
    order by try_cast(film_id as bigint), film_id
"""

_EVENTS = (
    """
    select
        concat_ws(':', user_id, film_id, rated_at) as event_id,
        user_id,
        film_id,
        'rating' as event_type,
        to_timestamp(rated_at) at time zone 'UTC' as occurred_at,
        greatest(rating / {halving}, 1)::double as value,
    from source_rating
    where not ("""
    + _UNREADABLE
    + """) and """
    + _ON_SCALE
)


def _ratings_from(parts: str) -> str:
    """Ratings from lines split into user, film, rating and time."""
    return f"""
        select
            nullif(trim(part[1]), '') as user_id,
            nullif(trim(part[2]), '') as film_id,
            try_cast(part[3] as double) as rating,
            try_cast(part[4] as bigint) as rated_at,
        from ({parts})
    """


def _lines(path: Path) -> str:
    """The lines of a text file as `line`, in its own encoding."""
    return f"""
        select line
        from read_csv(
            {_text(str(path))}, header = false, columns = {{'line': 'varchar'}}, auto_detect = false,
            delim = '\x1f', quote = '', escape = '', encoding = {_text(_encoding(path))}
        )
        where trim(line) <> ''
    """


def _split(lines: str, separator: str) -> str:
    return f"select string_split(line, {'E' if separator.startswith(chr(92)) else ''}{_text(separator)}) as part from ({lines})"


def _csv(path: Path) -> str:
    return (
        f"read_csv({_text(str(path))}, header = true, delim = ',', quote = '\"', escape = '\"', all_varchar = true, "
        f"null_padding = true, parallel = false, encoding = {_text(_encoding(path))})"
    )


def _recbole_header(path: Path) -> tuple[str, ...]:
    """Names of the columns of an atomic file, whose header cells are `name:type`."""
    with path.open(encoding="utf-8-sig") as lines:
        return tuple(cell.split(":")[0] for cell in lines.readline().rstrip("\r\n").split("\t"))


def _recbole(path: Path, names: tuple[str, ...]) -> str:
    """The rows of an atomic file with the columns named."""
    header = _recbole_header(path)
    missing = [name for name in names if name not in header]
    if missing:
        raise MovieLensError(f"{path}: column {missing[0]} is missing in line 1: expected {', '.join(names)}")
    columns = ", ".join(f"coalesce(part[{header.index(name) + 1}], '') as \"{name}\"" for name in names)
    return f"select {columns} from ({_split(_lines(path), chr(92) + 't')}) where part[1] not like '%:token'"


def _encoding(path: Path) -> str:
    """UTF-8 if all of the file is, else Latin-1, which the older releases use."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as content:
        try:
            while block := content.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> int:
    """Writes the rows of a query as Parquet and returns their number."""
    try:
        row = connection.execute(
            f"copy ({query}) to {_text(str(target))} (format parquet, compression zstd, row_group_size 122880)"
        ).fetchone()
    except duckdb.Error as error:
        raise MovieLensError(f"the source cannot be read: {_first_line(error)}") from error
    return int(row[0]) if row else 0


def _text(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
