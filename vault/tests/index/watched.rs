//! What happens in a vault is found soon after, however it happens.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use vault::ingest::shared::WatchState;
use vault::ingest::watch::WatchMode;

use crate::support::Vault;

/// Files are found as they are written, saved, renamed and removed, one by one and in folders.
#[test]
fn changes_are_found() {
    let mut vault = Vault::new();
    vault.write("One.md", "# Bees\nhoney and wax\n");
    vault.write("deep/er/Two.md", "honey alone\n");
    vault.start();
    assert_eq!(vault.status().watch, WatchState::Events);
    vault.until_found("honey", &["One.md", "deep/er/Two.md"]);

    vault.write("One.md", "# Bees\nonly wax\n");
    vault.until_found("honey", &["deep/er/Two.md"]);
    // as editors save: another file takes the place of the old one
    vault.write(".One.md.swp", "honey");
    vault.write("One.md.tmp", "honey and swarms");
    fs::rename(vault.root().join("One.md.tmp"), vault.root().join("One.md")).unwrap();
    vault.until_found("honey", &["One.md", "deep/er/Two.md"]);

    fs::rename(vault.root().join("One.md"), vault.root().join("one.md")).unwrap();
    vault.until_found("honey", &["deep/er/Two.md", "one.md"]);
    fs::rename(vault.root().join("deep"), vault.root().join("shallow")).unwrap();
    vault.until_found("honey", &["one.md", "shallow/er/Two.md"]);
    // a folder that comes with what is in it
    let outside = vault.index().parent().unwrap().join("outside");
    fs::create_dir_all(outside.join("in")).unwrap();
    fs::write(outside.join("in/Three.md"), "honey").unwrap();
    fs::rename(&outside, vault.root().join("arrived")).unwrap();
    vault.until_found("honey", &["arrived/in/Three.md", "one.md", "shallow/er/Two.md"]);

    fs::remove_dir_all(vault.root().join("shallow")).unwrap();
    // a folder takes the name of a note
    fs::remove_file(vault.root().join("one.md")).unwrap();
    fs::create_dir(vault.root().join("one.md")).unwrap();
    vault.until_found("honey", &["arrived/in/Three.md"]);
    assert_eq!(vault.status().failure, None);
}

/// Many files at once, as a checkout writes them, are all found, and all gone.
#[test]
fn a_checkout_is_found() {
    let mut vault = Vault::new();
    vault.start();
    for number in 0..5_000 {
        vault.write(&format!("notes/{}/Note {number}.md", number % 50), format!("swarm number{number}\n"));
    }
    vault.until("all are there", |vault| vault.serving().catalog().len() == 5_000);
    vault.until_found("number4999", &["notes/49/Note 4999.md"]);
    fs::rename(vault.root().join("notes"), vault.root().join("moved")).unwrap();
    vault.until_found("number4999", &["moved/49/Note 4999.md"]);
    fs::remove_dir_all(vault.root().join("moved")).unwrap();
    vault.until("all are gone", |vault| vault.serving().catalog().is_empty());
}

/// What the rules leave out is not found, and rules hold as soon as they are written.
#[test]
fn excluded_files_are_not_found() {
    let mut vault = Vault::new();
    for path in ["kept.md", "Archive/old.md", "Templates/t.md", ".trash/gone.md", ".obsidian/x.md", "drafts/d.md"] {
        vault.write(path, "marmalade\n");
    }
    vault.write("sync/Note.sync-conflict-20260101-120000-ABCDEFG.md", "marmalade\n");
    vault.write(".rhizomeignore", "drafts/\n# a remark\n");
    vault.write(".obsidian/app.json", r#"{"userIgnoreFilters": ["Archive/", "/^Temp/", "/(/"], "other": 1}"#);
    vault.start();
    assert_eq!(vault.found("marmalade"), ["kept.md"]);
    let status = vault.status();
    assert_eq!(status.faults, [".obsidian/app.json: /(/ is no regular expression and is left out"]);
    let skipped: Vec<_> = status.skipped.into_iter().collect();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0].0.contains("sync-conflict") && skipped[0].1.contains("merge"), "{skipped:?}");

    vault.write(".rhizomeignore", "kept.md\n");
    vault.until_found("marmalade", &["drafts/d.md"]);
    vault.write(".obsidian/app.json", "{}");
    vault.until_found("marmalade", &["Archive/old.md", "Templates/t.md", "drafts/d.md"]);
}

/// Links that stay in the vault are followed; those that lead out are not, and it is said.
#[test]
fn no_link_leads_out() {
    let mut vault = Vault::new();
    vault.write("real/inside.md", "treasure\n");
    let outside = vault.index().parent().unwrap().join("secret.md");
    fs::write(&outside, "treasure\n").unwrap();
    symlink(&outside, vault.root().join("out.md")).unwrap();
    symlink("../secret.md", vault.root().join("up.md")).unwrap();
    symlink("real/inside.md", vault.root().join("in.md")).unwrap();
    symlink(outside.parent().unwrap(), vault.root().join("folder")).unwrap();
    symlink("in", vault.root().join("loop.md")).unwrap();
    symlink("loop.md", vault.root().join("in")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, vault.root().join("pipe.md"), rustix::fs::Mode::RWXU).unwrap();
    vault.start();
    vault.until_found("treasure", &["in.md", "real/inside.md"]);
    let status = vault.status();
    let skipped: Vec<&str> = status.skipped.keys().map(String::as_str).collect();
    assert_eq!(skipped, ["loop.md", "out.md", "pipe.md", "up.md"], "{:?}", status.skipped);
    assert!(status.skipped["up.md"].contains("out of the vault"), "{:?}", status.skipped);
    // nor is the folder watched that a link leads to
    assert!(is_watched(&vault.root()) && !is_watched(outside.parent().unwrap()));

    // a note is found no more when something else takes its place, and again when that has gone
    fs::remove_file(vault.root().join("real/inside.md")).unwrap();
    symlink(&outside, vault.root().join("real/inside.md")).unwrap();
    vault.until_found("treasure", &[]);
    assert!(vault.status().skipped.contains_key("real/inside.md"));
    fs::remove_file(vault.root().join("real/inside.md")).unwrap();
    fs::create_dir(vault.root().join("real/inside.md")).unwrap();
    vault.write("real/inside.md/deeper.md", "treasure\n");
    vault.until_found("treasure", &["real/inside.md/deeper.md"]);
    vault.until("nothing is said of it", |vault| !vault.status().skipped.contains_key("real/inside.md"));
    fs::remove_dir_all(vault.root().join("real/inside.md")).unwrap();
    vault.write("real/inside.md", "treasure\n");
    vault.until_found("treasure", &["in.md", "real/inside.md"]);
}

/// Whether this process has the system watch a folder (proc(5), `fdinfo`).
pub fn is_watched(folder: &Path) -> bool {
    let number = format!(" ino:{:x} ", fs::metadata(folder).unwrap().ino());
    let descriptors = fs::read_dir("/proc/self/fdinfo").unwrap();
    let texts = descriptors.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    texts.into_iter().any(|text| text.lines().any(|line| line.starts_with("inotify wd:") && line.contains(&number)))
}

/// The other copy of a conflict is told of for as long as it is there.
#[test]
fn a_conflict_is_told_until_it_is_over() {
    let mut vault = Vault::new();
    vault.start();
    let copy = "Note.sync-conflict-20260101-120000-ABCDEFG.md";
    vault.write(copy, "other\n");
    vault.until("it is told", |vault| vault.status().skipped.contains_key(copy));
    fs::remove_file(vault.root().join(copy)).unwrap();
    vault.until("nothing is told", |vault| vault.status().skipped.is_empty());
}

/// Where the system does not tell of changes, they are looked for, and it is said.
#[test]
fn what_is_not_watched_is_scanned() {
    let mut vault = Vault::new();
    vault.watch = WatchMode::Scan;
    vault.start();
    assert!(matches!(vault.status().watch, WatchState::Scanning { .. }));
    vault.write("late.md", "cinnamon\n");
    vault.until_found("cinnamon", &["late.md"]);
}

/// Bytes that are no text, broken properties, a byte order mark and names in any form are indexed all the same.
#[test]
fn nothing_wrong_loses_a_note() {
    let mut vault = Vault::new();
    vault.write("bytes.md", b"caf\xe9 quince\n");
    vault.write("yaml.md", "---\n: [\n---\nquince\n");
    vault.write("bom.md", "\u{feff}---\ntags: x\n---\r\nquince\r\n");
    vault.write("empty quince.md", "");
    vault.write("cafe\u{301}.md", "quince 🐝\n");
    vault.write("broken.canvas", "{\"nodes\": quince");
    vault.write(
        "good.canvas",
        r#"{"nodes":[{"id":"a","type":"text","text":"quince #jam","x":0,"y":0,"width":1,"height":1}]}"#,
    );
    vault.write("view.base", "filters:\n  and:\n    - quince\n");
    vault.write("picture.png", b"\x89PNG quince");
    vault.start();
    let all = [
        "bom.md",
        "broken.canvas",
        "bytes.md",
        "cafe\u{301}.md",
        "empty quince.md",
        "good.canvas",
        "view.base",
        "yaml.md",
    ];
    vault.until_found("quince", &all);
    assert_eq!(vault.found("tag:x"), ["bom.md"]);
    assert_eq!(vault.found("tag:jam"), ["good.canvas"]);
    let serving = vault.serving();
    let catalog = serving.catalog();
    let warned: Vec<&str> =
        catalog.entries().filter(|(_, entry)| !entry.warnings.is_empty()).map(|(_, entry)| &*entry.name).collect();
    assert_eq!(warned.len(), 3, "{warned:?}");
}

/// What is private is so behind a link, and everything is while it is not known what is.
#[test]
fn a_private_rule_holds_in_doubt() {
    use vault::index::record::Privacy::{Open, Private};
    let privacy = |vault: &Vault, path: &str| vault.serving().catalog().named(path).unwrap().privacy;
    let mut vault = Vault::new();
    vault.private = vec!["Diary/".to_owned()];
    vault.write("Diary/day.md", "secret\n");
    vault.write("open.md", "open\n");
    symlink("Diary/day.md", vault.root().join("today.md")).unwrap();
    vault.start();
    let of = |vault: &Vault| ["Diary/day.md", "today.md", "open.md"].map(|path| privacy(vault, path));
    assert_eq!(of(&vault), [Private, Private, Open]);
    vault.stop();
    vault.private = vec!["Diary/[z-a]/".to_owned()];
    vault.start();
    assert_eq!(of(&vault), [Private, Private, Private]);
    assert!(vault.status().faults.iter().any(|fault| fault.contains("everything is private")), "{:?}", vault.status());
}

/// A vault that is moved away is not empty: what is known of it stays, and it is said.
#[test]
fn a_vault_that_goes_is_not_forgotten() {
    let mut vault = Vault::new();
    vault.write("deep/a.md", "quince\n");
    vault.write("deep/picture.png", "x");
    vault.start();
    let aside = vault.index().parent().unwrap().join("aside");
    fs::rename(vault.root(), &aside).unwrap();
    vault.worker().scan().unwrap();
    assert_eq!(vault.found("quince"), ["deep/a.md"]);
    let skipped = vault.status().skipped;
    assert!(skipped["the whole folder"].contains("was moved or removed"), "{skipped:?}");
    fs::rename(&aside, vault.root()).unwrap();
    vault.until("it is back", |vault| vault.status().skipped.is_empty());
    assert_eq!(vault.found("quince"), ["deep/a.md"]);
}

/// A vault that was removed and made again is found and watched without a restart; neither a link nor an empty folder, as a
/// disk leaves it that is not mounted, is taken for it.
#[test]
fn a_vault_that_is_made_again_is_found() {
    let mut vault = Vault::new();
    vault.write("deep/a.md", "quince\n");
    vault.start();
    let is_away = |vault: &Vault| vault.status().skipped.contains_key("the whole folder");
    fs::rename(vault.root(), vault.index().parent().unwrap().join("aside")).unwrap();
    vault.until("it is told", is_away);
    let other = vault.index().parent().unwrap().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("c.md"), "quince\n").unwrap();
    symlink(&other, vault.root()).unwrap();
    vault.worker().scan().unwrap();
    assert!(is_away(&vault) && vault.found("quince") == ["deep/a.md"], "a link was taken for the vault");
    fs::remove_file(vault.root()).unwrap();
    fs::create_dir_all(vault.root().join("lost+found")).unwrap();
    vault.write(".keep", "");
    vault.worker().scan().unwrap();
    assert!(is_away(&vault) && vault.found("quince") == ["deep/a.md"], "an empty folder was taken for the vault");
    vault.write("b.md", "quince\n");
    vault.until_found("quince", &["b.md"]);
    assert!(!is_away(&vault) && vault.status().watch == WatchState::Events);
    vault.write("new/c.md", "quince\n");
    vault.until_found("quince", &["b.md", "new/c.md"]);
}
