"""Times: every form is read to the same second, anything else is refused by row, and bins follow the calendar."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref.errors import CompressaeError
from compressae_ref.segments import times
from compressae_ref.segments.times import UNITS, as_times, bin_numbers, choose_unit, labels, starts

UTC = timezone.utc
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))
OFFSETS = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))


def seconds(moment):
    """The whole seconds from 1970 of a datetime without a zone, by integers alone."""
    since = moment - datetime(1970, 1, 1)
    return since.days * 86_400 + since.seconds


def forms(moment):
    """One moment in every form that keeps its second."""
    text = moment.isoformat(timespec="microseconds")
    numpy = np.datetime64(moment)
    return [moment, text, text.replace("T", " "), text.replace(".", ","), numpy, np.str_(text), f"{text}999"]


@given(st.lists(MOMENTS, min_size=1, max_size=4))
def test_every_form_is_the_same_second(moments):
    expected = [seconds(moment) for moment in moments]
    for column in zip(*map(forms, moments), strict=True):
        found = as_times(list(column))
        assert found.dtype == "datetime64[s]"
        assert found.astype(int).tolist() == expected
    mixed = [forms(moment)[row % 7] for row, moment in enumerate(moments)]
    assert as_times(mixed).astype(int).tolist() == expected
    for unit in ("us", "s"):
        assert as_times(np.array(moments, f"datetime64[{unit}]")).astype(int).tolist() == expected


@given(st.lists(st.tuples(MOMENTS, OFFSETS), min_size=1, max_size=4))
def test_times_with_a_zone_become_utc(pairs):
    zoned = [moment.replace(tzinfo=zone) for moment, zone in pairs]
    expected = [seconds(moment) - int(zone.utcoffset(None).total_seconds()) for moment, zone in pairs]
    bad = [row for row, t in enumerate(expected) if not seconds(datetime.min) <= t <= seconds(datetime.max)]
    for column in (
        zoned,
        [moment.isoformat() for moment in zoned],
        [re.sub(r"\+00:00$", "Z", str(moment)) for moment in zoned],
    ):
        if bad:
            with pytest.raises(CompressaeError, match=f"years 1 to 9999.* in row {bad[0]}$"):
                as_times(column)
        else:
            assert as_times(column).astype(int).tolist() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1790", "1790-01-01T00:00:00"), ("1790-02", "1790-02-01T00:00:00"), ("1790-01-08", "1790-01-08T00:00:00"),
        (1790, "1790-01-01T00:00:00"), (np.int16(2999), "2999-01-01T00:00:00"), (date(1, 2, 3), "0001-02-03T00:00:00"),
        ("2020-05-01T12", "2020-05-01T12:00:00"), ("2020-05-01 12:30", "2020-05-01T12:30:00"),
        ("2020-05-01T12:30:00Z", "2020-05-01T12:30:00"), ("2020-05-01T12:30+02:00", "2020-05-01T10:30:00"),
        ("2020-05-01T12:30:00.5-0130", "2020-05-01T14:00:00"), ("2020-05-01 00:00:00+00", "2020-05-01T00:00:00"),
        ("1969-12-31T23:59:59.999999999999999999999", "1969-12-31T23:59:59"), ("0001", "0001-01-01T00:00:00"),
        ("2020-02-29", "2020-02-29T00:00:00"),
    ],
)  # fmt: skip
def test_a_time_of_any_precision(value, expected):
    assert as_times([value]).astype(str).tolist() == [expected]


def test_arrays_and_columns_of_other_packages():
    years = np.array([1790, 2026])
    for array in (years, years.astype(">u2"), years.astype(str), years.astype(object), years.tolist()):
        assert as_times(array).astype(str).tolist() == ["1790-01-01T00:00:00", "2026-01-01T00:00:00"]
    nanoseconds = np.array([-1, 0], "datetime64[ns]")
    assert as_times(nanoseconds).astype(int).tolist() == [-1, 0]
    assert as_times([]).shape == (0,)
    pandas = pytest.importorskip("pandas")
    zoned = pandas.Series(pandas.to_datetime(["2020-01-01T00:30", "2020-07-01T00:30"]).tz_localize("Europe/Prague"))
    for column in (zoned, zoned.tolist(), pandas.DatetimeIndex(zoned), zoned.astype(str)):
        assert as_times(column).astype(str).tolist() == ["2019-12-31T23:30:00", "2020-06-30T22:30:00"]
    with pytest.raises(CompressaeError, match="got NaT in row 1"):
        as_times([zoned[0], pandas.NaT])


NOT_TIMES = [
    None, "", " ", "NaT", "nat", "now", "today", "2020 ", " 2020", "2020\n", "2020-1-1", "20200501", "202", "12020",
    "0000", "-0044", "+2020", "2020-13", "2020-00", "2020-02-30", "2021-02-29",
    "2020-05-01T24:00", "2020-05-01T12:60",
    "2020-05-01T12:00:60", "2020-05-01T12:30.5", "2020-05-01T12:00:00.", "2020-05-01T", "2020-05-01Z", "2020-05+02:00",
    "2020-05-01T12:00+24:00", "2020-05-01T12:00+02:60", "2020-05-01T12:00z", "2020-05-01T12:00 Z", "2020-05-01_12:00",
    "0001-01-01T00:00+00:01", "9999-12-31T23:59-00:01", "2020-W05", "１９９９", "x" * 10**6, "2020\n2021", "2020\0",
    "\ud800", 0, 999, 3000, 1_588_291_200, 10**400, True, 1790.0, float("nan"), float("inf"), b"2020", time(1),
    timedelta(1), [2020], object(), np.datetime64("NaT"), np.datetime64(10**12, "Y"), np.datetime64(0, "Y") - 1970,
    np.timedelta64(1, "s"),
]  # fmt: skip


@pytest.mark.parametrize("bad", NOT_TIMES, ids=range(len(NOT_TIMES)))
def test_what_is_no_time_is_named_with_its_row(bad, monkeypatch):
    monkeypatch.setattr(times, "ITEMS_PER_BLOCK", 4)
    with pytest.raises(CompressaeError, match=r"^t: expected a time in ISO 8601") as caught:
        as_times([*(["2020"] * 5), bad, "also no time"], "t")
    assert caught.value.row == 5
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    number = bad.strip().lstrip("+-").isdigit() if isinstance(bad, str) else type(bad) in (int, float) and bad == bad
    assert ("read as years" in (caught.value.hint or "")) == number


def test_numbers_are_no_guesses():
    for array in (
        np.array([0, 1_588_291_200]),
        np.array([1790.0]),
        np.array(["x"]),
        np.array([True]),
        np.array([b"2020"]),
    ):
        with pytest.raises(CompressaeError, match="in row 0"):
            as_times(array)
    for unit, value in (("Y", 2**62), ("W", 2**62), ("M", -(2**60)), ("s", 2**60), ("us", 2**62), ("100Y", -1_000)):
        with pytest.raises(CompressaeError, match=r"years 1 to 9999.* in row 1"):
            as_times(np.array([0, value]).astype(f"datetime64[{unit}]"))
    with pytest.raises(CompressaeError, match="got NaT in row 1"):
        as_times(np.array(["2020", "NaT"], "datetime64[ns]"))
    with pytest.raises(CompressaeError, match="with a unit"):
        as_times(np.array([5]).view("datetime64"))


@pytest.mark.parametrize(
    "bad", ["2020", b"2020", 2020, None, {"t": 1}, {2020}, [[2020]] * 2, np.zeros((2, 1), "datetime64[s]")]
)
def test_what_is_no_list_of_times(bad):
    with pytest.raises(CompressaeError, match=r"^times: expected"):
        as_times(bad)


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_times_with_and_without_a_zone_are_not_mixed(rows, monkeypatch):
    monkeypatch.setattr(times, "ITEMS_PER_BLOCK", 4)
    bare, zoned = ["2020-01-01", datetime(2020, 1, 1), 2020], ["2020-01-01T00:00Z", datetime(2020, 1, 1, tzinfo=UTC)]
    for first, second, words in ((bare, zoned, "no zone.* with one"), (zoned, bare, "a zone.* without one")):
        for other in second:
            column = [first[row % len(first)] for row in range(rows)] + [other] + first
            with pytest.raises(CompressaeError, match=f"expected times with {words} in row {rows}; append"):
                as_times(column)


# -- bins -------------------------------------------------------------------------------------------------------------


def first_of_bin(moment, unit):
    """The first moment of a bin, by the calendar of Python; None for one before the year 1."""
    day = datetime(moment.year, moment.month, moment.day)
    if unit == "hour":
        return day.replace(hour=moment.hour)
    if unit in ("day", "week"):
        return day - timedelta(days=day.weekday() if unit == "week" else 0)
    if unit in ("month", "quarter"):
        return day.replace(month=moment.month - (moment.month - 1) % {"month": 1, "quarter": 3}[unit], day=1)
    year = moment.year - moment.year % {"year": 1, "decade": 10, "century": 100}[unit]
    return datetime(year, 1, 1) if year else None


def named(moment, unit):
    """The label of the bin of a moment, by Python."""
    year, week, _ = moment.isocalendar()
    return {
        "hour": moment.isoformat(" ", "hours") + "h", "day": moment.isoformat()[:10], "week": f"{year:04}-W{week:02}",
        "month": moment.isoformat()[:7], "quarter": f"{moment.year:04} Q{(moment.month + 2) // 3}",
        "year": f"{moment.year:04}", "decade": f"{moment.year // 10:03}0s",
        "century": f"{moment.year // 100:02}00-{moment.year // 100:02}99",
    }[unit]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
@given(a=MOMENTS, b=MOMENTS)
def test_bins_partition_time_as_the_calendar_does(unit, a, b):
    a, b = min(a, b), max(a, b)
    found = as_times([a, b])
    bins = bin_numbers(found, unit)
    assert bins.dtype == np.int64
    assert bins[0] <= bins[1]
    assert (bins[0] == bins[1]) == (first_of_bin(a, unit) == first_of_bin(b, unit))
    for moment, number in zip((a, b), bins.tolist(), strict=True):
        start, end = (np.datetime64(text, "s") for text in starts(number, 2, unit))
        assert start <= as_times([moment])[0] < end
        assert bin_numbers(np.array([start]), unit).tolist() == [number]
        assert bin_numbers(np.array([end, end - np.timedelta64(1, "s")]), unit).tolist() == [number + 1, number]
        if first := first_of_bin(moment, unit):
            assert start == np.datetime64(first, "s")
        assert labels(number, 1, unit) == [named(moment, unit)]


@pytest.mark.parametrize("unit", UNITS)
def test_labels_and_starts_are_distinct_and_in_order(unit):
    first = int(bin_numbers(as_times(["1790-01-08"]), unit)[0])
    for texts in (
        labels(first, 300 if unit != "century" else 80, unit),
        starts(first, 300 if unit != "century" else 80, unit),
    ):
        assert texts == sorted(set(texts))
    assert bin_numbers(as_times(["1970"]), unit).tolist() == [0]
    assert labels(first, 0, unit) == starts(first, 0, unit) == []
    assert (len(starts(first, 1, unit)[0]) == 19) == (unit == "hour")


@given(st.lists(MOMENTS, min_size=1, max_size=3))
def test_the_chosen_unit_is_the_coarsest_with_eight_bins(moments):
    found = as_times(moments)
    spans = {unit: int(np.ptp(bin_numbers(found, unit))) + 1 for unit in UNITS}
    assert choose_unit(found) == next((unit for unit in reversed(UNITS) if spans[unit] >= 8), "hour")


def test_the_unit_of_the_addresses_is_the_decade():
    assert choose_unit(as_times(["1790-01-08", "2026-02-24"])) == "decade"
    assert choose_unit(as_times(["2020-05-01"] * 3)) == choose_unit(as_times([])) == "hour"


@pytest.mark.parametrize("unit", ["auto", "Day", "days", None, 7, ["day"]])
def test_an_unknown_unit(unit):
    for call in (lambda: bin_numbers(as_times([]), unit), lambda: labels(0, 1, unit), lambda: starts(0, 1, unit)):
        with pytest.raises(
            CompressaeError, match=r"^unit: expected one of hour, day, week, month, quarter, year, decade, century, got"
        ):
            call()
