//! The clock that decides when records expire. Tests can replace it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::temporal::TIMESTAMPS;

/// A source of the current time, which decides when records expire.
///
/// A cache uses the system clock unless [`CacheBuilder::clock`](crate::CacheBuilder::clock) sets a
/// different one, such as a [`ManualClock`](crate::testing::ManualClock) in tests. Deadlines,
/// leases and the circuit breaker always use real time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// A shared clock; [`SystemTime::now`] by default.
#[derive(Clone, Default)]
pub struct SharedClock(Option<Arc<dyn Clock>>);

impl SharedClock {
    /// Wraps a clock.
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self(Some(Arc::new(clock)))
    }

    /// Returns whether the current time is before `micros`.
    pub fn is_before(&self, micros: i64) -> bool {
        let surely = self.0.is_none() && coarse_micros().is_some_and(|now| now < micros);
        surely || self.micros() < micros
    }

    /// Returns the current time as a [`Value::Timestamp`](crate::Value::Timestamp): microseconds
    /// since 1970-01-01 00:00:00 UTC, rounded down and clamped to the years 1 to 9999.
    pub fn micros(&self) -> i64 {
        micros(self.now())
    }
}

impl Clock for SharedClock {
    fn now(&self) -> SystemTime {
        self.0.as_ref().map_or_else(SystemTime::now, |clock| clock.now())
    }
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "SharedClock(custom)" } else { "SharedClock(system)" })
    }
}

/// The largest difference between the coarse clock and the exact one: a tick of the kernel's timer,
/// at least 100 of which occur per second.
#[cfg(target_os = "linux")]
const TICK: i64 = 10_000;

/// Returns a time that is at most two ticks after the current one and never before it. The exact
/// clock takes several times as long to read, and most records are far from their expiry.
#[cfg(target_os = "linux")]
fn coarse_micros() -> Option<i64> {
    use rustix::time::{ClockId, clock_gettime};

    let now = clock_gettime(ClockId::RealtimeCoarse);
    Some(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000 + 2 * TICK)
}

#[cfg(not(target_os = "linux"))]
fn coarse_micros() -> Option<i64> {
    None
}

/// Returns the timestamp of a time, clamped to the range of timestamps.
pub(crate) fn micros(time: SystemTime) -> i64 {
    exact_micros(time).clamp(TIMESTAMPS.start, TIMESTAMPS.end - 1)
}

/// Returns the microseconds of a time, possibly outside of the range of timestamps.
pub(crate) fn exact_micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => {
            let nanos = before.duration().as_nanos();
            -i64::try_from(nanos.div_ceil(1_000)).unwrap_or(i64::MAX)
        }
    }
}

/// Returns the time of a timestamp.
pub(crate) fn from_micros(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    let time = match micros < 0 {
        true => UNIX_EPOCH.checked_sub(distance),
        false => UNIX_EPOCH.checked_add(distance),
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// Adds a duration to a timestamp, clamped to the last timestamp.
pub(crate) fn after(micros: i64, duration: Duration) -> i64 {
    let duration = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    micros.saturating_add(duration).min(TIMESTAMPS.end - 1)
}

/// Subtracts a duration from a timestamp, clamped to the first timestamp.
pub(crate) fn before(micros: i64, duration: Duration) -> i64 {
    let duration = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    micros.saturating_sub(duration).max(TIMESTAMPS.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip() {
        for timestamp in [0, 1, -1, 1_785_000_000_123_456, -1_500_000] {
            assert_eq!(micros(from_micros(timestamp)), timestamp);
        }
        let cut = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(micros(cut), -1, "rounded down");
    }

    #[test]
    fn the_current_time_is_before_later_times() {
        let system = SharedClock::default();
        for _ in 0..1_000 {
            let now = system.micros();
            assert!(!system.is_before(now) && system.is_before(now + 1_000_000));
            // Between them the coarse clock does not decide.
            let soon = system.micros() + 5_000;
            assert!(system.is_before(soon) || system.micros() >= soon);
        }
        let manual = SharedClock::new(crate::testing::ManualClock::new(from_micros(7)));
        assert!(manual.is_before(8) && !manual.is_before(7));
    }

    #[test]
    fn no_duration_overflows() {
        assert_eq!(after(0, Duration::MAX), TIMESTAMPS.end - 1);
        assert_eq!(before(0, Duration::MAX), TIMESTAMPS.start);
        assert_eq!(after(5, Duration::from_millis(2)), 2_005);
    }
}
