"""What a person sees at the end of a run."""

import io

from rich.console import Console

from orchestration.console import show_refused_campaigns


def test_refused_campaigns_are_shown_with_what_is_wrong_and_where_the_rest_is() -> None:
    refused = [{"campaign_key": f"spring-{n}", "problem": f"It has no budget [{n}]."} for n in range(7)]
    text = io.StringIO()
    show_refused_campaigns(Console(file=text, width=200), refused, "zhiying campaign list")
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert lines[0] == "refused  campaign spring-0  It has no budget [0]."
    assert lines[4:] == ["refused  campaign spring-4  It has no budget [4].", "and 2 more: zhiying campaign list"]
