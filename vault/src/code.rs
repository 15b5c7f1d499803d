//! Source files: their language by name, the definitions in their text, and both as a note.

use std::ops::Range;

use serde::{Deserialize, Serialize};

mod note;
mod rules;
mod symbols;
#[cfg(test)]
mod tests;

pub use note::{FindSymbols, note};
pub use symbols::{BYTES_MAX, DEPTH_MAX, LEVEL_MAX, NAME_MAX, PARSE_MAX, SYMBOLS_MAX, symbols};

/// A programming language by its file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// `.rs`
    Rust,
    /// `.py`, `.pyi`
    Python,
    /// `.ts` and its module forms
    TypeScript,
    /// `.tsx`
    Tsx,
    /// `.js`, `.jsx` and the module forms
    JavaScript,
    /// `.go`
    Go,
    /// `.java`
    Java,
    /// `.c`, and `.h` as nothing in a name tells it from C++
    C,
    /// `.cpp`, `.hpp` and their spellings
    Cpp,
    /// Scripts of sh, bash and their kin.
    Shell,
    /// A known text format whose symbols are not found.
    Other(&'static str),
}

/// The languages whose symbols are found, in an order that does not change.
pub const PARSED: [Language; 10] = [
    Language::Rust,
    Language::Python,
    Language::TypeScript,
    Language::Tsx,
    Language::JavaScript,
    Language::Go,
    Language::Java,
    Language::C,
    Language::Cpp,
    Language::Shell,
];

impl Language {
    /// By extension or well-known file name; None where the file is not source or text that people write by hand.
    pub fn of(path: &str) -> Option<Self> {
        let file = path.rsplit(['/', '\\']).next()?.to_lowercase();
        if is_generated(&file) {
            return None;
        }
        if let Some(known) = by_file_name(&file) {
            return Some(known);
        }
        let (_, extension) = file.rsplit_once('.')?;
        by_extension(extension).or_else(|| data_by_extension(extension).map(Self::Other))
    }

    /// In lower case, as fences of Markdown name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::TypeScript => "typescript",
            Self::Tsx => "tsx",
            Self::JavaScript => "javascript",
            Self::Go => "go",
            Self::Java => "java",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Shell => "shell",
            Self::Other(name) => name,
        }
    }
}

/// What a symbol is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SymbolKind {
    /// A function that belongs to no type.
    Function,
    /// A function of a type, also where only its signature is given.
    Method,
    /// A class.
    Class,
    /// A struct or record.
    Struct,
    /// An enumeration.
    Enum,
    /// A union of C or Rust.
    Union,
    /// An interface; of Java also an annotation type.
    Interface,
    /// A trait; of C++ a concept.
    Trait,
    /// An `impl` block of Rust.
    Impl,
    /// A type by another name.
    Type,
    /// A module or namespace.
    Module,
    /// A constant.
    Constant,
    /// A variable at the top level.
    Variable,
    /// A macro.
    Macro,
}

impl SymbolKind {
    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Method => "method",
            Self::Class => "class",
            Self::Struct => "struct",
            Self::Enum => "enum",
            Self::Union => "union",
            Self::Interface => "interface",
            Self::Trait => "trait",
            Self::Impl => "impl",
            Self::Type => "type",
            Self::Module => "module",
            Self::Constant => "constant",
            Self::Variable => "variable",
            Self::Macro => "macro",
        }
    }
}

/// A definition in a source file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Symbol {
    /// As it is called; of a method of Go with its type, of an `impl` with what it is of.
    pub name: String,
    /// What it is.
    pub kind: SymbolKind,
    /// 1 = top level, 2 = inside one, at most [`LEVEL_MAX`]; deeper ones stay at that.
    pub level: u8,
    /// The whole definition in bytes, with doc comments, attributes and decorators directly above.
    pub span: Range<usize>,
    /// Where the name stands in bytes, inside `span`.
    pub name_span: Range<usize>,
}

/// Whether tools write the file: `file` is its name in lower case.
fn is_generated(file: &str) -> bool {
    const LOCKS: [&str; 6] =
        ["package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "packages.lock.json", "go.sum", "go.work.sum"];
    LOCKS.contains(&file) || file.ends_with(".min.js") || file.ends_with(".min.css")
}

fn by_file_name(file: &str) -> Option<Language> {
    let name = match file {
        ".bashrc" | ".bash_profile" | ".bash_aliases" | ".profile" | ".zshrc" | ".zprofile" | ".zshenv"
        | "pkgbuild" | "apkbuild" => return Some(Language::Shell),
        "sconstruct" | "sconscript" | "wscript" => return Some(Language::Python),
        "makefile" | "gnumakefile" => "makefile",
        "dockerfile" | "containerfile" => "dockerfile",
        "justfile" | ".justfile" => "just",
        "rakefile" | "gemfile" | "vagrantfile" | "podfile" | "fastfile" | "brewfile" => "ruby",
        "jenkinsfile" => "groovy",
        "cmakelists.txt" => "cmake",
        "build" | "workspace" | "build.bazel" | "workspace.bazel" | "module.bazel" => "starlark",
        "go.mod" | "go.work" => "gomod",
        "pipfile" => "toml",
        ".gitignore" | ".dockerignore" | ".npmignore" | ".prettierignore" | ".eslintignore" | ".ignore" => "ignore",
        ".gitattributes" => "gitattributes",
        ".gitmodules" | ".gitconfig" | ".editorconfig" | ".npmrc" | ".flake8" | ".pylintrc" => "ini",
        ".prettierrc" | ".eslintrc" | ".babelrc" => "json",
        ".clang-format" | ".clang-tidy" => "yaml",
        ".vimrc" => "vim",
        "codeowners" => "codeowners",
        _ if file.starts_with("dockerfile.") || file.starts_with("containerfile.") => "dockerfile",
        _ if file.starts_with("makefile.") => "makefile",
        _ => return None,
    };
    Some(Language::Other(name))
}

fn by_extension(extension: &str) -> Option<Language> {
    Some(match extension {
        "rs" => Language::Rust,
        "py" | "pyi" | "pyw" => Language::Python,
        "ts" | "mts" | "cts" => Language::TypeScript,
        "tsx" => Language::Tsx,
        "js" | "jsx" | "mjs" | "cjs" => Language::JavaScript,
        "go" => Language::Go,
        "java" => Language::Java,
        "c" | "h" => Language::C,
        "cpp" | "cc" | "cxx" | "c++" | "hpp" | "hh" | "hxx" | "h++" | "ipp" | "inl" | "tpp" => Language::Cpp,
        "sh" | "bash" | "zsh" | "ksh" | "bats" => Language::Shell,
        _ => return code_by_extension(extension).map(Language::Other),
    })
}

/// Programming languages without a grammar here.
fn code_by_extension(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "kt" | "kts" => "kotlin",
        "rb" | "rake" | "gemspec" => "ruby",
        "cs" | "csx" => "csharp",
        "fs" | "fsi" | "fsx" => "fsharp",
        "swift" => "swift",
        "scala" | "sc" | "sbt" => "scala",
        "groovy" | "gradle" => "groovy",
        "php" => "php",
        "pl" | "pm" => "perl",
        "lua" => "lua",
        "r" => "r",
        "jl" => "julia",
        "m" | "mm" => "objectivec",
        "dart" => "dart",
        "ex" | "exs" => "elixir",
        "erl" | "hrl" => "erlang",
        "hs" | "lhs" => "haskell",
        "ml" | "mli" => "ocaml",
        "elm" => "elm",
        "clj" | "cljs" | "cljc" | "edn" => "clojure",
        "lisp" | "el" => "lisp",
        "scm" | "rkt" => "scheme",
        "zig" | "zon" => "zig",
        "nim" => "nim",
        "v" | "sv" | "svh" => "verilog",
        "vhd" | "vhdl" => "vhdl",
        "s" | "asm" => "assembly",
        "cu" | "cuh" => "cuda",
        "sol" => "solidity",
        "vue" => "vue",
        "svelte" => "svelte",
        "astro" => "astro",
        "nix" => "nix",
        "fish" => "fish",
        "ps1" | "psm1" => "powershell",
        "bat" | "cmd" => "batch",
        "awk" => "awk",
        "vim" => "vim",
        "wat" => "wat",
        "glsl" | "vert" | "frag" => "glsl",
        "wgsl" => "wgsl",
        "bzl" | "star" => "starlark",
        _ => return None,
    })
}

/// Formats of data, configuration and styles.
fn data_by_extension(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "toml" => "toml",
        "yaml" | "yml" => "yaml",
        "json" | "jsonc" | "json5" | "webmanifest" => "json",
        "html" | "htm" | "xhtml" => "html",
        "css" => "css",
        "scss" | "sass" => "scss",
        "less" => "less",
        "sql" => "sql",
        "proto" => "proto",
        "capnp" => "capnp",
        "thrift" => "thrift",
        "graphql" | "gql" => "graphql",
        "xml" | "xsd" | "xsl" | "xslt" => "xml",
        "tf" | "tfvars" | "hcl" => "hcl",
        "cmake" => "cmake",
        "mk" | "mak" => "makefile",
        "just" => "just",
        "dockerfile" | "containerfile" => "dockerfile",
        "ini" | "cfg" | "conf" | "properties" | "service" | "timer" | "socket" | "desktop" => "ini",
        "j2" | "jinja" | "tmpl" | "hbs" | "ejs" | "mustache" => "template",
        "rst" => "rst",
        "adoc" | "asciidoc" => "asciidoc",
        "tex" | "sty" | "bib" => "latex",
        "typ" => "typst",
        "txt" => "text",
        "pest" | "ebnf" | "bnf" | "g4" => "grammar",
        _ => return None,
    })
}
