//! What is read of a note, and that every note can be read.

use proptest::prelude::*;

use super::note;
use crate::note::{BlockKind, Fold, LinkStyle, MarkKind, Note, Place, PropertyValue, Span, Warning};
use crate::source::Source;

mod pieces;

fn read(text: &str) -> Note {
    note(&Source::from(text))
}

fn texts<'a>(text: &'a str, spans: impl IntoIterator<Item = &'a Span>) -> Vec<&'a str> {
    spans.into_iter().map(|span| &text[span.clone()]).collect()
}

fn kinds(text: &str) -> Vec<BlockKind> {
    read(text).blocks.iter().map(|block| block.kind).collect()
}

/// The pieces of a note that a mark of this kind has.
fn marked<'a>(text: &'a str, wanted: &MarkKind) -> Vec<&'a str> {
    let marks = read(text).marks;
    marks.iter().filter(|mark| mark.kind == *wanted).map(|mark| &text[mark.span.clone()]).collect()
}

#[test]
fn properties_have_types() {
    let text = "---\ntitle: A plan\nrating: 4.5\ndone: true\ndue: 2026-11-26\nat: 2026-11-26T17:21\nempty:\n\
                tags:\n- work/plan\n- \"#home\"\naliases: [The plan, Plan B]\nnested: {a: 1}\n---\n# Text\n";
    let note = read(text);
    let value = |name: &str| note.property(name).map(|property| property.value.clone()).expect("it is there");
    assert_eq!(value("title"), PropertyValue::Text("A plan".into()));
    assert_eq!(value("rating"), PropertyValue::Number(4.5));
    assert_eq!(value("DONE"), PropertyValue::Checkbox(true));
    assert_eq!(value("due"), PropertyValue::Date("2026-11-26".into()));
    assert_eq!(value("at"), PropertyValue::DateTime("2026-11-26T17:21".into()));
    assert_eq!(value("empty"), PropertyValue::Empty);
    assert!(matches!(value("nested"), PropertyValue::Other));
    assert_eq!(note.property_tags(), ["work/plan", "home"]);
    assert_eq!(note.aliases(), ["The plan", "Plan B"]);
    let tags = note.property("tags").expect("it is there");
    assert_eq!(&text[tags.span.clone()], "tags:\n- work/plan\n- \"#home\"\n");
    assert_eq!(note.blocks[0].span.start, note.front_matter.expect("it is there").end);
    assert!(note.warnings.is_empty());
}

#[test]
fn properties_that_are_no_yaml_keep_the_note() {
    let note = read("---\ntitle: [open\nother: }{\n---\n# Text\n");
    assert!(matches!(&note.warnings[..], [Warning::Properties { .. }]), "{:?}", note.warnings);
    assert_eq!((note.properties.len(), note.headings[0].text.as_str()), (0, "Text"));
    for text in ["---\nno end\n# Text\n", "text\n---\na: 1\n---\n", "----\na: 1\n----\n", "---"] {
        let note = read(text);
        assert!(note.front_matter.is_none() && note.properties.is_empty(), "{text:?}");
    }
}

#[test]
fn links_are_read_in_every_style() {
    let text = "[[Note]] [[dir/Note#Part#Below|shown]] [[Note#^id]] ![[pic.png|300x20]] ![[Note#Part]] [[#Here]]\n\
                [md](My%20Note.md#Part) [an](<My Note.md>) ![alt|50](pic.png) [out](https://a.b/c) <https://d.e>\n\
                [ref][label]\n\n[label]: other.md \"title\"\n";
    let note = read(text);
    let of = |index: usize| &note.links[index];
    assert_eq!(note.links.len(), 12, "{:#?}", note.links);
    assert_eq!((of(0).path.as_str(), of(0).style), ("Note", LinkStyle::Wiki));
    assert_eq!(of(1).place, Some(Place::Headings(vec!["Part".into(), "Below".into()])));
    assert_eq!((of(1).path.as_str(), of(1).alias.as_deref()), ("dir/Note", Some("shown")));
    assert_eq!(of(2).place, Some(Place::Block("id".into())));
    assert_eq!((of(3).embed, of(3).size, &of(3).alias), (true, Some((300, Some(20))), &None));
    assert_eq!(&text[of(3).span.clone()], "![[pic.png|300x20]]");
    assert_eq!((of(5).path.as_str(), of(5).place.is_some()), ("", true));
    assert_eq!((of(6).path.as_str(), &text[of(6).path_span.clone()]), ("My Note.md", "My%20Note.md"));
    assert_eq!((of(7).style, &text[of(7).path_span.clone()]), (LinkStyle::MarkdownAngled, "My Note.md"));
    assert_eq!((of(8).size, of(8).alias.as_deref()), (Some((50, None)), Some("alt")));
    assert_eq!((of(9).style, of(10).style), (LinkStyle::External, LinkStyle::External));
    assert_eq!(of(10).path, "https://d.e");
    assert_eq!((of(11).style, &text[of(11).path_span.clone()]), (LinkStyle::Definition, "other.md"));
}

#[test]
fn what_looks_like_a_link_is_none() {
    let text = "\\[[first]] `[[code]]` \\[[escaped]] $[[maths]]$ [[ ]] [[open\n[[x]\n\n```\n[[fenced]] #tag\n```\n\n    [[indented]]\n\n\
                <div>\n[[html]]\n</div>\n\n%% [[hidden]] #hidden %%\n";
    assert_eq!(read(text).links, [], "{text}");
    let round = "[[a]](b)\n";
    assert_eq!(texts(round, read(round).links.iter().map(|link| &link.span)), ["[[a]]"]);
    let table = "| a | b |\n|---|---|\n| [[Note\\|shown]] | x |\n";
    let link = &read(table).links[0];
    assert_eq!((link.path.as_str(), link.alias.as_deref()), ("Note", Some("shown")));
    let property = "---\nup: \"[[Parent]]\"\n---\n";
    assert_eq!(texts(property, read(property).links.iter().map(|link| &link.path_span)), ["Parent"]);
}

#[test]
fn tags_are_read_as_obsidian_does() {
    let text = "#one #two/three (#four) #5 #6a x#no \\#not #Übung/日本 #🎉, ## Heading #end.\n\n# Title #in-heading\n";
    let note = read(text);
    let names: Vec<_> = note.tags.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(names, ["one", "two/three", "four", "6a", "Übung/日本", "🎉", "end", "in-heading"]);
}

#[test]
fn tasks_have_any_status() {
    let text = "- [ ] to do\n- [x] done\n* [/] half\n  1. [-] dropped #t\n- [] none\n- [ab] none\n- [?]\n- plain\n";
    let note = read(text);
    let tasks: Vec<_> = note.tasks.iter().map(|task| (task.status, task.text.as_str())).collect();
    assert_eq!(tasks, [(' ', "to do"), ('x', "done"), ('/', "half"), ('-', "dropped #t"), ('?', "")]);
    assert_eq!(texts(text, note.tasks.iter().map(|task| &task.status_span)), [" ", "x", "/", "-", "?"]);
    assert_eq!(&text[note.tasks[1].span.clone()], "[x] done");
}

#[test]
fn ids_name_their_block() {
    let text = "A paragraph\nof two lines ^para\n\n- item ^item\n  - inner ^inner\n\n| a |\n|---|\n| b |\n\n^table\n\n> quote\n\n^quote\n\nx^2 and ^ no\n";
    let note = read(text);
    let ids: Vec<_> = note.block_ids.iter().map(|id| (id.id.as_str(), &text[id.block.clone()])).collect();
    let expected = [
        ("para", "A paragraph\nof two lines ^para"),
        ("item", "- item ^item\n  - inner ^inner"),
        ("inner", "- inner ^inner"),
        ("table", "| a |\n|---|\n| b |"),
        ("quote", "> quote"),
    ];
    assert_eq!(ids, expected);
}

#[test]
fn callouts_may_be_nested_and_folded() {
    let text = "> [!Note]- A title\n> text\n>> [!warning|x]+\n>> inner\n\n> a quote\n";
    let note = read(text);
    let callouts: Vec<_> = note
        .callouts
        .iter()
        .map(|callout| (callout.kind.as_str(), callout.title.as_str(), callout.fold, callout.depth))
        .collect();
    assert_eq!(callouts, [("note", "A title", Fold::Closed, 0), ("warning", "", Fold::Open, 1)]);
    assert_eq!(kinds(text), [BlockKind::Callout, BlockKind::Quote]);
}

#[test]
fn headings_open_sections() {
    let text = "intro\n# One #\ntext\n## Two **bold**\n\nThree\n=====\nend\n";
    let note = read(text);
    let headings: Vec<_> = note.headings.iter().map(|heading| (heading.level, heading.text.as_str())).collect();
    assert_eq!(headings, [(1, "One"), (2, "Two **bold**"), (1, "Three")]);
    assert_eq!(&text[note.section(0)], "# One #\ntext\n## Two **bold**\n\n");
    assert_eq!(&text[note.section(1)], "## Two **bold**\n\n");
    assert_eq!(&text[note.section(2)], "Three\n=====\nend\n");
}

#[test]
fn marks_have_their_place() {
    let text = "==high== `co==de==` $x$ %%note%% word[^1] and^[in [[place]] it] a == b ==\n\n$$\ny\n$$\n\n[^1]: foot\n\n\
                ```rust ignore\nfn main() {}\n```\n";
    assert_eq!(marked(text, &MarkKind::Highlight), ["==high=="]);
    assert_eq!(marked(text, &MarkKind::InlineCode), ["`co==de==`"]);
    assert_eq!(marked(text, &MarkKind::InlineMaths), ["$x$"]);
    assert_eq!(marked(text, &MarkKind::Maths), ["$$\ny\n$$"]);
    assert_eq!(marked(text, &MarkKind::Comment), ["%%note%%"]);
    assert_eq!(marked(text, &MarkKind::InlineFootnote), ["^[in [[place]] it]"]);
    assert_eq!(marked(text, &MarkKind::FootnoteReference { label: "1".into() }), ["[^1]"]);
    assert_eq!(marked(text, &MarkKind::FootnoteDefinition { label: "1".into() }).len(), 1);
    assert_eq!(marked(text, &MarkKind::Code { language: "rust".into() }).len(), 1);
}

#[test]
fn comments_hide_what_is_in_them() {
    let text = "before\n\n%%\n# hidden\n\n- [ ] hidden [[x]]\n```\n%%\n\nafter `%%` #tag\n\n%% to the end\n# too\n";
    let note = read(text);
    assert_eq!((note.headings.len(), note.tasks.len(), note.links.len(), note.tags.len()), (0, 0, 0, 1));
    let comments = marked(text, &MarkKind::Comment);
    assert_eq!(comments.len(), 2, "{comments:?}");
    assert!(comments[1].ends_with("too\n"));
    assert_eq!(marked("10%% and 20 %\n", &MarkKind::Comment), [""; 0]);
}

#[test]
fn bytes_of_any_kind_are_a_note() {
    let note = note(&Source::new(b"# A \xff\xfe b\n[[\xc3]]\n".to_vec()));
    assert_eq!(note.warnings, [Warning::NotUtf8 { places: 3, first: 4 }]);
    assert_eq!((note.headings.len(), note.links.len()), (1, 1));
    let marked = read("\u{feff}---\r\na: 1\r\n---\r\n# T\r\n\r\n- [x] d\r\n");
    assert_eq!((marked.properties.len(), marked.headings[0].text.as_str()), (1, "T"));
    assert_eq!((marked.tasks[0].text.as_str(), marked.front_matter), ("d", Some(3..19)));
}

/// A note of very many lines is read in time that grows with its length.
#[test]
fn a_long_note_is_read() {
    let line = "- [ ] a task with a [[Link|to it]] and a #tag, `code` and ==mark== %%hidden%%\n";
    let note = read(&line.repeat(100_000));
    assert_eq!((note.tasks.len(), note.links.len(), note.tags.len()), (100_000, 100_000, 100_000));
}

fn spans(note: &Note) -> Vec<Span> {
    let mut spans: Vec<Span> = note.front_matter.iter().cloned().collect();
    spans.extend(note.properties.iter().map(|property| property.span.clone()));
    spans.extend(note.blocks.iter().map(|block| block.span.clone()));
    spans.extend(note.headings.iter().map(|heading| heading.span.clone()));
    spans.extend((0..note.headings.len()).map(|heading| note.section(heading)));
    spans.extend(note.links.iter().flat_map(|link| [link.span.clone(), link.path_span.clone()]));
    spans.extend(note.tags.iter().map(|tag| tag.span.clone()));
    spans.extend(note.tasks.iter().flat_map(|task| [task.span.clone(), task.status_span.clone()]));
    spans.extend(note.block_ids.iter().flat_map(|id| [id.span.clone(), id.block.clone()]));
    spans.extend(note.callouts.iter().map(|callout| callout.span.clone()));
    spans.extend(note.marks.iter().map(|mark| mark.span.clone()));
    spans
}

/// What must hold of every note: each range is text of it, and properties and blocks are the whole of it.
fn holds(text: &str) {
    let note = read(text);
    for span in spans(&note) {
        assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}");
    }
    let mut at = note.front_matter.as_ref().map_or(Source::from(text).start(), |front_matter| front_matter.end);
    for block in &note.blocks {
        assert!(block.span.start == at && block.span.end > at, "{block:?} at {at} of {text:?}");
        at = block.span.end;
    }
    assert_eq!(at, text.len(), "{text:?}: {:?}", note.blocks);
    for link in &note.links {
        let (whole, path) = (&link.span, &link.path_span);
        assert!(whole.start <= path.start && path.end <= whole.end, "{link:?} of {text:?}");
    }
}

/// What once had a range that is none.
#[test]
fn what_failed_once_holds() {
    for text in ["%%| a | b |\n1. \u{feff}%%c%%", "\n ^id\n```"] {
        holds(text);
    }
}

proptest! {
    /// No text makes it fail, and every byte has its place.
    #[test]
    fn every_note_is_read(text in pieces::note()) {
        holds(&text);
    }

    /// The same of any characters at all.
    #[test]
    fn any_text_is_read(text in "\\PC{0,200}") {
        holds(&text);
    }

    /// And of bytes.
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let source = Source::new(bytes.clone());
        prop_assert_eq!(source.text().len(), bytes.len());
        holds(source.text());
    }
}
