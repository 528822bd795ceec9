"""The texts that number formats show of whole numbers."""

import pytest

from gotsurge_async.tables.formats.sheet_reader.number_formats import number_format


@pytest.mark.parametrize(
    ("code", "small", "large"),
    [
        ("000000", "000042", "1234567"),
        ("000000;@", "000042", "1234567"),
        ("0" * 21, "42".zfill(21), "1234567".zfill(21)),
        ("[$-409]000000_)", "000042", "1234567"),
        ("[Red]000000;[Blue]-000000", "000042", "1234567"),
        ('"MV-"0000', "MV-0042", "MV-1234567"),
        (r"\M\V\-0000", "MV-0042", "MV-1234567"),
        ("00-0000", "00-0042", "123-4567"),
        ('"MV-"0', "MV-42", "MV-1234567"),
        ('"MV-"#', "MV-42", "MV-1234567"),
        ('General"/30"', "42/30", "1234567/30"),
        ("+0", "+42", "+1234567"),
        ("[$SGD] 0", "SGD 42", "SGD 1234567"),
        ("# ##0", "42", "1234 567"),
        ("[<1000]0000;000000", "", ""),
    ],
)
def test_a_whole_number_has_the_text_that_a_sheet_shows(code: str, small: str, large: str) -> None:
    """A text that depends on the number, or that is one of a part of a number, is not known."""
    form = number_format(code)
    assert form is not None
    assert (form.shown("42"), form.shown("1234567")) == (small, large)
    assert form.shown("-42") == form.shown("4.2") == ""
    assert form.is_of_codes == (code in {"000000", "000000;@"})


@pytest.mark.parametrize(
    "code", ["", "General", "0", "@", "#,##0.00", '"S$"0.00', "0%", "yyyy-mm-dd", "[h]:mm", "# ?/?", "0_ "]
)
def test_other_formats_show_the_value(code: str) -> None:
    """A number as it is, an amount, a date or a text."""
    assert number_format(code) is None


def test_zero_may_have_a_format_of_its_own() -> None:
    """It is the third one."""
    forms = number_format("0000"), number_format("0000;-0000"), number_format("0000;-0000;;@")
    assert [form.shown("0") for form in forms if form] == ["0000", "0000", ""]
