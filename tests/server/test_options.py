"""What callers wish stays within what the operator allows."""

from __future__ import annotations

import pytest

from planner.limits import LimitsConfig
from server.messages import PlanOptions
from server.options import planner_config
from server.settings import Settings


@pytest.mark.parametrize("said", [None, False, True])
def test_an_operators_dry_run_is_one_whatever_a_caller_says(said: bool | None) -> None:
    settings = Settings(limits=LimitsConfig(dry_run=True))
    assert planner_config(PlanOptions(dry_run=said), settings).limits.dry_run
    assert planner_config(PlanOptions(dry_run=said), Settings()).limits.dry_run == bool(said)
