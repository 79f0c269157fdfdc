"""Schedules give the recorded value at every update."""

from __future__ import annotations

import numpy as np
import pytest

from tests.parity.golden import Case, cases_of
from vjepa2_ac.training import schedules

EXACT = {"rtol": 0, "atol": 1e-12}


def value_at(case: Case, row: int) -> float:
    """The value of recorded row `row`; rows are updates 1, 2, … (the momentum's are counted from 0)."""
    k = case.config.get("kwargs", {})
    match case.config["class"]:
        case "WSDSchedule":
            return schedules.warmup_stable_decay(
                row + 1,
                warmup_steps=k["warmup_steps"],
                anneal_steps=k["anneal_steps"],
                total_steps=k["T_max"],
                start=k["start_lr"],
                peak=k["ref_lr"],
                final=k["final_lr"],
            )
        case "WarmupCosineSchedule":
            return schedules.warmup_cosine(
                row + 1,
                warmup_steps=k["warmup_steps"],
                total_steps=k["T_max"],
                start=k["start_lr"],
                peak=k["ref_lr"],
                final=k["final_lr"],
            )
        case "CosineWDSchedule":
            return schedules.cosine(row + 1, total_steps=k["T_max"], first=k["ref_wd"], final=k["final_wd"])
        case "LinearDecaySchedule":
            return schedules.linear_decay(row + 1, total_steps=k["T_max"], first=k["ref_lr"], final=k["final_lr"])
        case "ema":
            c = case.config
            first, final = c["ema"]
            total = c["ipe"] * c["num_epochs"] * c["ipe_scale"]
            return schedules.ema_momentum(row, total_steps=total, first=first, final=final)
    raise AssertionError(f"no schedule for {case.config['class']}")


@pytest.mark.parametrize("case", cases_of("schedule"), ids=lambda case: case.name)
def test_values(case: Case) -> None:
    recorded = case.output("values")
    np.testing.assert_allclose([value_at(case, row) for row in range(len(recorded))], recorded, **EXACT)


@pytest.mark.parametrize("case", [c for c in cases_of("schedule") if c.config["class"] != "ema"], ids=lambda c: c.name)
def test_groups_follow_their_marks(case: Case) -> None:
    outputs = case.outputs()
    changes_decay = "WD" in case.config["class"]
    first_lr, first_wd = outputs["group_lr"][0], outputs["group_wd"][0]
    groups = [
        {"lr": first_lr[0], "weight_decay": first_wd[0], "lr_scale": case.config.get("lr_scale", 1.0)},
        {"lr": first_lr[1], "weight_decay": first_wd[1]},
        {"lr": first_lr[2], "weight_decay": first_wd[2], "no_decay": True},
    ]
    for row, (lr, wd) in enumerate(zip(outputs["group_lr"], outputs["group_wd"], strict=True)):
        value = value_at(case, row)
        schedules.set_rates(groups, **({"weight_decay": value} if changes_decay else {"lr": value}))
        np.testing.assert_allclose([group["lr"] for group in groups], lr, **EXACT)
        np.testing.assert_allclose([group["weight_decay"] for group in groups], wd, **EXACT)


@pytest.mark.parametrize("case", cases_of("v21_lambda"), ids=lambda case: case.name)
def test_the_context_loss_fades_in(case: Case) -> None:
    values = [schedules.context_weight(int(step), full=case.config["lambda_value"]) for step in case.input("iters")]
    np.testing.assert_allclose(values, case.output("values"), **EXACT)
