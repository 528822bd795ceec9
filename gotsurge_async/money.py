"""Money: whole thousandths of a cent on the wire, decimals for people, never a float.

The API counts money in thousandths of a cent (section "Update Task": 120000 is 120 cents), so 1 SGD is 100 000
and the least price of a create, SGD 2.00, is 200 000. A bare number is therefore never taken for an amount:
``Money.of("2.00", "SGD")`` and ``Money(millicents=200_000, currency="SGD")`` both say their unit.
"""

import functools
from decimal import Decimal
from typing import NoReturn, Self, TypeVar

from gotsurge_async.starting import pattern

MILLICENTS_PER_UNIT = 100_000
"""Thousandths of a cent in one unit of a currency (one dollar)."""

_M = TypeVar("_M", bound="Money")
_CURRENCY = pattern(r"[A-Z]{3}")
_AMOUNT = pattern(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_MOST_DIGITS = 20


@functools.total_ordering
class Money:
    """An amount of money in one currency. Immutable, hashable, exact.

    Args:
        millicents: thousandths of a cent, an int.
        currency: ISO 4217, three capital letters; "" only for an amount that the service gave without one.
    """

    # Not an attrs class: the JSON decoder would take it for an object, and on the wire it is one integer.
    __slots__ = ("currency", "millicents")

    millicents: int
    currency: str

    def __init__(self, *, millicents: int, currency: str) -> None:
        if type(millicents) is not int:
            raise TypeError(f"millicents (thousandths of a cent) must be a whole number, not {millicents!r}")
        if currency and not _CURRENCY.fullmatch(currency):
            raise ValueError(f"currency must be three capital letters (ISO 4217), not {currency!r}")
        object.__setattr__(self, "millicents", millicents)
        object.__setattr__(self, "currency", currency)

    @classmethod
    def of(cls, amount: str | Decimal | int, currency: str) -> Self:
        """The amount as people write it, in units of the currency: ``Money.of("2.00", "SGD")``.

        Raises:
            TypeError: for a float, whose cents are not exact.
            ValueError: for text that is no plain decimal, or finer than a thousandth of a cent.
        """
        if isinstance(amount, bool) or not isinstance(amount, str | Decimal | int):
            raise TypeError(f"an amount of money must be text, a Decimal or an int, not {type(amount).__name__}")
        if isinstance(amount, str) and not _AMOUNT.fullmatch(amount.strip()):
            raise ValueError(f"{amount!r} is not a decimal amount such as 48.50")
        number = Decimal(amount)
        if not number.is_finite() or abs(number.adjusted()) >= _MOST_DIGITS:
            raise ValueError(f"{amount!r} is not a decimal amount such as 48.50")
        # Through whole numbers: decimals round to the precision that the program around has set.
        numerator, denominator = number.as_integer_ratio()
        millicents, rest = divmod(numerator * MILLICENTS_PER_UNIT, denominator)
        if rest:
            raise ValueError(f"{amount!r} has more than five decimals")
        return cls(millicents=millicents, currency=currency)

    @property
    def amount(self) -> Decimal:
        """The amount in units of the currency, exact."""
        return Decimal(self._plain())

    def in_currency(self, currency: str) -> Self:
        """The same number in another currency: for an amount of the service whose currency is in another field.

        The currency is taken as it came, also when it is not ISO 4217.
        """
        return _rebuild(type(self), self.millicents, currency)

    def __str__(self) -> str:
        return f"{self.currency or '?'} {self._plain(decimals=2)}"

    def __repr__(self) -> str:
        return f"Money(millicents={self.millicents}, currency={self.currency!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        return self.millicents == other.millicents and self.currency == other.currency

    def __hash__(self) -> int:
        return hash((self.millicents, self.currency))

    def __lt__(self, other: "Money") -> bool:
        return self.millicents < self._same(other, "compare")

    def __add__(self, other: "Money") -> Self:
        return self._with(self.millicents + self._same(other, "add"))

    def __sub__(self, other: "Money") -> Self:
        return self._with(self.millicents - self._same(other, "subtract"))

    def __mul__(self, times: int) -> Self:
        if type(times) is not int:
            raise TypeError(f"money can be multiplied only by whole numbers, not by {times!r}")
        return self._with(self.millicents * times)

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return self._with(-self.millicents)

    def __bool__(self) -> bool:
        return self.millicents != 0

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Money is immutable: cannot set {name}")

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.millicents, self.currency))

    def _plain(self, decimals: int = 0) -> str:
        """The amount in units of the currency, with at least ``decimals`` decimals."""
        whole, fraction = divmod(abs(self.millicents), MILLICENTS_PER_UNIT)
        places = f"{fraction:05d}".rstrip("0").ljust(decimals, "0")
        return f"{'-' if self.millicents < 0 else ''}{whole}{'.' if places else ''}{places}"

    def _with(self, millicents: int) -> Self:
        return type(self)(millicents=millicents, currency=self.currency)

    def _same(self, other: object, verb: str) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"cannot {verb} Money and {type(other).__name__}")
        if other.currency != self.currency:
            raise ValueError(f"cannot {verb} {self.currency or 'no currency'} and {other.currency or 'no currency'}")
        return other.millicents


def as_given(millicents: int, currency: str) -> Money:
    """An amount of the service, with the currency from another field, which is kept as it came."""
    return _rebuild(Money, millicents, currency)


def _rebuild(cls: type[_M], millicents: int, currency: str) -> _M:
    money = object.__new__(cls)
    object.__setattr__(money, "millicents", millicents)
    object.__setattr__(money, "currency", currency)
    return money
