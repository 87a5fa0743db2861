"""One sentence about a campaign, for someone who has to decide whether to repeat it.

Holds the words and what they may claim; the figures come from `measuring`. The sentence is said anew by every run, so while a
campaign is measured its interval has to be one that holds however often it is looked at; the sharper one of a single look is for
the end.
"""

from dataclasses import dataclass

# Chance of claiming an effect where there is none that is accepted over all campaigns of a report together.
_LEVEL = 0.05


@dataclass(frozen=True)
class Evidence:
    """What is known about what a campaign caused.

    Attributes:
        is_complete: Whether the campaign is over and everyone was followed through; else it is looked at while it is measured.
        people_treatment: People who were to be contacted and are compared.
        people_control: People who were held out, likewise.
        lots_treatment: Those of `people_treatment` on whom a lot fell that is known.
        lots_control: Those of `people_control`, likewise.
        planned_control_share: Share of the latter two that was to be held out, in [0, 1]; None if they are none.
        sample_ratio_p_value: Of arms of these sizes by chance; None if not tested.
        sample_ratio_alarm: Whether the sizes are too far from the plan.
        is_measured: Whether conversions are recorded for both arms.
        difference: Lift of conversion, as a share; None if there is none.
        incremental: Conversions more than without the campaign.
        low: Lower bound of them: of one look if `is_complete`, else of all looks together.
        high: Upper bound.
        p_value: Of no difference, likewise.
        p_adjusted: The same over the campaigns that were measured in the same time.
        return_on_cost: Worth of what was caused over its cost; None if not known.
        detectable_difference: Smallest lift that would have been found mostly, as a share.
        held_out_people_exposed: Held-out people who were exposed all the same.
    """

    is_complete: bool
    people_treatment: int
    people_control: int
    lots_treatment: int
    lots_control: int
    planned_control_share: float | None
    sample_ratio_p_value: float | None
    sample_ratio_alarm: bool
    is_measured: bool
    difference: float | None
    incremental: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_adjusted: float | None
    return_on_cost: float | None
    detectable_difference: float | None
    held_out_people_exposed: int


def verdict(found: Evidence) -> str:
    """What may be said of a campaign: caused, no proof yet, cannot be measured, or do not trust.

    Args:
        found: The figures.
    """
    sentence = _sentence(found)
    if found.held_out_people_exposed and found.people_treatment:
        people = _people(found.held_out_people_exposed)
        were = "was" if found.held_out_people_exposed == 1 else "were"
        sentence += f" Note: {people} of the {found.people_control:,} held out {were} exposed all the same."
    return sentence


def _sentence(found: Evidence) -> str:
    if not found.people_control:
        return "Cannot be measured: no held-out people are known, so nobody knows what would have happened without it."
    if not found.people_treatment:
        return "Cannot be measured: only held-out people are known, nobody was drawn to be contacted."
    if found.sample_ratio_alarm and found.planned_control_share is not None:
        everyone = found.lots_control + found.lots_treatment
        planned = found.planned_control_share * everyone
        return (
            f"Do not trust: {found.lots_control:,} of {everyone:,} people are held out where about {planned:,.0f} were to be "
            f"(p = {found.sample_ratio_p_value:.1g}); find out who went missing before reading the lift."
        )
    if not found.is_measured or found.difference is None or found.low is None or found.high is None:
        return "Cannot be measured: conversions of the held-out are recorded neither by the channel nor as purchases."
    if found.p_adjusted is None or found.p_value is None or found.incremental is None:
        return "No proof yet: too few people to tell."
    so_far = "" if found.is_complete else " so far"
    if found.p_adjusted < _LEVEL and found.low > 0:
        span = _span(found.incremental, found.low, found.high)
        return f"Causes about {span} more conversions{so_far} than without{_worth(found)}."
    if found.p_adjusted < _LEVEL and found.high < 0:
        span = _span(-found.incremental, -found.high, -found.low)
        return f"Costs conversions: about {span} fewer{so_far} than without; stop it or change whom it reaches."
    seen = f"a difference of {found.incremental:+.0f} conversions ({found.low:+.0f} to {found.high:+.0f}){so_far}"
    if found.p_value < _LEVEL:
        return f"No proof yet: {seen}; among as many campaigns as these, one such by chance is no surprise."
    if not found.is_complete:
        return f"No proof yet: {seen} may be chance; this range holds on any day it is looked at, at the end a narrower one does."
    if found.detectable_difference is None:
        return f"No proof yet: {seen} may be chance."
    return (
        f"No proof yet: {seen} may be chance; with these arms only a rise of {100 * found.detectable_difference:.1f} percentage "
        "points or more would mostly be found."
    )


def _span(middle: float, low: float, high: float) -> str:
    return f"{middle:,.0f} ({low:,.0f} to {high:,.0f})"


def _worth(found: Evidence) -> str:
    return "" if found.return_on_cost is None else f"; worth {found.return_on_cost:,.1f} times its cost"


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number:,} people"
