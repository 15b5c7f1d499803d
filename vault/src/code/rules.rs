//! What the nodes of each grammar define. One node at a time, and never deeper than its header.

use std::ops::Range;

use tree_sitter::Node;

use super::symbols::{Context, NAME_MAX};
use super::{Language, SymbolKind};

mod c;

/// A definition that a node makes.
pub(super) struct Found {
    pub name: String,
    pub at: Range<usize>,
    pub kind: SymbolKind,
}

impl Found {
    /// By the text of the node that names it; None where there is none or it names nothing.
    fn by(name: Option<Node<'_>>, kind: SymbolKind, text: &str) -> Option<Self> {
        let at = name?.byte_range();
        let name = one_line(text.get(at.clone())?);
        (!name.is_empty() && name != "_").then_some(Self { name, at, kind })
    }
}

/// The grammar of a language that has one.
pub(super) fn grammar(language: Language) -> Option<tree_sitter::Language> {
    Some(match language {
        Language::Rust => tree_sitter_rust::LANGUAGE.into(),
        Language::Python => tree_sitter_python::LANGUAGE.into(),
        Language::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
        Language::Tsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
        Language::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
        Language::Go => tree_sitter_go::LANGUAGE.into(),
        Language::Java => tree_sitter_java::LANGUAGE.into(),
        Language::C => tree_sitter_c::LANGUAGE.into(),
        Language::Cpp => tree_sitter_cpp::LANGUAGE.into(),
        Language::Shell => tree_sitter_bash::LANGUAGE.into(),
        Language::Other(_) => return None,
    })
}

/// Whether the node is a comment (false) or attribute (true) of what follows.
pub(super) fn lead(language: Language, node: Node<'_>, text: &str) -> Option<bool> {
    match node.kind() {
        "attribute_item" | "decorator" => Some(true),
        "comment" | "line_comment" | "block_comment" => {
            let comment = text.get(node.byte_range())?;
            let is_of_file = match language {
                Language::Rust => comment.starts_with("//!") || comment.starts_with("/*!"),
                _ => node.start_byte() == 0 && comment.starts_with("#!"),
            };
            (!is_of_file).then_some(false)
        }
        _ => None,
    }
}

/// Whether a node only stands around a definition and shares its span with it.
pub(super) fn is_wrapper(node: Node<'_>) -> bool {
    match node.kind() {
        "export_statement"
        | "ambient_declaration"
        | "lexical_declaration"
        | "variable_declaration"
        | "decorated_definition"
        | "template_declaration"
        | "linkage_specification" => true,
        // in a group each definition stands for itself
        "const_declaration" | "var_declaration" | "type_declaration" => {
            node.child(1).is_some_and(|child| child.is_named() && child.kind() != "var_spec_list")
        }
        _ => false,
    }
}

/// Whether a wrapper may hold several definitions.
pub(super) fn is_list(kind: &str) -> bool {
    matches!(kind, "lexical_declaration" | "variable_declaration")
}

/// Whether a wrapper declares what cannot be assigned again.
pub(super) fn is_constant(node: Node<'_>) -> bool {
    is_list(node.kind()) && node.child(0).is_some_and(|word| word.kind() == "const")
}

/// Whether a node of that kind holds statements that run, not definitions for others.
pub(super) fn is_local(kind: &str, parent: &str) -> bool {
    match kind {
        "compound_statement" | "for_statement" | "switch_body" => true,
        "block" => !matches!(parent, "if_statement" | "try_statement" | "else_clause" | "except_clause"),
        "statement_block" => !matches!(parent, "internal_module" | "module" | "ambient_declaration"),
        _ => false,
    }
}

/// What the node defines, itself and not by its children.
pub(super) fn definitions(language: Language, node: Node<'_>, context: &Context<'_>, text: &str) -> Vec<Found> {
    let one = match language {
        Language::Rust => rust(node, context, text),
        Language::Python => python(node, context, text),
        Language::TypeScript | Language::Tsx | Language::JavaScript => script(node, context, text),
        Language::Go => return go(node, context, text),
        Language::Java => java(node, text),
        Language::C | Language::Cpp => return c::definitions(node, context, text),
        Language::Shell if node.kind() == "function_definition" => named(node, SymbolKind::Function, text),
        Language::Shell | Language::Other(_) => None,
    };
    one.into_iter().collect()
}

fn named(node: Node<'_>, kind: SymbolKind, text: &str) -> Option<Found> {
    Found::by(node.child_by_field_name("name"), kind, text)
}

fn rust(node: Node<'_>, context: &Context<'_>, text: &str) -> Option<Found> {
    let kind = match node.kind() {
        "function_item" | "function_signature_item" => match context.inside {
            Some(SymbolKind::Impl | SymbolKind::Trait) => SymbolKind::Method,
            _ => SymbolKind::Function,
        },
        "struct_item" => SymbolKind::Struct,
        "enum_item" => SymbolKind::Enum,
        "union_item" => SymbolKind::Union,
        "trait_item" => SymbolKind::Trait,
        "mod_item" => SymbolKind::Module,
        "const_item" | "static_item" => SymbolKind::Constant,
        "type_item" | "associated_type" => SymbolKind::Type,
        "macro_definition" => SymbolKind::Macro,
        "impl_item" => return implementation(node, text),
        _ => return None,
    };
    named(node, kind, text)
}

fn implementation(node: Node<'_>, text: &str) -> Option<Found> {
    let of = node.child_by_field_name("type")?;
    let whole = |node: Node<'_>| text.get(node.byte_range()).map(one_line);
    let (name, start) = match node.child_by_field_name("trait") {
        Some(of_trait) => {
            let not = of_trait.prev_sibling().filter(|sibling| sibling.kind() == "!");
            let sign = if not.is_some() { "!" } else { "" };
            (format!("impl {sign}{} for {}", whole(of_trait)?, whole(of)?), not.unwrap_or(of_trait).start_byte())
        }
        None => (format!("impl {}", whole(of)?), of.start_byte()),
    };
    Some(Found { name: one_line(&name), at: start..of.end_byte(), kind: SymbolKind::Impl })
}

fn python(node: Node<'_>, context: &Context<'_>, text: &str) -> Option<Found> {
    match node.kind() {
        "class_definition" => named(node, SymbolKind::Class, text),
        "function_definition" => match context.inside {
            Some(SymbolKind::Class) => named(node, SymbolKind::Method, text),
            _ => named(node, SymbolKind::Function, text),
        },
        "type_alias_statement" => Found::by(node.child_by_field_name("left"), SymbolKind::Type, text),
        "assignment" if context.inside.is_none() && !context.local => {
            let name = node.child_by_field_name("left").filter(|left| left.kind() == "identifier");
            Found::by(name, SymbolKind::Constant, text).filter(|found| is_in_capitals(&found.name))
        }
        _ => None,
    }
}

fn is_in_capitals(name: &str) -> bool {
    name.chars().any(char::is_uppercase) && !name.chars().any(char::is_lowercase)
}

/// TypeScript and JavaScript: the one grammar holds the other.
fn script(node: Node<'_>, context: &Context<'_>, text: &str) -> Option<Found> {
    let kind = match node.kind() {
        "function_declaration" | "generator_function_declaration" | "function_signature" => SymbolKind::Function,
        "class_declaration" | "abstract_class_declaration" => SymbolKind::Class,
        "method_definition" | "abstract_method_signature" => SymbolKind::Method,
        "method_signature" if matches!(context.parent, "interface_body" | "class_body") => SymbolKind::Method,
        "interface_declaration" => SymbolKind::Interface,
        "type_alias_declaration" => SymbolKind::Type,
        "enum_declaration" => SymbolKind::Enum,
        "internal_module" | "module" => SymbolKind::Module,
        "function_expression" | "generator_function" | "arrow_function" | "class"
            if context.parent == "export_statement" =>
        {
            let kind = function_or_class(node)?;
            // without a name of its own it is called as importers call it
            return named(node, kind, text).or_else(|| Found::by(keyword_before(node), kind, text));
        }
        "public_field_definition" | "field_definition" => {
            let field = if node.kind() == "field_definition" { "property" } else { "name" };
            let value = node.child_by_field_name("value").and_then(function_or_class);
            value.filter(|kind| *kind == SymbolKind::Function)?;
            return Found::by(node.child_by_field_name(field), SymbolKind::Method, text);
        }
        "variable_declarator" => return variable(node, context, text),
        _ => return None,
    };
    named(node, kind, text)
}

fn keyword_before(node: Node<'_>) -> Option<Node<'_>> {
    let before = node.prev_sibling()?;
    let keyword = if before.is_extra() { before.prev_sibling()? } else { before };
    (keyword.kind() == "default").then_some(keyword)
}

fn variable(node: Node<'_>, context: &Context<'_>, text: &str) -> Option<Found> {
    let name = node.child_by_field_name("name").filter(|name| name.kind() == "identifier")?;
    let value = node.child_by_field_name("value").and_then(function_or_class);
    let kind = value.or_else(|| {
        // of `let` and `var` only functions and classes are told
        let is_told = context.is_constant && !context.local && context.is_of_module();
        is_told.then_some(SymbolKind::Constant)
    })?;
    Found::by(Some(name), kind, text)
}

fn function_or_class(node: Node<'_>) -> Option<SymbolKind> {
    match node.kind() {
        "arrow_function" | "function_expression" | "generator_function" => Some(SymbolKind::Function),
        "class" => Some(SymbolKind::Class),
        _ => None,
    }
}

fn go(node: Node<'_>, context: &Context<'_>, text: &str) -> Vec<Found> {
    let one = match node.kind() {
        "function_declaration" => named(node, SymbolKind::Function, text),
        "method_declaration" => named(node, SymbolKind::Method, text).map(|mut found| {
            if let Some(receiver) = receiver(node).and_then(|receiver| text.get(receiver.byte_range())) {
                found.name = one_line(&format!("{receiver}.{}", found.name));
            }
            found
        }),
        "method_elem" if context.inside == Some(SymbolKind::Interface) => named(node, SymbolKind::Method, text),
        "type_alias" => named(node, SymbolKind::Type, text),
        "type_spec" => {
            let kind = match node.child_by_field_name("type").map(|of| of.kind()) {
                Some("struct_type") => SymbolKind::Struct,
                Some("interface_type") => SymbolKind::Interface,
                _ => SymbolKind::Type,
            };
            named(node, kind, text)
        }
        "const_spec" | "var_spec" if !context.local => {
            let kind = if node.kind() == "const_spec" { SymbolKind::Constant } else { SymbolKind::Variable };
            let mut cursor = node.walk();
            let names = node.children_by_field_name("name", &mut cursor).filter(Node::is_named);
            return names.filter_map(|name| Found::by(Some(name), kind, text)).collect();
        }
        _ => None,
    };
    one.into_iter().collect()
}

/// The name of the type a method of Go belongs to.
fn receiver(method: Node<'_>) -> Option<Node<'_>> {
    let list = method.child_by_field_name("receiver")?;
    let mut of = list.named_child(0)?.child_by_field_name("type")?;
    // a pointer, a type with parameters, a type in brackets: few around each other
    for _ in 0..4 {
        of = match of.kind() {
            "pointer_type" | "parenthesized_type" => of.named_child(0)?,
            "generic_type" => of.child_by_field_name("type")?,
            _ => return Some(of),
        };
    }
    None
}

fn java(node: Node<'_>, text: &str) -> Option<Found> {
    let kind = match node.kind() {
        "class_declaration" => SymbolKind::Class,
        "record_declaration" => SymbolKind::Struct,
        "interface_declaration" | "annotation_type_declaration" => SymbolKind::Interface,
        "enum_declaration" => SymbolKind::Enum,
        "method_declaration" | "constructor_declaration" | "compact_constructor_declaration" => SymbolKind::Method,
        "module_declaration" => SymbolKind::Module,
        "constant_declaration" => return java_constant(node, text),
        "field_declaration" => {
            let modifiers = node.child(0).filter(|child| child.kind() == "modifiers")?;
            let mut cursor = modifiers.walk();
            let fixed = modifiers.children(&mut cursor).filter(|word| matches!(word.kind(), "static" | "final"));
            return if fixed.count() == 2 { java_constant(node, text) } else { None };
        }
        _ => return None,
    };
    named(node, kind, text)
}

fn java_constant(node: Node<'_>, text: &str) -> Option<Found> {
    named(node.child_by_field_name("declarator")?, SymbolKind::Constant, text)
}

/// White space as single spaces, not longer than a name may be.
fn one_line(text: &str) -> String {
    let head = text.get(..text.floor_char_boundary(NAME_MAX)).unwrap_or(text);
    head.split_whitespace().collect::<Vec<_>>().join(" ")
}
