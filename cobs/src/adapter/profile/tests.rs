//! The profiles of a home, by what they do to real storage.

use std::os::unix::net::UnixListener;

use super::*;

pub(crate) fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

/// A new profile whose key follows from `seed`.
pub(crate) fn new_profile(alias: &str, seed: u8) -> NewProfile {
    NewProfile { alias: alias.to_owned(), listen: vec![], passphrase: None, key_seed: [seed; 32] }
}

/// Unlocks plain keys only.
pub(crate) fn nobody() -> Unlock<'static> {
    Unlock { environment: None, prompt: &|| None }
}

/// A fresh home at `path`.
pub(crate) fn home(path: &Path, seed: u8) -> NodeHome {
    NodeHome::open_or_create(path, new_profile("tester", seed), &nobody()).unwrap().0
}

/// A created home is a closed network in Radicle's own words, and opening it changes nothing.
#[test]
fn a_new_home_is_closed_and_opens_again() {
    let tmp = tempfile::tempdir().unwrap();
    let mut new = new_profile("node-a", 1);
    new.listen = vec!["127.0.0.1:18776".parse().unwrap()];
    let (created, origin) = NodeHome::open_or_create(tmp.path(), new, &nobody()).unwrap();
    assert_eq!(origin, Origin::Created);

    let written = std::fs::read_to_string(created.home.config()).unwrap();
    let file: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(file["preferredSeeds"], serde_json::json!([]));
    assert_eq!(file["node"]["network"], "test");
    assert_eq!(file["node"]["peers"]["type"], "static");
    assert_eq!(file["node"]["listen"], serde_json::json!(["127.0.0.1:18776"]));
    assert_eq!(file["node"]["connect"], serde_json::json!([]));
    assert_eq!(file["node"]["seedingPolicy"]["default"], "block");
    assert_eq!(file["node"]["fetch"]["signedReferences"]["featureLevel"]["minimum"], "parent");
    assert_eq!(file["node"]["limits"]["rate"]["inbound"]["fillRate"], 200.0);

    let (opened, origin) = NodeHome::open_or_create(tmp.path(), new_profile("other", 2), &nobody()).unwrap();
    assert_eq!(origin, Origin::Opened);
    assert_eq!(opened.public_key, created.public_key);
    assert_eq!(std::fs::read_to_string(created.home.config()).unwrap(), written);
}

/// A passphrase comes from the environment first, then from a person; a wrong one is named as such.
#[test]
fn an_encrypted_key_is_unlocked_or_refused_clearly() {
    let tmp = tempfile::tempdir().unwrap();
    let new = NewProfile { passphrase: Some(passphrase("right")), ..new_profile("node-a", 1) };
    let (created, _) = NodeHome::open_or_create(tmp.path(), new, &nobody()).unwrap();
    let open = |environment: Option<&str>, prompt: Option<&str>| {
        let prompt = prompt.map(passphrase);
        let ask = || prompt.clone();
        NodeHome::open(tmp.path(), &Unlock { environment: environment.map(passphrase), prompt: &ask })
            .map(|home| home.public_key)
    };

    assert_eq!(open(Some("right"), None).unwrap(), created.public_key);
    assert_eq!(open(None, Some("right")).unwrap(), created.public_key);
    assert_eq!(open(Some(""), Some("right")).unwrap(), created.public_key);
    assert!(matches!(open(None, None), Err(ProfileError::Locked(_))));
    for (environment, prompt, origin) in
        [(Some("wrong"), Some("right"), PassphraseSource::Environment), (None, Some("wrong"), PassphraseSource::Prompt)]
    {
        match open(environment, prompt) {
            Err(ProfileError::WrongPassphrase { origin: found, .. }) => assert_eq!(found, origin),
            other => panic!("a wrong passphrase gave {other:?}"),
        }
    }
}

/// A live control socket is refused with a hint; the one of a killed node is removed.
#[test]
fn a_running_node_is_refused_and_a_stale_socket_removed() {
    let tmp = tempfile::tempdir().unwrap();
    let home = home(tmp.path(), 1);
    home.ensure_alone().unwrap();

    let socket = home.home.socket_default();
    let listener = UnixListener::bind(&socket).unwrap();
    let refused = home.ensure_alone().unwrap_err();
    assert!(matches!(refused, ProfileError::AlreadyRunning(_)), "{refused}");
    assert!(refused.hint().unwrap().contains("rad node stop"));

    drop(listener);
    assert!(socket.exists());
    home.ensure_alone().unwrap();
    assert!(!socket.exists());
}

/// In a home of others only what was planned changes, and settings that nobody knows survive.
#[test]
fn pairing_changes_only_what_it_showed() {
    let tmp = tempfile::tempdir().unwrap();
    let mut home = home(tmp.path(), 1);
    let path = home.home.config();
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["node"]["futureSetting"] = serde_json::json!({ "kept": true });
    file["node"]["network"] = serde_json::json!("main");
    file["node"]["limits"]["rate"]["inbound"]["fillRate"] = serde_json::json!(5.0);
    std::fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    home.apply(&[]).unwrap();

    let peer = *SigningKey::from_seed(Seed::new([9; 32])).public_key();
    let changes = home.plan_peer(peer, Some("100.64.0.7:8776".parse().unwrap()));
    let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(words, [format!("add {peer}@100.64.0.7:8776 to node.connect")]);
    home.apply(&changes).unwrap();
    assert_eq!(home.plan_peer(peer, Some("100.64.0.7:8776".parse().unwrap())), []);

    file["node"]["connect"] = serde_json::json!([format!("{peer}@100.64.0.7:8776")]);
    let after: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(after, file);

    let moved = home.plan_peer(peer, Some("100.64.0.8:8776".parse().unwrap()));
    assert_eq!(moved.len(), 2, "a new address replaces the old one");
    home.apply(&moved).unwrap();
    assert_eq!(home.plan_peer(peer, None), [ConfigChange::RaiseRateLimits]);
    home.apply(&[ConfigChange::RaiseRateLimits]).unwrap();
    assert_eq!(home.plan_peer(peer, None), []);
    home.apply(&home.plan_removal(peer)).unwrap();
    assert!(home.config.node.connect.is_empty());
}
