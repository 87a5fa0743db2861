"""The names of countries in sentences, held against the Unicode Common Locale Data Repository."""

import csv

from babel import Locale

from orchestration.landing.contract import project_contract
from orchestration.settings import DBT_PROJECT_DIR


def seed(name: str) -> dict[str, dict[str, str]]:
    with (DBT_PROJECT_DIR / "seeds" / f"{name}.csv").open(encoding="utf-8") as file:
        return {row["country"]: row for row in csv.DictReader(file)}


def test_every_country_has_the_names_of_the_common_locale_data() -> None:
    english, chinese = Locale("en").territories, Locale("zh").territories
    for country, row in seed("country_names").items():
        assert row["name"].removeprefix("the ") == english[country]
        assert row["name_zh"] == chinese[country]


def test_every_country_that_may_be_delivered_has_a_name() -> None:
    [codes] = [code_set.codes for code_set in project_contract().code_sets if code_set.name == "country"]
    assert {*codes, *seed("country_time_zones")} == set(seed("country_names"))


def test_english_names_stand_in_a_sentence() -> None:
    names = {country: row["name"] for country, row in seed("country_names").items()}
    assert (names["NL"], names["US"], names["GB"]) == ("the Netherlands", "the United States", "the United Kingdom")
    assert (names["DE"], names["CN"], names["FR"]) == ("Germany", "China", "France")
