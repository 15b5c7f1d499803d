//! A canvas: notes, files and pages on a plane, in the form of [JSON Canvas 1.0](https://jsoncanvas.org/spec/1.0/).
//!
//! Its links have ranges in the file, within JSON's strings.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::note::{Link, LinkStyle, Place, Span, Warning};
use crate::parse;
use crate::source::Source;

/// A canvas, taken apart.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Canvas {
    /// What lies on it, in the order of the file.
    pub nodes: Vec<CanvasNode>,
    /// The lines between.
    pub edges: Vec<CanvasEdge>,
    /// The files that it shows, and the links in its texts.
    pub links: Vec<Link>,
    /// Tags in its texts.
    pub tags: Vec<String>,
    /// What is wrong with it.
    pub warnings: Vec<Warning>,
}

/// Something on a canvas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CanvasNode {
    /// By which edges name it.
    pub id: String,
    /// What it shows.
    pub shows: Shows,
}

/// What something on a canvas shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shows {
    /// Markdown of its own.
    Text(String),
    /// A file of the vault, and a place in it.
    File {
        /// From the vault's root.
        path: String,
        /// `#heading` or `#^id`.
        subpath: Option<String>,
    },
    /// A page of the web.
    Page(String),
    /// Others, under a title.
    Group(String),
    /// What a newer version of the form has.
    Other(String),
}

/// A line from one node to another.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanvasEdge {
    /// Where it begins.
    pub from_node: String,
    /// Where it ends.
    pub to_node: String,
    /// What is written on it.
    #[serde(default)]
    pub label: String,
}

#[derive(Deserialize)]
struct RawCanvas<'a> {
    #[serde(borrow, default)]
    nodes: Vec<&'a RawValue>,
    #[serde(default)]
    edges: Vec<CanvasEdge>,
}

#[derive(Deserialize)]
struct RawNode<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    file: Option<&'a RawValue>,
    subpath: Option<String>,
    url: Option<String>,
    label: Option<String>,
}

/// Takes a canvas apart. It never fails: what is wrong has a warning.
pub fn canvas(source: &Source) -> Canvas {
    let mut canvas = Canvas::default();
    if let Some(first) = source.invalid().first() {
        canvas.warnings.push(Warning::NotUtf8 { places: source.invalid().len(), first: first.start });
    }
    let text = source.text();
    let inner = &text[source.start()..];
    // Obsidian makes an empty file of a new canvas
    if inner.trim().is_empty() {
        return canvas;
    }
    // a list is taken for the fields of a struct
    let read = if inner.trim_start().starts_with('[') { "0" } else { inner };
    let raw: RawCanvas<'_> = match serde_json::from_str(read) {
        Ok(raw) => raw,
        Err(error) => {
            canvas.warnings.push(Warning::Canvas { why: error.to_string() });
            return canvas;
        }
    };
    for node in raw.nodes {
        match serde_json::from_str::<RawNode<'_>>(node.get()) {
            Ok(node) => take(text, node, &mut canvas),
            Err(error) => canvas.warnings.push(Warning::Canvas { why: format!("a node: {error}") }),
        }
    }
    canvas.edges = raw.edges;
    canvas.links.sort_by_key(|link| (link.span.start, link.span.end));
    canvas
}

fn take(text: &str, node: RawNode<'_>, canvas: &mut Canvas) {
    let file = node.file.and_then(|file| Text::read(text, file));
    let words = node.text.and_then(|words| Text::read(text, words));
    let shows = match (node.kind.as_str(), file, words) {
        ("text", _, Some(words)) => {
            let note = parse::note(&Source::from(words.plain.as_str()));
            canvas.tags.extend(note.tags.into_iter().map(|tag| tag.name));
            canvas.links.extend(note.links.into_iter().map(|link| words.placed(link)));
            Shows::Text(words.plain)
        }
        ("file", Some(file), _) => {
            let span = file.span(0..file.plain.len());
            let place = node.subpath.as_deref().and_then(|subpath| subpath.strip_prefix('#')).map(place);
            canvas.links.push(Link {
                style: LinkStyle::Canvas,
                embed: true,
                path: file.plain.clone(),
                place,
                alias: None,
                size: None,
                path_span: span.clone(),
                span,
            });
            Shows::File { path: file.plain, subpath: node.subpath }
        }
        ("link", ..) => Shows::Page(node.url.unwrap_or_default()),
        ("group", ..) => Shows::Group(node.label.unwrap_or_default()),
        (kind, ..) => Shows::Other(kind.to_owned()),
    };
    canvas.nodes.push(CanvasNode { id: node.id, shows });
}

fn place(subpath: &str) -> Place {
    match subpath.strip_prefix('^') {
        Some(id) => Place::Block(id.to_owned()),
        None => Place::Headings(subpath.split('#').map(|heading| heading.trim().to_owned()).collect()),
    }
}

/// A string of JSON, and where each of its bytes stands in the file.
struct Text {
    plain: String,
    /// One for each byte, and one for the end.
    at: Vec<usize>,
}

impl Text {
    /// The string at `value`, which is a part of `file`; none where it is no string.
    fn read(file: &str, value: &RawValue) -> Option<Self> {
        let raw = value.get();
        let begin = raw.as_ptr().addr() - file.as_ptr().addr() + 1;
        let raw = raw.strip_prefix('"')?.strip_suffix('"')?;
        let (mut plain, mut at) = (String::with_capacity(raw.len()), Vec::with_capacity(raw.len() + 1));
        let mut rest = raw;
        while let Some(first) = rest.chars().next() {
            let length = if first == '\\' { escape_length(rest) } else { first.len_utf8() };
            let place = begin + raw.len() - rest.len();
            if first == '\\' {
                // serde_json has read it already, so it is a string
                let decoded: String = serde_json::from_str(&format!("\"{}\"", &rest[..length])).ok()?;
                at.resize(at.len() + decoded.len(), place);
                plain.push_str(&decoded);
            } else {
                at.extend((0..length).map(|byte| place + byte));
                plain.push(first);
            }
            rest = &rest[length..];
        }
        at.push(begin + raw.len());
        Some(Self { plain, at })
    }

    fn span(&self, span: Span) -> Span {
        self.at[span.start]..self.at[span.end]
    }

    fn placed(&self, link: Link) -> Link {
        Link { span: self.span(link.span.clone()), path_span: self.span(link.path_span.clone()), ..link }
    }
}

/// The bytes of the escape that `text` begins with: two, six, or twelve of a character in two halves.
fn escape_length(text: &str) -> usize {
    let unit = |at: usize| text.get(at..at + 6).filter(|unit| unit.starts_with("\\u"));
    let Some(first) = unit(0) else { return text.len().min(2) };
    let is_high = u16::from_str_radix(&first[2..], 16).is_ok_and(|unit| (0xd800..0xdc00).contains(&unit));
    if is_high && unit(6).is_some() { 12 } else { 6 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::tests::at;
    use crate::links::{Links, Target, TargetPlace};
    use crate::rename;

    const TEXT: &str = r##"{
        "nodes": [
            {"id":"a","type":"text","text":"# T\n\"[[Old]]\" \u00e9 \ud83c\udf89 [[Old|x]] #tag","x":0,"y":0,"width":1,"height":1},
            {"id":"b","type":"file","file":"dir/Old.md","subpath":"#^id","x":0,"y":0,"width":1,"height":1},
            {"id":"c","type":"link","url":"https://a.b","x":0,"y":0,"width":1,"height":1},
            {"id":"d","type":"group","label":"Group","x":0,"y":0,"width":1,"height":1},
            {"id":"e","type":"new","x":0,"y":0,"width":1,"height":1},
            {"type":"text"}
        ],
        "edges": [{"id":"f","fromNode":"a","toNode":"b","label":"to"}]
    }"##;

    #[test]
    fn a_canvas_is_read() {
        let canvas = canvas(&Source::from(TEXT));
        let shows: Vec<_> = canvas.nodes.iter().map(|node| &node.shows).collect();
        assert_eq!(shows[0], &Shows::Text("# T\n\"[[Old]]\" é 🎉 [[Old|x]] #tag".into()));
        assert_eq!(shows[1], &Shows::File { path: "dir/Old.md".into(), subpath: Some("#^id".into()) });
        assert_eq!(
            shows[2..],
            [&Shows::Page("https://a.b".into()), &Shows::Group("Group".into()), &Shows::Other("new".into())]
        );
        assert_eq!((canvas.edges[0].label.as_str(), canvas.tags), ("to", vec!["tag".to_owned()]));
        assert!(matches!(&canvas.warnings[..], [Warning::Canvas { why }] if why.contains("missing field `id`")));
        let paths: Vec<_> = canvas.links.iter().map(|link| &TEXT[link.path_span.clone()]).collect();
        assert_eq!(paths, ["Old", "Old", "dir/Old.md"]);
        assert_eq!(&TEXT[canvas.links[1].span.clone()], "[[Old|x]]");
    }

    #[test]
    fn what_is_no_canvas_has_a_warning() {
        for text in ["[]", "{\"nodes\": 1}", "{", "nothing"] {
            let canvas = canvas(&Source::from(text));
            assert!(matches!(&canvas.warnings[..], [Warning::Canvas { .. }]), "{text}");
        }
        assert_eq!(canvas(&Source::from(" \n")), Canvas::default());
    }

    #[test]
    fn a_canvas_follows_a_new_name() {
        let mut links = Links::default();
        links.insert_note(at("dir/Old.md"), &parse::note(&Source::from("text ^id\n")));
        links.insert_note(at("deep/dir/Old.md"), &parse::note(&Source::from("")));
        links.insert_file(at("x.canvas"), canvas(&Source::from(TEXT)).links);
        let leads = links.outgoing(&at("x.canvas")).map(|(_, target)| target).last().expect("the file");
        let place = TargetPlace::Found(0..8);
        assert_eq!(leads, Target::File { path: at("dir/Old.md"), place });

        let plan = rename::plan(&links, &at("dir/Old.md"), &at("dir/\"New\".md")).expect("it can be had");
        let after = rename::apply(TEXT.as_bytes(), &plan.edits[&at("x.canvas")]);
        let after = String::from_utf8(after).expect("it is text");
        let paths: Vec<_> = canvas(&Source::from(after.as_str())).links.into_iter().map(|link| link.path).collect();
        assert_eq!(paths, ["\"New\"", "\"New\"", "dir/\"New\".md"]);
        assert_eq!(after.replace("\\\"New\\\"", "Old"), TEXT);
    }
}
