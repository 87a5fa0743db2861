from dataclasses import replace

import pytest

from models_ml.selection import SelectionConfig
from orchestration.recommendations.steps import selection_config
from orchestration.settings import Settings, SettingsError


def test_without_settings_of_its_own_a_run_tries_every_model(settings: Settings) -> None:
    config = selection_config(settings)
    assert config.candidates is None
    assert config.tries("als")


def test_only_the_models_named_are_tried_and_always_popularity() -> None:
    config = SelectionConfig(candidates=("als", "rising"))
    assert [name for name in ("als", "als_joint", "popularity", "rising") if config.tries(name)] == [
        "als",
        "popularity",
        "rising",
    ]


def test_the_same_models_in_another_order_are_the_same_protocol(settings: Settings) -> None:
    one = replace(settings, candidates=("rising", "als"))
    other = replace(settings, candidates=("als", "rising", "als"))
    assert selection_config(one) == selection_config(other)
    assert one.fingerprint() == other.fingerprint()


def test_a_model_that_there_is_not_is_refused_by_name_with_those_that_there_are(settings: Settings) -> None:
    with pytest.raises(
        SettingsError, match=r"ZHIYING_CANDIDATES: no model is named bert; known are popularity, .*als_joint"
    ):
        selection_config(replace(settings, candidates=("als", "bert")))


def test_how_places_would_be_explored_is_part_of_the_protocol_only_where_they_are(settings: Settings) -> None:
    unexplored = replace(settings, exploration_favour=0.0)
    assert selection_config(unexplored) == selection_config(settings)
    explored = selection_config(replace(unexplored, exploration_share=0.2)).exploration
    assert (explored.share, explored.favour, explored.seed) == (0.2, 0.0, settings.seed)
