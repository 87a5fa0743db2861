"""The figures of what models take: a line for each model and target, and a table of them."""

import json
from pathlib import Path

from benchmarks.figures import run_parts
from benchmarks.recommenders.costs import by_model


def noted(model: str, target: str, stage: str, seconds: float, megabytes: float) -> dict[str, object]:
    return {
        "model": model,
        "target_domain": target,
        "stage": stage,
        "seconds": seconds,
        "peak_megabytes": megabytes,
    }


def test_each_model_and_target_has_one_line_with_all_its_stages_and_its_largest_memory() -> None:
    found = by_model(
        [
            noted("als_joint", "film+knowledge", "search", 4.0, 300.0),
            noted("als", "film", "fit", 1.0, 200.0),
            noted("als_joint", "film", "fit", 2.0, 350.0),
            noted("als", "film", "score", 0.5, 250.0),
            noted("als", "knowledge", "fit", 3.0, 210.0),
        ]
    )
    assert found == [
        {"model": "als_joint", "target": "film", "seconds": {"search": 4.0, "fit": 2.0}, "peak_megabytes": 350.0},
        {"model": "als", "target": "film", "seconds": {"fit": 1.0, "score": 0.5}, "peak_megabytes": 250.0},
        {"model": "als", "target": "knowledge", "seconds": {"fit": 3.0}, "peak_megabytes": 210.0},
    ]


def test_a_part_with_a_table_is_written_beside_the_earlier_figures_of_the_others(tmp_path: Path) -> None:
    line = {"name": "speed", "value": 2.0, "interval": None, "required": ">= 1", "holds": True}
    earlier = {"speed": {"figures": {}, "requirements": [line], "seconds": 7}}
    (tmp_path / "figures.json").write_text(json.dumps(earlier))
    table = {"columns": ["model", "fit (s)", "score (s)"], "rows": [["als", 1.254, None], ["ease", 1234.5, 12.34]]}
    runs = {"speed": None, "costs": lambda: {"figures": {}, "tables": [table], "requirements": []}}
    assert run_parts("Figures", "command", runs, ["speed", "costs"], tmp_path) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["speed"] == earlier["speed"]
    page = (tmp_path / "figures.md").read_text().splitlines()
    assert page[page.index("## speed (7 s)") + 4] == "| speed | 2 |  | >= 1 | yes |"
    start = page.index("## costs (0 s)") + 2
    assert page[start:] == [
        "| model | fit (s) | score (s) |",
        "| --- | ---: | ---: |",
        "| als | 1.25 |  |",
        "| ease | 1,234 | 12.3 |",
    ]
