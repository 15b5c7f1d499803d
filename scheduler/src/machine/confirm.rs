//! The arbiter's answers to holders: what is confirmed, to whom, and not before it is written down.

use cobs::id::{JobId, NodeId, Term, Token};
use cobs::job::action::GrantKind;
use cobs::job::spec::Mode;
use cobs::job::state::Status;

use super::entry::{Confirmed, Entry, Question};
use super::mutation::{self, Mutation};
use super::settings::{Millis, Settings};
use super::wire::{Answer, Confirmation, ConfirmationItem, ITEMS_MAX, Message, Phase, Renewal};
use super::{Asked, Effect, Machine, Note};

/// What an item of a renewal comes to.
enum Reply {
    /// This answer.
    Now(Answer),
    /// A first confirmation, once the note of it is durable.
    OnceNoted,
}

impl Machine {
    /// Answers a holder's renewal.
    pub(super) fn answer(&mut self, from: NodeId, renewal: &Renewal, now: Millis, effects: &mut Vec<Effect>) {
        let items = self.answers(from, renewal, now, effects);
        self.reply(from, renewal.number, items, now, effects);
    }

    /// The answers to a renewal, term by term; first confirmations follow their notes.
    pub(super) fn answers(
        &mut self,
        from: NodeId,
        renewal: &Renewal,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) -> Vec<ConfirmationItem> {
        let mut items = Vec::with_capacity(renewal.items.len().min(ITEMS_MAX));
        for item in renewal.items.iter().take(ITEMS_MAX) {
            let question = Question { from, number: renewal.number, item: *item };
            let answer = match self.entries.get_mut(&item.job) {
                Some(_) => self.answer_of_entry(question, now, effects),
                None if self.settled.contains_key(&item.job) => Some(Answer::Settled),
                None => Some(Answer::Unknown),
            };
            items.extend(answer.map(|answer| ConfirmationItem { job: item.job, token: item.token, answer }));
        }
        items
    }

    fn answer_of_entry(&mut self, question: Question, now: Millis, effects: &mut Vec<Effect>) -> Option<Answer> {
        let (job, token) = (question.item.job, question.item.token);
        let entry = self.entries.get_mut(&job)?;
        let before = (entry.term.map(|term| term.confirmed), entry.by_rank.len());
        let reply = answer(self.node, &self.settings, entry, question, now);
        // later ones only put off what is due, and waking too early for it does no harm
        let after = (entry.term.map(|term| term.confirmed), entry.by_rank.len());
        let first = after != before && !matches!(before.0, Some(Confirmed::At(_)));
        match reply {
            Reply::Now(answer) => {
                if first {
                    self.touch(job);
                }
                Some(answer)
            }
            Reply::OnceNoted => {
                if entry.confirming.insert(token, question).is_none() {
                    effects.push(Effect::Note { job, token, note: Note::Confirmed });
                }
                None
            }
        }
    }

    /// A durable note: what waited for it is answered, if it still may be.
    pub(super) fn noted(&mut self, job: JobId, token: Token, note: Note, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.take_note(note, token);
        let question = entry.confirming.remove(&token).filter(|_| note == Note::Confirmed);
        self.touch(job);
        let Some(question) = question else { return };
        if let Some(answer) = self.answer_of_entry(question, now, effects) {
            let items = vec![ConfirmationItem { job, token, answer }];
            self.reply(question.from, question.number, items, now, effects);
        }
    }

    /// Sends answers; this node's own come at once.
    pub(super) fn reply(
        &mut self,
        to: NodeId,
        number: u64,
        items: Vec<ConfirmationItem>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        if items.is_empty() {
            return;
        }
        let confirmation = Confirmation { number, items };
        if to == self.node {
            self.confirmed(to, &confirmation, now, effects);
        } else {
            effects.push(Effect::Send { to, message: Message::Confirmation(confirmation) });
        }
    }
}

/// Only the highest token is ever confirmed, by the newest arbiter, to the node it was granted, and never one that was
/// noted or reported.
fn answer(me: NodeId, settings: &Settings, entry: &mut Entry, question: Question, now: Millis) -> Reply {
    match refusal(me, settings, entry, question, now) {
        Some(answer) => Reply::Now(answer),
        None => confirm(entry, question, now),
    }
}

/// Why a term is not confirmed; none when it may be.
fn refusal(me: NodeId, settings: &Settings, entry: &mut Entry, question: Question, now: Millis) -> Option<Answer> {
    let item = question.item;
    let (epoch, arbiter) = entry.job.arbiter();
    if entry.job.status() == Status::Settled {
        return Some(Answer::Settled);
    }
    let stepped_down = arbiter != me && entry.job.epochs.iter().any(|opened| opened.arbiter == me);
    if arbiter != me && !(stepped_down && mutation::is_on(Mutation::ConfirmsAfterStepDown)) {
        return Some(if item.epoch < epoch { Answer::HandedOver { epoch } } else { Answer::Unknown });
    }
    if item.epoch < epoch && arbiter == me {
        return Some(Answer::HandedOver { epoch });
    }
    if item.token.term == Term(0) {
        return Some(answer_by_rank(entry, settings, question, now));
    }
    let Some((token, granted)) = entry.job.holder() else { return Some(Answer::Unknown) };
    if item.token > token || granted.kind == GrantKind::Held {
        return Some(Answer::Unknown);
    }
    let lower = item.token < token && !mutation::is_on(Mutation::ConfirmsLowerTokens);
    let other = granted.node != question.from && item.token == token && !mutation::is_on(Mutation::ConfirmsToAnyone);
    let forbidden = entry.is_stopped(token) && !mutation::is_on(Mutation::ConfirmsWhatIsForbidden);
    if lower || other || forbidden {
        return Some(Answer::Replaced);
    }
    if entry.cancel_seen.is_some() {
        return Some(Answer::Cancel);
    }
    if entry.job.dones.contains_key(&token) {
        return Some(Answer::Reported);
    }
    // what is being signed ends this term, or this arbiter's time: too late to confirm
    let ending = [Asked::Settle, Asked::StepDown].iter().any(|kind| entry.is_under_way(*kind));
    if entry.granting.is_some() || ending {
        return Some(Answer::Unknown);
    }
    // a run that goes on was confirmed, and its arbiter of then confirms no more
    let first = item.phase == Phase::Waiting && token.epoch < epoch;
    let early = first && entry.held_back(settings, now).is_some();
    if let Some(term) = entry.term.as_mut().filter(|_| early) {
        term.asked_early = Some(now);
    }
    early.then_some(Answer::Unknown)
}

fn confirm(entry: &mut Entry, question: Question, now: Millis) -> Reply {
    let token = question.item.token;
    let known = entry.confirmed.contains(&token) || mutation::is_on(Mutation::ConfirmsWithoutNote);
    if !known {
        return Reply::OnceNoted;
    }
    let Some(granted) = entry.job.grants.get(&token) else { return Reply::Now(Answer::Unknown) };
    let lease_ms = granted.lease_ms;
    if let Some(term) = &mut entry.term {
        term.confirmed = Confirmed::At(now);
        term.phase = question.item.phase;
    }
    entry.started = true;
    Reply::Now(Answer::Confirmed { lease_ms })
}

/// A run that started by rank goes on; while it is heard of nobody else is granted.
fn answer_by_rank(entry: &mut Entry, settings: &Settings, question: Question, now: Millis) -> Answer {
    let listed = entry.job.create.workers.contains(&question.from);
    if entry.job.create.mode != Mode::Idempotent || !listed {
        return Answer::Unknown;
    }
    if entry.cancel_seen.is_some() {
        return Answer::Cancel;
    }
    if entry.job.self_started.contains_key(&(question.item.token.epoch, question.from)) {
        entry.by_rank.remove(&question.from);
        return Answer::Reported;
    }
    entry.by_rank.insert(question.from, now);
    Answer::Confirmed { lease_ms: settings.lease.0 }
}
