"""What exploration costs and brings is measured on the lists that are served."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models_ml import Selection, select_models
from models_ml.evaluation import EvaluationConfig, cold_item_task, evaluation_task, judge_lists
from models_ml.exploration import ExplorationConfig
from models_ml.explored import judge_explored
from models_ml.metrics import PERSON_METRICS, coverage
from models_ml.selection import SERVED, SERVED_EXPLORED, SelectionConfig
from models_ml.split import Split

# Nearly every place from the second on.
NEARLY_ALL = ExplorationConfig(share=1 - 1e-9, first_place=2, most_interactions=0)
HALF = ExplorationConfig(share=0.5, first_place=2, most_interactions=10_000)
HALF_OF_THE_NEW = dataclasses.replace(HALF, most_interactions=0)


@pytest.fixture
def split(make) -> Split:
    """Films a, b and c that somebody has seen, n that nobody has in training, and h that is hidden.

    ann and bob have seen a, and go on to like c and h; eve has seen a, b and c, and goes on to like n.
    """
    known = [("ann", "film:a", 5.0, 1), ("bob", "film:a", 5.0, 1)]
    later = [(name, item, 5.0, 2) for name in ("ann", "bob") for item in ("film:c", "film:h")]
    others = [("eve", f"film:{item}", 5.0, 1) for item in "abc"]
    both = make([*known, *others, *later, ("eve", "film:n", 5.0, 2)])
    is_held = both.last_at > both.last_at.min()
    hidden = np.array([key == "film:h" for key in both.item_keys.to_pylist()])
    nobody = np.full(both.shape[0], -1, dtype=np.int8)
    return Split("time_per_user", both.where(~is_held), both.where(is_held), nobody, hidden)


def served(split: Split, task, names: str):
    """Everyone's list of films, judged."""
    index = {key: place for place, key in enumerate(split.train.item_keys.to_pylist())}
    items = np.array([[index[f"film:{name}"] for name in names]] * len(task.people), dtype=np.int32)
    return judge_lists(items, split, task, (len(names),), sample=np.zeros(0, dtype=np.int64))


def names_in(split: Split, items: np.ndarray) -> list[str]:
    return ["".join(split.train.item_keys[int(item)].as_py()[-1] for item in row) for row in items]


def test_what_exploration_pushes_down_costs_what_its_place_was_worth(split):
    """c moves from place 2 to place 3: its gain falls from 1 / log2(3) to 1 / log2(4), of an ideal of 1."""
    task = evaluation_task(split, "film", EvaluationConfig())
    before = served(split, task, "bca")
    after = judge_explored(before, split, task, (3,), NEARLY_ALL)
    assert names_in(split, after.items) == ["bnc"] * len(task.people)
    asked = PERSON_METRICS.index("ndcg")
    people = [split.train.user_keys[int(person)].as_py() for person in task.people]
    for place, name in enumerate(people):
        if name in ("ann", "bob"):
            assert before.values[place, asked, 0] == pytest.approx(1 / np.log2(3))
            assert after.values[place, asked, 0] == pytest.approx(1 / np.log2(4))
        else:
            assert (before.values[place, asked, 0], after.values[place, asked, 0]) == (0, pytest.approx(1 / np.log2(3)))


def test_what_is_hidden_is_explored_only_where_it_is_asked_for(split):
    known, cold = evaluation_task(split, "film", EvaluationConfig()), cold_item_task(split, "film", EvaluationConfig())
    hidden = names_in(split, judge_explored(served(split, known, "bca"), split, known, (3,), NEARLY_ALL).items)
    asked = names_in(split, judge_explored(served(split, cold, "bca"), split, cold, (3,), NEARLY_ALL).items)
    assert all("h" not in row for row in hidden)
    assert all("h" in row for row in asked)


@pytest.fixture
def crowd(make) -> Split:
    """Thirty people who have seen a and go on to like c, and two films of five that nobody has in training."""
    people = [f"u{number:02}" for number in range(30)]
    both = make(
        [
            *((name, "film:a", 5.0, 1) for name in people),
            *((name, "film:c", 5.0, 2) for name in people),
            *(("eve", f"film:{item}", 5.0, 1) for item in "abc"),
            *(("eve", f"film:{item}", 5.0, 2) for item in "mn"),
        ]
    )
    is_held = both.last_at > both.last_at.min()
    nobody, nothing = np.full(both.shape[0], -1, dtype=np.int8), np.zeros(both.shape[1], dtype=np.bool_)
    return Split("time_per_user", both.where(~is_held), both.where(is_held), nobody, nothing)


def test_lists_with_exploration_reach_more_of_the_catalogue(crowd):
    """b and c of five films without it; with it the second place shows m to some, n to others, and c to the rest."""
    task = evaluation_task(crowd, "film", EvaluationConfig())
    before = served(crowd, task, "bc")
    after = judge_explored(before, crowd, task, (2,), HALF_OF_THE_NEW)
    assert coverage(before.items, task.catalogue, 2)[0] == pytest.approx(2 / 5)
    assert coverage(after.items, task.catalogue, 2)[0] == pytest.approx(4 / 5)
    assert set(names_in(crowd, after.items)) == {"bc", "bm", "bn"}


def test_the_same_seed_explores_the_same_and_another_something_else(crowd):
    task = evaluation_task(crowd, "film", EvaluationConfig())
    before = served(crowd, task, "bc")
    first, again, other = (
        judge_explored(before, crowd, task, (2,), dataclasses.replace(HALF_OF_THE_NEW, seed=seed)).items
        for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.fixture(scope="module")
def protocol(quick) -> SelectionConfig:
    return dataclasses.replace(quick, candidates=("als_joint",))


@pytest.fixture(scope="module")
def explored(planted, protocol) -> Selection:
    return select_models(planted, dataclasses.replace(protocol, exploration=HALF))


@pytest.fixture(scope="module")
def unexplored(planted, protocol) -> Selection:
    return select_models(planted, protocol)


def of(table: pa.Table, model: str) -> list[dict[str, object]]:
    return table.filter(pc.equal(table["model"], model)).to_pylist()


def test_where_nothing_is_explored_nothing_is_said_of_it(unexplored):
    assert SERVED_EXPLORED not in unexplored.evaluation["model"].to_pylist()
    assert SERVED_EXPLORED not in unexplored.comparison["model"].to_pylist()


def test_exploration_is_judged_wherever_what_is_served_is(explored):
    def places(model: str) -> set[tuple[object, ...]]:
        names = ("target_domain", "segment", "split", "metric", "cutoff", "users", "is_champion")
        return {tuple(row[name] for name in names) for row in of(explored.evaluation, model)}

    assert places(SERVED_EXPLORED) == places(SERVED)
    assert {row["segment"] for row in of(explored.evaluation, SERVED_EXPLORED)} >= {"warm", "all", "cold_item"}


def test_what_it_costs_is_compared_with_what_is_served_person_by_person(explored):
    rows = of(explored.comparison, SERVED_EXPLORED)
    assert {row["baseline"] for row in rows} == {SERVED}
    values = {
        model: {
            (row["target_domain"], row["segment"], row["split"], row["metric"], row["cutoff"]): row["value"]
            for row in of(explored.evaluation, model)
        }
        for model in (SERVED, SERVED_EXPLORED)
    }
    for row in rows:
        key = (row["target_domain"], row["segment"], row["split"], row["metric"], row["cutoff"])
        assert row["difference"] == pytest.approx(values[SERVED_EXPLORED][key] - values[SERVED][key])
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
    (warm,) = [
        row
        for row in rows
        if (row["target_domain"], row["segment"], row["split"], row["metric"], row["cutoff"])
        == ("film", "warm", "time_per_user", "ndcg", 10)
    ]
    assert warm["ci_high"] < 0, "half of the places drawn at random cost nothing in a world of planted tastes"


def test_exploration_decides_nothing(explored, unexplored):
    assert explored.to_json() == unexplored.to_json()
    kept = [row for row in explored.evaluation.to_pylist() if row["model"] != SERVED_EXPLORED]
    assert kept == unexplored.evaluation.to_pylist()
    compared = [row for row in explored.comparison.to_pylist() if row["model"] != SERVED_EXPLORED]
    assert compared == unexplored.comparison.to_pylist()
