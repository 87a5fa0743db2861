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


def test_how_many_items_ease_looks_at_and_whether_the_past_is_chosen_anew_are_settings(settings: Settings) -> None:
    config = selection_config(settings)
    assert (config.ease_items, config.choose_as_of) == (3000, False)
    changed = selection_config(replace(settings, ease_items=70, choose_as_of=True))
    assert (changed.ease_items, changed.choose_as_of) == (70, True)
    # Models are addressed by the protocol.
    assert {key for key, value in changed.to_json().items() if value != config.to_json()[key]} == {
        "ease_items",
        "choose_as_of",
    }


def test_a_calibration_that_there_is_not_is_refused_with_those_that_there_are(settings: Settings) -> None:
    assert selection_config(settings).blend_calibrations == ("score",)
    both = replace(settings, blend_calibrations=("score", "reciprocal_rank", "score"))
    assert selection_config(both).blend_calibrations == ("score", "reciprocal_rank")
    with pytest.raises(
        SettingsError, match="ZHIYING_BLEND_CALIBRATIONS: rank is none; known are score, reciprocal_rank"
    ):
        selection_config(replace(settings, blend_calibrations=("rank",)))
