"""A folder belongs to one kind of work, with one set of settings, and to one process at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim.folders import Owner, held
from vjepa2_ac.errors import InputError

BAKER = Owner(
    name="baker", settings="bread.json", lock=".baking", differs="was baked with {name} {found}, not {wanted}"
)


def bread(**flour: float) -> dict[str, Any]:
    return {"format": "bread", "hours": (1, 2), "flour": flour}


def test_a_folder_is_gone_on_with_under_the_same_settings(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path / "new", BAKER, bread(rye=0.5)):
            (tmp_path / "new" / "loaf").touch()
    assert json.loads((tmp_path / "new" / "bread.json").read_text())["hours"] == [1, 2]


@pytest.mark.parametrize(
    ("flour", "said"),
    [
        ({"rye": 0.4}, "was baked with flour.rye 0.5, not 0.4;"),
        ({"rye": 0.5, "oats": 0.1}, "was baked with flour.oats null, not 0.1;"),
        ({}, "was baked with flour null, not {};"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, flour: dict[str, float], said: str) -> None:
    with held(tmp_path, BAKER, bread(rye=0.5)):
        pass
    with pytest.raises(InputError) as caught, held(tmp_path, BAKER, bread(**flour)):
        pass
    assert said in str(caught.value)


def bake(folder: Path, *, made: str | None, ending: Exception) -> None:
    """Work that ends badly, with empty tins and perhaps a file."""
    with held(folder, BAKER, bread(rye=0.5)):
        (folder / "tins" / "small").mkdir(parents=True)
        if made:
            (folder / made).touch()
        raise ending


def test_other_settings_may_be_tried_where_work_was_refused_before_it_made_anything(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no oven"):
        bake(tmp_path, made=None, ending=InputError("no oven takes rye"))
    with held(tmp_path, BAKER, bread(oats=0.1)):
        assert not (tmp_path / "tins").exists()


@pytest.mark.parametrize(
    ("made", "ending"), [("tins/loaf", InputError("the oven is full")), (None, RuntimeError("the oven broke"))]
)
def test_what_was_begun_keeps_its_settings(tmp_path: Path, made: str | None, ending: Exception) -> None:
    with pytest.raises(type(ending)):
        bake(tmp_path, made=made, ending=ending)
    with pytest.raises(InputError, match=r"was baked with"), held(tmp_path, BAKER, bread(oats=0.1)):
        pass


def test_what_lies_behind_a_link_has_been_made_too(tmp_path: Path) -> None:
    out, large_disk = tmp_path / "out", tmp_path / "large disk"
    large_disk.mkdir()
    with held(out, BAKER, bread(rye=0.5)):
        (out / "loaves").symlink_to(large_disk)
    with pytest.raises(InputError, match="no oven"):
        bake(out, made=None, ending=InputError("no oven takes rye"))
    with pytest.raises(InputError, match=r"was baked with"), held(out, BAKER, bread(oats=0.1)):
        pass


def test_fewer_settings_are_other_settings(tmp_path: Path) -> None:
    with held(tmp_path, BAKER, bread(rye=0.5, oats=0.1)):
        pass
    with pytest.raises(InputError, match=r"flour\.oats 0\.1, not null"), held(tmp_path, BAKER, bread(rye=0.5)):
        pass


def test_a_folder_is_gone_on_with_whose_settings_had_other_names_when_it_was_begun(tmp_path: Path) -> None:
    with held(tmp_path, BAKER, {"format": "bread", "grain": {"rye": 0.5}}):
        pass
    now = replace(BAKER, renamed={"grain": "flour"})
    with held(tmp_path, now, {"format": "bread", "flour": {"rye": 0.5}}):
        pass
    with (
        pytest.raises(InputError, match=r"flour\.rye 0\.5, not 0\.4"),
        held(tmp_path, now, {"format": "bread", "flour": {"rye": 0.4}}),
    ):
        pass


@pytest.mark.parametrize(("name", "said"), [("thesis.tex", "holds thesis.tex"), ("bread.json", "not of this baker")])
def test_what_is_somebody_elses_is_left_as_it_was(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_text('{"format": "stamps"}')
    with pytest.raises(InputError, match=said), held(tmp_path, BAKER, bread()):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"format": "stamps"}'


@pytest.mark.parametrize("damaged", [b"", b'{"format": ', b"\xff\xfe"])
def test_damaged_settings_are_said_to_be_and_left_as_they_are(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "bread.json").write_bytes(damaged)
    with pytest.raises(InputError, match=r"bread\.json is damaged: .*; choose"), held(tmp_path, BAKER, bread()):
        pass
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [damaged]


@pytest.mark.parametrize("refused", ["stat", "open"])  # of a folder that may not be entered, of another's file
def test_settings_that_may_not_be_read_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    with held(tmp_path, BAKER, bread()):
        pass
    ask = getattr(Path, refused)

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "bread.json":
            raise PermissionError(13, "Permission denied", str(path))
        return ask(path, *arguments, **options)

    monkeypatch.setattr(Path, refused, refuse)
    with pytest.raises(InputError, match=r"bread\.json cannot be read: Permission"), held(tmp_path, BAKER, bread()):
        pass


def test_two_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        held(tmp_path, BAKER, bread()),
        pytest.raises(InputError, match="another baker is at work"),
        held(tmp_path, BAKER, bread()),
    ):
        pass


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / ".baking").mkdir()
    with (
        pytest.raises(InputError, match=f"{tmp_path} cannot be written to: Is a directory"),
        held(tmp_path, BAKER, bread()),
    ):
        pass


def test_a_kill_before_the_settings_were_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".baking").touch()
    (tmp_path / "bread.json.part").write_text('{"form')
    with held(tmp_path, BAKER, bread()):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".baking", "bread.json"]
