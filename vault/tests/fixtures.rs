//! What is read of `fixtures/vault`, as a snapshot: every syntax and every nasty case.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use vault::canvas::canvas;
use vault::links::{Links, Target};
use vault::note::{Note, Span};
use vault::parse;
use vault::path::VaultPath;
use vault::source::Source;

/// Every file below `fixtures/vault` that Obsidian shows, in order.
fn files() -> Vec<(VaultPath, Source)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/vault");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') {
                folders.push(path);
            } else if path.is_file() {
                files.push((VaultPath::new(name).unwrap(), Source::new(fs::read(&path).unwrap())));
            }
        }
    }
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    files
}

fn linked(files: &[(VaultPath, Source)]) -> Links {
    let mut links = Links::default();
    for (path, source) in files {
        if path.is_note() {
            links.insert_note(path.clone(), &parse::note(source));
        } else if path.is_canvas() {
            links.insert_file(path.clone(), canvas(source).links);
        } else {
            links.insert_file(path.clone(), Vec::new());
        }
    }
    links
}

/// All that was read of a note, a line for each.
fn shown(source: &Source, note: &Note) -> String {
    let mut lines = String::new();
    let at = |span: &Span| format!("{}..{} {:?}", span.start, span.end, &source.text()[span.clone()]);
    for warning in &note.warnings {
        writeln!(lines, "warning {warning}").unwrap();
    }
    for property in &note.properties {
        writeln!(lines, "property {} = {:?}, {}", property.name, property.value, at(&property.span)).unwrap();
    }
    for block in &note.blocks {
        writeln!(lines, "block {:?} {}", block.kind, at(&block.span)).unwrap();
    }
    for (index, heading) in note.headings.iter().enumerate() {
        let section = note.section(index);
        writeln!(lines, "heading {} {:?}, section {}..{}", heading.level, heading.text, section.start, section.end)
            .unwrap();
    }
    for tag in &note.tags {
        writeln!(lines, "tag {} {}", tag.name, at(&tag.span)).unwrap();
    }
    for task in &note.tasks {
        writeln!(lines, "task {:?} {:?} {}", task.status, task.text, at(&task.span)).unwrap();
    }
    for id in &note.block_ids {
        writeln!(lines, "id {} of {}", id.id, at(&id.block)).unwrap();
    }
    for callout in &note.callouts {
        let (kind, title, fold) = (&callout.kind, &callout.title, callout.fold);
        writeln!(lines, "callout {kind} {title:?} {fold:?}, depth {}, {}", callout.depth, at(&callout.span)).unwrap();
    }
    for mark in &note.marks {
        writeln!(lines, "{:?} {}", mark.kind, at(&mark.span)).unwrap();
    }
    lines
}

/// Every note is read as it was last time, when somebody looked at it.
#[test]
fn every_note_of_the_fixture_is_read() {
    for (path, source) in files().into_iter().filter(|(path, _)| path.is_note()) {
        let name = path.as_str().replace(['/', ' '], "_");
        insta::assert_snapshot!(name, shown(&source, &parse::note(&source)));
    }
}

/// Every link leads where it did last time.
#[test]
fn every_link_of_the_fixture_leads_somewhere() {
    let files = files();
    let links = linked(&files);
    let mut lines = String::new();
    for (path, source) in &files {
        for (link, target) in links.outgoing(path) {
            let target = match target {
                Target::External => "the world".to_owned(),
                Target::Unresolved => "nothing".to_owned(),
                Target::File { path, place } => format!("{path} {place:?}"),
            };
            let text = &source.text()[link.span.clone()];
            writeln!(
                lines,
                "{path}: {text} ({:?}, alias {:?}, size {:?}) -> {target}",
                link.style, link.alias, link.size
            )
            .unwrap();
        }
    }
    let orphans: Vec<&str> = links.orphans().into_iter().map(VaultPath::as_str).collect();
    writeln!(lines, "orphans: {}", orphans.join(", ")).unwrap();
    insta::assert_snapshot!("links", lines);
}
