//! Races: the sides of a race do the same work in turns, in one run, so that what else goes on in
//! the machine befalls them alike.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::report::{Goal, Line};

/// What a measurement can fail with.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How many rounds are measured; each side runs once in each.
const ROUNDS: usize = 11;

/// How long the quickest side runs in a round, at the least.
const ROUND: Duration = Duration::from_millis(80);

/// What time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The time that passes: what a caller sees.
    Wall,
    /// The time that the thread computes: steady on a machine that others use, but blind to
    /// waiting, for the disk too.
    Cpu,
}

impl Clock {
    /// What the table says that it was made by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "the clock on the wall",
            Self::Cpu => "the computing time of the thread",
        }
    }
}

/// The clock of this run.
pub static CLOCK: OnceLock<Clock> = OnceLock::new();

/// The work of one side: does the steps of this range.
type Work<'a> = Box<dyn FnMut(Range<usize>) + 'a>;

struct Side<'a> {
    name: &'static str,
    goal: Goal,
    work: Work<'a>,
}

/// A race of the first side, which is hilcat's, against each other one.
pub struct Race<'a> {
    work: String,
    operations: usize,
    sides: Vec<Side<'a>>,
}

impl<'a> Race<'a> {
    /// A race in work of this name, a step of which is one operation.
    pub fn new(work: impl Into<String>) -> Self {
        Self::batches(work, 1)
    }

    /// A race in work a step of which is a batch of so many operations.
    pub fn batches(work: impl Into<String>, operations: usize) -> Self {
        Self { work: work.into(), operations, sides: Vec::new() }
    }

    /// Adds hilcat's side, which does one step.
    pub fn hilcat(self, step: impl FnMut(usize) + 'a) -> Self {
        self.against("hilcat", Goal::None, step)
    }

    /// Adds a peer, which does one step, and what its race is to come to.
    pub fn against(self, name: &'static str, goal: Goal, mut step: impl FnMut(usize) + 'a) -> Self {
        // The loop is inside, so that a call through a pointer is paid once a round.
        self.against_rounds(name, goal, move |steps| steps.for_each(&mut step))
    }

    /// Adds a peer that does all the steps of a round.
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
            // Nobody always comes after the same one.
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

    /// How many steps make a round that is long enough; finding it out warms all sides up.
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
            // Of each round by itself: what slowed a round down slowed both sides.
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

/// What this thread has computed for so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// The one in the middle; the number of rounds is odd.
fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
