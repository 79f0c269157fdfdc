from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sim.collect import COLLECTION, CollectConfig
from sim.collect_behaviours import EDITION
from sim.collect_commands import DEFAULT_MIX, parse_mix, register, split_name
from vjepa2_ac import __version__
from vjepa2_ac.data.check import check_folder
from vjepa2_ac.errors import ConfigError


def test_the_command_records_episodes_that_pass_the_check(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    arguments = [
        "collect",
        "--out",
        str(tmp_path),
        "--episodes",
        "2",
        "--branches",
        "1",
        "--repaints",
        "1",
        "--size",
        "64",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "2 long episodes, 0 of them were there; wrote 8 episodes, with the short ones, " in result.output
    versions = json.loads((tmp_path / COLLECTION).read_text())["versions"]
    assert versions == {"vjepa2-ac": __version__, "behaviours": EDITION}  # none is gone on with by another edition
    report = check_folder(tmp_path)
    assert report.is_usable
    assert len(report.usable) == 8


def test_a_mix_is_written_as_shares() -> None:
    assert parse_mix("expert=0.5, near=1") == (("expert", 0.5), ("near", 1.0))
    assert parse_mix(DEFAULT_MIX) == CollectConfig().mix
    with pytest.raises(ConfigError, match="cannot read 'half'"):
        parse_mix("expert=1,half")


def test_a_split_that_does_not_exist_is_named() -> None:
    assert split_name("shift") == "shift"
    with pytest.raises(ConfigError, match="no split 'validation'; there are train, test, shift"):
        split_name("validation")
