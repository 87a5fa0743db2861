import base64
import io
import itertools
from typing import Any

import pyarrow as pa
import pytest
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from models_ml.evaluation import EVALUATION_SCHEMA
from orchestration.recommendations.charts import evaluation_picture, evaluation_png


def row(model: str, value: float, **others: Any) -> dict[str, Any]:
    figures = {
        "model": model,
        "target_domain": "film",
        "segment": "warm",
        "metric": "ndcg",
        "cutoff": 10,
        "value": value,
        "ci_low": value - 0.01,
        "ci_high": value + 0.01,
        "users": 1234,
        "split": "time_per_user",
        "is_champion": model == "als",
        "model_version": f"{model}-1",
    }
    return figures | others


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), EVALUATION_SCHEMA)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is written."""
    figures: list[Figure] = []
    write = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *given, **named: (figures.append(self), write(self, *given, **named))
    )
    return figures


EVALUATION = table(
    row("popularity", 0.1),
    row("als", 0.2),
    row("als", 0.15, split="global_time"),
    row("als", 0.9, metric="recall"),
    row("als", 0.8, cutoff=20),
    row("als", 0.7, segment="all"),
    row("content", 0.12, segment="new", is_champion=True, users=7, target_domain="knowledge"),
)


def test_each_target_and_serving_segment_has_a_panel_that_says_who_was_measured(drawn):
    evaluation_png(EVALUATION)
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles == [
        "film, warm (1,234 people)",
        "film, new (nobody)",
        "knowledge, warm (nobody)",
        "knowledge, new (7 people)",
    ]


def test_models_are_sorted_and_the_champion_stands_out(drawn):
    evaluation_png(EVALUATION)
    warm = drawn[0].axes[0]
    labels = warm.get_yticklabels()
    assert [text.get_text() for text in labels] == ["popularity", "als"], "the best is on top"
    assert [text.get_fontweight() for text in labels] == ["normal", "bold"]
    assert [bar.get_width() for bar in warm.patches] == [0.1, 0.2], (
        "only the metric, the cutoff and the split that decides"
    )
    champion, other = warm.patches[1].get_facecolor()[:3], warm.patches[0].get_facecolor()[:3]
    assert champion == pytest.approx(to_rgb("#2a9d76"))
    assert other != champion


def test_intervals_popularity_and_the_later_split_are_drawn(drawn):
    evaluation_png(EVALUATION)
    lines = [tuple(map(float, line.get_xdata())) for line in drawn[0].axes[0].lines]
    assert {(0.1 - 0.01, 0.1 + 0.01), (0.2 - 0.01, 0.2 + 0.01), (0.1, 0.1), (0.15,)} == set(lines)
    assert "Diamond" in drawn[0].get_suptitle()
    evaluation_png(table(row("als", 0.2)))
    assert "Diamond" not in drawn[1].get_suptitle()


def test_the_picture_is_a_readable_size_with_a_dozen_models_and_all_segments(drawn):
    rows = [
        row(f"model_{model}", 0.01 * model, segment=segment, target_domain=target)
        for model in range(12)
        for segment in ("warm", "few", "cold", "new", "linked", "all")
        for target in ("film", "knowledge")
    ]
    picture = evaluation_png(table(*rows))
    assert picture is not None
    height, width = image.imread(io.BytesIO(picture)).shape[:2]
    assert 1000 < width < 1600
    assert 500 < height < 1000
    figure = drawn[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axis in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axis.get_yticklabels()]
        assert not any(low.overlaps(high) for low, high in itertools.pairwise(boxes))
        assert min(box.height for box in boxes) >= 6, "pixels of a name"


def test_the_title_fits_a_picture_of_one_panel(drawn):
    evaluation_png(EVALUATION, segments=["new"])
    figure = drawn[0]
    box = figure._suptitle.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert len(figure.axes) == 1, "no frame for a target without figures"


def test_the_titles_of_all_panels_are_inside_the_picture(drawn):
    evaluation_png(
        table(
            *(
                row("contemporary_popularity", 0.1, segment=segment, target_domain="knowledge")
                for segment in ("warm", "new")
            )
        )
    )
    figure = drawn[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [axis.title.get_window_extent(renderer) for axis in figure.axes]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_the_same_figures_are_the_same_bytes():
    assert evaluation_png(EVALUATION) == evaluation_png(EVALUATION.take(list(range(EVALUATION.num_rows))[::-1]))


def test_the_metadata_hold_the_picture_in_place():
    text = evaluation_picture(EVALUATION).value
    encoded = text.removeprefix("![evaluation](data:image/png;base64,").removesuffix(")")
    assert base64.b64decode(encoded) == evaluation_png(EVALUATION)


def test_where_nobody_was_evaluated_it_says_so():
    assert evaluation_png(table()) is None
    assert evaluation_png(table(row("als", 0.2, segment="all"))) is None
    assert "too few interactions" in evaluation_picture(table()).value
