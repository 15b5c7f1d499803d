//! C and C++, where the name stands somewhere inside a declarator.

use tree_sitter::Node;

use super::{Found, named};
use crate::code::SymbolKind;
use crate::code::symbols::Context;

/// Declarators around each other; more than that no one writes.
const DECLARATORS_MAX: usize = 32;

pub(super) fn definitions(node: Node<'_>, context: &Context<'_>, text: &str) -> Vec<Found> {
    let one = match node.kind() {
        "function_definition" => function(node, context, text),
        "declaration" if !context.local => return declared(node, context, text),
        // data of a type is no definition of its own
        "field_declaration" => function(node, context, text).filter(|found| found.kind == SymbolKind::Method),
        "type_definition" => aliased(node, text),
        "alias_declaration" => named(node, SymbolKind::Type, text),
        "concept_definition" => named(node, SymbolKind::Trait, text),
        "namespace_definition" => named(node, SymbolKind::Module, text),
        "preproc_def" if is_guard(node, context) => None,
        "preproc_def" | "preproc_function_def" => named(node, SymbolKind::Macro, text),
        // the name after a `typedef` is the one that is used
        _ if context.parent == "type_definition" => None,
        _ => with_body(node).and_then(|kind| named(node, kind, text)),
    };
    one.into_iter().collect()
}

/// The kind of a type that is defined here, None where it is only named.
fn with_body(node: Node<'_>) -> Option<SymbolKind> {
    let kind = match node.kind() {
        "struct_specifier" => SymbolKind::Struct,
        "class_specifier" => SymbolKind::Class,
        "union_specifier" => SymbolKind::Union,
        "enum_specifier" => SymbolKind::Enum,
        _ => return None,
    };
    node.child_by_field_name("body").map(|_| kind)
}

/// `#ifndef NAME_H`, `#define NAME_H`
fn is_guard(node: Node<'_>, context: &Context<'_>) -> bool {
    context.parent == "preproc_ifdef" && node.child_by_field_name("value").is_none()
}

fn aliased(node: Node<'_>, text: &str) -> Option<Found> {
    let kind = node.child_by_field_name("type").and_then(with_body).unwrap_or(SymbolKind::Type);
    let (name, _) = declarator(node.child_by_field_name("declarator")?)?;
    Found::by(Some(name), kind, text)
}

fn function(node: Node<'_>, context: &Context<'_>, text: &str) -> Option<Found> {
    let (name, is_function) = declarator(node.child_by_field_name("declarator")?)?;
    is_function.then(|| Found::by(Some(name), function_kind(name, context), text))?
}

fn function_kind(name: Node<'_>, context: &Context<'_>) -> SymbolKind {
    match context.inside {
        Some(SymbolKind::Class | SymbolKind::Struct | SymbolKind::Union) => SymbolKind::Method,
        _ if name.kind() == "qualified_identifier" => SymbolKind::Method,
        _ => SymbolKind::Function,
    }
}

/// Prototypes and variables at the top level.
fn declared(node: Node<'_>, context: &Context<'_>, text: &str) -> Vec<Found> {
    // the type that is defined along with its first variable is what matters
    if node.child_by_field_name("type").and_then(with_body).is_some() {
        return Vec::new();
    }
    let mut cursor = node.walk();
    let is_constant = node.children(&mut cursor).any(|child| {
        child.kind() == "type_qualifier"
            && text.get(child.byte_range()).is_some_and(|word| matches!(word, "const" | "constexpr"))
    });
    let variable = if is_constant { SymbolKind::Constant } else { SymbolKind::Variable };
    let mut cursor = node.walk();
    let declarators = node.children_by_field_name("declarator", &mut cursor).filter_map(declarator);
    let found = declarators.filter_map(|(name, is_function)| {
        let kind = if is_function { function_kind(name, context) } else { variable };
        Found::by(Some(name), kind, text)
    });
    found.collect()
}

/// The name inside a declarator, and whether it is that of a function.
fn declarator(mut node: Node<'_>) -> Option<(Node<'_>, bool)> {
    // what stands nearest to the name decides: `int *f(void)` is a function, `int (*f)(void)` is not
    let mut is_function = false;
    for _ in 0..DECLARATORS_MAX {
        node = match node.kind() {
            "function_declarator" => {
                is_function = true;
                node.child_by_field_name("declarator")?
            }
            "parenthesized_declarator" => node.named_child(0)?,
            kind if kind.ends_with("_declarator") => {
                is_function = false;
                node.child_by_field_name("declarator").or_else(|| node.named_child(0))?
            }
            _ => return Some((node, is_function)),
        };
    }
    None
}
