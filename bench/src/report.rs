//! The printed table, one line at a time.

use std::fmt;

/// The goal for a ratio.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// No goal; the line is for information.
    None,
    /// hilcat's time, or count, is at most this multiple of the peer's.
    AtMost(f64),
    /// hilcat is at least this many times as fast.
    Faster(f64),
}

impl Goal {
    fn most(self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::AtMost(ratio) => Some(ratio),
            Self::Faster(times) => Some(1.0 / times),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.most()) {
            (Self::Faster(times), Some(most)) => write!(f, "≤ {most:.2} ({times}x as fast)"),
            (_, Some(most)) => write!(f, "≤ {most:.2}"),
            (_, None) => f.write_str("none"),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    pub work: String,
    pub against: String,
    pub ours: f64,
    pub theirs: f64,
    pub ratio: f64,
    /// The smallest and the largest ratio of a round.
    pub spread: Option<(f64, f64)>,
    pub unit: &'static str,
    pub goal: Goal,
}

/// The header of the table.
pub const HEAD: &str = "\
| work | against | hilcat | peer | ratio | min..max | goal | met |
| --- | --- | ---: | ---: | ---: | ---: | --- | --- |";

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, against, ours, theirs, ratio, spread, unit, goal } = self;
        let digits = if *unit == "µs" { 3 } else { 0 };
        write!(f, "| {work} | {against} | {ours:.digits$} {unit} | {theirs:.digits$} {unit} ")?;
        write!(f, "| **{ratio:.2}** | ")?;
        match spread {
            Some((least, most)) => write!(f, "{least:.2}..{most:.2}")?,
            None => f.write_str("-")?,
        }
        let met = match goal.most() {
            // The ratio as it is printed, so that the line does not contradict itself.
            Some(most) if (ratio * 100.0).round() <= (most * 100.0).round() => "yes",
            Some(_) => "NO",
            None => "-",
        };
        write!(f, " | {goal} | {met} |")
    }
}
