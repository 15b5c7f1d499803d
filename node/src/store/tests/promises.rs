//! The promises of `state`, feature by feature.

use std::collections::BTreeSet;
use std::sync::Barrier;

use cobs::id::Token;
use cobs::transport_key::TransportKey;
use scheduler::machine::Note;

use super::super::claims::Start;
use super::super::idempotency::{KEY_KEEP_MS, Request, Reservation, ScopedKey};
use super::super::invitations::{INVITATION_KEEP_MS, Invitation, Redemption};
use super::super::peers::{Grant, Peer, Standing};
use super::super::secret::Secret;
use super::super::state::{Incarnation, State};
use super::super::tokens::{LAST_USED_STEP_MS, NewToken, Scope, TokenCheck, TokenName};
use super::super::{StoreError, UnixMs};
use super::{digest, job, ledger, node, on_both};

const NOW: UnixMs = UnixMs(1_000_000);

fn new_token(name: &str, expires: Option<UnixMs>) -> NewToken {
    NewToken { name: name.parse().unwrap(), scopes: BTreeSet::from([Scope::ReadJobs]), expires }
}

fn key(text: &str) -> ScopedKey {
    ScopedKey { token: TokenName::node(), key: text.parse().unwrap() }
}

fn request(n: u8) -> Request {
    Request { digest: digest(n), nonce: format!("{n:032x}") }
}

#[test]
fn a_token_is_worth_its_scopes_until_it_expires_or_is_revoked() {
    on_both(|state| {
        let secret = state.create_token(&new_token("ci", Some(UnixMs(NOW.0 + 10))), NOW).unwrap();
        let other = state.create_token(&new_token("other", None), NOW).unwrap();
        assert!(secret.expose().starts_with("rhz_") && secret.expose().len() == 4 + 43);
        assert_ne!(secret, other);
        let TokenCheck::Valid(info) = state.check_token(&secret, NOW).unwrap() else { panic!("not valid") };
        assert_eq!((info.name.as_str(), &info.scopes), ("ci", &BTreeSet::from([Scope::ReadJobs])));
        let ci: TokenName = "ci".parse().unwrap();
        assert_eq!(state.check_token(&secret, UnixMs(NOW.0 + 10)).unwrap(), TokenCheck::Expired(ci.clone()));
        assert_eq!(state.check_token(&Secret::presented("rhz_wrong"), NOW).unwrap(), TokenCheck::Unknown);
        assert!(state.revoke_token(&ci).unwrap());
        assert!(!state.revoke_token(&ci).unwrap());
        assert_eq!(state.check_token(&secret, NOW).unwrap(), TokenCheck::Unknown);
        assert!(matches!(state.check_token(&other, NOW).unwrap(), TokenCheck::Valid(_)));
    });
}

#[test]
fn a_token_keeps_its_name_and_neither_shows_nor_stores_its_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let state = State::create(&path).unwrap();
    let secret = state.create_token(&new_token("ci", None), NOW).unwrap();
    let again = state.create_token(&new_token("ci", None), NOW).unwrap_err();
    assert_eq!(again.to_string(), "there is a token named 'ci' already");
    assert!(!format!("{secret:?}").contains(secret.expose()));
    drop(state);
    let stored = std::fs::read(&path).unwrap();
    assert!(!stored.windows(43).any(|window| window == &secret.expose().as_bytes()[4..]));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    for bad in ["", "node", "CI", "a b", &"x".repeat(65)] {
        assert!(bad.parse::<TokenName>().is_err(), "{bad:?} is a name");
    }
}

#[test]
fn the_last_use_of_a_token_is_written_down_by_steps() {
    on_both(|state| {
        let secret = state.create_token(&new_token("ci", None), NOW).unwrap();
        let used = || state.tokens().unwrap()[0].last_used;
        assert_eq!(used(), None);
        state.check_token(&secret, NOW).unwrap();
        state.check_token(&secret, UnixMs(NOW.0 + LAST_USED_STEP_MS - 1)).unwrap();
        assert_eq!(used(), Some(NOW));
        state.check_token(&secret, UnixMs(NOW.0 + LAST_USED_STEP_MS)).unwrap();
        assert_eq!(used(), Some(UnixMs(NOW.0 + LAST_USED_STEP_MS)));
    });
}

#[test]
fn of_racing_reservations_exactly_one_is_new() {
    on_both(|state| {
        for round in 0..20 {
            let key = key(&format!("round-{round}"));
            let start = Barrier::new(8);
            let answers: Vec<Reservation> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            state.reserve_key(&key, &request(1), NOW).unwrap()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(answers.iter().filter(|answer| **answer == Reservation::New).count(), 1, "{answers:?}");
            assert_eq!(answers.iter().filter(|answer| **answer == Reservation::InFlight).count(), 7, "{answers:?}");
        }
    });
}

#[test]
fn a_key_answers_with_its_job_and_refuses_other_content() {
    on_both(|state| {
        let key = key("a");
        assert_eq!(state.reserve_key(&key, &request(1), NOW).unwrap(), Reservation::New);
        assert_eq!(state.reserve_key(&key, &request(2), NOW).unwrap(), Reservation::Conflict);
        state.finish_key(&key, job(1)).unwrap();
        assert_eq!(state.reserve_key(&key, &request(1), NOW).unwrap(), Reservation::Done(job(1)));
        assert_eq!(state.reserve_key(&key, &request(2), NOW).unwrap(), Reservation::Conflict);
        let elsewhere = ScopedKey { token: "ci".parse().unwrap(), ..key.clone() };
        assert_eq!(state.reserve_key(&elsewhere, &request(2), NOW).unwrap(), Reservation::New);
        state.release_key(&elsewhere).unwrap();
        assert_eq!(state.reserve_key(&elsewhere, &request(3), NOW).unwrap(), Reservation::New);
    });
}

#[test]
fn a_reservation_of_an_earlier_incarnation_is_taken_over_once_with_its_nonce() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let state = State::create(&path).unwrap();
    assert_eq!(state.incarnation(), Incarnation(1));
    assert_eq!(state.reserve_key(&key("a"), &request(1), NOW).unwrap(), Reservation::New);
    drop(state);
    let state = State::open(&path).unwrap();
    assert_eq!(state.incarnation(), Incarnation(2));
    let retry = Request { nonce: "another".into(), ..request(1) };
    let interrupted = Reservation::Interrupted { nonce: request(1).nonce };
    assert_eq!(state.reserve_key(&key("a"), &retry, NOW).unwrap(), interrupted);
    assert_eq!(state.reserve_key(&key("a"), &retry, NOW).unwrap(), Reservation::InFlight);
}

#[test]
fn keys_go_a_day_after_their_job_ended() {
    on_both(|state| {
        for (name, number) in [("ended", 1), ("waits", 2)] {
            assert_eq!(state.reserve_key(&key(name), &request(1), NOW).unwrap(), Reservation::New);
            state.finish_key(&key(name), job(number)).unwrap();
        }
        assert_eq!(state.reserve_key(&key("in-flight"), &request(1), NOW).unwrap(), Reservation::New);
        let ended = |id| (id == job(1)).then_some(UnixMs(NOW.0 + 5));
        assert_eq!(state.sweep_keys(UnixMs(NOW.0 + KEY_KEEP_MS + 4), ended).unwrap(), 0);
        assert_eq!(state.sweep_keys(UnixMs(NOW.0 + KEY_KEEP_MS + 5), ended).unwrap(), 1);
        assert_eq!(state.reserve_key(&key("ended"), &request(1), NOW).unwrap(), Reservation::New);
        assert_eq!(state.reserve_key(&key("waits"), &request(1), NOW).unwrap(), Reservation::Done(job(2)));
        assert_eq!(state.reserve_key(&key("in-flight"), &request(1), NOW).unwrap(), Reservation::InFlight);
    });
}

#[test]
fn an_invitation_is_used_by_one_node_in_time() {
    on_both(|state| {
        let expires = UnixMs(NOW.0 + 100);
        let grants = BTreeSet::from([Grant::Read]);
        let invitation = Invitation { ledger: ledger(7), grants, created: NOW, expires, used_by: None };
        let secret = state.create_invitation(&invitation).unwrap();
        let late = state.create_invitation(&invitation).unwrap();
        let redeem = |secret: &Secret, by, at| state.redeem_invitation(secret, node(by), at).unwrap();
        assert_eq!(redeem(&Secret::presented("rhi_guess"), 1, NOW), Redemption::Unknown);
        assert_eq!(redeem(&late, 1, expires), Redemption::Expired(expires));
        let used = Invitation { used_by: Some(node(1)), ..invitation.clone() };
        assert_eq!(redeem(&secret, 1, NOW), Redemption::Accepted(used.clone()));
        assert_eq!(redeem(&secret, 1, NOW), Redemption::Repeated(used));
        assert_eq!(redeem(&secret, 2, NOW), Redemption::Used(node(1)));
        assert_eq!(state.sweep_invitations(expires).unwrap(), 0);
        assert_eq!(state.sweep_invitations(expires.plus_ms(INVITATION_KEEP_MS)).unwrap(), 2);
        assert_eq!(redeem(&secret, 2, NOW), Redemption::Unknown);
    });
}

#[test]
fn a_token_of_a_run_starts_once_also_when_raced() {
    on_both(|state| {
        let token = Token::new(0, 1);
        let firsts = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|n| scope.spawn(move || state.record_start(job(1), token, UnixMs(n)).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|s| *s == Start::First).count()
        });
        assert_eq!(firsts, 1);
        assert_eq!(state.record_start(job(1), Token::new(0, 2), NOW).unwrap(), Start::First);
        assert_eq!(state.record_start(job(1), Token::new(0, 2), UnixMs(5)).unwrap(), Start::Again(NOW));
        assert_eq!(state.record_start(job(2), Token::new(0, 2), NOW).unwrap(), Start::First);
        let starts: Vec<_> = state.starts().unwrap().into_keys().filter(|(id, _)| *id == job(1)).collect();
        assert_eq!(starts, [(job(1), token), (job(1), Token::new(0, 2))]);
        state.note(job(3), token, Note::NeverConfirm).unwrap();
        state.note(job(3), token, Note::NeverConfirm).unwrap();
        state.note(job(3), Token::new(0, 2), Note::Confirmed).unwrap();
        state.note(job(4), token, Note::Confirmed).unwrap();
        let notes = BTreeSet::from([(Note::NeverConfirm, token), (Note::Confirmed, Token::new(0, 2))]);
        assert_eq!(state.notes_of(job(3)).unwrap(), notes);
        assert_eq!(state.claimed_jobs().unwrap(), [1, 2, 3, 4].map(job).into());
        state.forget_claims(&[job(1), job(3)].into()).unwrap();
        assert_eq!(state.claimed_jobs().unwrap(), [2, 4].map(job).into());
        assert_eq!((state.starts().unwrap().len(), state.notes_of(job(3)).unwrap()), (1, BTreeSet::new()));
    });
}

#[test]
fn peers_and_settings_are_kept_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let state = State::create(&path).unwrap();
    let peer = Peer {
        alias: Some("box".into()),
        transport_key: Some(TransportKey::from_bytes([9; 32])),
        link_addresses: vec!["box:8777".into()],
        radicle_addresses: vec!["box:8776".into()],
        grants: BTreeSet::from([Grant::Read]),
        since: NOW,
        standing: Standing::Pending,
    };
    state.put_peer(&node(1), &peer).unwrap();
    state.put_peer(&node(2), &peer).unwrap();
    let approved = state
        .update_peer(&node(1), |peer| {
            peer.standing = Standing::Approved;
            peer.grants.insert(Grant::Run);
        })
        .unwrap()
        .unwrap();
    assert_eq!(state.update_peer(&node(3), |_| panic!("there is no such peer")).unwrap(), None);
    assert_eq!(state.remove_peer(&node(2)).unwrap(), Some(peer));
    state.update_settings(|settings| settings.default_ledger = Some(ledger(1))).unwrap();
    state.update_settings(|settings| settings.arbiter = Some(node(1))).unwrap();
    drop(state);
    let state = State::open(&path).unwrap();
    assert_eq!(state.peers().unwrap().into_iter().collect::<Vec<_>>(), [(node(1), approved.clone())]);
    assert_eq!(state.peer(&node(1)).unwrap(), Some(approved));
    let settings = state.settings().unwrap();
    assert_eq!((settings.default_ledger, settings.arbiter), (Some(ledger(1)), Some(node(1))));
}

#[test]
fn a_state_is_created_once_and_opened_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    assert!(matches!(State::open(&path), Err(StoreError::Missing { .. })));
    assert!(!path.exists(), "opening created it");
    let state = State::create(&path).unwrap();
    assert!(matches!(State::create(&path), Err(StoreError::Exists { .. })));
    assert!(matches!(State::open(&path), Err(StoreError::Busy { .. })));
    drop(state);
    State::open(&path).unwrap();
}
