"""QENEX: a financial operating system.

    from qenex import QenexClient

`QenexClient` talks to a running engine, `AsyncQenexClient` is its twin for asyncio, `errors` holds everything that
either can raise. They are loaded when they are first used, so that importing a part does not import the whole.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qenex import errors
    from qenex.client import AsyncQenexClient, QenexClient

__all__ = ["AsyncQenexClient", "QenexClient", "errors"]

_HOMES: Final = {"AsyncQenexClient": "qenex.client", "QenexClient": "qenex.client"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "errors":
        return import_module("qenex.errors")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
