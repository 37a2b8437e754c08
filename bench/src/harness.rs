//! Races: all sides do the same work alternately in one run, so that other load on the machine
//! affects them equally.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::report::{Goal, Line};

/// The result of a measurement.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The number of measured rounds; each side runs once in each.
const ROUNDS: usize = 11;

/// The minimum time for which the fastest side runs in a round.
const ROUND: Duration = Duration::from_millis(80);

/// The clock of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Elapsed time, as a caller sees it.
    Wall,
    /// CPU time of the thread: stable on a shared machine, but without any waiting, for example for
    /// the disk.
    Cpu,
}

impl Clock {
    /// Returns the name of the clock in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "the clock on the wall",
            Self::Cpu => "the computing time of the thread",
        }
    }
}

/// The clock of this run.
pub static CLOCK: OnceLock<Clock> = OnceLock::new();

/// The work of one side: executes the steps of this range.
type Work<'a> = Box<dyn FnMut(Range<usize>) + 'a>;

struct Side<'a> {
    name: &'static str,
    goal: Goal,
    work: Work<'a>,
}

/// A race of the first side, which is hilcat's, against each of the others.
pub struct Race<'a> {
    work: String,
    operations: usize,
    sides: Vec<Side<'a>>,
}

impl<'a> Race<'a> {
    /// Creates a race in which a step is one operation.
    pub fn new(work: impl Into<String>) -> Self {
        Self::batches(work, 1)
    }

    /// Creates a race in which a step is a batch of this many operations.
    pub fn batches(work: impl Into<String>, operations: usize) -> Self {
        Self { work: work.into(), operations, sides: Vec::new() }
    }

    /// Adds hilcat's side; the closure executes one step.
    pub fn hilcat(self, step: impl FnMut(usize) + 'a) -> Self {
        self.against("hilcat", Goal::None, step)
    }

    /// Adds a peer and the goal of the race against it; the closure executes one step.
    pub fn against(self, name: &'static str, goal: Goal, mut step: impl FnMut(usize) + 'a) -> Self {
        // The loop is inside, so that the call through a pointer happens once per round.
        self.against_rounds(name, goal, move |steps| steps.for_each(&mut step))
    }

    /// Adds a peer whose closure executes all steps of a round.
    pub fn against_rounds(
        mut self,
        name: &'static str,
        goal: Goal,
        round: impl FnMut(Range<usize>) + 'a,
    ) -> Self {
        self.sides.push(Side { name, goal, work: Box::new(round) });
        self
    }

    /// Runs the race.
    pub fn run(mut self) -> Vec<Line> {
        let steps = self.steps();
        let mut times = vec![Vec::new(); self.sides.len()];
        for round in 0..ROUNDS {
            let mut order: Vec<usize> = (0..self.sides.len()).collect();
            // The order alternates, so that no side always runs after the same one.
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                let begin = round * steps;
                let time = self.time(side, begin..begin + steps);
                times[side].push(time.as_secs_f64() * 1e6 / (steps * self.operations) as f64);
            }
        }
        self.lines(&times)
    }

    /// Returns the number of steps of a round. Measuring it warms all sides up.
    fn steps(&mut self) -> usize {
        let mut steps = 1;
        loop {
            let times = (0..self.sides.len()).map(|side| self.time(side, 0..steps));
            let quickest = times.min().unwrap_or(ROUND);
            if quickest >= ROUND {
                return steps;
            }
            let missing = ROUND.as_secs_f64() / quickest.as_secs_f64().max(1e-6);
            steps = (steps as f64 * (missing * 1.1).clamp(1.1, 10.0)).ceil() as usize;
        }
    }

    fn time(&mut self, side: usize, steps: Range<usize>) -> Duration {
        let work = &mut self.sides[side].work;
        if CLOCK.get() == Some(&Clock::Cpu) {
            let start = cpu_time();
            work(steps);
            return cpu_time() - start;
        }
        let start = Instant::now();
        work(steps);
        start.elapsed()
    }

    fn lines(&self, times: &[Vec<f64>]) -> Vec<Line> {
        let peers = self.sides.iter().zip(times).skip(1);
        let line = |(peer, of_peer): (&Side<'_>, &Vec<f64>)| {
            // The ratio of each round: other load in a round slowed both sides.
            let ratios = times[0].iter().zip(of_peer).map(|(ours, theirs)| ours / theirs);
            let ratios = sorted(ratios.collect());
            Line {
                work: self.work.clone(),
                against: peer.name.to_owned(),
                ours: median(&sorted(times[0].clone())),
                theirs: median(&sorted(of_peer.clone())),
                ratio: median(&ratios),
                spread: Some((ratios[0], ratios[ratios.len() - 1])),
                unit: "µs",
                goal: peer.goal,
            }
        };
        peers.map(line).collect()
    }
}

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Returns the median; the number of rounds is odd.
fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
