//! A name is changed, and every link leads where it led.

use proptest::prelude::*;

use super::*;
use crate::links::Target;
use crate::links::tests::{at, vault};
use crate::parse;
use crate::source::Source;

type Files = BTreeMap<String, String>;

fn files(all: &[(&str, &str)]) -> Files {
    all.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn linked(files: &Files) -> Links {
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    vault(&files)
}

/// The vault after a rename.
fn renamed(files: &Files, from: &str, to: &str) -> Result<Files, RenameError> {
    let plan = plan(&linked(files), &at(from), &at(to))?;
    assert_eq!(plan.lost, []);
    let after = files.iter().map(|(path, text)| {
        let edits = plan.edits.get(&at(path)).map_or(&[][..], Vec::as_slice);
        let text = String::from_utf8(apply(text.as_bytes(), edits)).expect("paths are text");
        (if path == from { to.to_owned() } else { path.clone() }, text)
    });
    Ok(after.collect())
}

#[test]
fn each_link_keeps_its_style() {
    let text = "[[Old]] [[Old|shown]] ![[Old#Part^x]] [[a/Old]] [[/a/Old.md]] [t](a/Old.md#Part) [t](<a/Old.md>) \
                [[Other]] `[[Old]]` %%[[Old]]%%\n\n[l]: a/Old.md 'title'\n";
    let before =
        files(&[("a/Old.md", "[[#Here]] [[./b]]"), ("x.md", text), ("a/b.md", "[[../a/Old]]"), ("Other.md", "")]);
    let after = renamed(&before, "a/Old.md", "c d/New (1).md").expect("it can be had");
    let expected = "[[New (1)]] [[New (1)|shown]] ![[New (1)#Part^x]] [[c d/New (1)]] [[/c d/New (1).md]] \
                    [t](c%20d/New%20%281%29.md#Part) [t](<c d/New (1).md>) [[Other]] `[[Old]]` %%[[Old]]%%\n\n\
                    [l]: c%20d/New%20%281%29.md 'title'\n";
    assert_eq!(after["x.md"], expected);
    assert_eq!(after["c d/New (1).md"], "[[#Here]] [[../a/b]]");
    assert_eq!(after["a/b.md"], "[[../c d/New (1)]]");
}

#[test]
fn links_to_others_stay_with_them() {
    let before = files(&[("deep/down/n.md", ""), ("other/m.md", ""), ("x.md", "[[n]] [[m]]")]);
    let after = renamed(&before, "other/m.md", "n.md").expect("it can be had");
    assert_eq!(after["x.md"], "[[deep/down/n]] [[n]]", "the new name is shorter than the old one of another");

    let before = files(&[("a/x.md", "[[n]]"), ("a/n.md", ""), ("b/n.md", "")]);
    let after = renamed(&before, "a/x.md", "b/x.md").expect("it can be had");
    assert_eq!(after["b/x.md"], "[[a/n]]", "what is near has changed");
    let same = renamed(&before, "a/x.md", "a/y.md").expect("it can be had");
    assert_eq!(same["a/y.md"], "[[n]]");
}

#[test]
fn other_names_and_cases_are_kept() {
    let note = "---\naliases: Short\nup: \"[[n]]\"\n---\n";
    let before = files(&[("n.md", note), ("x.md", "[[short]] [[N]]")]);
    let after = renamed(&before, "n.md", "Name.md").expect("it can be had");
    assert_eq!(after["x.md"], "[[short]] [[Name]]");
    assert_eq!(after["Name.md"], "---\naliases: Short\nup: \"[[Name]]\"\n---\n");
    let cased = renamed(&before, "n.md", "N.md").expect("it is the same file");
    assert_eq!(cased["x.md"], "[[short]] [[N]]");
}

#[test]
fn a_name_that_cannot_be_had_is_refused() {
    let before = files(&[("n.md", ""), ("m.md", ""), ("p.png", "")]);
    let refused = |from: &str, to: &str| renamed(&before, from, to).expect_err("it cannot be had").to_string();
    assert_eq!(refused("gone.md", "x.md"), "there is no file gone.md in the vault");
    assert_eq!(refused("n.md", "m.md"), "there is a file m.md already");
    assert_eq!(refused("n.md", "M.md"), "there is a file M.md already");
    assert!(refused("n.md", "a#b.md").contains("no link can have"));
    assert_eq!(refused("n.md", "n.txt"), "n.md and n.txt are not both notes");
}

/// The targets of all links, in order; `moved` says how a file is called afterwards.
fn targets(files: &Files, moved: impl Fn(&VaultPath) -> VaultPath) -> BTreeMap<VaultPath, Vec<Option<VaultPath>>> {
    let links = linked(files);
    let target = |target: Target| match target {
        Target::File { path, .. } => Some(moved(&path)),
        Target::External | Target::Unresolved => None,
    };
    let of = |path: &String| {
        let path = at(path);
        let all = links.outgoing(&path).map(|(_, to)| target(to)).collect();
        (moved(&path), all)
    };
    files.keys().map(of).collect()
}

fn path() -> impl Strategy<Value = String> {
    let folder = proptest::sample::select(vec!["", "a/", "b/", "a/b/", "c d/", "a/a/"]);
    let name = proptest::sample::select(vec!["n", "m", "N x", "\u{e9}", "a", "b", "1.2", "(p)"]);
    (folder, name).prop_map(|(folder, name)| format!("{folder}{name}.md"))
}

fn link() -> impl Strategy<Value = String> {
    let shapes = [
        "[[#]]",
        "[[#|shown]]",
        "![[#]]",
        "[[/#]]",
        "[[./#]]",
        "[[../#]]",
        "[t](#)",
        "[t](<#>)",
        "[t](../#)",
        "`[[#]]`",
    ];
    (path(), proptest::sample::select(shapes.to_vec()), any::<bool>(), any::<bool>()).prop_map(
        |(path, shape, stem, name)| {
            let path = if name { path.rsplit('/').next().expect("a part").to_owned() } else { path };
            let path = if stem { path.trim_end_matches(".md").to_owned() } else { path };
            let path = if shape.contains("](") && !shape.contains('<') {
                encoded(&path, LinkStyle::Markdown, &at("x.md"))
            } else {
                path
            };
            shape.replace('#', &path)
        },
    )
}

fn small_vault() -> impl Strategy<Value = Files> {
    let text = proptest::collection::vec(link(), 0..6).prop_map(|links| links.join(" é\n"));
    proptest::collection::btree_map(path(), text, 1..8).prop_filter("names differ by more than case", |files| {
        let keys: BTreeSet<String> = files.keys().map(|path| key(path)).collect();
        keys.len() == files.len()
    })
}

proptest! {
    /// After any rename every link that led somewhere leads there, and only paths of links were written.
    #[test]
    fn every_link_leads_where_it_led(before in small_vault(), which in any::<prop::sample::Index>(), to in path()) {
        let from = which.get(&before.keys().cloned().collect::<Vec<_>>()).clone();
        let Ok(plan) = plan(&linked(&before), &at(&from), &at(&to)) else { return Ok(()) };
        prop_assert_eq!(&plan.lost, &[]);
        let after = renamed(&before, &from, &to).expect("it was planned");
        let moved = |path: &VaultPath| if path.as_str() == from { at(&to) } else { path.clone() };
        let (led, leads) = (targets(&before, moved), targets(&after, Clone::clone));
        for (path, led) in led {
            for (led, leads) in led.iter().zip(&leads[&path]) {
                // one that led nowhere may find the new name
                prop_assert!(led.is_none() || led == leads, "{path}: {led:?}, now {leads:?}: {before:?} {after:?}");
            }
        }
        for (path, edits) in &plan.edits {
            let text = &before[path.as_str()];
            let note = parse::note(&Source::from(text.as_str()));
            for edit in edits {
                prop_assert!(note.links.iter().any(|link| link.path_span == edit.span), "{edit:?} of {text:?}");
            }
        }
    }
}
