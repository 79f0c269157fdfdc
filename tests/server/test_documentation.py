"""docs/service.md names every setting, code, route and call that there is."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

from server.errors import FAULT, TABLE
from server.http.problems import CODES
from server.metrics import Metrics
from server.settings import Settings
from vjepa2_ac import client
from vjepa2_ac.client import calls
from vjepa2_ac.pb import planning_pb2

WORDS = set(re.findall(r"[A-Za-z0-9_]+", (Path(__file__).parents[2] / "docs" / "service.md").read_text()))
TEXT = (Path(__file__).parents[2] / "docs" / "service.md").read_text()


def test_every_setting_is_documented() -> None:
    assert set(Settings.model_fields) <= WORDS


def test_every_error_is_documented_as_it_is() -> None:
    for row in (*TABLE.values(), FAULT):
        assert f"| `{row.code}` | {row.http} | {row.grpc} |" in TEXT, row.code
    for status, code in CODES.items():
        assert f"| `{code}` | {status} |" in TEXT, code


def test_every_call_is_documented() -> None:
    assert set(planning_pb2.DESCRIPTOR.services_by_name["Planning"].methods_by_name) <= WORDS


def test_every_metric_is_documented() -> None:
    for metric in Metrics().registry.collect():
        if metric.name.startswith("vjepa2_ac_"):
            assert metric.name.removeprefix("vjepa2_ac_") in TEXT, metric.name


def test_the_client_is_documented_with_each_argument_and_its_default() -> None:
    signatures: Counter[str] = Counter()  # several kinds have a `close()`
    for kind in (client.PlannerClient, client.Session, client.ChunkBroker):
        methods = {name: method for name, method in vars(kind).items() if not name.startswith("_")}
        if kind is not client.Session:  # which nobody but a client makes
            methods[kind.__name__] = vars(kind)["__init__"]
        for name, method in methods.items():
            _, *taken = inspect.signature(method).parameters.values()
            bare = inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in taken])
            signatures[f"`{name}{bare}`"] += 1
    assert [call for call, times in signatures.items() if TEXT.count(call) < times] == []


def test_every_option_and_detail_of_an_observation_is_documented() -> None:
    assert {*client.Options.__annotations__, *calls.ObservationDetails.__annotations__} <= WORDS
