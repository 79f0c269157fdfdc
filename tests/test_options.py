"""Options that commands share say what is true, and say it everywhere."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from vjepa2_ac.cli import app
from vjepa2_ac.options import MODELS
from vjepa2_ac.world_model import SIZES


def helps(option: str) -> dict[str, str]:
    """What each command says of an option that it has."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    said = {
        name: getattr(parameter, "help", "")
        for name, command in group.commands.items()
        for parameter in command.params
        if f"--{option}" in parameter.opts
    }
    assert said
    return said


def test_the_sizes_of_random_models_are_those_there_are() -> None:
    assert f"`random:SIZE` ({', '.join(SIZES)})" in MODELS


def test_precision_reads_the_same_in_every_command() -> None:
    said = helps("precision")
    assert said.pop("replay") == "Precision that the plans were served with: fp32, bf16 or auto."
    assert len(said) >= 6
    assert len(set(said.values())) == 1
