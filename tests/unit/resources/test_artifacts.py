import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration.resources.artifacts import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(root=str(tmp_path))


def address(**changes: object) -> str:
    identity = {"inputs": ["interactions-1"], "code": "c1", "parameters": {"factors": 64}}
    return ArtifactStore.address("models", **{**identity, **changes})  # type: ignore[arg-type]


def test_what_makes_a_model_makes_its_address() -> None:
    assert address() == address()
    others = [address(inputs=["interactions-2"]), address(code="c2"), address(parameters={"factors": 32})]
    assert len({address(), *others}) == 4


def test_an_artifact_comes_back_as_it_was_stored(store: ArtifactStore) -> None:
    items = pa.table({"item_key": ["film:1"]})
    factors = np.arange(6, dtype=np.float32).reshape(2, 3)
    store.put(address(), document={"best": "als"}, arrays={"als": {"factors": factors}}, tables={"items": items})
    stored = store.get(address())
    assert stored.document == {"best": "als"}
    assert stored.table("items").equals(items)
    np.testing.assert_array_equal(stored.arrays("als")["factors"], factors)


def test_an_artifact_that_was_never_made_is_named_in_the_error(store: ArtifactStore) -> None:
    assert store.find(address()) is None
    with pytest.raises(LookupError, match=address()):
        store.get(address())


def test_a_failure_while_storing_leaves_nothing_behind(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        store.put(address(), document={}, tables={"broken": object()})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_equal_artifacts_stays(store: ArtifactStore) -> None:
    store.put(address(), document={"made": "first"})
    assert store.put(address(), document={"made": "second"}).document == {"made": "first"}


def test_the_oldest_artifacts_of_a_kind_are_forgotten_first(store: ArtifactStore, tmp_path: Path) -> None:
    made = [address(code=str(number)) for number in range(4)]
    for age, each in enumerate(made):
        store.put(each, document={})
        os.utime(tmp_path / each, ns=(age, age))
    other = store.put("interactions-1", document={})
    assert store.prune("models", keep=2) == made[:2]
    assert [store.find(each) is not None for each in made] == [False, False, True, True]
    assert store.find(other.address) is not None
