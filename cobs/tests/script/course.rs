//! Histories as honest nodes make them, more or less: random operations alone would seldom get beyond a grant.

use std::collections::BTreeMap;

use cobs::job::outcome::RunOutcome;

use super::{ARBITER2, AUTHOR, Body, DELEGATE, How, LATER, Line, Say, WORKER1, WORKER2};

const WORKERS: [u8; 3] = [AUTHOR, WORKER1, WORKER2];

/// One outcome of each kind, and two exit codes.
pub const OUTCOMES: [RunOutcome; 9] = [
    RunOutcome::Exited { code: 0 },
    RunOutcome::Exited { code: 3 },
    RunOutcome::Signalled { signal: 11 },
    RunOutcome::OutOfMemory,
    RunOutcome::TimedOut,
    RunOutcome::Cancelled,
    RunOutcome::CouldNotStart,
    RunOutcome::Lost,
    RunOutcome::Released,
];

/// A job under way: what the next operation of an honest node would be about.
struct Course {
    lines: Vec<Line>,
    next: BTreeMap<u8, u32>,
    epoch: u32,
    arbiter: u8,
    term: u32,
    holder: u8,
    done: Option<How>,
}

/// Plays one operation for each choice. `granted` says that the root has granted term 1.
pub fn play(granted: bool, choices: &[u8]) -> Vec<Line> {
    let mut course = Course {
        lines: Vec::new(),
        next: BTreeMap::from([(AUTHOR, 1)]),
        epoch: 0,
        arbiter: AUTHOR,
        term: u32::from(granted),
        holder: WORKER1,
        done: None,
    };
    for choice in choices {
        course.step(choice % 13, usize::from(choice / 13));
    }
    course.lines
}

impl Course {
    fn step(&mut self, what: u8, which: usize) {
        let worker = WORKERS[which % WORKERS.len()];
        let (epoch, term) = (self.epoch, self.term);
        match what {
            0 | 1 => drop(self.say(worker, Say::Bid { score: 50 * which as u32 })),
            2..=4 => {
                self.term += 1;
                self.holder = worker;
                if which.is_multiple_of(2) && worker != AUTHOR {
                    self.say(worker, Say::Bid { score: 1 });
                }
                // to itself an arbiter grants held, and now and then to another, which the root may not allow
                let held = worker == self.arbiter || which % 5 == 4;
                self.say(self.arbiter, Say::Grant { epoch, term: term + 1, to: worker, held });
            }
            5..=7 if term > 0 => {
                let outcome = OUTCOMES[which % OUTCOMES.len()].clone();
                let seq = self.say(self.holder, Say::Done { epoch, term, outcome: outcome.clone() });
                self.done = Some(How::Result { seq, epoch, term, outcome });
            }
            // a run that started by rank
            5..=7 => {
                let outcome = OUTCOMES[which % 2].clone();
                let seq = self.say(worker, Say::Done { epoch, term: 0, outcome: outcome.clone() });
                self.done = Some(How::Result { seq, epoch, term: 0, outcome });
            }
            8 => drop(self.say(if which.is_multiple_of(2) { AUTHOR } else { DELEGATE }, Say::Cancel)),
            9 => {
                self.say(self.arbiter, Say::StepDown { epoch, to: ARBITER2, last: term });
                self.hand_over(ARBITER2);
            }
            10 => {
                let (by, to) = if which.is_multiple_of(2) { (DELEGATE, WORKER1) } else { (LATER, ARBITER2) };
                self.say(by, Say::Takeover { epoch: epoch + 1, to, last: term.saturating_sub(which as u32 % 3) });
                self.hand_over(to);
            }
            _ => {
                let ends = [How::Cancelled, How::Lost(term), How::Expired, How::Superseded];
                let result = self.done.clone().filter(|_| !which.is_multiple_of(3));
                let how = result.unwrap_or_else(|| ends[which / 3 % ends.len()].clone());
                self.say(self.arbiter, Say::Settle { epoch, how });
            }
        }
    }

    fn hand_over(&mut self, to: u8) {
        self.epoch += 1;
        self.arbiter = to;
    }

    /// Says it under the author's next number, which it returns.
    fn say(&mut self, author: u8, say: Say) -> u32 {
        let next = self.next.entry(author).or_default();
        let seq = *next;
        *next += 1;
        // a delegate of the newest revision only has to pin that
        let pin = if author == LATER { Some(2) } else { [None, Some(1), Some(2)][seq as usize % 3] };
        self.lines.push(Line { author, pin, body: Body::Says { elsewhere: false, seq, say } });
        seq
    }
}
