//! What an index keeps, and what it is built from again.

use std::fs;

use vault::documents::Document;
use vault::index::record::Privacy;
use vault::ingest::engine::{Ingest, Source};
use vault::ingest::shared::Phase;
use vault::path::VaultPath;

use crate::support::Vault;

/// A restart reads nothing that did not change, and what changed meanwhile is found.
#[test]
fn a_restart_reads_what_changed() {
    let mut vault = Vault::new();
    for number in 0..100 {
        vault.write(&format!("{number}.md"), format!("word{number} common\n"));
    }
    vault.write("private.md", "---\nprivacy: private\n---\ncommon\n");
    vault.start();
    vault.restart_until_nothing_is_read();
    assert_eq!(vault.found("common").len(), 50);
    vault.stop();
    vault.write("7.md", "changed");
    fs::remove_file(vault.root().join("8.md")).unwrap();
    vault.start();
    assert_eq!(vault.status().bytes_read, "changed".len() as u64);
    assert!(vault.found("word7").is_empty() && vault.found("word8").is_empty());
    assert_eq!(vault.found("changed"), ["7.md"]);
}

/// Pushed documents are found beside files, and stay when the index is lost.
#[test]
fn pushed_documents_outlive_the_index() {
    let mut vault = Vault::new();
    vault.write("file.md", "pumpkin\n");
    vault.start();
    let id = |id: &str| VaultPath::new(id).unwrap();
    let document = |name: &str, text: &str| Document { id: id(name), text: text.to_owned(), privacy: Privacy::Open };
    vault.stop();
    let source = vault.source();
    source
        .documents
        .as_ref()
        .unwrap()
        .put(&[document("tickets/1", "a pumpkin #orange"), document("tickets/2", "soup")])
        .unwrap();
    drop(source);
    vault.start();
    vault.until_found("pumpkin", &["/pushed/tickets/1", "file.md"]);
    assert_eq!(vault.found("tag:orange path:tickets"), ["/pushed/tickets/1"]);
    vault.stop();
    fs::remove_dir_all(vault.index()).unwrap();
    vault.start();
    vault.until_found("pumpkin", &["/pushed/tickets/1", "file.md"]);
}

/// An index that is broken, or of another version, is built anew.
#[test]
fn a_broken_index_is_built_anew() {
    let mut vault = Vault::new();
    vault.write("one.md", "walnut\n");
    vault.start();
    vault.stop();
    let segments = |vault: &Vault| -> Vec<_> {
        let folders = fs::read_dir(vault.index()).unwrap().map(|entry| entry.unwrap().path());
        let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    };
    for file in segments(&vault).into_iter().filter(|file| file.extension().is_some_and(|end| end == "store")) {
        fs::write(file, "nothing").unwrap();
    }
    vault.start();
    vault.until_found("walnut", &["one.md"]);
    vault.stop();
    for file in segments(&vault).into_iter().filter(|file| file.ends_with("version")) {
        fs::write(file, "0").unwrap();
    }
    vault.start();
    vault.until_found("walnut", &["one.md"]);
    assert_eq!(vault.status().bytes_read, 7);
}

/// While an index is built anew the old one answers; afterwards there is only the new one.
#[test]
fn an_index_is_built_beside_the_old_one() {
    let mut vault = Vault::new();
    for number in 0..50 {
        vault.write(&format!("{number}.md"), "hazel\n");
    }
    vault.start();
    let before = vault.serving();
    vault.worker().rebuild().unwrap();
    let after = vault.serving();
    assert!(!std::sync::Arc::ptr_eq(&before, &after));
    assert_eq!((before.catalog().len(), after.catalog().len()), (50, 50));
    assert_eq!(vault.found("hazel").len(), 50);
    let folders = fs::read_dir(vault.index()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), 1);
    vault.stop();
    vault.start();
    assert_eq!(vault.found("hazel").len(), 50);
}

/// A scan ends when it is told to, and the next start goes on where it was.
#[test]
fn a_scan_ends_when_it_is_told() {
    let mut vault = Vault::new();
    for number in 0..20_000 {
        vault.write(&format!("{}/{number}.md", number % 100), format!("word{number} common\n"));
    }
    let status = vault.start_and_stop();
    assert_ne!(status.phase, Phase::Ready, "it was done before it was told; have more notes");
    vault.start();
    assert_eq!(vault.serving().catalog().len(), 20_000);
}

/// A second process does not write the same index.
#[test]
fn an_index_has_one_writer() {
    let mut vault = Vault::new();
    vault.start();
    let other = Vault::new();
    let source = Source { folder: vault.index(), ..other.source() };
    let Err(error) = Ingest::open(source) else { panic!("it was opened twice") };
    assert!(error.to_string().contains("in use by another process"), "{error}");
}
