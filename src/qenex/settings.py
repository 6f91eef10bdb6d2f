"""Settings: where data lives, which addresses are served, which limits hold.

One name, three spellings: the flag `--binary-port`, the variable `QENEX_BINARY_PORT`, the key `binary_port` in
`$QENEX_HOME/qenex.toml`. A flag wins over the variable, the variable over the file, the file over the default. A wrong
value is refused with the place it came from.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from qenex.errors import InvalidSettings, PlaintextExposed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "QENEX_"
"""Every environment variable of QENEX begins with it."""

DEFAULT_HOME = Path("~/.qenex")
"""Home of an instance when neither `--home` nor `QENEX_HOME` says otherwise."""

FILE_NAME = "qenex.toml"
"""The settings file inside the home."""

RECORDS_IN_HOME = "sqlite"
"""Value of `records_url` with which the records are a file of the home."""

Port = Annotated[int, Field(ge=0, le=65_535)]
Rate = Annotated[int, Field(ge=1, le=1_000_000)]
Burst = Annotated[int, Field(ge=1, le=10_000_000)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = "127.0.0.1"
"""Where only this machine comes in."""


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _records_url(url: str) -> str:
    if url != RECORDS_IN_HOME and not url.startswith("postgresql://"):
        raise ValueError(f"{RECORDS_IN_HOME}, or postgresql://user:password@host:port/database is wanted")
    return url


def _unset(value: object) -> object:
    """An empty text says that something is not set, whatever another source says."""
    return None if value == "" else value


def _some(network: Network | None) -> Network | None:
    if network is not None and network.prefixlen == 0:
        raise ValueError("it names everybody")
    return network


OptionalPath = Annotated[
    Path | None, BeforeValidator(_unset), AfterValidator(lambda path: path if path is None else _absolute(path))
]


def is_loopback(host: str) -> bool:
    """Whether only this machine can come in there; a name other than localhost could be anybody's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """Settings of one instance, checked. Use `load`, which names the source of what is wrong."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    home: Annotated[Path, AfterValidator(_absolute)] = Field(DEFAULT_HOME, description="Folder of the instance")
    host: str = Field(LOOPBACK, min_length=1, description="Address that the servers listen on")
    binary_port: Port = Field(7400, description="Port of the binary protocol; 0 is any free one")
    http_port: Port = Field(8080, description="Port of the HTTP API; 0 is any free one")
    metrics_port: Port = Field(9090, description="Port of the Prometheus metrics; 0 is any free one")
    https_port: Port = Field(8443, description="Port of the HTTP API by TLS; 0 is any free one")
    binary_tls_port: Port = Field(7443, description="Port of the binary protocol by TLS; 0 is any free one")
    tls_certificate: OptionalPath = Field(
        None, description="Certificate (PEM, with those below its root); needs tls_key"
    )
    tls_key: OptionalPath = Field(None, description="Private key of tls_certificate (PEM, mode 600)")
    tls_client_ca: OptionalPath = Field(None, description="Who certifies clients (PEM); asks them for a certificate")
    tls_client_crl: OptionalPath = Field(None, description="Certificates of clients that were revoked (PEM, CRL)")
    tls_client_required: bool = Field(default=False, description="Whether a client must show a certificate")
    trusted_proxy: Annotated[Network | None, BeforeValidator(_unset), AfterValidator(_some)] = Field(
        None, description="Address or network of a proxy that ends TLS for QENEX; its X-Forwarded-For is believed"
    )
    sessions_max: int = Field(
        65_536, ge=1, le=1_048_576, description="Sessions remembered; the one unused longest makes room"
    )
    connections_max: int = Field(1_024, ge=1, le=65_536, description="Connections open at a time")
    window_requests: int = Field(64, ge=1, le=64, description="Unanswered requests of one session")
    window_bytes: int = Field(
        16 * 1_048_576, ge=1_052_672, le=1_073_741_824, description="Unanswered bytes of one session"
    )
    books_open_max: int = Field(
        64, ge=2, le=4_096, description="Books open at a time; one that nobody is connected to makes room"
    )
    book_idle_s: int = Field(
        60, ge=1, le=86_400, description="Seconds without a connection after which a book is closed"
    )
    limit_credential_rate: Rate = Field(10_000, description="Requests a second of one credential")
    limit_credential_burst: Burst = Field(20_000, description="Requests at once of one credential after a rest")
    limit_principal_rate: Rate = Field(10_000, description="Requests a second of one principal")
    limit_principal_burst: Burst = Field(20_000, description="Requests at once of one principal after a rest")
    limit_book_rate: Rate = Field(40_000, description="Requests a second of one book")
    limit_book_burst: Burst = Field(80_000, description="Requests at once of one book after a rest")
    limit_address_rate: Rate = Field(20_000, description="Requests a second of one peer address (IPv6: of one /64)")
    limit_address_burst: Burst = Field(40_000, description="Requests at once of one peer address after a rest")
    limit_failures_rate: Rate = Field(1, description="Failed authentications a second of one peer address")
    limit_failures_burst: Burst = Field(60, description="Failed authentications at once of one peer address")
    limit_entries: int = Field(65_536, ge=1, le=16_777_216, description="Callers that each limit remembers at a time")
    nodes: int = Field(1, ge=1, le=4_096, description="HTTP processes that share the limits")
    redis_url: str = Field(
        "",
        pattern=r"^((rediss?|unix)://.+)?$",
        repr=False,
        description="Redis that keeps the limits of all nodes: redis://, rediss:// or unix://",
    )
    log_format: Literal["json", "text"] = Field("json", description="Form of the log: json or text")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="Least that is logged")
    otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        description="Where an OpenTelemetry collector takes traces, such as http://127.0.0.1:4318/v1/traces",
    )
    trace_sample: float = Field(0.01, ge=0, le=1, description="Part of the requests that are traced")
    records_url: Annotated[str, AfterValidator(_records_url)] = Field(
        RECORDS_IN_HOME,
        repr=False,  # it may have a password
        description=f"Where records are kept: {RECORDS_IN_HOME} is records.sqlite of the home, else postgresql://...",
    )

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None) -> Settings:
        """Reads the settings from flags, variables and the file of the home.

        Args:
            flags: values by field name, as typed; `None` values count as absent.

        Raises:
            InvalidSettings: naming, for each wrong value, where it came from.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        try:
            settings = cls(**given)  # type: ignore[arg-type]  # judged by pydantic, that is the point
        except ValidationError as error:
            raise InvalidSettings([_complaint(problem, given) for problem in error.errors()]) from error
        for name, needs in NEEDS.items():
            if getattr(settings, name) and not getattr(settings, needs):
                raise InvalidSettings([f"{name} is set without {needs}, which it needs"])
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables, then the file of the home that these two name."""
        path = _file({**env_settings(), **init_settings()})
        try:
            file = TomlConfigSettingsSource(settings_cls, path if path.exists() else None)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidSettings([f"{path}: cannot be read as TOML: {error}"]) from error
        if "home" in file.toml_data:
            raise InvalidSettings([f"{path}: home cannot be set in the file that is found through it; use --home"])
        return init_settings, env_settings, file

    @property
    def file(self) -> Path:
        """The settings file, which need not exist."""
        return self.home / FILE_NAME

    @property
    def owner_token_file(self) -> Path:
        """Holds the owner credential, mode 600."""
        return self.home / "owner.token"

    @property
    def records_file(self) -> Path:
        """The records, where they are not in PostgreSQL."""
        return self.home / "records.sqlite"

    @property
    def keys_folder(self) -> Path:
        """Keys of the installation, mode 700."""
        return self.home / "keys"

    @property
    def records_key_file(self) -> Path:
        """The key that secrets in the records are encrypted with, mode 600."""
        return self.keys_folder / "records.key"

    @property
    def system_token_file(self) -> Path:
        """Holds the credential that makes books, mode 600."""
        return self.home / "system.token"

    @property
    def books_folder(self) -> Path:
        """One folder a book, named by the book's id in 32 hexadecimal digits."""
        return self.home / "books"

    @property
    def run_folder(self) -> Path:
        """What holds only while processes run: their addresses and process ids."""
        return self.home / "run"

    @property
    def engine_file(self) -> Path:
        """Written by the engine once it serves: `pid`, `binary`, `book`."""
        return self.run_folder / "engine.json"

    @property
    def replay_file(self) -> Path:
        """Written by the engine while it replays its journal: `pid`, `done` and `total`, in entries."""
        return self.run_folder / "replay.json"

    @property
    def http_file(self) -> Path:
        """Written by the HTTP process once it serves: `pid`, `http`, `metrics`."""
        return self.run_folder / "http.json"

    @property
    def front_file(self) -> Path:
        """Written by the TLS front once it serves: `pid`, `https`, `binary`."""
        return self.run_folder / "front.json"

    @property
    def http_socket(self) -> Path:
        """Where the TLS front hands connections to the HTTP process."""
        return self.run_folder / "http.sock"

    @property
    def engine_socket(self) -> Path:
        """Where the TLS front hands connections to the engine."""
        return self.run_folder / "engine.sock"

    @property
    def binary_host(self) -> str:
        """Address of the binary protocol without TLS: never one that other machines reach.

        Raises:
            PlaintextExposed: as `plain_host`.
        """
        host = self.plain_host
        return host if is_loopback(host) else LOOPBACK

    @property
    def plain_host(self) -> str:
        """Address of what is served without TLS: `host` if only this machine or the trusted proxy comes in there.

        Raises:
            PlaintextExposed: others could come in at `host`, and there is neither a certificate nor a proxy.
        """
        if is_loopback(self.host) or self.trusted_proxy:
            return self.host
        if self.tls_certificate is None:
            raise PlaintextExposed(self.host)
        return LOOPBACK

    def arguments(self) -> list[str]:
        """The settings as arguments for a process that reads them with `from_arguments`.

        Those that can hold a secret are left out, for others see the arguments of a process: it finds them as we did,
        in the variable or the file.
        """
        shown = (name for name, field in type(self).model_fields.items() if field.repr)
        values = {name: getattr(self, name) for name in shown}
        return [f"--{name.replace('_', '-')}={'' if value is None else value}" for name, value in values.items()]


NEEDS = {
    "tls_certificate": "tls_key",
    "tls_key": "tls_certificate",
    "tls_client_ca": "tls_certificate",
    "tls_client_crl": "tls_client_ca",
    "tls_client_required": "tls_client_ca",
}
"""Settings that mean nothing without another."""


UNTIL_INPUT_ENDS = "--until-input-ends"
"""Flag of a process: its standard input is a pipe from whoever started it, and it is to end when that one does."""


class Arguments(NamedTuple):
    """What a process was started with."""

    settings: Settings
    until_input_ends: bool


def from_arguments(program: str, description: str, argv: Sequence[str] | None = None) -> Arguments:
    """Arguments of a process that takes settings and `UNTIL_INPUT_ENDS`.

    Ends the process with code 2 and one line for each wrong value when they are wrong.
    """
    parser = argparse.ArgumentParser(
        program,
        description=description,
        epilog=f"Each can be set as {PREFIX}NAME in the environment or as name in $QENEX_HOME/{FILE_NAME} too.",
    )
    for name, field in Settings.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, help=f"{field.description} (default: {field.default})"
        )
    parser.add_argument(UNTIL_INPUT_ENDS, action="store_true", help="End, as on SIGTERM, when the standard input does")
    flags = vars(parser.parse_args(argv))
    until_input_ends = flags.pop("until_input_ends")
    try:
        return Arguments(Settings.load(flags), until_input_ends)
    except InvalidSettings as error:
        parser.error(str(error))


def template() -> str:
    """The settings file that a new home starts with: every setting, its meaning and its default, commented out."""
    lines = ["# Settings of this QENEX instance. Flags and QENEX_* variables win over this file.", ""]
    for name, field in Settings.model_fields.items():
        if name != "home":
            value = json.dumps("" if field.default is None else field.default)
            lines += [f"# {field.description}.", f"# {name} = {value}", ""]
    return "\n".join(lines)


def _file(known: Mapping[str, Any]) -> Path:
    return _absolute(Path(str(known.get("home", DEFAULT_HOME)))) / FILE_NAME


def _complaint(problem: Mapping[str, Any], flags: Mapping[str, object]) -> str:
    """Where a wrong value came from, what it is, what would be right."""
    name = str(problem["loc"][0])
    variable = PREFIX + name.upper()
    if name in flags:
        place = f"flag --{name.replace('_', '-')}"
    elif variable in os.environ:
        place = f"variable {variable}"
    else:
        place = f"{_file({'home': flags.get('home', os.environ.get(PREFIX + 'HOME', DEFAULT_HOME))})}, key {name}"
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{place}: there is no such setting; there are {', '.join(Settings.model_fields)}"
    given = repr(problem["input"]) if field.repr else "what is given"
    return f"{place}: {given} cannot be used ({field.description}): {problem['msg']}"
