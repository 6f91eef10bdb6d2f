"""Settings: precedence, and errors that name where a wrong value came from."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from qenex.errors import InvalidSettings, PlaintextExposed
from qenex.settings import Settings, from_arguments, template


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, named by the environment, and no other variable of ours."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"QENEX_{name.upper()}", raising=False)
    monkeypatch.setenv("QENEX_HOME", str(tmp_path))
    return tmp_path


def test_defaults_listen_on_loopback_only(home: Path) -> None:
    settings = Settings.load()
    assert (settings.home, settings.host) == (home, "127.0.0.1")
    assert (settings.binary_port, settings.http_port, settings.metrics_port) == (7400, 8080, 9090)


def test_without_any_word_the_home_is_dot_qenex_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QENEX_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings.load().home == tmp_path / ".qenex"


def test_file_wins_over_default_variable_over_file_flag_over_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "qenex.toml").write_text("binary_port = 1\nhttp_port = 1\nmetrics_port = 1\n")
    monkeypatch.setenv("QENEX_HTTP_PORT", "2")
    monkeypatch.setenv("QENEX_METRICS_PORT", "2")
    settings = Settings.load({"metrics_port": 3, "binary_port": None})
    assert (settings.binary_port, settings.http_port, settings.metrics_port) == (1, 2, 3)


def test_the_file_is_that_of_the_home_that_flags_and_variables_name(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "qenex.toml").write_text("http_port = 5\n")
    assert Settings.load().http_port == 8080
    assert Settings.load({"home": other}).http_port == 5


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(InvalidSettings, match=r"flag --binary-port: 70000 .*65535"):
        Settings.load({"binary_port": 70_000})


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QENEX_WINDOW_REQUESTS", "65")
    with pytest.raises(InvalidSettings, match=r"variable QENEX_WINDOW_REQUESTS: '65' .*less than or equal to 64"):
        Settings.load()


def test_a_wrong_key_of_the_file_is_named_with_the_file(home: Path) -> None:
    (home / "qenex.toml").write_text('http_port = "eighty"\n')
    with pytest.raises(InvalidSettings, match=rf"{home}/qenex.toml, key http_port: 'eighty' .*integer"):
        Settings.load()


def test_a_variable_that_hides_a_wrong_key_is_blamed_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "qenex.toml").write_text("http_port = 1\n")
    monkeypatch.setenv("QENEX_HTTP_PORT", "-1")
    with pytest.raises(InvalidSettings, match="variable QENEX_HTTP_PORT: '-1'"):
        Settings.load()


def test_every_wrong_value_is_named_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "qenex.toml").write_text("sessions_max = 0\n")
    monkeypatch.setenv("QENEX_HTTP_PORT", "x")
    with pytest.raises(InvalidSettings) as caught:
        Settings.load({"host": ""})
    assert [line.split(":")[0].split(",")[-1] for line in caught.value.complaints] == [
        "flag --host",
        "variable QENEX_HTTP_PORT",
        " key sessions_max",
    ]


def test_an_unknown_key_is_refused_with_those_there_are(home: Path) -> None:
    (home / "qenex.toml").write_text("htpp_port = 1\n")
    with pytest.raises(InvalidSettings, match=r"qenex.toml, key htpp_port: there is no such setting.*http_port"):
        Settings.load()


def test_a_home_inside_its_own_file_is_refused(home: Path) -> None:
    (home / "qenex.toml").write_text('home = "/elsewhere"\n')
    with pytest.raises(InvalidSettings, match="use --home"):
        Settings.load()


@pytest.mark.parametrize("content", [b"http_port = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(home: Path, content: bytes) -> None:
    (home / "qenex.toml").write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"qenex.toml: cannot be read as TOML"):
        Settings.load()


def test_the_template_changes_nothing_until_a_line_is_uncommented(home: Path) -> None:
    text = template()
    assert tomllib.loads(text) == {}
    keys = [line[2:] for line in text.splitlines() if " = " in line]
    parsed = tomllib.loads("\n".join(keys))
    defaults = {name: field.default for name, field in Settings.model_fields.items() if name != "home"}
    assert parsed == {name: "" if default is None else default for name, default in defaults.items()}


def test_settings_survive_the_way_to_another_process(tmp_path: Path) -> None:
    given = {"home": tmp_path / "a b", "http_port": 0, "host": "::1", "trusted_proxy": "192.0.2.0/28", **CERTIFICATE}
    settings = Settings.load(given)
    assert from_arguments("x", "y", settings.arguments()) == (settings, False)
    assert from_arguments("x", "y", [*settings.arguments(), "--until-input-ends"]) == (settings, True)


def test_a_setting_that_can_hold_a_password_is_shown_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QENEX_REDIS_URL", "redis://:hunter2@127.0.0.1:6379/0")
    settings = Settings.load()
    assert settings.redis_url.startswith("redis://:hunter2@")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in " ".join(settings.arguments())
    assert from_arguments("x", "y", settings.arguments()).settings == settings
    monkeypatch.setenv("QENEX_REDIS_URL", "http://:hunter2@127.0.0.1")
    with pytest.raises(InvalidSettings, match="variable QENEX_REDIS_URL: what is given cannot be used") as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h/d", "hunter2", ""])
def test_records_are_in_the_home_or_in_postgresql_and_a_wrong_address_is_not_repeated(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QENEX_RECORDS_URL", url)
    with pytest.raises(InvalidSettings, match=r"variable QENEX_RECORDS_URL: .*postgresql://user:password@") as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)


def test_the_password_of_the_records_is_shown_nowhere() -> None:
    settings = Settings.load({"records_url": "postgresql://u:hunter2@h/d"})
    assert settings.records_url == "postgresql://u:hunter2@h/d"
    assert "hunter2" not in repr(settings)
    assert not any("hunter2" in argument for argument in settings.arguments())


def test_a_process_with_wrong_settings_ends_with_two_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        from_arguments("x", "y", ["--http-port", "x"])
    assert ended.value.code == 2
    assert "flag --http-port: 'x'" in capsys.readouterr().err


def test_every_setting_is_documented_with_its_three_spellings_and_default() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        key = "" if name == "home" else f"`{name}` "
        default = field.default if isinstance(field.default, int) else f"`{field.default}`" if field.default else "none"
        default = "no" if default is False else default
        assert f"| `--{name.replace('_', '-')}` | `QENEX_{name.upper()}` | {key}| {default} |" in page


CERTIFICATE = {"tls_certificate": "/a.pem", "tls_key": "/a.key"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "bank.example"])  # noqa: S104  # that is the point
def test_other_machines_come_in_by_tls_or_by_the_trusted_proxy(host: str) -> None:
    for read in (lambda settings: settings.plain_host, lambda settings: settings.binary_host):
        with pytest.raises(PlaintextExposed, match=r"Set tls_certificate and tls_key .* or trusted_proxy"):
            read(Settings.load({"host": host}))
    with_certificate = Settings.load({"host": host, **CERTIFICATE})
    assert (with_certificate.plain_host, with_certificate.binary_host) == ("127.0.0.1", "127.0.0.1")
    behind_a_proxy = Settings.load({"host": host, "trusted_proxy": "192.0.2.0/28"})
    assert (behind_a_proxy.plain_host, behind_a_proxy.binary_host) == (host, "127.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_nothing_else_is_needed(host: str) -> None:
    settings = Settings.load({"host": host})
    assert (settings.plain_host, settings.binary_host) == (host, host)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"tls_certificate": "/a.pem"}, "tls_certificate is set without tls_key"),
        ({"tls_key": "/a.key"}, "tls_key is set without tls_certificate"),
        ({"tls_client_ca": "/ca.pem"}, "tls_client_ca is set without tls_certificate"),
        (CERTIFICATE | {"tls_client_crl": "/crl.pem"}, "tls_client_crl is set without tls_client_ca"),
        (CERTIFICATE | {"tls_client_required": True}, "tls_client_required is set without tls_client_ca"),
        ({"trusted_proxy": "0.0.0.0/0"}, "it names everybody"),
        ({"trusted_proxy": "192.0.2.1/24"}, "flag --trusted-proxy"),
        ({"trusted_proxy": "proxy"}, "flag --trusted-proxy"),
    ],
)
def test_settings_of_tls_that_mean_nothing_are_refused(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidSettings, match=complaint):
        Settings.load(given)


def test_an_empty_text_unsets_what_another_source_sets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "qenex.toml").write_text('tls_certificate = "/a.pem"\ntls_key = "/a.key"\ntrusted_proxy = "::1"\n')
    assert Settings.load().tls_key == Path("/a.key")
    for name in ("tls_certificate", "tls_key", "trusted_proxy"):
        monkeypatch.setenv(f"QENEX_{name.upper()}", "")
    assert (Settings.load().tls_certificate, Settings.load().trusted_proxy) == (None, None)
