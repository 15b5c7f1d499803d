//! How much may be used, and how much is. Pure: what must reach the disk first is told, and so is the time.
//!
//! A call reserves the most that it may take before it is made, and settles on what it took. What is used and reserved is
//! always covered by what is **drawn**, and drawn is what the disk has: a call whose draw is on its way there has not begun,
//! nor has one that came after it. So after a crash all that was drawn counts as used: a budget may lose a slice and never
//! gains one.

mod span;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use span::Span;
use span::window;

/// The part of a limit that is drawn ahead of use: one of so many.
const SLICES: u64 = 100;

/// Who pays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payer {
    /// A token of the API.
    Token,
    /// A job.
    Job,
    /// A provider.
    Provider,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Calls.
    Requests,
    /// Tokens, read and written.
    Tokens,
    /// Millionths of a dollar.
    MicroUsd,
}

/// A limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Who pays.
    pub payer: Payer,
    /// Which; none for each of them.
    pub name: Option<String>,
    /// What is counted.
    pub measure: Measure,
    /// For how long.
    pub span: Span,
    /// The most.
    pub most: u64,
}

/// What a call takes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Amounts {
    /// Tokens.
    pub tokens: u64,
    /// Millionths of a dollar; none where no price is known.
    pub micro_usd: Option<u64>,
}

/// Who pays for a call.
#[derive(Clone, Copy, Debug)]
pub struct Payers<'a> {
    /// The caller's token; none for the owner.
    pub token: Option<&'a str>,
    /// The job it is made for.
    pub job: Option<&'a str>,
    /// Limits of that job besides those of the configuration.
    pub job_limits: &'a [Limit],
    /// Who is asked.
    pub provider: &'a str,
}

/// What is written to the disk: an account, and up to what it is drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draw {
    /// The account's name.
    pub account: String,
    /// All that is drawn of it.
    pub drawn: u64,
}

/// A limit that does not let a call through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exceeded {
    /// Which.
    pub limit: Limit,
    /// Of whom.
    pub name: String,
    /// What is left of it.
    pub left: u64,
    /// What the call may take.
    pub wanted: u64,
    /// When it frees, in milliseconds since 1970; none when it never does.
    pub frees_at_ms: Option<u64>,
}

/// What a call has reserved; given back by [`Budgets::settle`] or [`Budgets::release`].
#[derive(PartialEq, Eq, Debug)]
#[must_use = "what is reserved and never settled stays reserved"]
pub struct Reservation(Vec<(String, Measure, u64)>);

/// All accounts of this node.
#[derive(Debug)]
pub struct Budgets {
    limits: Vec<Limit>,
    accounts: HashMap<String, Account>,
}

#[derive(Debug, Default)]
struct Account {
    used: u64,
    reserved: u64,
    /// What the disk has at least.
    drawn: u64,
    /// When it is over.
    until_ms: Option<u64>,
}

/// How an account stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The account's name: payer, name, measure, span and when it began.
    pub account: String,
    /// What was used.
    pub used: u64,
    /// What calls under way may use.
    pub reserved: u64,
}

impl Budgets {
    /// By limits and what the disk says is drawn.
    pub fn new(limits: Vec<Limit>, drawn: impl IntoIterator<Item = Draw>) -> Self {
        let account = |Draw { account, drawn }| {
            let until_ms = end_of(&account);
            (account, Account { used: drawn, reserved: 0, drawn, until_ms })
        };
        Self { limits, accounts: drawn.into_iter().map(account).collect() }
    }

    /// Other limits from now on; what was used stays.
    pub fn set_limits(&mut self, limits: Vec<Limit>) {
        self.limits = limits;
    }

    /// Whether some limit counts what a call costs.
    pub fn counts_money(&self, payers: &Payers<'_>) -> bool {
        self.that_count(payers).any(|(limit, _)| limit.measure == Measure::MicroUsd)
    }

    /// Whether some limit counts tokens or what they cost.
    pub fn counts_tokens(&self, payers: &Payers<'_>) -> bool {
        self.that_count(payers).any(|(limit, _)| limit.measure != Measure::Requests)
    }

    /// Reserves the most that a call may take. The draws reach the disk before the call is made, and [`Self::drawn`] is told.
    ///
    /// # Errors
    /// The limit that frees last of those that do not let it through; nothing is reserved then.
    pub fn reserve(
        &mut self,
        payers: &Payers<'_>,
        most: Amounts,
        now_ms: u64,
    ) -> Result<(Reservation, Vec<Draw>), Exceeded> {
        let mut wanted = Vec::new();
        let mut exceeded: Option<Exceeded> = None;
        for (limit, name) in self.that_count(payers) {
            let amount = amount(limit.measure, most);
            let (account, until_ms) = account_of(limit, name, now_ms);
            let taken = self.accounts.get(&account).map_or(0, Account::taken);
            if amount > limit.most.saturating_sub(taken) {
                let left = limit.most.saturating_sub(taken);
                // a call that never fits does not fit later
                let frees_at_ms = until_ms.filter(|_| amount <= limit.most);
                let is_later = exceeded
                    .as_ref()
                    .is_none_or(|other| frees_at_ms.unwrap_or(u64::MAX) > other.frees_at_ms.unwrap_or(u64::MAX));
                if is_later {
                    let (limit, name) = (limit.clone(), name.to_owned());
                    exceeded = Some(Exceeded { limit, name, left, wanted: amount, frees_at_ms });
                }
            }
            wanted.push((account, limit.measure, amount, limit.most, until_ms));
        }
        if let Some(exceeded) = exceeded {
            return Err(exceeded);
        }
        let (mut parts, mut draws) = (Vec::new(), Vec::new());
        for (name, measure, amount, most, until_ms) in wanted {
            let account = self.accounts.entry(name.clone()).or_default();
            account.until_ms = until_ms;
            account.reserved += amount;
            draws.extend(account.draw(&name, most));
            parts.push((name, measure, amount));
        }
        Ok((Reservation(parts), draws))
    }

    /// Draws that the disk has now. It keeps the highest of an account, in whatever order they come to it.
    pub fn drawn(&mut self, draws: &[Draw]) {
        for Draw { account, drawn } in draws {
            if let Some(account) = self.accounts.get_mut(account) {
                account.drawn = account.drawn.max(*drawn);
            }
        }
    }

    /// What the call took in the end. It may be more than was reserved, since tokens are estimated before; such draws reach
    /// the disk before the call counts as over.
    pub fn settle(&mut self, reservation: Reservation, took: Amounts) -> Vec<Draw> {
        let mut draws = Vec::new();
        for (name, measure, reserved) in reservation.0 {
            let Some(account) = self.accounts.get_mut(&name) else { continue };
            account.reserved -= reserved;
            account.used = account.used.saturating_add(amount(measure, took));
            let most = account.taken();
            draws.extend(account.draw(&name, most));
        }
        draws
    }

    /// The call was not made.
    pub fn release(&mut self, reservation: Reservation) {
        for (name, _, reserved) in reservation.0 {
            if let Some(account) = self.accounts.get_mut(&name) {
                account.reserved -= reserved;
            }
        }
    }

    /// At a clean end: what the disk is to have instead, since it was drawn and not used.
    pub fn give_back(&mut self) -> Vec<Draw> {
        let mut draws = Vec::new();
        for (name, account) in &mut self.accounts {
            let taken = account.taken();
            if account.drawn > taken {
                account.drawn = taken;
                draws.push(Draw { account: name.clone(), drawn: taken });
            }
        }
        draws
    }

    /// Forgets accounts that are over, but for those of calls under way; their names are removed from the disk.
    pub fn forget(&mut self, now_ms: u64) -> Vec<String> {
        let is_over =
            |account: &Account| account.reserved == 0 && account.until_ms.is_some_and(|until| until <= now_ms);
        let gone = self.accounts.extract_if(|_, account| is_over(account));
        gone.map(|(name, _)| name).collect()
    }

    /// How each account stands, by name.
    pub fn standing(&self) -> Vec<Standing> {
        let standing = |(name, account): (&String, &Account)| Standing {
            account: name.clone(),
            used: account.used,
            reserved: account.reserved,
        };
        let mut all: Vec<Standing> = self.accounts.iter().map(standing).collect();
        all.sort_by(|left, right| left.account.cmp(&right.account));
        all
    }

    /// The limits that count for these payers, each with whom it counts.
    fn that_count<'a>(&'a self, payers: &'a Payers<'_>) -> impl Iterator<Item = (&'a Limit, &'a str)> {
        let all = self.limits.iter().chain(payers.job_limits);
        all.filter_map(move |limit| {
            let name = match limit.payer {
                Payer::Token => payers.token?,
                Payer::Job => payers.job?,
                Payer::Provider => payers.provider,
            };
            limit.name.as_ref().is_none_or(|of| of == name).then_some((limit, name))
        })
    }
}

impl Account {
    /// What is used and what may be. A provider counts what it likes, so that a sum may have no room.
    fn taken(&self) -> u64 {
        self.used.saturating_add(self.reserved)
    }

    /// What is drawn covers what is used and reserved, and up to a slice more.
    fn draw(&self, name: &str, most: u64) -> Option<Draw> {
        let taken = self.taken();
        if taken <= self.drawn {
            return None;
        }
        let drawn = taken.saturating_add(most / SLICES).min(most.max(taken));
        Some(Draw { account: name.to_owned(), drawn })
    }
}

fn amount(measure: Measure, amounts: Amounts) -> u64 {
    match measure {
        Measure::Requests => 1,
        Measure::Tokens => amounts.tokens,
        Measure::MicroUsd => amounts.micro_usd.unwrap_or(0),
    }
}

/// The account's name, and when it is over.
fn account_of(limit: &Limit, name: &str, now_ms: u64) -> (String, Option<u64>) {
    let (start, end) = window(limit.span, now_ms);
    // the name of a payer may be anything, so it stands last
    let account = format!("{}/{}/{}/{start}/{name}", limit.payer, limit.measure, limit.span);
    (account, end)
}

/// When an account is over, by its name.
fn end_of(account: &str) -> Option<u64> {
    let mut parts = account.splitn(5, '/').skip(2);
    let span = match parts.next()? {
        "minute" => Span::Minute,
        "day" => Span::Day,
        "month" => Span::Month,
        _ => return None,
    };
    window(span, parts.next()?.parse().ok()?).1
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Job => "job",
            Self::Provider => "provider",
        })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::MicroUsd => "micro_usd",
        })
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { payer, measure, span, most, .. } = &self.limit;
        let (name, left, wanted) = (&self.name, self.left, self.wanted);
        let per = if *span == Span::Ever { "in all".to_owned() } else { format!("a {span}") };
        write!(f, "the {payer} {name} may use {most} {measure} {per}; {left} are left, and this call may take {wanted}")
    }
}
