"""Read times in any usual form, and number them into bins of the calendar (R36)."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import items_of
from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, DTypeError
from compressae_ref.item_values import shown
from compressae_ref.segments.settings import UNITS as UNITS

Times = NDArray[np.datetime64]
"""An array of dtype datetime64[s], in UTC if the times had a zone."""

MIN_BINS = 8
"""The fewest bins for which `choose_unit` takes a unit."""

FIRST, LAST = np.datetime64("0001-01-01T00:00:00", "s"), np.datetime64("9999-12-31T23:59:59", "s")
ITEMS_PER_BLOCK = 8192
YEARS = range(1000, 3000)
"""Integers that are read as years."""
EXPECTED = "expected a time in ISO 8601 of the years 1 to 9999, such as '2020-05-01' or '2020-05-01T12:30:00Z'"
DIGITS = str.maketrans("123456789", "000000000")
SHAPE = re.compile(r"(0000(?:-00(?:-00([T ]00(?::00(:00)?)?)?)?)?)(?(3)(?:[.,]0+)?)(?(2)(Z|[+-]00(?::?00(?::?00)?)?)?)")
"""A time in which each digit is 0: the part that NumPy reads, its time of day, its seconds, and the zone."""


def as_times(values: Any, name: str = "times") -> Times:
    """Return times (n,) as datetime64[s]; fractions of a second are cut off (R36).

    Parameters
    ----------
    values : datetime64, `datetime` or `date` objects (pandas' too), strings in ISO 8601, or integers from 1000 to 2999,
        which are years; in an array or a list, of any mixture of precisions. Times with a zone are converted to UTC.
    name : the argument, for error messages

    Raises
    ------
    DTypeError, ShapeError
        If ``values`` is not a flat array or list.
    DomainError
        Naming the first row that is no time of the years 1 to 9999, or that differs from row 0 in having a zone.
    """
    array = items_of(values, name)
    if array.dtype.kind == "M":
        return _of_datetimes(array, name)
    times, zoned = np.empty(len(array), "datetime64[s]"), None
    for start in range(0, len(array), ITEMS_PER_BLOCK):
        items = array[start : start + ITEMS_PER_BLOCK].tolist()
        try:
            times[start : start + len(items)], zoned = _parsed([_text(item) for item in items], zoned)
        except ValueError:
            _reject_first(items, start, zoned, name)
    return times


def _of_datetimes(array: NDArray[Any], name: str) -> Times:
    unit = np.datetime_data(array.dtype)[0]
    if unit == "generic":
        raise DTypeError("expected datetime64 with a unit, such as datetime64[s], got none", argument=name)
    bad = np.isnat(array)
    if unit not in ("ns", "ps", "fs", "as"):  # these hold years near 1970; to convert other units could overflow
        bad |= (array < FIRST.astype(array.dtype)) | (array > LAST.astype(array.dtype))
    times: Times = np.full(len(array), FIRST)
    times[~bad] = array[~bad]
    bad |= times < FIRST
    if bad.any():
        row = int(np.argmax(bad))
        raise DomainError(f"{EXPECTED}, got {str(array[row])[:40]}", argument=name, row=row)
    return times


def _text(item: Any) -> str:
    """Return a time as text: itself, or in ISO 8601. Anything that is no time becomes an empty text."""
    if isinstance(item, str):
        return item
    if isinstance(item, date):  # a `datetime` is one, and so are pandas' `Timestamp` and `NaT`
        return item.isoformat()
    if isinstance(item, np.datetime64):
        return str(item)
    return str(item) if _is_number(item, int, np.integer) and item in YEARS else ""


def _is_number(item: Any, *types: type) -> bool:
    return isinstance(item, types) and not isinstance(
        item, (bool, np.timedelta64)
    )  # which Python and NumPy count as one


def _parsed(texts: list[str], zoned: bool | None = None) -> tuple[Times, bool]:
    """Return the times in UTC, and whether they have zones. ValueError if any is no time, or not as ``zoned`` says.

    NumPy's parser is fast but takes too much: "now", "NaT", an empty text, years of any length. So the shapes of the
    texts, of which there are few, are checked before.
    """
    shapes = "\n".join(texts).translate(DIGITS).split("\n")
    if len(shapes) != len(texts):
        raise ValueError("expected times without line breaks")
    place_of = {shape: _place(shape) for shape in set(shapes)}
    places = [place_of[shape] for shape in shapes]
    times = np.array([text[:end] for text, (end, _) in zip(texts, places, strict=True)], "datetime64[s]")
    found = {start >= 0 for _, start in place_of.values()} | ({zoned} - {None})
    if found == {True}:
        zones = [text[start:] for text, (_, start) in zip(texts, places, strict=True)]
        offset_of = {zone: _offset(zone) for zone in set(zones)}
        times -= np.array([offset_of[zone] for zone in zones], "timedelta64[s]")
    if len(found) != 1 or times.min() < FIRST or times.max() > LAST:
        raise ValueError("expected years from 1 to 9999, and zones in all times or in none")
    return times, found == {True}


def _place(shape: str) -> tuple[int, int]:
    """Return the end of the part of a time that NumPy reads, and the start of its zone, −1 if it has none."""
    match = SHAPE.fullmatch(shape)
    if match is None:
        raise ValueError("expected ISO 8601")
    return match.end(1), match.start(4)


def _offset(zone: str) -> int:
    """Return the seconds by which a zone is ahead of UTC: 7200 of "+02:00"."""
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = (int(digits[i : i + 2]) for i in (0, 2, 4))
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("expected a zone of less than a day")
    return (1 if zone[0] == "+" else -1) * (3600 * hours + 60 * minutes + seconds)


def _reject_first(items: list[Any], first_row: int, zoned: bool | None, name: str) -> NoReturn:
    """Raise the error about the first item that is no time, or that differs from those before it in having a zone."""
    for row, item in enumerate(items, first_row):
        try:
            _, own = _parsed([_text(item)])
        except ValueError:
            raise DomainError(f"{EXPECTED}, got {shown(item)}", argument=name, row=row, hint=_hint(item)) from None
        if zoned not in (None, own):
            expected, got = ("a zone", "without one") if zoned else ("no zone", "with one")
            raise DomainError(
                f"expected times with {expected} as in row 0, got {shown(item)} {got}",
                argument=name,
                row=row,
                hint="append the zone to all times, such as Z for UTC, or to none",
            )
        zoned = own
    raise AssertionError("expected an item that is refused")


def _hint(item: Any) -> str | None:
    number = _is_number(item, int, float, np.number) and item == item  # NaN is a missing time
    digits = isinstance(item, str) and item.strip().lstrip("+-").isdigit()
    hint = "only integers 1000 to 2999 are read as years: convert seconds with numpy.array(seconds, 'datetime64[s]')"
    return hint if number or digits else None


STORED = {
    "hour": ("h", 1, 0), "day": ("D", 1, 0), "week": ("D", 7, 3), "month": ("M", 1, 0), "quarter": ("M", 3, 0),
    "year": ("Y", 1, 0), "decade": ("Y", 10, 0), "century": ("Y", 100, 70),
}  # fmt: skip
"""For each unit: NumPy's unit, how many of these make a bin, and how many of these bin 0 begins before 1970-01-01."""


def as_unit(unit: Any) -> str:
    """Return one of `UNITS`. DomainError."""
    if not isinstance(unit, str) or unit not in UNITS:
        raise DomainError(f"expected one of {', '.join(UNITS)}, got {short_repr(unit)}", argument="unit")
    return unit


def choose_unit(times: Times) -> str:
    """Return the coarsest unit with at least 8 bins from the first time to the last, or "hour" if there is none."""
    ends = np.array([times.min(), times.max()]) if len(times) else np.zeros(1, "datetime64[s]")
    spans = ((unit, np.ptp(bin_numbers(ends, unit)) + 1) for unit in reversed(UNITS))
    return next((unit for unit, bins in spans if bins >= MIN_BINS), UNITS[0])


def bin_numbers(times: Times, unit: str) -> NDArray[np.int64]:
    """Return the number of the bin of each time; bin 0 holds 1970-01-01T00:00:00.

    Numbers do not depend on the other times. Weeks begin on Monday, decades and centuries with a year that ends in 0
    and 00.
    """
    stored, count, before = STORED[as_unit(unit)]
    numbers: NDArray[np.int64] = (times.astype(f"datetime64[{stored}]").astype(np.int64) + before) // count
    return numbers


def _starts(first_bin: int, count: int, unit: str) -> NDArray[np.datetime64]:
    """Return when bins start, in NumPy's unit of `STORED`."""
    stored, length, before = STORED[as_unit(unit)]
    return ((first_bin + np.arange(count)) * length - before).astype(f"datetime64[{stored}]")


def starts(first_bin: int, count: int, unit: str) -> list[str]:
    """Return when each bin starts, in ISO 8601: a date, or with unit "hour" a date and a time."""
    first = _starts(first_bin, count, unit).astype("datetime64[s]" if unit == "hour" else "datetime64[D]")
    return [str(text) for text in np.datetime_as_string(first)]


def labels(first_bin: int, count: int, unit: str) -> list[str]:
    """Return the name of each bin: "2020-05-01 13h", "2020-05-01", "2020-W05", "2020-05", "2020 Q2", "2020", "1790s".

    A century is the 100 years that start alike: "1700-1799". Weeks have the numbers of ISO 8601.
    """
    first = _starts(first_bin, count, unit)
    if unit == "week":
        first = first + np.timedelta64(3, "D")  # a week belongs to the year of its Thursday
    texts = [str(text) for text in np.datetime_as_string(first)]
    years = [text.split("-")[0] for text in texts]
    if unit == "hour":
        return [text.replace("T", " ") + "h" for text in texts]
    if unit == "week":
        number = (first - first.astype("datetime64[Y]").astype(first.dtype)).astype(np.int64) // 7 + 1
        return [f"{year}-W{week:02d}" for year, week in zip(years, number.tolist(), strict=True)]
    if unit == "quarter":
        return [f"{year} Q{int(text[-2:]) // 3 + 1}" for year, text in zip(years, texts, strict=True)]
    if unit == "century":
        return [f"{year}-{int(year) + 99:04d}" for year in years]
    return [f"{year}s" for year in years] if unit == "decade" else texts
