from __future__ import annotations

import pytest

import vjepa2_ac


@pytest.mark.parametrize("name", vjepa2_ac.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(vjepa2_ac, name).__name__ == name
    assert name in dir(vjepa2_ac)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="WorldModle"):
        _ = vjepa2_ac.WorldModle
