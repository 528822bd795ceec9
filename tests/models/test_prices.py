"""`gotsurge_async.models.prices`: what a way costs."""

from gotsurge_async import codec
from gotsurge_async.models.prices import Quote
from gotsurge_async.money import Money


def test_a_quote_takes_the_currency_beside_it() -> None:
    """Fees are money in the currency that the answer names, and in none where it names none."""
    quote = codec.decode(b'{"average_fee":120000,"total_fee":500000,"total_fee_currency":"SGD"}', Quote)
    assert (quote.average_fee, quote.total_fee) == (Money.of("1.20", "SGD"), Money.of("5.00", "SGD"))
    bare = codec.decode(b'{"total_fee":500000}', Quote)
    assert bare.total_fee == Money(millicents=500_000, currency="")
