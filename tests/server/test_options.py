"""What callers wish stays within what the operator allows."""

from __future__ import annotations

import pytest

from planner.limits import LimitsConfig
from server.messages import PlanOptions
from server.options import planner_config
from server.settings import Settings


@pytest.mark.parametrize("asked", [None, False, True])
def test_an_operators_dry_run_is_one_whatever_a_caller_says(asked: bool | None) -> None:
    settings = Settings(limits=LimitsConfig(dry_run=True))
    assert planner_config(PlanOptions(dry_run=asked), settings).limits.dry_run
    assert planner_config(PlanOptions(dry_run=asked), Settings()).limits.dry_run == bool(asked)
