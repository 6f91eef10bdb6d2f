"""The root of the tree and what every error has."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, ClassVar, Final

BY_CODE: Final[dict[str, type[QenexError]]] = {}
"""Every error that has a code, by its code."""


class QenexError(Exception):
    """Root of every error that QENEX raises.

    What explains an error is in its message for a person and in its attributes (`values`) for a program. A class
    takes from its parent what it does not say itself; classes without a `code` of their own are families.
    """

    code: ClassVar[str] = "error"
    """Stable name, the same in Python, in HTTP problems and in spec/errors.toml."""
    http_status: ClassVar[int] = 500
    """Status of the HTTP answer that reports it."""
    iso_reason: ClassVar[str] = "NARR"
    """ISO 20022 external status reason (pacs.002 RJCT); `NARR` is "see the text"."""
    text: ClassVar[str] = "QENEX failed."
    """What happened, in one sentence without values: the first line of the class's docstring."""

    def __init_subclass__(
        cls, *, code: str | None = None, http_status: int | None = None, iso_reason: str | None = None, **rest: object
    ) -> None:
        """Takes the facts of a class from its header, and lists it by its code.

        Raises:
            TypeError: two classes claim one code.
        """
        super().__init_subclass__(**rest)
        cls.text = cleandoc(cls.__doc__ or code or cls.text).partition("\n")[0]
        cls.http_status = cls.http_status if http_status is None else http_status
        cls.iso_reason = cls.iso_reason if iso_reason is None else iso_reason
        if code is not None:
            if code in BY_CODE:
                raise TypeError(f"{cls.__name__} and {BY_CODE[code].__name__} both claim the code {code}")
            cls.code = code
            BY_CODE[code] = cls

    @property
    def values(self) -> dict[str, Any]:
        """What explains this error, by name: its public attributes."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their message alone, which constructors with values of their own do not take.
        return _rebuild, (type(self), self.args), vars(self)


def _rebuild(kind: type[QenexError], args: tuple[Any, ...]) -> QenexError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error
