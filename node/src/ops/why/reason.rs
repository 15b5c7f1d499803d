//! How far a change is at a peer and why it is not further, from what is known. It looks nowhere and asks nobody.

use crate::ops::reach::down;
use crate::ops::types::Step;
use crate::peering::copies::{Answer, Told};
use crate::store::UnixMs;
use crate::store::peers::Standing;
use crate::whereabouts::{Away, Way};

/// One word about how far a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// When it was so; none for now.
    pub at: Option<UnixMs>,
    /// Whether its storage has the change.
    pub fetched: Step,
    /// Whether its daemon has read it.
    pub seen: Step,
}

/// What all evidence together says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps {
    /// Whether we told the peer.
    pub announced: Step,
    /// Whether its storage has the change.
    pub fetched: Step,
    /// Whether its daemon has read it.
    pub seen: Step,
    /// When that was so; none for now.
    pub as_of: Option<UnixMs>,
}

/// How this node stands to a ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Here {
    /// Whether the ledger is replicated here.
    pub seeded: bool,
    /// Whether its Radicle node runs.
    pub radicle_up: bool,
}

/// How this node stands to a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct There {
    /// Whether it belongs to the ledger.
    pub member: bool,
    /// Whether it has been let in; none for a node that is no peer.
    pub standing: Option<Standing>,
    /// Since when its direct link is down.
    pub unlinked: Option<Away>,
    /// Since when the Radicle nodes are not connected.
    pub unreplicated: Option<Away>,
    /// What it said just now.
    pub told: Option<Told>,
}

/// Adds up what is known. What was fetched and read once stays so; what was not is believed of the newest evidence.
pub fn steps(announced: Step, evidence: &[Evidence]) -> Steps {
    // now is later than any time
    let newest = |of: fn(&Evidence) -> Step| {
        let known = evidence.iter().filter(|one| matches!(of(one), Step::Yes | Step::No));
        let has = known.clone().any(|one| of(one) == Step::Yes);
        let last = known.max_by_key(|one| one.at.unwrap_or(UnixMs(u64::MAX)));
        (if has { Step::Yes } else { last.map_or(Step::Unknown, of) }, last.map(|one| one.at))
    };
    let (fetched, fetched_at) = newest(|one| one.fetched);
    let (seen, seen_at) = newest(|one| one.seen);
    // what was read was fetched
    let fetched = if seen == Step::Yes { Step::Yes } else { fetched };
    let ages: Vec<_> = [fetched_at, seen_at].into_iter().flatten().collect();
    let as_of = if ages.contains(&None) { None } else { ages.into_iter().flatten().max() };
    Steps { announced, fetched, seen, as_of }
}

/// Why a change of the ledger is not further at a peer; none when it is seen there.
pub fn why_not(here: &Here, there: &There, signed: bool, steps: &Steps) -> Option<String> {
    if steps.seen == Step::Yes {
        return None;
    }
    if !there.member {
        return Some("it is no member of the ledger, so it may not read it".into());
    }
    if !signed {
        return Some("signing is pending on this node".into());
    }
    if steps.fetched == Step::Yes {
        return Some(unread(there));
    }
    Some(unfetched(here, there))
}

/// It is there, and not read as far as we know.
fn unread(there: &There) -> String {
    match &there.told {
        Some(Told::Answer(answer)) => match answer.job.as_ref().and_then(|job| job.unreadable.as_ref()) {
            Some(why) => format!("its daemon cannot evaluate the job: {why}"),
            None => "its daemon has not read it yet".into(),
        },
        Some(Told::Refused(why)) => format!("it refuses to tell whether its daemon has read it: {why}"),
        Some(Told::Silent(why)) => format!("it does not say whether its daemon has read it: {why}"),
        None => format!("whether its daemon has read it is not known: {}", unreachable(there)),
    }
}

/// It is not there, as far as we know.
fn unfetched(here: &Here, there: &There) -> String {
    if let Some(Told::Refused(why)) = &there.told {
        return format!("it refuses: {why}");
    }
    if !here.radicle_up {
        return "not announced: the radicle node of this machine is down".into();
    }
    if !here.seeded {
        return "the ledger is not seeded on this node".into();
    }
    match &there.told {
        Some(Told::Answer(answer)) => behind(there, answer),
        Some(Told::Silent(why)) => format!("it does not answer: {why}"),
        Some(Told::Refused(_)) | None => unreachable(there),
    }
}

/// Why a peer that answers has not fetched it.
fn behind(there: &There, answer: &Answer) -> String {
    if !answer.seeded {
        return "the ledger is not seeded there".into();
    }
    if let Some(away) = &there.unreplicated {
        return down(Way::Radicle, away);
    }
    match (&answer.fetch_failed, answer.held) {
        (Some(why), _) => format!("its fetch failed: {why}"),
        (None, Some(_)) => "its storage holds older references".into(),
        (None, None) => "its storage does not hold it yet".into(),
    }
}

/// Why nothing can be asked of it.
pub fn unreachable(there: &There) -> String {
    match (there.standing, &there.unlinked, &there.unreplicated) {
        (None, _, _) => "it is no peer of this node: it was removed, or never approved".into(),
        (Some(Standing::Pending), _, _) => "it waits to be approved here".into(),
        (Some(Standing::Approved), Some(away), _) => down(Way::Link, away),
        (Some(Standing::Approved), None, Some(away)) => down(Way::Radicle, away),
        (Some(Standing::Approved), None, None) => "it was not asked".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::copies::JobCopy;
    use cobs::id::Oid;

    fn evidence(at: Option<u64>, fetched: Step, seen: Step) -> Evidence {
        Evidence { at: at.map(UnixMs), fetched, seen }
    }

    /// What came once has come; what had not is believed of the newest; with a word of now the age does not matter.
    #[test]
    fn evidence_adds_up() {
        use Step::{No, Unknown, Yes};
        let check = |all: &[Evidence], fetched, seen, as_of: Option<u64>| {
            let wanted = Steps { announced: Yes, fetched, seen, as_of: as_of.map(UnixMs) };
            assert_eq!(steps(Yes, all), wanted, "{all:?}");
        };
        check(&[], Unknown, Unknown, None);
        check(&[evidence(Some(5), Yes, Unknown)], Yes, Unknown, Some(5));
        check(&[evidence(Some(9), No, No), evidence(Some(5), Yes, Unknown)], Yes, No, Some(9));
        check(&[evidence(Some(5), No, No), evidence(Some(7), No, Yes)], Yes, Yes, Some(7));
        check(&[evidence(None, No, No), evidence(Some(5), No, Unknown)], No, No, None);
        check(&[evidence(None, Yes, No), evidence(Some(5), Yes, Yes)], Yes, Yes, None);
    }

    fn there() -> There {
        There { member: true, standing: Some(Standing::Approved), unlinked: None, unreplicated: None, told: None }
    }

    fn away(reason: &str) -> Option<Away> {
        Some(Away { since: UnixMs(1_700_000_000_000), reason: reason.into() })
    }

    fn answers(answer: Answer) -> Option<Told> {
        Some(Told::Answer(Box::new(answer)))
    }

    /// Whether a change that is fetched and seen so is said to be no further for these words.
    #[track_caller]
    fn check(here: &Here, there: &There, signed: bool, (fetched, seen): (Step, Step), words: Option<&str>) {
        let steps = Steps { announced: Step::Yes, fetched, seen, as_of: None };
        let said = why_not(here, there, signed, &steps);
        assert_eq!(said.is_some(), words.is_some(), "{there:?}: {said:?}");
        let fits = said.iter().zip(words).all(|(said, words)| said.contains(words));
        assert!(fits, "{there:?}: {said:?} is not {words:?}");
    }

    const HERE: Here = Here { seeded: true, radicle_up: true };
    const NOT: (Step, Step) = (Step::No, Step::No);

    /// A peer that cannot be asked, or of which nothing comes, is said to be so; what lies at this node comes first.
    #[test]
    fn what_stands_in_the_way_is_said() {
        let standing = |standing| There { standing, ..there() };
        let told = |told| There { told: Some(told), ..there() };
        check(&HERE, &there(), true, (Step::Yes, Step::Yes), None);
        check(&HERE, &There { member: false, ..there() }, true, NOT, Some("no member of the ledger"));
        check(&HERE, &there(), false, NOT, Some("signing is pending"));
        let down = Here { radicle_up: false, ..HERE };
        check(&down, &there(), true, NOT, Some("the radicle node of this machine is down"));
        check(&Here { seeded: false, ..HERE }, &there(), true, NOT, Some("not seeded on this node"));
        check(&HERE, &standing(None), true, (Step::Unknown, Step::Unknown), Some("it was removed"));
        check(&HERE, &standing(Some(Standing::Pending)), true, NOT, Some("to be approved"));
        let unlinked = There { unlinked: away("refused"), unreplicated: away("gone"), ..there() };
        check(&HERE, &unlinked, true, NOT, Some("not linked since 2023-11-14T22:13:20.000Z: refused"));
        let unread = (Step::Yes, Step::Unknown);
        check(&HERE, &unlinked, true, unread, Some("whether its daemon has read it is not known: not linked"));
        let unreplicated = There { unreplicated: away("gone"), ..there() };
        check(&HERE, &unreplicated, true, NOT, Some("its radicle node is not connected since"));
        check(&HERE, &told(Told::Refused("no".into())), true, NOT, Some("it refuses: no"));
        check(&HERE, &told(Told::Silent("late".into())), true, NOT, Some("it does not answer: late"));
    }

    /// A peer that answers says itself how far it is, and why not further.
    #[test]
    fn an_answer_says_how_far_it_is() {
        let at = |answer: &Answer| There { told: answers(answer.clone()), ..there() };
        let (seeded, held) = (Answer { seeded: true, ..Answer::default() }, Some(Oid::from_sha1([1; 20])));
        check(&HERE, &at(&Answer::default()), true, NOT, Some("the ledger is not seeded there"));
        check(&HERE, &at(&seeded), true, NOT, Some("its storage does not hold it yet"));
        let older = Answer { held, ..seeded.clone() };
        check(&HERE, &at(&older), true, NOT, Some("its storage holds older references"));
        let failed = Answer { fetch_failed: Some("diverged".into()), ..older };
        check(&HERE, &at(&failed), true, NOT, Some("its fetch failed: diverged"));
        let unread = (Step::Yes, Step::No);
        check(&HERE, &at(&seeded), true, unread, Some("its daemon has not read it yet"));
        let odd = JobCopy { unreadable: Some("version 9".into()), ..JobCopy::default() };
        let odd = Answer { job: Some(odd), ..seeded };
        check(&HERE, &at(&odd), true, unread, Some("its daemon cannot evaluate the job: version 9"));
    }
}
