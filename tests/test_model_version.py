"""A model is known by its files."""

from __future__ import annotations

from pathlib import Path

from vjepa2_ac.model_version import LEARNED, fingerprint


def test_a_model_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    before = fingerprint(str(tmp_path))
    (tmp_path / "weights").write_bytes(b"two")
    assert before != fingerprint(str(tmp_path))
    assert fingerprint("random:tiny") == ""


def test_what_was_learned_about_a_model_may_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    before = fingerprint(str(tmp_path))
    (tmp_path / LEARNED).write_text("{}")
    assert before == fingerprint(str(tmp_path))
