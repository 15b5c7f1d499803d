//! What people and the world do to a job: cancels, restarts at the worst time, messages that nobody honest sends.

use cobs::id::{JobId, NodeId, Token};
use cobs::job::action::{Action, Cancel};

use super::common::job_id;
use super::world::{Occur, World};
use crate::machine::wire::{Answer, Confirmation, ConfirmationItem, Message, Phase, Renewal, RenewalItem};

impl World {
    pub fn sever(&mut self) {
        let runs = self.nodes.values().flat_map(|node| node.live.keys().copied());
        let arbiters = runs.filter_map(|run| Some((run.node, self.evaluate(run.node, run.job)?.arbiter().1)));
        let found = arbiters.filter(|(holder, arbiter)| holder != arbiter).min();
        if let Some((a, b)) = found {
            self.at(self.now, Occur::Cut { a, b });
            self.crash(b);
            self.at(self.now + 100, Occur::Boot { node: b });
            self.at(self.now + 12_000, Occur::Heal { a, b });
        }
    }

    pub fn cancel(&mut self, job: JobId) {
        let author = self.logs.iter().find(|(_, log)| log.iter().any(|(of, _)| *of == job)).map(|(author, _)| *author);
        let Some(author) = author.filter(|author| self.is_up(*author)) else { return };
        let Some(state) = self.evaluate(author, job).filter(|state| state.author == author) else { return };
        if state.cancels.is_empty() {
            self.count("cancel");
            let cancel = Cancel { job, seq: cobs::id::Seq(0), reason: String::new() };
            self.append(author, job, Action::Cancel(cancel));
            self.tell_job(author, job);
        }
    }

    /// A message that nobody honest sends: tokens of others and of the future, answers never asked for.
    pub fn lie(&mut self, from: NodeId, to: NodeId) {
        let job = job_id(self.random.between(0, 5));
        let term = u32::try_from(self.random.between(0, 4)).expect("small");
        let token = Token::new(u32::try_from(self.random.between(0, 1)).expect("a bit"), term);
        let number = if self.random.percent(50) { self.random.between(0, 20) + (1 << 32) } else { self.random.next() };
        let message = if self.random.percent(50) {
            let phase = [Phase::Waiting, Phase::Running, Phase::Finished][self.random.index(3)];
            Message::Renewal(Renewal { number, items: vec![RenewalItem { job, token, phase }; 3] })
        } else {
            let answers = [Answer::Confirmed { lease_ms: u64::MAX }, Answer::Settled, Answer::Replaced, Answer::Cancel];
            let answer = answers[self.random.index(4)];
            Message::Confirmation(Confirmation { number, items: vec![ConfirmationItem { job, token, answer }; 3] })
        };
        // an honest arbiter is a premise, so it does not confirm what it never decided
        let arbiter = self.evaluate(to, job).map(|job| job.arbiter().1);
        if matches!(message, Message::Renewal(_)) || arbiter != Some(from) {
            self.after(1, Occur::Message { from, to, message });
        }
    }
}
