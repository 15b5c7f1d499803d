//! Working trees: what git ignores is left out, and what people wrote is found by words and symbols soon after it is saved.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use vault::code::{self, Language};
use vault::ingest::engine::{Reads, Source};
use vault::root::Root;
use vault::root::trees::Trees;

use crate::support::Vault;
use crate::watched;

/// Indexes working trees instead of a vault; a text with `parser!` stands for one that the parser dies of.
fn trees(vault: &Vault, folders: &[&str]) -> Source {
    let roots: Vec<Arc<Root>> =
        folders.iter().map(|folder| Arc::new(Root::open(&vault.root().join(folder)).unwrap())).collect();
    let find = |language: Language, text: &str| {
        if text.contains("parser!") { Err("it ended".to_owned()) } else { Ok(code::symbols(language, text)) }
    };
    let files = Some(Arc::new(Trees::named(roots)));
    Source { files, reads: Reads::Code(Arc::new(find)), documents: None, ..vault.source() }
}

const RUST: &str = "/// Turns a page over.\nfn flip_page(book: &mut Book) {\n    book.turn(Side::Other);\n}\n";

#[test]
fn working_trees_are_searched() {
    let mut vault = Vault::new();
    vault.private = vec!["app/secret/".to_owned()];
    vault.write("app/src/book.rs", RUST);
    vault.write("app/README.md", "# Book\n\nTurn a page with `flip_page`.\n");
    vault.write("app/target/debug/book.rs", RUST);
    vault.write("app/.gitignore", "/target\n*.gen.rs\n!kept.gen.rs\n");
    vault.write("app/src/book.gen.rs", RUST);
    vault.write("app/src/kept.gen.rs", "fn kept_page() {}\n");
    vault.write("app/src/.gitignore", "local/\n");
    vault.write("app/src/local/x.rs", RUST);
    vault.write("app/.git/info/exclude", "notes.txt\n");
    vault.write("app/notes.txt", "flip_page\n");
    vault.write("app/.env", "KEY=flip_page\n");
    vault.write("app/.github/workflows/ci.yml", "run: flip_page\n");
    vault.write("app/Cargo.lock", "flip_page\n");
    vault.write("app/logo.png", b"\x89PNG flip_page");
    vault.write("app/secret/s.py", "def flip_page():\n    pass\n");
    vault.write("app/bad.rs", "parser! flip_page\n");
    vault.write("other/main.go", "package main\n\nfunc FlipPage() {}\n");
    vault.start_with(trees(&vault, &["app", "other"]));
    let found = ["app/.github/workflows/ci.yml", "app/README.md", "app/bad.rs", "app/secret/s.py", "app/src/book.rs"];
    vault.until_found("\"flip_page\"", &found);
    // what is left out is not watched: builds write into it all the time
    let is_watched = |folder: &str| watched::is_watched(&vault.root().join(folder));
    vault.until("folders are watched", |_| is_watched("app/src"));
    assert!(!is_watched("app/target") && !is_watched("app/target/debug") && !is_watched("app/.git"));
    assert_eq!(vault.found("[language:go]"), ["other/main.go"]);
    assert_eq!(vault.found("\"kept_page\""), ["app/src/kept.gen.rs"]);
    let hit = &vault.search("\"turn(Side\"").unwrap().hits[0];
    assert_eq!((&*hit.path, &hit.headings[..]), ("app/src/book.rs", &["function flip_page".to_owned()][..]));
    let private = vault.search("[language:python]").unwrap();
    assert_eq!(private.hits[0].privacy, vault::index::record::Privacy::Private);
    let serving = vault.serving();
    assert_eq!(serving.catalog().named("app/bad.rs").unwrap().warnings.len(), 1, "it is told, and indexed as text");
    drop(serving);

    vault.write("app/src/late.py", "class Late:\n    def arrive(self):\n        return 'zebra'\n");
    vault.until_found("zebra", &["app/src/late.py"]);
    assert_eq!(vault.search("zebra").unwrap().hits[0].headings, ["class Late"]);
    vault.write("app/src/local/y.rs", "fn zebra() {}\n");
    vault.write("app/src/.gitignore", "late.py\n");
    vault.until_found("zebra", &["app/src/local/y.rs"]);
    // the system tells of the folder alone
    fs::rename(vault.root().join("app/src"), vault.root().join("app/lib")).unwrap();
    vault.until_found("zebra", &["app/lib/local/y.rs"]);
    let outside = vault.index().parent().unwrap().join("arrives");
    fs::create_dir_all(outside.join("in")).unwrap();
    fs::write(outside.join("in/z.rs"), "fn zebra() {}\n").unwrap();
    fs::rename(&outside, vault.root().join("app/arrived")).unwrap();
    vault.until_found("zebra", &["app/arrived/in/z.rs", "app/lib/local/y.rs"]);
    fs::remove_dir_all(vault.root().join("app/lib")).unwrap();
    vault.until_found("zebra", &["app/arrived/in/z.rs"]);
    fs::remove_dir_all(vault.root().join("other")).unwrap();
    vault.until_found("[language:go]", &[]);
    vault.until("it is told", |vault| vault.status().skipped.contains_key("other"));
    vault.write("other/again/main.go", "package main\n");
    vault.until_found("[language:go]", &["other/again/main.go"]);
    vault.write("other/again/late.go", "package main\n");
    vault.until_found("[language:go]", &["other/again/late.go", "other/again/main.go"]);
}

/// What is larger than people write is left out, and it is said.
#[test]
fn a_file_that_nobody_wrote_is_left_out() {
    let mut vault = Vault::new();
    vault.write("app/data.json", "zebra ".repeat(code::BYTES_MAX / 4));
    vault.write("app/a.json", "zebra");
    vault.start_with(trees(&vault, &["app"]));
    vault.until_found("zebra", &["app/a.json"]);
    let skipped = vault.status().skipped;
    assert!(skipped["app/data.json"].contains("1048576 are the most"), "{skipped:?}");
}

/// What git ignores by a file above the tree is ignored, and what is hidden or ignored is so behind a link too.
#[test]
fn rules_hold_from_above_and_through_links() {
    let mut vault = Vault::new();
    vault.write("mono/.git/HEAD", "ref");
    vault.write("mono/.gitignore", "\u{feff}dist/\n/api/secret.rs\n");
    vault.write("mono/api/dist/a.js", "zebra()");
    vault.write("mono/api/secret.rs", "zebra()");
    vault.write("mono/api/.env", "zebra");
    vault.write("mono/api/main.rs", "zebra()");
    symlink(".env", vault.root().join("mono/api/settings.txt")).unwrap();
    symlink("main.rs", vault.root().join("mono/api/also.rs")).unwrap();
    vault.start_with(trees(&vault, &["mono/api"]));
    vault.until_found("zebra", &["api/also.rs", "api/main.rs"]);
    assert!(vault.status().skipped["api/settings.txt"].contains(".env, which is left out"));
}
