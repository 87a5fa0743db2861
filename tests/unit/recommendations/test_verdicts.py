"""What the checks of the station say of figures, and what an asset says of its cost."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pyarrow as pa
import pytest
from dagster import AssetCheckSeverity

from models_ml.audiences import AUDIENCE_SCHEMA
from models_ml.costs import COSTS_SCHEMA
from models_ml.rules import RulesReport
from orchestration.recommendations.assets import costs_table, judge_rules
from orchestration.recommendations.checks import judge_audiences, judge_champions
from orchestration.recommendations.memory import PeakMemory


def line(**changed):
    return {
        "target_domain": "film",
        "segment": "warm",
        "split": "time_per_user",
        "model": "als",
        "baseline": "popularity",
        "metric": "ndcg",
        "cutoff": 10,
        "model_value": 0.2,
        "baseline_value": 0.1,
        "difference": 0.1,
        "ci_low": 0.05,
        "ci_high": 0.15,
        "users": 100,
        **changed,
    }


WORSE = {"ci_low": -0.3, "ci_high": -0.1, "difference": -0.2}
UNPROVEN = {"ci_low": -0.1, "ci_high": 0.3}


@pytest.mark.parametrize(
    ("changed", "passed", "severity"),
    [
        ({}, True, AssetCheckSeverity.WARN),
        (WORSE, False, AssetCheckSeverity.ERROR),
        ({**WORSE, "split": "global_time"}, False, AssetCheckSeverity.ERROR),
        (UNPROVEN, False, AssetCheckSeverity.WARN),
        ({**WORSE, "users": 19}, True, AssetCheckSeverity.WARN),
        ({**WORSE, "users": 20}, False, AssetCheckSeverity.ERROR),
        ({**WORSE, "baseline": "ease"}, True, AssetCheckSeverity.WARN),
        ({**WORSE, "metric": "recall"}, True, AssetCheckSeverity.WARN),
        # Popular items are no answer to what goes with an item, so what relates items may lie below them.
        ({**WORSE, "segment": "item_to_item"}, True, AssetCheckSeverity.WARN),
        ({**WORSE, "segment": "item_to_item_across"}, True, AssetCheckSeverity.WARN),
        ({**WORSE, "segment": "cold_item"}, False, AssetCheckSeverity.ERROR),
    ],
)
def test_a_champion_that_is_worse_than_popularity_blocks_and_one_that_may_be_warns(changed, passed, severity):
    found = judge_champions([line(), line(**changed)])
    assert (found.passed, found.severity) == (passed, severity)


def test_a_champion_at_fault_is_named_with_its_figures():
    found = judge_champions([line(), line(**WORSE, segment="cold", split="hidden_side", model="bridge")])
    assert found.description == (
        "film, cold (hidden_side): bridge 0.2000 against 0.1000, difference -0.2000 (-0.3000 to -0.1000, 100 people)"
    )


def test_an_emptied_list_and_an_idle_rule_are_said():
    assert judge_rules(RulesReport(lists=1000), ()).passed
    emptied = judge_rules(RulesReport(lists=1000, shortened=("ann", "ben"), emptied=("ann",)), ())
    assert not emptied.passed
    assert emptied.description == "1 of 1,000 lists were emptied by exclusions"
    assert judge_rules(RulesReport(), ("rule 'x' concerns nobody",)).description == "rule 'x' concerns nobody"


def test_pairs_of_items_with_one_audience_are_said():
    none = AUDIENCE_SCHEMA.empty_table()
    assert judge_audiences(none).passed
    one = pa.table([pa.array([None], field.type) for field in AUDIENCE_SCHEMA], schema=AUDIENCE_SCHEMA)
    assert not judge_audiences(one).passed


def test_the_dearest_stage_stands_first():
    row = {"target_domain": "film", "stage": "fit", "peak_megabytes": 1234.5}
    table = pa.Table.from_pylist(
        [{"model": "als", "seconds": 1.0, **row}, {"model": "ease", "seconds": 2.5, **row}], COSTS_SCHEMA
    )
    lines = costs_table(table).splitlines()
    assert lines[2] == "| ease | film | fit | 2.50 | 1,234 |"
    assert lines[3].startswith("| als |")


def peaks_around_a_large_array():
    """Marks before, over and after 200 MB, of a process that does nothing else."""
    peak = PeakMemory()
    peak()
    quiet = peak()
    large = np.ones(25_000_000)
    assert large.sum() > 0
    del large
    return quiet, peak(), peak()


def test_peak_memory_sees_what_was_needed_in_between_and_forgets_it():
    # In a process of its own: what hundreds of other tests have left running here takes and gives back memory as well.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        quiet, over, after = processes.submit(peaks_around_a_large_array).result()
    assert over > quiet + 150
    assert after < quiet + 100
