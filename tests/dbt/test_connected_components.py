"""The connected components of the account graph, against SciPy's."""

from itertools import pairwise

import duckdb
import jinja2
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tests.dbt.raw_schema import PROJECT


def components(pairs: list[tuple[int, int]]) -> dict[int, int]:
    template = (PROJECT / "macros" / "connected_components.sql").read_text() + "{{ connected_components('edges') }}"
    connection = duckdb.connect()
    connection.execute("create table edges (node bigint, neighbour bigint)")
    both_ways = [*pairs, *((b, a) for a, b in pairs)]
    if both_ways:
        connection.executemany("insert into edges values (?, ?)", both_ways)
    return dict(connection.execute(f"from {jinja2.Template(template).render()}").fetchall())


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_scipy_under_their_smallest_member(seed):
    random = np.random.default_rng(seed)
    pairs = random.integers(0, 120, size=(70, 2))
    count, labels = connected_components(coo_array((np.ones(70), pairs.T), shape=(120, 120)), directed=False)
    smallest = {label: int(np.flatnonzero(labels == label)[0]) for label in range(count)}
    linked = sorted({int(node) for node in pairs.ravel()})
    assert components([(int(a), int(b)) for a, b in pairs]) == {node: smallest[labels[node]] for node in linked}


def test_a_long_chain_is_one_component():
    chain = list(np.random.default_rng(0).permutation(200))
    found = components([(int(a), int(b)) for a, b in pairwise(chain)])
    assert set(found.values()) == {0}
    assert len(found) == 200


def test_a_hub_with_many_neighbours_is_one_component():
    assert set(components([(0, n) for n in range(1, 3000)]).values()) == {0}


def test_without_links_there_are_no_components():
    assert components([]) == {}
