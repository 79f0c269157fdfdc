"""What an operator sets is checked before anything listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.goals import AchievedGoals
from planner.limits import LimitsConfig
from server.settings import Settings, read_settings
from vjepa2_ac.errors import ConfigError


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VJEPA2_AC_TOKEN", "VJEPA2_AC_PORT", "VJEPA2_AC_HOST"):
        monkeypatch.delenv(name, raising=False)


def test_by_default_only_this_machine_can_reach_it() -> None:
    settings = read_settings()
    assert settings.is_loopback
    assert settings.tokens() == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "robot.local"])
def test_listening_beyond_this_machine_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match=r"refusing to listen on .* without a token"):
        read_settings(host=host)
    assert read_settings(host=host, token="correct horse").tokens() == ("correct horse",)
    assert read_settings(host=host, insecure=True).insecure


def test_settings_come_from_the_environment_and_options_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VJEPA2_AC_PORT", "9000")
    monkeypatch.setenv("VJEPA2_AC_LIMITS__STEP", "0.03")
    assert read_settings().port == 9000
    assert read_settings(port=9001).port == 9001
    assert read_settings().limits.step == 0.03


def test_the_workspace_comes_from_the_environment_corner_by_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VJEPA2_AC_LIMITS__LOWEST", "[0.3, -0.4, 0.05]")
    monkeypatch.setenv("VJEPA2_AC_LIMITS__GRIPPER", "[0.1, 0.9]")
    limits = read_settings().limits
    assert (limits.lowest, limits.highest) == ((0.3, -0.4, 0.05), LimitsConfig().highest)
    assert limits.gripper == (0.1, 0.9)
    for wrong in ("[0.3, -0.4", "[0.3, -0.4]", "0.3"):
        monkeypatch.setenv("VJEPA2_AC_LIMITS__LOWEST", wrong)
        with pytest.raises(ConfigError, match=r"setting limits\.lowest"):
            read_settings()


def test_an_operator_says_when_sub_goals_are_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VJEPA2_AC_CONTROL", '{"progress": {"achieved": {"mean": 0.1, "deviation": 0.01}}}')
    assert read_settings().control.progress.achieved == AchievedGoals(mean=0.1, deviation=0.01)
    monkeypatch.setenv("VJEPA2_AC_CONTROL__PROGRESS__TIMOUT", "20")
    with pytest.raises(ConfigError, match="timout"):
        read_settings()


def test_a_misspelt_setting_is_an_error_that_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VJEPA2_AC_LIMITZ__STEP", "0.03")
    with pytest.raises(ConfigError, match="did you mean VJEPA2_AC_LIMITS"):
        read_settings()


def test_a_misspelt_setting_in_small_letters_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("vjepa2_ac_port", "9000")
    assert read_settings().port == 9000
    monkeypatch.setenv("vjepa2_ac_prot", "9000")
    with pytest.raises(ConfigError, match="did you mean VJEPA2_AC_PORT"):
        read_settings()


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("VJEPA2_AC_TOKEN__FILE", "VJEPA2_AC_TOKEN_FILE"), ("VJEPA2_AC_GRPC__PORT", "VJEPA2_AC_GRPC_PORT")],
)
def test_two_underscores_where_there_is_no_group_are_an_error(
    monkeypatch: pytest.MonkeyPatch, misspelt: str, meant: str
) -> None:
    monkeypatch.setenv(misspelt, "9000")
    with pytest.raises(ConfigError, match=f"no setting {misspelt}; did you mean {meant}"):
        read_settings()


@pytest.mark.parametrize("name", ["session_idle_s", "goal_idle_s", "idle_connection_s", "drain_s", "workspace_margin"])
def test_times_without_end_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"setting {name}: .*finite"):
        read_settings(**{name: float("inf")})


def test_a_value_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(ConfigError, match=r"setting port: .*got 70000"):
        read_settings(port=70000)


def test_limits_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VJEPA2_AC_LIMITS__STEP", "-1")
    with pytest.raises(ConfigError, match=r"limits.step must be positive"):
        read_settings()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tls_key": Path("key.pem")}, "both a certificate and its key"),
        ({"tls_client_ca": Path("ca.pem")}, "client certificates need TLS"),
        ({"tls_certificate": Path("none.pem"), "tls_key": Path("none.pem")}, "there is no file none.pem"),
        ({"log_pictures": True}, "set a plan log too"),
        ({"preset": "fats"}, "no preset 'fats'"),
        ({"token": "short"}, "fewer than 8 characters"),
        ({"token_file": Path("/none")}, "cannot be read"),
        ({"token_file": Path("/bin/sh")}, "cannot be read"),
        ({"tls_certificate": Path("/bin/sh"), "tls_key": Path("/bin/sh")}, "no PEM files that can be used, /bin/sh"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_settings(host="0.0.0.0", **({"insecure": True} if "token" not in str(options) else {}), **options)


def test_a_token_file_holds_one_token_a_line(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# the left arm\nleft-secret\n\n  # the right arm\nright-secret\n")
    assert Settings(token_file=path).tokens() == ("left-secret", "right-secret")
    path.write_text("\n")
    with pytest.raises(ConfigError, match="holds no token"):
        Settings(token_file=path).tokens()


def test_lists_and_groups_that_are_no_json_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VJEPA2_AC_ALLOWED_ORIGINS", "http://a.example")
    with pytest.raises(ConfigError, match=r"allowed_origins.*written as JSON"):
        read_settings()


@pytest.mark.parametrize(
    ("origin", "meant"),
    [
        ("http://lab.example:3000/", "http://lab.example:3000"),
        ("HTTPS://Lab.example:443", "https://lab.example"),
        ("http://[::1]:80/", "http://[::1]"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_origins_are_as_a_browser_says_them(origin: str, meant: str) -> None:
    assert Settings(allowed_origins=[origin]).allowed_origins == (meant,)


@pytest.mark.parametrize(
    "origin", ["lab.example", "localhost:3000", "http://", "http://lab.example/page", "http://läb.example", "http://[1"]
)
def test_an_origin_that_no_browser_would_say_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"setting allowed_origins\.0: "):
        read_settings(allowed_origins=[origin])


def test_tokens_are_not_shown_when_settings_are() -> None:
    assert "hidden-token" not in repr(Settings(token="hidden-token"))
