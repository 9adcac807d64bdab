//! Times as Go has them: with a zero in the year 1, nanoseconds, and an offset that is kept.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};

/// A time with its offset.
pub type Time = DateTime<FixedOffset>;

/// Go's zero time: the first of January of the year 1.
pub fn zero() -> Time {
    NaiveDate::from_ymd_opt(1, 1, 1).map_or_else(epoch, |day| day.and_time(NaiveTime::MIN).and_utc().fixed_offset())
}

/// What zot stores for "never pulled".
pub fn epoch() -> Time {
    DateTime::UNIX_EPOCH.fixed_offset()
}

/// Whether a time is Go's zero.
pub fn is_zero(time: Time) -> bool {
    time == zero()
}

/// The present.
pub fn now() -> Time {
    Utc::now().fixed_offset()
}

/// The same time without an offset.
pub fn in_utc(time: Time) -> Time {
    time.to_utc().fixed_offset()
}

/// A time some seconds after another.
pub fn after(time: Time, seconds: i64) -> Time {
    time.checked_add_signed(TimeDelta::seconds(seconds)).unwrap_or(time)
}

/// The next time that differs from another where times have microseconds.
pub fn just_after(time: Time) -> Time {
    time.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(time)
}

/// Reads RFC 3339.
pub fn parse(text: &str) -> Option<Time> {
    DateTime::parse_from_rfc3339(text).ok()
}

/// Writes RFC 3339 with as many digits as needed; the zero time is not written at all (gqlgen's `MarshalTime`).
pub fn write(time: Time) -> Option<String> {
    if is_zero(time) {
        return None;
    }
    let text = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let Some((seconds, rest)) = text.split_once('.') else { return Some(text) };
    let (digits, zone) = rest.split_at(9.min(rest.len()));
    let digits = digits.trim_end_matches('0');
    Some(if digits.is_empty() { format!("{seconds}{zone}") } else { format!("{seconds}.{digits}{zone}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_go_does() {
        let rewritten = |text: &str| parse(text).and_then(write).unwrap_or_default();
        assert_eq!(rewritten("2023-01-02T03:04:05Z"), "2023-01-02T03:04:05Z");
        assert_eq!(rewritten("2023-01-02T03:04:05.120000000+02:00"), "2023-01-02T03:04:05.12+02:00");
        assert_eq!(rewritten("2023-01-02T03:04:05+00:00"), "2023-01-02T03:04:05Z");
        assert_eq!(rewritten("0001-01-01T00:00:00Z"), "");
        assert_eq!(parse("yesterday"), None);
        assert_eq!(write(epoch()).unwrap(), "1970-01-01T00:00:00Z");
    }
}
