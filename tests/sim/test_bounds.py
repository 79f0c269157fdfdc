from __future__ import annotations

import json

import pytest

from sim.bounds import as_dict, markdown, measure, policy_name, wilson
from vjepa2_ac.errors import ConfigError


def test_wilson_intervals_of_known_cases() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert wilson(200, 200) == pytest.approx((0.9812, 1.0), abs=1e-3)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_measures_policies_and_writes_a_table() -> None:
    found = measure(["reach"], ["box"], ["expert", "nothing"], episodes=2)
    assert [(bound.policy, bound.at_end) for bound in found] == [("expert", 2), ("nothing", 0)]
    assert "| reach | box | expert | 2 | 100.0% |" in markdown(found)
    assert json.loads(json.dumps(as_dict(found)))[0]["episodes"] == 2


def test_an_unknown_policy_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="expert, nothing, random"):
        policy_name("lucky")
