//! The walk over a syntax tree, and the spans of what it finds. What a node defines is for the rules to say.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::thread;
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

use super::rules::{self, Found};
use super::{Language, Symbol, SymbolKind};

/// Longest text in bytes; a longer one has no symbols.
pub const BYTES_MAX: usize = 1 << 20;
/// Most symbols of a text; the first ones are kept.
pub const SYMBOLS_MAX: usize = 20_000;
/// Depth of the syntax tree below which nothing is looked for.
pub const DEPTH_MAX: usize = 1_000;
/// Longest time for parsing; a text that takes longer has no symbols.
pub const PARSE_MAX: Duration = Duration::from_millis(500);
/// Deepest level of a symbol.
pub const LEVEL_MAX: u8 = 6;
/// Longest name in bytes; a longer one is cut.
pub const NAME_MAX: usize = 200;
/// Stack for the parser whatever the text.
const STACK_MIN: usize = 1 << 20;
/// Stack for each byte of the text: two levels of a byte each, at 128 bytes unoptimised.
const STACK_PER_BYTE: usize = 256;

/// The definitions of a text, in order of their begin. Never panics; broken code gives what can be found.
pub fn symbols(language: Language, text: &str) -> Vec<Symbol> {
    if text.len() > BYTES_MAX {
        return Vec::new();
    }
    let Some(grammar) = rules::grammar(language) else {
        return Vec::new();
    };
    let find = || {
        parse(&grammar, &readable(language, text)).map(|tree| Walk { language, text, symbols: Vec::new() }.run(&tree))
    };
    on_deep_stack(text.len(), find).flatten().unwrap_or_default()
}

/// The parser calls itself for every level of what it takes for nested, and no one can catch the overflow of a stack.
fn on_deep_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    // only the part that is used takes memory
    let stack = STACK_MIN + bytes * STACK_PER_BYTE;
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("symbols".to_owned()).stack_size(stack).spawn_scoped(scope, work);
        worker.ok()?.join().ok()
    })
}

/// What the parser is given, of the same length as the text.
fn readable(language: Language, text: &str) -> Cow<'_, [u8]> {
    if language != Language::Shell || text.is_ascii() {
        return Cow::Borrowed(text.as_bytes());
    }
    // the scanner of this grammar asks `isdigit` about any character, which reads outside of its table
    Cow::Owned(text.bytes().map(|byte| if byte.is_ascii() { byte } else { b'x' }).collect())
}

fn parse(grammar: &tree_sitter::Language, text: &[u8]) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(grammar).ok()?;
    let begun = Instant::now();
    let mut late =
        |_: &ParseState| if begun.elapsed() > PARSE_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let options = ParseOptions::new().progress_callback(&mut late);
    let mut read = |offset: usize, _| text.get(offset..).unwrap_or_default();
    parser.parse_with_options(&mut read, None, Some(options))
}

/// Where a node stands: what holds for all children of one parent.
pub(super) struct Context<'tree> {
    /// The kind of the parent node.
    pub parent: &'tree str,
    /// The kind of the symbol around.
    pub inside: Option<SymbolKind>,
    /// Whether it is in a body of statements, where variables are nobody else's.
    pub local: bool,
    /// Whether the parent declares what cannot be assigned again (`const`).
    pub is_constant: bool,
    level: u8,
    /// The span of the nodes that only wrap the definition (`export`, decorators), until one has taken it.
    outer: Option<Range<usize>>,
    /// Whether several definitions share the wrapper.
    several: bool,
    lead: Option<Lead>,
}

impl Context<'_> {
    /// Whether nothing but modules stands around.
    pub fn is_of_module(&self) -> bool {
        self.inside.is_none_or(|kind| kind == SymbolKind::Module)
    }
}

/// Comments and attributes that may belong to the definition after them.
#[derive(Clone)]
struct Lead {
    span: Range<usize>,
    /// An attribute belongs to what follows even after an empty line, a comment does not.
    is_attribute: bool,
}

struct Walk<'text> {
    language: Language,
    text: &'text str,
    symbols: Vec<Symbol>,
}

impl Walk<'_> {
    /// The contexts stand in a list, not on the call stack, as a text may nest as deep as it is long.
    fn run(mut self, tree: &Tree) -> Vec<Symbol> {
        let mut cursor = tree.walk();
        let root = Context {
            parent: tree.root_node().kind(),
            inside: None,
            local: false,
            is_constant: false,
            level: 1,
            outer: None,
            several: false,
            lead: None,
        };
        if !cursor.goto_first_child() {
            return self.symbols;
        }
        let mut contexts = vec![root];
        while let Some(context) = contexts.last_mut() {
            let below = self.visit(cursor.node(), context);
            if self.symbols.len() >= SYMBOLS_MAX {
                self.symbols.truncate(SYMBOLS_MAX);
                break;
            }
            if let Some(below) = below
                && contexts.len() < DEPTH_MAX
                && cursor.goto_first_child()
            {
                contexts.push(below);
                continue;
            }
            while !cursor.goto_next_sibling() {
                contexts.pop();
                if contexts.is_empty() || !cursor.goto_parent() {
                    return self.symbols;
                }
            }
        }
        self.symbols
    }

    /// Takes down what the node defines; gives the context of its children, None where they are of no interest.
    fn visit<'tree>(&mut self, node: Node<'tree>, context: &mut Context<'tree>) -> Option<Context<'tree>> {
        if !node.is_named() {
            return None;
        }
        if let Some(is_attribute) = rules::lead(self.language, node, self.text) {
            context.lead = self.lead(node, is_attribute, context.lead.take());
            return None;
        }
        let mut below = Context {
            parent: node.kind(),
            inside: context.inside,
            local: context.local || rules::is_local(node.kind(), context.parent),
            is_constant: false,
            level: context.level,
            outer: None,
            several: false,
            lead: None,
        };
        if rules::is_wrapper(node) {
            below.several = rules::is_list(node.kind()) && node.named_child_count() > 1;
            below.is_constant = rules::is_constant(node);
            below.outer = context.outer.take().or_else(|| Some(self.span(node, context.lead.as_ref())));
            return Some(below);
        }
        let found = rules::definitions(self.language, node, context, self.text);
        let Some(kind) = found.first().map(|first| first.kind) else {
            // a comment may stand before the block whose first definition it is about, as with Python
            below.lead.clone_from(&context.lead);
            return Some(below);
        };
        let mut span = self.span(node, context.lead.as_ref());
        // in broken code another symbol may stand between the begin of the wrapper and this one
        let begin = self.symbols.last().map_or(0, |last| last.span.start);
        if let Some(outer) = context.outer.take().filter(|outer| begin <= outer.start) {
            span = outer.start..if context.several { span.end } else { outer.end };
        }
        self.add(found, &span, context.level);
        below.inside = Some(kind);
        below.level = (context.level + 1).min(LEVEL_MAX);
        Some(below)
    }

    fn add(&mut self, found: Vec<Found>, span: &Range<usize>, level: u8) {
        for Found { name, at, kind } in found {
            let is_inside = span.start <= at.start && at.end <= span.end && !at.is_empty();
            // the parser is not ours: what it says of positions is not relied upon
            if is_inside && self.text.get(span.clone()).is_some() && self.text.get(at.clone()).is_some() {
                self.symbols.push(Symbol { name, kind, level, span: span.clone(), name_span: at });
            }
        }
    }

    /// Without the line end that some nodes hold, and with what stands directly above.
    fn span(&self, node: Node<'_>, lead: Option<&Lead>) -> Range<usize> {
        let own = self.trimmed(node);
        let start = lead.filter(|lead| self.touches(lead, own.start)).map_or(own.start, |lead| lead.span.start);
        start..own.end
    }

    fn trimmed(&self, node: Node<'_>) -> Range<usize> {
        let span = node.byte_range();
        let length = self.text.get(span.clone()).map_or(span.len(), |text| text.trim_end().len());
        span.start..span.start + length
    }

    fn touches(&self, lead: &Lead, start: usize) -> bool {
        let Some(gap) = self.text.get(lead.span.end..start) else {
            return false;
        };
        // the white space is looked at first: it ends soon where other text follows
        gap.chars().all(char::is_whitespace)
            && (lead.is_attribute || gap.bytes().filter(|byte| *byte == b'\n').count() <= 1)
    }

    fn lead(&self, node: Node<'_>, is_attribute: bool, before: Option<Lead>) -> Option<Lead> {
        let own = self.trimmed(node);
        let start = match before.filter(|lead| self.touches(lead, own.start)) {
            Some(before) => before.span.start,
            None if is_attribute || self.begins_line(own.start) => own.start,
            // it is about what stands before it in its line
            None => return None,
        };
        Some(Lead { span: start..own.end, is_attribute })
    }

    fn begins_line(&self, start: usize) -> bool {
        let before = self.text.get(..start).unwrap_or_default().trim_end_matches([' ', '\t', '\u{feff}']);
        before.is_empty() || before.ends_with('\n')
    }
}
