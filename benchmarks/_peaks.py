"""Peak rates of GPUs, so that a measured rate can be given as a share of the peak."""

from __future__ import annotations

import re

import torch

BF16_PEAKS = {
    "A10": 125,
    "A40": 150,
    "A100": 312,
    "B200": 2250,
    "GH200": 989,
    "H100": 989,
    "H100 NVL": 835,
    "H100 PCIe": 756,
    "H200": 989,
    "L4": 121,
    "L40": 181,
    "L40S": 362,
    "RTX 3090": 71,
    "RTX 4090": 165,
}
"""Peak rates of dense bf16 matrix products that are summed in fp32 [TFLOP/s] by chip, from the maker's data sheets."""


def bf16_peak(device: torch.device) -> float | None:
    """The peak [TFLOP/s] of a CUDA device; None where it is not known, as for every CPU: its clock says too little."""
    return peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def peak_of(name: str) -> float | None:
    """The peak [TFLOP/s] of a chip by its driver's name for it, in which the longest known name counts; or None."""
    known = [chip for chip in BF16_PEAKS if re.search(rf"\b{re.escape(chip)}\b", name)]
    return float(BF16_PEAKS[max(known, key=len)]) if known else None
