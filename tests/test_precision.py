from __future__ import annotations

import pytest
import torch

from vjepa2_ac import precision
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.precision import choose_dtype


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_what_is_asked_for_is_what_is_used(name: str, dtype: torch.dtype) -> None:
    assert choose_dtype(name, "cpu") == dtype


@pytest.mark.parametrize(("multiplies", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bf16_where_the_cpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, multiplies: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "_multiplies_bf16", lambda: multiplies)
    assert choose_dtype("auto", "cpu") == dtype


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_auto_takes_bf16_where_the_gpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", "cuda:0") == dtype


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="fp32, bf16, auto"):
        choose_dtype("fp16", "cpu")
