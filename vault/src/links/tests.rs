//! What links lead to, in small vaults.

use super::*;
use crate::parse;
use crate::source::Source;

/// A vault of these files; what is no note is empty.
pub(crate) fn vault(files: &[(&str, &str)]) -> Links {
    let mut links = Links::default();
    for (path, text) in files {
        let path = at(path);
        if path.is_note() {
            links.insert_note(path, &parse::note(&Source::from(*text)));
        } else {
            links.insert_file(path, Vec::new());
        }
    }
    links
}

pub(crate) fn at(path: &str) -> VaultPath {
    VaultPath::new(path).expect("it is a path")
}

/// What `link` in the note at `from` leads to.
fn leads(vault: &Links, from: &str, link: &str) -> String {
    let note = parse::note(&Source::from(link));
    match vault.resolve(&at(from), &note.links[0]) {
        Target::External => "external".into(),
        Target::Unresolved => "unresolved".into(),
        Target::File { path, place: TargetPlace::Whole } => path.to_string(),
        Target::File { path, place: TargetPlace::Missing } => format!("{path}#missing"),
        Target::File { path, place: TargetPlace::Found(span) } => format!("{path}#{}..{}", span.start, span.end),
    }
}

#[test]
fn a_link_names_the_end_of_a_path() {
    let vault = vault(&[
        ("Note.md", ""),
        ("a/Note.md", ""),
        ("a/b/Note.md", ""),
        ("a/b/deep/Only.md", ""),
        ("z/Twice.md", ""),
        ("longer/Twice.md", ""),
        ("pic.PNG", ""),
        ("v1.2.md", ""),
        ("Caf\u{e9}.md", ""),
    ]);
    let leads = |from: &str, link: &str| leads(&vault, from, link);
    assert_eq!(leads("a/x.md", "[[Note]]"), "Note.md", "a path that fits wholly");
    assert_eq!(leads("a/x.md", "[[b/Note]]"), "a/b/Note.md");
    assert_eq!(leads("x.md", "[[only]]"), "a/b/deep/Only.md");
    assert_eq!(leads("x.md", "[[Twice]]"), "z/Twice.md", "the shortest");
    assert_eq!(leads("longer/x.md", "[[Twice]]"), "longer/Twice.md", "the nearest");
    assert_eq!(leads("longest/x.md", "[[Twice]]"), "z/Twice.md", "a folder is a whole name");
    assert_eq!(leads("a/b/x.md", "[[../Note]]"), "a/Note.md");
    assert_eq!(leads("a/b/x.md", "[[./Note.md]]"), "a/b/Note.md");
    assert_eq!(leads("a/b/x.md", "[[/a/Note]]"), "a/Note.md");
    assert_eq!(leads("x.md", "[[../Note]]"), "unresolved", "out of the vault");
    assert_eq!(leads("x.md", "[[/b/Note]]"), "unresolved");
    assert_eq!(leads("x.md", "![[PIC.png]]"), "pic.PNG");
    assert_eq!(leads("x.md", "[[pic]]"), "unresolved", "only a note's extension may be left out");
    assert_eq!(leads("x.md", "[[v1.2]]"), "v1.2.md");
    assert_eq!(leads("x.md", "[[cafe\u{301}]]"), "Caf\u{e9}.md");
    assert_eq!(leads("x.md", "[t](a/b/deep/Only.md)"), "a/b/deep/Only.md");
    assert_eq!(leads("x.md", "[t](https://a.b)"), "external");
    assert_eq!(leads("x.md", "[[nothing]]"), "unresolved");
}

#[test]
fn other_names_come_last() {
    let vault = vault(&[
        ("Long name.md", "---\naliases: [Short, Both, Real]\n---\n"),
        ("Other.md", "---\naliases: Both\n---\n"),
        ("Real.md", ""),
    ]);
    assert_eq!(leads(&vault, "x.md", "[[short]]"), "Long name.md");
    assert_eq!(leads(&vault, "x.md", "[[Both]]"), "unresolved", "two notes have it");
    assert_eq!(leads(&vault, "x.md", "[[Real]]"), "Real.md", "a file is before a name");
}

#[test]
fn places_are_found() {
    let text = "# One: a [[b]]\n## Same\ntext ^id\n# Two\n## Same\nend\n";
    let vault = vault(&[("n.md", text)]);
    assert_eq!(leads(&vault, "x.md", "[[n#one a b]]"), format!("n.md#0..{}", text.find("# Two").expect("there")));
    let second = text.rfind("## Same").expect("there");
    assert_eq!(leads(&vault, "x.md", "[[n#Two#same]]"), format!("n.md#{second}..{}", text.len()));
    assert_eq!(leads(&vault, "x.md", "[[n#Same]]"), "n.md#15..32");
    assert_eq!(leads(&vault, "x.md", "[[n#^ID]]"), "n.md#23..31");
    assert_eq!(leads(&vault, "x.md", "[[n#^other]]"), "n.md#missing");
    assert_eq!(leads(&vault, "x.md", "[[n#One a b#Two]]"), "n.md#missing");
    assert_eq!(leads(&vault, "n.md", "[[#Two]]"), format!("n.md#32..{}", text.len()));
}

#[test]
fn links_are_known_from_both_ends() {
    let mut vault = vault(&[
        ("hub.md", "[[a]] [[b/c|x]] [[gone]] [[hub]]"),
        ("a.md", "[back](hub.md)"),
        ("b/c.md", "---\naliases: sea\n---\n"),
        ("d.md", "[[sea]] ![[hub#none]]"),
    ]);
    let backs = |vault: &Links, to: &str| -> Vec<String> {
        vault.backlinks(&at(to)).iter().map(|back| back.from.to_string()).collect()
    };
    assert_eq!(backs(&vault, "hub.md"), ["a.md", "d.md"]);
    assert_eq!(backs(&vault, "b/c.md"), ["d.md", "hub.md"]);
    assert_eq!(vault.unresolved().keys().collect::<Vec<_>>(), ["gone"]);
    assert_eq!(vault.orphans(), [&at("d.md")]);
    assert_eq!(vault.outgoing(&at("hub.md")).count(), 4);

    vault.insert_file(at("gone"), Vec::new());
    assert!(vault.unresolved().is_empty());
    vault.remove(&at("a.md"));
    assert_eq!(backs(&vault, "hub.md"), ["d.md"]);
    assert_eq!(vault.unresolved().keys().collect::<Vec<_>>(), ["a"]);
}
