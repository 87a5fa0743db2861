"""Every layout of the MovieLens family becomes the same landing tables, from tiny hand-made sources."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestration.landing.contract import project_contract
from orchestration.landing.movielens import (
    LandSummary,
    MovieLensError,
    MovieLensVariant,
    detect_movielens,
    land_movielens,
)

NO_FLAGS = "|".join("0" * 19)


def flags(*numbers: int) -> str:
    return "|".join("1" if number in numbers else "0" for number in range(19))


ML_100K = {
    "u.data": b"196\t1\t3\t881250949\n186\t2\t5\t891717742\n196\t2\t1\t881250950\n",
    "u.item": (
        f"1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/?Toy%20Story%20(1995)|{flags(3, 4, 5)}\n"
        f"2|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/|{flags(8, 14)}\n"
        f"267|unknown||||{flags(0)}\n"
    ).encode("latin-1"),
    "u.user": b"186|39|F|executive|00000\n196|49|M|writer|55105\n",
}
ML_1M = {
    "ratings.dat": b"1::10::5::978300760\n1::11::3::978302109\n2::10::4::978301968\n",
    "movies.dat": (
        "10::One Flew Over the Cuckoo's Nest (1975)::Drama\n"
        "11::Carmen :: Flamenco (1983)::Documentary|Musical\n"
        "12::Cité des enfants perdus, La (1995)::Animation|Short\n"
    ).encode("latin-1"),
    "users.dat": b"1::F::1::10::48067\n2::M::56::16::70072\n",
}
ML_10M = {
    "ratings.dat": b"1::122::5::838985046\n1::185::0.5::838983525\n2::122::3.5::838983392\n",
    "movies.dat": "122::Boomerang (1992)::Comedy|Romance\n185::Amélie (2001)::(no genres listed)\n".encode(),
    "tags.dat": b"15::4973::excellent!::1215184630\n",
}
ML_CSV = {
    "ratings.csv": b"userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n1,11,0.5,964981247\r\n2,7,5.0,1445714835\r\n",
    "movies.csv": (
        b"movieId,title,genres\r\n"
        b"1,Toy Story (1995),Adventure|Animation\r\n"
        b'7,"American President, The (1995)",Comedy\r\n'
        b'11,"He Said ""No"" Twice, Again (2001)",(no genres listed)\r\n'
        b"12,Babylon 5,Sci-Fi\r\n"
    ),
    "links.csv": b"movieId,imdbId,tmdbId\r\n1,0114709,862\r\n7,112346,9087\r\n11,12345678,\r\n12,,\r\n",
}
MOVIETWEETINGS = {
    "ratings.dat": b"1::0110912::10::1365029107\n1::0002844::0::1366576639\n2::0110912::7::1364690142\n",
    "movies.dat": "0002844::Fantômas - À l'ombre de la guillotine (1913)::Crime|Drama\n0110912::Pulp Fiction (1994)::\n".encode(),
}
RECBOLE = {
    "ml.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\tToy Story (1995)\t5\t978300760\n",
    "ml.item": (
        b"item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\n"
        b"Toy Story (1995)\tToy Story\t1995\tAnimation Children's Comedy\n"
    ),
    "ml.user": b"user_id:token\tage:token\tgender:token\toccupation:token\nu1\t1\tF\t10\n",
}
LAYOUTS = {
    MovieLensVariant.ML_100K: ML_100K,
    MovieLensVariant.ML_1M: ML_1M,
    MovieLensVariant.ML_10M: ML_10M,
    MovieLensVariant.ML_CSV: ML_CSV,
    MovieLensVariant.MOVIETWEETINGS: MOVIETWEETINGS,
    MovieLensVariant.RECBOLE: RECBOLE,
}


def lay_down(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def land(tmp_path: Path, files: dict[str, bytes]) -> LandSummary:
    return land_movielens(lay_down(tmp_path / "source", files), tmp_path / "landing")


def rows(tmp_path: Path, table: str) -> list[dict[str, Any]]:
    (file,) = (tmp_path / "landing" / table).glob("*")
    return pq.read_table(file).to_pylist()


def films(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {row["film_id"]: row for row in rows(tmp_path, "film/films")}


@pytest.mark.parametrize("variant", LAYOUTS, ids=lambda variant: variant.value)
def test_each_layout_is_recognised_in_a_folder_and_in_a_zip(tmp_path: Path, variant: MovieLensVariant) -> None:
    folder = lay_down(tmp_path / "source", LAYOUTS[variant])
    archive = tmp_path / "source.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in folder.iterdir():
            target.write(file, f"release/{file.name}")

    assert detect_movielens(folder) is variant
    assert detect_movielens(archive) is variant


@pytest.mark.parametrize("variant", LAYOUTS, ids=lambda variant: variant.value)
def test_what_is_landed_has_the_columns_types_and_codes_of_the_contract(
    tmp_path: Path, variant: MovieLensVariant
) -> None:
    summary = land(tmp_path, LAYOUTS[variant])

    for name in summary.rows:
        table = project_contract().table(*name.split("/"))
        (file,) = (tmp_path / "landing" / name).glob("*.parquet")
        found = pq.read_table(file)
        assert set(table.required_columns) <= set(found.column_names) <= {column.name for column in table.columns}
        for required in table.required_columns:
            assert found[required].null_count == 0
        for column in table.columns:
            if column.codes and column.name in found.column_names:
                assert set(found[column.name].to_pylist()) <= {*column.codes.codes, None}
    events = rows(tmp_path, "film/events")
    assert len({row["event_id"] for row in events}) == len(events) == summary.rows["film/events"]
    assert all(1 <= row["value"] <= 5 and (2 * row["value"]).is_integer() for row in events)


def test_movietweetings_ratings_are_halved_and_the_lowest_become_one(tmp_path: Path) -> None:
    summary = land(tmp_path, MOVIETWEETINGS)

    assert {(row["user_id"], row["film_id"]): row["value"] for row in rows(tmp_path, "film/events")} == {
        ("1", "0110912"): 5.0,
        ("1", "0002844"): 1.0,
        ("2", "0110912"): 3.5,
    }
    assert summary.notes == ("ratings of 0 to 10 were halved", "1 ratings below 1 were raised to 1")


def test_movielens_ratings_stay_and_half_a_star_becomes_one(tmp_path: Path) -> None:
    land(tmp_path, ML_10M)

    assert [row["value"] for row in rows(tmp_path, "film/events")] == [5.0, 1.0, 3.5]


def test_unix_times_become_utc(tmp_path: Path) -> None:
    land(tmp_path, ML_1M)

    assert rows(tmp_path, "film/events")[0]["occurred_at"] == dt.datetime(2000, 12, 31, 22, 12, 40)


def test_movietweetings_with_low_ratings_only_is_known_by_its_film_numbers(tmp_path: Path) -> None:
    files = {**MOVIETWEETINGS, "ratings.dat": b"1::0110912::4::1365029107\n"}

    assert detect_movielens(lay_down(tmp_path / "source", files)) is MovieLensVariant.MOVIETWEETINGS


def test_movietweetings_is_known_by_users_with_a_twitter_number(tmp_path: Path) -> None:
    files = {
        "ratings.dat": b"1::1074638::4::1365029107\n",
        "movies.dat": b"1074638::Skyfall (2012)::Action\n",
        "users.dat": b"1::177651718\n",
    }

    assert detect_movielens(lay_down(tmp_path / "source", files)) is MovieLensVariant.MOVIETWEETINGS


def test_latin_1_and_utf_8_titles_are_both_read(tmp_path: Path) -> None:
    for number, (files, film_id, title) in enumerate(
        [
            (ML_100K, "2", "Misérables, Les"),
            (ML_1M, "12", "Cité des enfants perdus, La"),
            (ML_10M, "185", "Amélie"),
            (MOVIETWEETINGS, "0002844", "Fantômas - À l'ombre de la guillotine"),
        ]
    ):
        land(tmp_path / str(number), files)
        assert films(tmp_path / str(number))[film_id]["title"] == title


def test_a_separator_a_comma_or_quotes_in_a_title_are_part_of_it(tmp_path: Path) -> None:
    land(tmp_path / "colons", ML_1M)
    land(tmp_path / "csv", ML_CSV)

    assert films(tmp_path / "colons")["11"]["title"] == "Carmen :: Flamenco"
    assert films(tmp_path / "colons")["11"]["genres"] == ["Documentary", "Musical"]
    assert films(tmp_path / "csv")["7"]["title"] == "American President, The"
    assert films(tmp_path / "csv")["11"]["title"] == 'He Said "No" Twice, Again'


def test_the_year_leaves_the_title(tmp_path: Path) -> None:
    land(tmp_path, ML_CSV)

    found = {film_id: (film["title"], film["release_year"]) for film_id, film in films(tmp_path).items()}
    assert found["1"] == ("Toy Story", 1995)
    assert found["12"] == ("Babylon 5", None)


def test_no_genre_is_null_and_not_a_genre(tmp_path: Path) -> None:
    for number, (files, film_id) in enumerate(
        [(ML_100K, "267"), (ML_10M, "185"), (ML_CSV, "11"), (MOVIETWEETINGS, "0110912")]
    ):
        land(tmp_path / str(number), files)
        assert films(tmp_path / str(number))[film_id]["genres"] is None


def test_flags_become_genres(tmp_path: Path) -> None:
    land(tmp_path, ML_100K)

    assert films(tmp_path)["1"]["genres"] == ["Animation", "Children's", "Comedy"]
    assert films(tmp_path)["2"]["genres"] == ["Drama", "Romance"]


def test_the_kind_follows_the_genres(tmp_path: Path) -> None:
    land(tmp_path / "old", ML_1M)
    land(tmp_path / "new", ML_CSV)

    assert {film_id: film["kind"] for film_id, film in films(tmp_path / "old").items()} == {
        "10": "movie",
        "11": "documentary",
        "12": "short",
    }
    assert films(tmp_path / "new")["1"]["kind"] == "animation"


def test_imdb_numbers_are_given_where_they_are_known(tmp_path: Path) -> None:
    land(tmp_path / "csv", ML_CSV)
    land(tmp_path / "tweets", MOVIETWEETINGS)
    land(tmp_path / "colons", ML_1M)

    assert {film_id: film["imdb_id"] for film_id, film in films(tmp_path / "csv").items()} == {
        "1": "tt0114709",
        "7": "tt0112346",
        "11": "tt12345678",
        "12": None,
    }
    assert films(tmp_path / "tweets")["0110912"]["imdb_id"] == "tt0110912"
    assert films(tmp_path / "colons")["10"]["imdb_id"] is None


def test_users_come_with_gender_and_with_a_year_of_birth_only_where_the_age_is_exact(tmp_path: Path) -> None:
    land(tmp_path / "100k", ML_100K)
    summary = land(tmp_path / "1m", ML_1M)

    assert rows(tmp_path / "100k", "film/users") == [
        {"user_id": "186", "birth_year": 1959, "gender": "female"},
        {"user_id": "196", "birth_year": 1948, "gender": "male"},
    ]
    assert rows(tmp_path / "1m", "film/users") == [
        {"user_id": "1", "gender": "female"},
        {"user_id": "2", "gender": "male"},
    ]
    assert summary.dropped["value of age (a bracket, no year of birth)"] == 2


def test_links_are_optional(tmp_path: Path) -> None:
    summary = land(tmp_path, {name: content for name, content in ML_CSV.items() if name != "links.csv"})

    assert summary.rows["film/films"] == 4
    assert all(film["imdb_id"] is None for film in films(tmp_path).values())


def test_what_cannot_be_read_is_dropped_and_counted_by_reason(tmp_path: Path) -> None:
    files = {
        "ratings.dat": ML_1M["ratings.dat"]
        + b"3::10::many::978300760\n3::10::4\n3::10::4.3::978300760\n3::10::0::978300760\n",
        "movies.dat": ML_1M["movies.dat"] + b"no separators here\n10::Twice (1975)::Drama\n",
        "users.dat": ML_1M["users.dat"],
    }

    summary = land(tmp_path, files)

    assert summary.rows["film/events"] == 3
    assert summary.dropped["rating row with a missing or unreadable field"] == 2
    assert summary.dropped["rating outside the scale of ml-1m"] == 2
    assert summary.dropped["film row with a missing or unreadable field"] == 1
    assert summary.dropped["film row repeated (the first is kept)"] == 1
    assert films(tmp_path)["10"]["title"] == "One Flew Over the Cuckoo's Nest"


def test_landing_again_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    first = land(tmp_path, ML_CSV)
    before = {file: (tmp_path / "landing" / file).read_bytes() for file in first.files}

    second = land(tmp_path, ML_CSV)

    assert second == first
    assert {file: (tmp_path / "landing" / file).read_bytes() for file in second.files} == before
    assert {str(p.relative_to(tmp_path / "landing")) for p in (tmp_path / "landing").rglob("*") if p.is_file()} == set(
        before
    )


def test_a_source_that_fails_leaves_the_landing_files_as_they_were(tmp_path: Path) -> None:
    summary = land(tmp_path, ML_1M)
    before = {file: (tmp_path / "landing" / file).read_bytes() for file in summary.files}

    with pytest.raises(MovieLensError, match="holds no rating that can be read"):
        land(tmp_path, {**ML_1M, "ratings.dat": b"::10::5::978300760\n", "movies.dat": b"10::Other (1990)::Drama\n"})

    assert {file: (tmp_path / "landing" / file).read_bytes() for file in summary.files} == before


def test_a_zip_lands_as_its_folder_does(tmp_path: Path) -> None:
    folder = lay_down(tmp_path / "ml-latest-small", ML_CSV)
    archive = tmp_path / "ml-latest-small.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in folder.iterdir():
            target.write(file, f"ml-latest-small/{file.name}")
        target.writestr("ml-latest-small/README.txt", "read me")

    from_folder = land_movielens(folder, tmp_path / "a")
    from_zip = land_movielens(archive, tmp_path / "b")

    assert from_zip.rows == from_folder.rows
    assert all(
        (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in from_folder.files
    )


def test_the_summary_reads_as_lines_for_a_person(tmp_path: Path) -> None:
    lines = str(land(tmp_path, ML_1M)).splitlines()

    assert lines[0] == f"{tmp_path / 'source'}: ml-1m"
    assert "  film/events: 3 rows in film/events/ml-1m.parquet" in lines
    assert "  left behind: 2 x value of zip code (the contract has no place for it)" in lines


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    land_movielens(lay_down(tmp_path / "source", ML_1M), tmp_path / "landing", progress=lambda *step: told.append(step))

    assert [done for _, done, _ in told] == [0, 1, 2, 3, 4]
    assert {total for _, _, total in told} == {4}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"songs.csv": b"a,b\n"}, "is not of the MovieLens family: expected u.data and u.item .*found songs.csv"),
        ({}, "found no file"),
        ({"u.data": ML_100K["u.data"]}, "u.item is missing"),
        ({"ratings.dat": ML_1M["ratings.dat"]}, "movies.dat is missing"),
        ({"ratings.csv": ML_CSV["ratings.csv"]}, "movies.csv is missing"),
        ({**ML_CSV, "ratings.csv": b"userId,movieId,stars\n"}, r"ratings.csv: column rating is missing in line 1"),
        ({**ML_1M, "ratings.dat": b"1,10,5,978300760\n"}, "no line of the form user::film::rating::time"),
        ({**ML_1M, "ratings.dat": b""}, "no line of the form user::film::rating::time"),
        ({"ml.inter": RECBOLE["ml.inter"]}, "ml.item is missing"),
        ({**RECBOLE, "other.inter": RECBOLE["ml.inter"]}, "more than one .inter file"),
        ({**RECBOLE, "ml.inter": b"user_id:token\titem_id:token\nu1\ti1\n"}, "column rating is missing in line 1"),
    ],
)
def test_a_source_of_another_kind_is_refused_with_what_was_expected(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(MovieLensError, match=message):
        land(tmp_path, files)


def test_a_source_that_is_no_folder_and_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ratings.txt").write_text("1 2 3")

    with pytest.raises(MovieLensError, match=r"neither a folder nor a \.zip"):
        detect_movielens(tmp_path / "ratings.txt")
    for call in (detect_movielens, lambda source: land_movielens(source, tmp_path / "landing")):
        with pytest.raises(MovieLensError, match="does not exist"):
            call(tmp_path / "nowhere")


def test_a_folder_with_two_data_sets_asks_for_one_of_them(tmp_path: Path) -> None:
    lay_down(tmp_path / "source" / "a", ML_1M)
    lay_down(tmp_path / "source" / "b", ML_CSV)

    with pytest.raises(MovieLensError, match=r"more than one data set \(a, b\)"):
        detect_movielens(tmp_path / "source")
