//! Changes of small notes.

use proptest::prelude::*;

use super::*;
use crate::parse;
use crate::rename::apply;

fn changed(text: &str, edit: Edit) -> String {
    String::from_utf8(apply(text.as_bytes(), &[edit])).expect("it is text")
}

fn patched(text: &str, place: &Place, change: &Change) -> Result<String, PatchError> {
    let source = Source::from(text);
    super::text(&source, &parse::note(&source), place, change).map(|edit| changed(text, edit))
}

fn set(text: &str, name: &str, value: Option<&Value>) -> Result<String, PatchError> {
    let source = Source::from(text);
    super::property(&source, &parse::note(&source), name, value).map(|edit| changed(text, edit))
}

fn heading(path: &[&str]) -> Place {
    Place::Heading(path.iter().map(|part| (*part).to_owned()).collect())
}

fn replace(text: &str) -> Change {
    Change::Replace(text.to_owned())
}

fn append(text: &str) -> Change {
    Change::Append(text.to_owned())
}

fn prepend(text: &str) -> Change {
    Change::Prepend(text.to_owned())
}

#[test]
fn a_section_is_changed() {
    let text = "# One\n\nfirst\n\n## Two\nsecond\n\n# Three\nthird";
    let patched = |path: &[&str], change: &Change| patched(text, &heading(path), change).expect("it is there");
    assert_eq!(patched(&["two"], &replace("new")), "# One\n\nfirst\n\n## Two\nnew\n\n# Three\nthird");
    assert_eq!(patched(&["One", "Two"], &append("more")), "# One\n\nfirst\n\n## Two\nsecond\nmore\n\n# Three\nthird");
    assert_eq!(patched(&["Three"], &append("more")), "# One\n\nfirst\n\n## Two\nsecond\n\n# Three\nthird\nmore\n");
    assert_eq!(patched(&["Two"], &prepend("less")), "# One\n\nfirst\n\n## Two\nless\nsecond\n\n# Three\nthird");
    assert_eq!(patched(&["One"], &replace("")), "# One\n# Three\nthird");
    let bare = super::tests::patched("# One", &heading(&["One"]), &append("text")).expect("it is there");
    assert_eq!(bare, "# One\ntext\n");
    let windows =
        super::tests::patched("# One\r\na\r\n\r\n# Two\r\n", &heading(&["One"]), &append("b\nc")).expect("there");
    assert_eq!(windows, "# One\r\na\r\nb\r\nc\r\n\r\n# Two\r\n");
}

#[test]
fn a_block_is_changed_and_keeps_its_id() {
    let text = "a paragraph ^p\n\n- item ^i\n- other\n\n| t |\n|---|\n\n^t\n";
    let patched = |id: &str, change: &Change| patched(text, &Place::Block(id.into()), change).expect("it is there");
    assert_eq!(patched("p", &replace("new words")), text.replace("a paragraph", "new words"));
    assert_eq!(patched("P", &append("more")), text.replace("a paragraph ^p", "a paragraph\nmore ^p"));
    assert_eq!(patched("i", &replace("- thing")), text.replace("- item", "- thing"));
    assert_eq!(patched("t", &append("| u |")), text.replace("|---|\n", "|---|\n| u |\n"));
    assert_eq!(patched("p", &prepend("less")), text.replace("a paragraph", "less\na paragraph"));
}

#[test]
fn what_is_not_there_is_named() {
    let text = "# One\n## Two\ntext ^id\n";
    let refused = |place: &Place| patched(text, place, &append("x")).expect_err("it is not there").to_string();
    assert_eq!(refused(&heading(&["Two", "One"])), "there is no heading Two > One; the note has One, Two");
    assert_eq!(refused(&Place::Block("no".into())), "there is no block ^no; the note has ^id");
    assert_eq!(refused(&heading(&[])), "there is no heading ; the note has One, Two");
}

#[test]
fn a_property_is_set() {
    let text = "---\ntitle: A # kept\ntags:\n- x\n- y\nlast: 1\n---\nbody\n";
    let set = |name: &str, value: Value| set(text, name, Some(&value)).expect("it can be");
    assert_eq!(
        set("Tags", Value::List(vec!["z".into(), "#1".into()])),
        text.replace("- x\n- y\n", "  - z\n  - \"#1\"\n")
    );
    assert_eq!(set("last", Value::Checkbox(true)), text.replace("last: 1", "last: true"));
    assert_eq!(
        set("new", Value::Text("[[Link]]: yes".into())),
        text.replace("last: 1\n", "last: 1\nnew: \"[[Link]]: yes\"\n")
    );
    assert_eq!(set("new", Value::Text("2026-11-26".into())), text.replace("last: 1\n", "last: 1\nnew: 2026-11-26\n"));
    assert_eq!(set("new", Value::Number(1.5)), text.replace("last: 1\n", "last: 1\nnew: 1.5\n"));
    assert_eq!(super::tests::set(text, "tags", None).expect("it can go"), text.replace("tags:\n- x\n- y\n", ""));
    assert_eq!(super::tests::set(text, "no", None).expect("it is gone"), text);
    let first = super::tests::set("body\n", "a", Some(&Value::Text("true".into()))).expect("it can be");
    assert_eq!(first, "---\na: \"true\"\n---\nbody\n");
}

#[test]
fn a_property_that_cannot_be_is_refused() {
    let broken = "---\na: [\n---\n";
    assert_eq!(set(broken, "b", Some(&Value::Empty)), Err(PatchError::BrokenProperties));
    let flow = "---\n{a: 1, b: 2}\n---\n";
    assert_eq!(set(flow, "a", Some(&Value::Empty)), Err(PatchError::Property("a".into())));
}

proptest! {
    /// Any text that a property gets is read as it was given, and every other byte stays.
    #[test]
    fn a_text_is_read_as_it_was_written(value in "\\PC{0,40}", name in "[a-z][a-zA-Z0-9 _-]{0,8}[a-z]") {
        let text = "---\nfirst: [1, 2]\nlast: x\n---\n# Body\n";
        if let Ok(after) = set(text, &name, Some(&Value::Text(value.clone()))) {
            let note = parse::note(&Source::from(after.as_str()));
            let property = note.property(&name).expect("it was set");
            let rest = format!("{}{}", &after[..property.span.start], &after[property.span.end..]);
            prop_assert!(rest == text || ["first", "last"].contains(&name.as_str()), "{after}");
            prop_assert_eq!(property.value.texts(), [value.as_str()]);
        } else {
            prop_assert!(false, "{name:?} could not be {value:?}");
        }
    }

    /// A section takes any text without the headings of others, and all else stays.
    #[test]
    fn a_section_takes_any_words(words in "[a-zé \n]{0,60}", which in 0..3_usize) {
        let text = "intro\n\n# A\na\n\n## B\nb\n\n# C\nc\n";
        let name = ["A", "B", "C"][which];
        for change in [append(&words), prepend(&words), replace(&words)] {
            let after = patched(text, &heading(&[name]), &change).expect("it is there");
            let note = parse::note(&Source::from(after.as_str()));
            let names: Vec<&str> = note.headings.iter().map(|heading| heading.text.as_str()).collect();
            if change != replace(&words) || name != "A" {
                prop_assert_eq!(&names, &["A", "B", "C"], "{}", &after);
            }
            let untouched = if name == "C" { "intro\n\n# A\na\n\n## B\nb\n\n# C" } else { "intro\n\n# A\n" };
            prop_assert!(after.starts_with(untouched), "{after}");
        }
    }
}
