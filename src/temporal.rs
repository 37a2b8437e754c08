//! Dates, times and timestamps: converts between the numbers of [`Value`](crate::Value) and text.
//!
//! All use the proleptic Gregorian calendar, years 1 to 9999, the range that every engine supports.
//! Times are rounded down to whole microseconds.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

use crate::{Error, Result};

const DATE: &str = "%Y-%m-%d";
const MICROS_A_SECOND: i64 = 1_000_000;
/// The number of days from 0001-01-01 to 1970-01-01, plus one: chrono counts from 1.
const EPOCH_FROM_CE: i32 = 719_163;

/// The days of the years 1 to 9999, counted from 1970-01-01.
pub(crate) const DATES: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
/// The microseconds of a day.
pub(crate) const TIMES: std::ops::Range<i64> = 0..86_400 * MICROS_A_SECOND;
/// The microseconds of the years 1 to 9999, counted from 1970-01-01 00:00:00 UTC.
pub(crate) const TIMESTAMPS: std::ops::Range<i64> =
    -719_162 * 86_400 * MICROS_A_SECOND..2_932_897 * 86_400 * MICROS_A_SECOND;

pub(crate) fn date_to_chrono(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_FROM_CE)?)
}

pub(crate) fn date_from_chrono(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - EPOCH_FROM_CE
}

pub(crate) fn time_to_chrono(micros: i64) -> Option<NaiveTime> {
    let seconds = u32::try_from(micros.div_euclid(MICROS_A_SECOND)).ok()?;
    let nanos = u32::try_from(micros.rem_euclid(MICROS_A_SECOND)).ok()? * 1000;
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)
}

pub(crate) fn time_from_chrono(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * MICROS_A_SECOND + cut(time.nanosecond())
}

/// Rounds nanoseconds down to microseconds. A leap second, which chrono represents as more than
/// 10^9 nanoseconds, becomes the last microsecond of its minute.
fn cut(nanos: u32) -> i64 {
    i64::from(nanos.min(999_999_999) / 1000)
}

pub(crate) fn timestamp_to_chrono(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

pub(crate) fn timestamp_from_chrono(timestamp: DateTime<Utc>) -> i64 {
    timestamp.timestamp() * MICROS_A_SECOND + cut(timestamp.timestamp_subsec_nanos())
}

/// Formats a date as `2013-01-31`.
pub(crate) fn date_to_text(days: i32) -> String {
    date_to_chrono(days).map(|date| date.format(DATE).to_string()).unwrap_or_default()
}

/// Formats a time as `05:15:00`, with as many fractional digits as needed (0, 3 or 6).
pub(crate) fn time_to_text(micros: i64) -> String {
    time_to_chrono(micros).map(|time| time.format("%H:%M:%S%.f").to_string()).unwrap_or_default()
}

/// Formats a timestamp in RFC 3339 and UTC, as `2013-01-31T05:15:00Z`, with as many fractional
/// digits as needed.
pub(crate) fn timestamp_to_text(micros: i64) -> String {
    timestamp_format(micros, "%Y-%m-%dT%H:%M:%S%.fZ")
}

/// Formats a timestamp as `2013-01-31 05:15:00`, the spelling of SQL engines without a type for it.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) fn timestamp_to_sql(micros: i64) -> String {
    timestamp_format(micros, "%Y-%m-%d %H:%M:%S%.f")
}

fn timestamp_format(micros: i64, format: &str) -> String {
    timestamp_to_chrono(micros).map(|time| time.format(format).to_string()).unwrap_or_default()
}

/// Parses `2013-01-31`.
pub(crate) fn parse_date(text: &str) -> Result<i32> {
    let date = NaiveDate::parse_from_str(text, DATE).ok().filter(|_| text.len() == 10);
    date.map(date_from_chrono).filter(|days| DATES.contains(days)).ok_or_else(|| {
        Error::invalid_input("not a date; write it as 2013-01-31, years 0001 to 9999")
    })
}

/// Parses `05:15`, `05:15:00` or `05:15:00.123456`.
pub(crate) fn parse_time(text: &str) -> Result<i64> {
    ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(text, format).ok())
        .map(time_from_chrono)
        .ok_or_else(|| Error::invalid_input("not a time of day; write it as 05:15:00.123456"))
}

/// Parses RFC 3339 with any offset, and `2013-01-31 05:15:00` or `2013-01-31T05:15:00` as UTC.
pub(crate) fn parse_timestamp(text: &str) -> Result<i64> {
    let with_offset = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let without = || {
        ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(|time| time.and_utc())
    };
    with_offset
        .ok()
        .or_else(without)
        .map(timestamp_from_chrono)
        .filter(|micros| TIMESTAMPS.contains(micros))
        .ok_or_else(|| {
            Error::invalid_input(
                "not a timestamp; write it as 2013-01-31T05:15:00.123456Z, years 0001 to 9999",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_the_years_1_and_9999() {
        assert_eq!(date_to_text(*DATES.start()), "0001-01-01");
        assert_eq!(date_to_text(*DATES.end()), "9999-12-31");
        assert_eq!(timestamp_to_text(TIMESTAMPS.start), "0001-01-01T00:00:00Z");
        assert_eq!(timestamp_to_text(TIMESTAMPS.end - 1), "9999-12-31T23:59:59.999999Z");
        assert_eq!(time_to_text(TIMES.end - 1), "23:59:59.999999");
    }

    #[test]
    fn text_round_trips() {
        for text in
            ["2013-01-31T05:15:00Z", "1969-12-31T23:59:59.999999Z", "2000-02-29T00:00:00.500Z"]
        {
            assert_eq!(timestamp_to_text(parse_timestamp(text).unwrap()), text);
        }
        assert_eq!(
            parse_timestamp("2013-01-31T05:15:00+02:00").unwrap(),
            parse_timestamp("2013-01-31 03:15:00").unwrap()
        );
        assert_eq!(time_to_text(parse_time("05:15").unwrap()), "05:15:00");
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, cut) in [
            ("2013-01-31T05:15:00.123456999Z", "2013-01-31T05:15:00.123456Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
            ("1900-01-01T00:00:00.000000001Z", "1900-01-01T00:00:00Z"),
            ("2016-12-31T23:59:60.500Z", "2016-12-31T23:59:59.999999Z"),
            ("2013-01-31 05:15:00.1234569999999", "2013-01-31T05:15:00.123456Z"),
        ] {
            assert_eq!(timestamp_to_text(parse_timestamp(text).unwrap()), cut, "{text}");
        }
        assert_eq!(time_to_text(parse_time("23:59:60.5").unwrap()), "23:59:59.999999");
        assert_eq!(time_to_text(parse_time("05:15:00.0000019").unwrap()), "05:15:00.000001");
    }

    #[test]
    fn invalid_dates_are_errors() {
        for text in
            ["", "2013-02-30", "2013-1-1", "0000-01-01", "10000-01-01", "2013-01-31T00:00:00Z"]
        {
            assert!(parse_date(text).is_err(), "{text}");
        }
        for text in ["", "2013-01-31", "2013-01-31T25:00:00Z", "0000-12-31T23:59:59Z"] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }
}
