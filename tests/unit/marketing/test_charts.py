"""Pictures of campaigns show the figures that they are given, and say so where there are none."""

import base64
import io
import itertools
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from orchestration.marketing import charts
from orchestration.marketing.measuring import write_measurement
from orchestration.marketing.outcomes import read_outcomes
from orchestration.marketing.planning import ELIGIBILITY_SCHEMA
from orchestration.marketing.policies import POLICY_SCHEMA, Decisions, measure_policies
from orchestration.marketing.reliabilities import followed_reliability
from orchestration.resources.warehouse import replace_table
from tests.unit.marketing.measured_world import World, names

GREEN, RED, INK = "#2a9d76", "#c05621", "#1f2933"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is written."""
    figures: list[Figure] = []
    write = Figure.savefig

    def kept(self: Figure, *given: Any, **named: Any) -> None:
        figures.append(self)
        write(self, *given, **named)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures


def forest(*rows: tuple[str, float, float, float]) -> bytes | None:
    middle, low, high = (np.array([row[column] for row in rows], np.float64) for column in (1, 2, 3))
    return charts.forest_png([row[0] for row in rows], middle, low, high, title="Lifts", label="points")


def written(figure: Figure) -> set[str]:
    """All words in the picture."""
    (axis,) = figure.axes
    titles = {axis.get_title(loc="left"), axis.get_xlabel(), axis.get_ylabel()}
    legend = axis.get_legend()
    named = {text.get_text() for text in legend.get_texts()} if legend else set()
    return titles | named | {text.get_text() for text in (*axis.texts, *axis.get_yticklabels())}


def shown(metadata: Any) -> bytes:
    """The picture in metadata, which must be one."""
    text = metadata.value
    start = text.index("base64,") + len("base64,")
    assert text.startswith("![")
    picture = base64.b64decode(text[start:-1], validate=True)
    assert image.imread(io.BytesIO(picture)).shape[0] > 80
    return picture


def test_a_forest_has_a_line_a_dot_and_a_figure_for_each_name(drawn: list[Figure]) -> None:
    picture = forest(("Autumn", 1.25, 0.5, 2.0), ("Spring", -2.0, -3.0, -1.0), ("Winter", 0.3, -1.0, 1.6))
    assert picture is not None
    assert image.imread(io.BytesIO(picture)).ndim == 3
    assert {"Lifts", "points", "Autumn", "Spring", "Winter", "+1.2", "-2.0", "+0.3"} <= written(drawn[0])
    lines = drawn[0].axes[0].lines
    intervals = [line for line in lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert [tuple(line.get_xdata()) for line in intervals] == [(0.5, 2.0), (-3.0, -1.0), (-1.0, 1.6)]
    assert [to_rgb(line.get_color()) for line in intervals] == [to_rgb(colour) for colour in (GREEN, RED, INK)]


def test_an_interval_that_touches_zero_is_no_effect(drawn: list[Figure]) -> None:
    forest(("up", 1.0, 0.0, 2.0), ("down", -1.0, -2.0, 0.0))
    colours = {line.get_color() for line in drawn[0].axes[0].lines}
    assert not colours & {GREEN, RED}


def test_a_funnel_has_a_bar_for_each_stage_and_the_share_of_the_one_before(drawn: list[Figure]) -> None:
    picture = charts.reach_png(["addressed", "reached", "clicked"], [2_000, 500, 0], title="Reach")
    assert picture is not None
    assert [bar.get_width() for bar in drawn[0].axes[0].patches] == [2_000, 500, 0]
    said = written(drawn[0])
    assert {"Reach", "addressed", "reached", "clicked", "2,000"} <= said
    assert {"500  (25% of the stage before)", "0  (0% of the stage before)"} <= said


def test_a_stage_after_an_empty_one_has_no_share(drawn: list[Figure]) -> None:
    charts.reach_png(["a", "b", "c"], [5, 0, 0], title="Reach")
    assert [text.get_text() for text in drawn[0].axes[0].texts][-1] == "0"


def test_each_budget_is_a_line_in_percent(drawn: list[Figure]) -> None:
    days = [date(2026, 3, 1), date(2026, 3, 2)]
    picture = charts.pacing_png({"Spring": (days, [0.25, 0.5]), "Autumn": (days[:1], [1.0])})
    assert picture is not None
    spring, autumn = drawn[0].axes[0].lines
    assert list(spring.get_ydata()) == [25, 50]
    assert list(autumn.get_ydata()) == [100]
    assert {"Spring", "Autumn", "% of the budget"} <= written(drawn[0])


def test_a_budget_of_one_day_is_seen(drawn: list[Figure]) -> None:
    charts.pacing_png({"Spring": ([date(2026, 3, 1)], [0.2])})
    (axis,) = drawn[0].axes
    assert axis.lines[0].get_marker() == "o"
    first, last = axis.get_xlim()
    assert last - first == 2, "days"


def test_of_very_many_budgets_the_newest_are_drawn(drawn: list[Figure]) -> None:
    charts.pacing_png({f"c{number:02d}": ([date(2026, 3, 1)], [0.1]) for number in range(25)})
    assert [line.get_label() for line in drawn[0].axes[0].lines] == [f"c{number:02d}" for number in range(5, 25)]


def test_reliability_shows_what_was_predicted_against_what_came(drawn: list[Figure]) -> None:
    predicted, observed = np.array([0.1, 0.5]), np.array([0.1, 0.8])
    assert charts.reliability_png(np.array([50, 50]), predicted, observed, observed - 0.1, observed + 0.1) is not None
    (_, dots) = drawn[0].axes[0].lines
    assert list(dots.get_xdata()) == pytest.approx([10, 50])
    assert list(dots.get_ydata()) == pytest.approx([10, 80])
    assert "Do predictions come true? (100 contacts)" in written(drawn[0])


def test_a_good_ranking_rises_above_the_line_of_a_random_one(drawn: list[Figure]) -> None:
    # Of each arm 10 people; the treated half that ranks first converts, nobody else does.
    treated = np.tile([True, False], 10)
    score = np.repeat(np.arange(10.0, 0, -1), 2)
    responded = treated & (score > 5)
    assert charts.qini_png({"good": score, "bad": -score}, treated, responded) is not None
    good, bad, random = drawn[0].axes[0].lines
    assert np.interp(50, good.get_xdata(), good.get_ydata()) == pytest.approx(5)
    assert np.interp(50, bad.get_xdata(), bad.get_ydata()) == pytest.approx(0)
    assert list(random.get_ydata()) == [0, 5]
    assert {"good", "bad", "random", "Whom does contact move? (20 decisions)"} <= written(drawn[0])


def test_where_there_is_nothing_there_is_no_picture() -> None:
    nobody = np.zeros(0, bool)
    assert forest() is None
    assert charts.reach_png([], [], title="Reach") is None
    assert charts.reach_png(["a", "b"], [0, 0], title="Reach") is None
    assert charts.pacing_png({}) is None
    assert charts.reliability_png(np.zeros(0, np.int64), *[np.zeros(0)] * 4) is None
    assert charts.qini_png({"any": np.zeros(0)}, nobody, nobody) is None
    assert charts.qini_png({"any": np.zeros(2)}, np.ones(2, bool), np.ones(2, bool)) is None
    assert charts.qini_png({"any": np.zeros(2)}, np.zeros(2, bool), np.ones(2, bool)) is None


def test_the_same_figures_are_the_same_bytes() -> None:
    row = ("Spring", 1.0, 0.5, 1.5)
    assert forest(row) == forest(row)


def test_long_names_and_many_rows_do_not_run_into_each_other(drawn: list[Figure]) -> None:
    forest(*((f"A campaign with quite a long name, number {number}", 0.1, -1.0, 2.0) for number in range(20)))
    renderer = FigureCanvasAgg(drawn[0]).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in drawn[0].axes[0].get_yticklabels()]
    assert not any(low.overlaps(high) for low, high in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


def campaigns() -> World:
    """Two campaigns of which one is measured: 30 of 40 treated people bought, 4 of 40 held out."""
    world = World()
    world.campaign("spring", value_per_conversion=20)
    world.campaign("autumn")
    treated, held_out = names("t", 40), names("c", 40)
    world.people(*treated, *held_out, "alone")
    shown = world.exposed("spring", treated)
    world.exposed("spring", held_out, arm="control")
    world.exposed("autumn", ["alone"])
    for exposure in shown[:10]:
        world.answer(exposure, "click")
    for exposure in (*shown[:3], *shown[20:25]):
        world.answer(exposure, "conversion")
    for user in (*treated[:30], *held_out[:4]):
        world.bought(user)
    write_measurement(world.connection, world.measure())
    return world


def test_the_pictures_of_measurement_are_of_its_tables(drawn: list[Figure]) -> None:
    connection = campaigns().connection
    shown(charts.lift_picture(connection))
    assert {"What each campaign caused", "Spring", "+65.0"} <= written(drawn[-1])
    assert "Autumn" not in written(drawn[-1]), "nothing is held out"
    shown(charts.reach_picture(connection))
    # One is in the other campaign; whoever converted without a click is no part of the last stage.
    assert [bar.get_width() for bar in drawn[-1].axes[0].patches] == [41, 41, 10, 3]
    shown(charts.pacing_picture(connection))
    assert {"Spring", "Autumn"} <= written(drawn[-1])
    # 40 contacts at 0.50 of a budget of 100.
    assert max(line.get_ydata()[-1] for line in drawn[-1].axes[0].lines) == pytest.approx(20)


def test_reliability_is_of_contacts_that_were_shown_and_of_what_followed_each_within_30_days(
    drawn: list[Figure],
) -> None:
    world = World()
    world.campaign("spring")
    people = ("twice", "late", "never shown", "held out", "fresh")
    world.people(*people)
    for user, day, shown_on in (
        ("twice", 0, 0),
        ("twice", 10, 10),
        ("late", 0, 0),
        ("never shown", 0, None),
        ("fresh", 31, 31),
    ):
        contact = world.contact("spring", user, arm="treatment", day=day, p_conversion=0.2)
        if shown_on is not None:
            world.delivered(contact, "spring", user, day=shown_on)
    world.contact("spring", "held out", arm="control", p_conversion=0.2)
    # Of the contacts of "twice" the second has it; what comes after 30 days is nobody's, as it was not predicted.
    for user, day in (("twice", 12), ("late", 31), ("never shown", 5), ("held out", 5), ("fresh", 32)):
        world.bought(user, day=day)
    write_measurement(world.connection, world.measure())
    replace_table(world.connection, "marketing.measured_reliability", followed_reliability(world.connection))
    shown(charts.reliability_picture(world.connection))
    assert "Do predictions come true? (3 contacts)" in written(drawn[-1])
    (_, dots) = drawn[-1].axes[0].lines
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == ([pytest.approx(20)], [pytest.approx(100 / 3)])


def test_while_a_campaign_is_measured_its_picture_has_the_interval_of_the_verdict(drawn: list[Figure]) -> None:
    world = World()
    world.campaign("spring", ends_at=None)
    treated, held_out = names("t", 40), names("c", 40)
    world.people(*treated, *held_out)
    world.exposed("spring", treated)
    world.exposed("spring", held_out, arm="control")
    for user in (*treated[:14], *held_out[:4]):
        world.bought(user)
    write_measurement(world.connection, world.measure())
    shown(charts.lift_picture(world.connection))
    found = world.result("spring")
    low, high = (100 * found[f"lift_conversion_sequential_{end}"] for end in ("low", "high"))
    assert list(drawn[-1].axes[0].lines[0].get_xdata()) == pytest.approx([low, high])


def decisions(**columns: Any) -> Decisions:
    number = len(next(iter(columns.values())))
    plain = {
        "person": np.arange(number),
        "currency": np.full(number, "USD"),
        "known": np.ones(number, bool),
        **dict.fromkeys(
            ("score_share", "p_conversion", "uplift", "expected_value", "cost", "worth", "reward", "uplift_today"),
            np.zeros(number),
        ),
    }
    return Decisions(**plain | columns)


def test_the_qini_curve_is_of_known_decisions_of_the_commonest_propensity(drawn: list[Figure]) -> None:
    found = decisions(
        propensity=np.array([0.9] * 4 + [0.5] * 3 + [0.9]),
        treated=np.tile([True, False], 4),
        converted=np.array([True, False, False, False, True, True, True, True]),
        uplift=np.array([4.0, 4, 1, 1, 9, 9, 9, 9]),
        p_conversion=np.array([1.0, 1, 4, 4, 9, 9, 9, 9]),
        known=np.array([True] * 7 + [False]),
    )
    shown(charts.qini_picture(found))
    assert {"predicted uplift", "predicted conversion", "Whom does contact move? (4 decisions)"} <= written(drawn[-1])
    uplift, conversion, _ = drawn[-1].axes[0].lines
    assert np.interp(50, uplift.get_xdata(), uplift.get_ydata()) == pytest.approx(1)
    assert np.interp(50, conversion.get_xdata(), conversion.get_ydata()) == pytest.approx(0)


def policies(*rows: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema marketing")
    connection.register("rows", pa.Table.from_pylist(list(rows), POLICY_SCHEMA))
    connection.execute("create table marketing.measured_policy as from rows")
    return connection


def judged(policy: str, difference: float | None, **other: Any) -> dict[str, Any]:
    bounds = (None, None) if difference is None else (difference - 0.1, difference + 0.1)
    row = {"policy": policy, "estimator": "doubly_robust", "currency": "USD", "decisions": 500}
    return row | {"difference": difference, "difference_low": bounds[0], "difference_high": bounds[1]} | other


def test_the_picture_of_policies_is_doubly_robust_and_in_one_currency(drawn: list[Figure]) -> None:
    connection = policies(
        judged("contact_nobody", -0.25),
        judged("contact_everybody", 0.125),
        judged("contact_everybody", 9.0, estimator="ips"),
        judged("contact_everybody", 8.0, currency="EUR", decisions=20),
        judged("contact_higher_half", None),
    )
    shown(charts.policy_picture(connection))
    labels = [text.get_text() for text in drawn[-1].axes[0].get_yticklabels()]
    assert labels == ["contact nobody", "contact everybody"]
    assert {"-0.25", "+0.125", "USD per decision more than what was done, 95 % interval"} <= written(drawn[-1])


def planned(eligibility: list[tuple[str, str, str]], treated: list[str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema marketing")
    connection.register("shape", ELIGIBILITY_SCHEMA.empty_table())
    connection.execute("create table marketing.decided_eligibility as from shape")
    connection.execute("create table marketing.decided_contact (user_key varchar, arm varchar)")
    for row in eligibility:
        connection.execute(
            "insert into marketing.decided_eligibility (campaign_key, user_key, code) values (?, ?, ?)", row
        )
    for user in treated:
        connection.execute("insert into marketing.decided_contact values (?, 'treatment')", [user])
    connection.execute("insert into marketing.decided_contact values ('held', 'control')")
    return connection


def test_the_funnel_of_the_plan_counts_each_person_once(drawn: list[Figure]) -> None:
    connection = planned(
        [
            ("spring", "ann", "eligible"),
            ("autumn", "ann", "eligible"),
            ("spring", "ben", "eligible"),
            ("spring", "held", "campaign_holdout"),
            ("spring", "out", "global_holdout"),
            ("spring", "cleo", "no_consent"),
            ("spring", "left", "outside_segment"),
        ],
        ["ann", "ann"],
    )
    shown(charts.planned_picture(connection))
    assert [bar.get_width() for bar in drawn[-1].axes[0].patches] == [5, 4, 2, 1]
    assert {"addressed", "may be contacted", "not held out", "planned"} <= written(drawn[-1])


def test_without_figures_metadata_say_why() -> None:
    world = World()
    world.campaign("spring")
    write_measurement(world.connection, world.measure())
    replace_table(world.connection, "marketing.measured_reliability", followed_reliability(world.connection))
    nothing = measure_policies(world.connection, read_outcomes(world.connection)).decisions
    said = [
        charts.lift_picture(world.connection),
        charts.reach_picture(world.connection),
        charts.pacing_picture(world.connection),
        charts.reliability_picture(world.connection),
        charts.qini_picture(nothing),
        charts.policy_picture(policies()),
        charts.planned_picture(planned([], [])),
    ]
    assert [metadata.value for metadata in said] == [
        "No campaign can be compared yet.",
        "Nobody has been contacted yet.",
        "Nothing has been spent of a budget yet.",
        "No contact that was shown could be followed for 30 days yet.",
        "No decision of both arms could be followed for 30 days yet.",
        "No policy can be judged by the decisions so far.",
        "No campaign that can be planned is for anybody.",
    ]
