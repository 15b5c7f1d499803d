//! Symbols of each language, by samples, and of what is no code.

use super::{BYTES_MAX, LEVEL_MAX, Language, NAME_MAX, PARSED, SYMBOLS_MAX, Symbol, symbols};

mod any;

/// Symbols as "level kind name", one a line.
fn listed(language: Language, text: &str) -> Vec<String> {
    let found = symbols(language, text);
    check(text, &found);
    found.iter().map(|symbol| format!("{} {} {}", symbol.level, symbol.kind.as_str(), symbol.name)).collect()
}

/// What holds for the symbols of any text.
fn check(text: &str, found: &[Symbol]) {
    assert!(found.len() <= SYMBOLS_MAX);
    let mut around: Vec<&Symbol> = Vec::new();
    let mut begin = 0;
    for symbol in found {
        assert!(text.get(symbol.span.clone()).is_some_and(|own| !own.is_empty()), "{symbol:?}");
        assert!(text.get(symbol.name_span.clone()).is_some_and(|own| !own.is_empty()), "{symbol:?}");
        assert!(symbol.span.start <= symbol.name_span.start && symbol.name_span.end <= symbol.span.end, "{symbol:?}");
        assert!(symbol.span.start >= begin, "{symbol:?} begins before {begin}");
        begin = symbol.span.start;
        assert!(!symbol.name.is_empty() && symbol.name.len() <= NAME_MAX + 8 && !symbol.name.contains('\n'));
        around.retain(|parent| parent.level < symbol.level);
        assert!((1..=LEVEL_MAX).contains(&symbol.level));
        assert_eq!(usize::from(symbol.level), around.len() + 1, "{symbol:?} skips a level");
        if let Some(parent) = around.last() {
            assert!(
                parent.span.start <= symbol.span.start && symbol.span.end <= parent.span.end,
                "{parent:?} {symbol:?}"
            );
        }
        around.push(symbol);
    }
}

fn span<'text>(language: Language, text: &'text str, name: &str) -> &'text str {
    let found = symbols(language, text);
    let symbol = found.iter().find(|symbol| symbol.name == name).unwrap();
    &text[symbol.span.clone()]
}

const RUST: &str = include_str!("tests/samples/sample.rs.txt");
const PYTHON: &str = include_str!("tests/samples/sample.py.txt");
const TYPESCRIPT: &str = include_str!("tests/samples/sample.ts.txt");
const JAVASCRIPT: &str = include_str!("tests/samples/sample.js.txt");
const GO: &str = include_str!("tests/samples/sample.go.txt");
const JAVA: &str = include_str!("tests/samples/sample.java.txt");
const C: &str = include_str!("tests/samples/sample.c.txt");
const CPP: &str = include_str!("tests/samples/sample.cpp.txt");
const SHELL: &str = include_str!("tests/samples/sample.sh.txt");

#[test]
fn finds_rust() {
    let expected = [
        "1 constant LIMIT",
        "1 constant COUNT",
        "1 struct Point",
        "1 enum Shape",
        "1 union Bits",
        "1 trait Area",
        "2 type Unit",
        "2 constant SIDES",
        "2 method area",
        "1 impl impl Area for Shape<'_>",
        "2 method area",
        "3 function inner",
        "1 impl impl Point",
        "2 method new",
        "1 impl impl !Send for Point",
        "1 type Points",
        "1 macro square",
        "1 module deep",
        "2 module deeper",
        "3 function bottom",
        "1 module elsewhere",
        "1 function foreign",
    ];
    assert_eq!(listed(Language::Rust, RUST), expected);
}

#[test]
fn span_of_rust_holds_what_stands_above() {
    assert!(span(Language::Rust, RUST, "Point").starts_with("/// A point.\n/// Of a plane.\n#[derive(Debug)]\n"));
    assert!(span(Language::Rust, RUST, "LIMIT").starts_with("const LIMIT"));
    assert!(span(Language::Rust, RUST, "COUNT").starts_with("static COUNT"));
    assert!(span(Language::Rust, RUST, "Bits").starts_with("#[repr(C)]\n\nunion"));
    let (impl_at, of) = ("Area for Shape<'_>", "impl Area for Shape<'_>");
    let found = symbols(Language::Rust, RUST);
    assert_eq!(&RUST[found.iter().find(|symbol| symbol.name == of).unwrap().name_span.clone()], impl_at);
}

#[test]
fn finds_python() {
    let expected = [
        "1 constant LIMIT",
        "1 constant NAMES",
        "1 class Shape",
        "2 method __init__",
        "2 method area",
        "2 class Meta",
        "3 method deep",
        "1 function fetch",
        "2 function inner",
        "1 function plain",
    ];
    assert_eq!(listed(Language::Python, PYTHON), expected);
    assert!(span(Language::Python, PYTHON, "fetch").starts_with("# about fetch\n@retry(3)\nasync def"));
    assert!(span(Language::Python, PYTHON, "__init__").starts_with("# how it begins\n    def"));
    assert!(span(Language::Python, PYTHON, "plain").starts_with("def plain"));
}

#[test]
fn finds_typescript() {
    let expected = [
        "1 constant LIMIT",
        "1 interface Shape",
        "2 method area",
        "1 type Name",
        "1 enum Color",
        "1 class Base",
        "2 method area",
        "1 class Circle",
        "2 method constructor",
        "2 method area",
        "2 method later",
        "1 function make",
        "1 function make",
        "2 function helper",
        "1 function twice",
        "1 module Inner",
        "2 constant DEPTH",
        "2 function low",
        "1 function known",
        "1 constant first",
        "1 function second",
        "1 function default",
    ];
    for language in [Language::TypeScript, Language::Tsx] {
        assert_eq!(listed(language, TYPESCRIPT), expected);
    }
    let circle = span(Language::TypeScript, TYPESCRIPT, "Circle");
    assert!(circle.starts_with("/** Round. */\n@sealed\nexport class Circle") && circle.ends_with('}'));
    assert!(span(Language::TypeScript, TYPESCRIPT, "twice").starts_with("/** Doubles. */\nexport const twice"));
    assert_eq!(span(Language::TypeScript, TYPESCRIPT, "first"), "const first = 1");
}

#[test]
fn finds_javascript() {
    let expected = [
        "1 function plain",
        "1 function steps",
        "1 class Queue",
        "2 method #size",
        "2 method push",
        "2 method of",
        "1 constant table",
        "2 method run",
        "1 function later",
        "1 function old",
        "1 class default",
        "2 method only",
    ];
    assert_eq!(listed(Language::JavaScript, JAVASCRIPT), expected);
    let view = "export const View = () => <div onClick={() => { const x = 1; }}>(</div>;\n";
    assert_eq!(listed(Language::JavaScript, view), ["1 function View"]);
    assert_eq!(listed(Language::Tsx, view), ["1 function View"]);
}

#[test]
fn finds_go() {
    let expected = [
        "1 constant Limit",
        "1 constant First",
        "1 constant Second",
        "1 variable count",
        "1 variable left",
        "1 variable right",
        "1 struct Point",
        "1 interface Shape",
        "2 method Area",
        "1 type Name",
        "1 struct Box",
        "1 type Alias",
        "1 function Make",
        "2 struct local",
        "1 method Point.Area",
        "1 method Box.Open",
    ];
    assert_eq!(listed(Language::Go, GO), expected);
    assert!(span(Language::Go, GO, "Point").starts_with("// Point is of a plane.\n// It has two sides.\ntype Point"));
    assert!(span(Language::Go, GO, "Second").starts_with("// Second of two.\n\tSecond"));
}

#[test]
fn finds_java() {
    let expected = [
        "1 class Shape",
        "2 constant LIMIT",
        "2 method Shape",
        "2 method area",
        "2 enum Color",
        "2 class Inner",
        "3 method deep",
        "1 interface Named",
        "2 constant MOST",
        "2 method name",
        "1 struct Pair",
        "1 interface Marked",
    ];
    assert_eq!(listed(Language::Java, JAVA), expected);
    assert!(span(Language::Java, JAVA, "Shape").starts_with("/** A shape. */\n@Deprecated\npublic"));
}

#[test]
fn finds_c() {
    let expected = [
        "1 macro LIMIT",
        "1 macro SQUARE",
        "1 struct point",
        "1 enum color",
        "1 struct box_t",
        "1 type callback",
        "1 function area",
        "1 variable handler",
        "1 constant names",
        "1 variable left",
        "1 variable right",
        "1 function copy",
    ];
    assert_eq!(listed(Language::C, C), expected);
    assert!(span(Language::C, C, "copy").starts_with("/* Copies. */\nstatic char *copy"));
    assert_eq!(span(Language::C, C, "LIMIT"), "#define LIMIT 3");
}

#[test]
fn finds_cpp() {
    let expected = [
        "1 module geometry",
        "2 class Shape",
        "3 method Shape",
        "3 method ~Shape",
        "3 method area",
        "3 method operator==",
        "2 enum Color",
        "2 struct Box",
        "3 method open",
        "2 type Name",
        "1 method geometry::Shape::area",
        "1 function most",
        "1 function plain",
    ];
    assert_eq!(listed(Language::Cpp, CPP), expected);
    assert!(span(Language::Cpp, CPP, "Box").starts_with("// A box.\ntemplate <typename T>"));
}

#[test]
fn finds_shell() {
    assert_eq!(listed(Language::Shell, SHELL), ["1 function start", "1 function stop", "2 function inner"]);
    assert!(span(Language::Shell, SHELL, "start").starts_with("# Starts it.\nstart()"));
    assert_eq!(
        listed(Language::Shell, "größe() { echo '名'; }\n# é\nende() { :; }\n"),
        ["1 function größe", "1 function ende"]
    );
    // such characters made the scanner of the grammar read where it must not
    for last in ['\u{10ffff}', '\u{e000}', '名'] {
        for before in ["", "<", "$", "2", "a", "{", "a <<", "${a", "=", "{1.."] {
            listed(Language::Shell, &format!("{before}{last}{last}\n"));
        }
    }
}

#[test]
fn gives_what_broken_code_has() {
    let rust = "fn whole() {}\nstruct Half {\n    left: \nfn after(x: u8) -> { }\nimpl\nfn last() {}\n";
    assert!(listed(Language::Rust, rust).contains(&"1 function whole".to_owned()));
    let python = "def whole():\n    pass\n\nclass (:\n  def\n\ndef last():\n    return (\n";
    assert!(listed(Language::Python, python).contains(&"1 function whole".to_owned()));
    for language in PARSED {
        for text in ["fn", "def f(", "class {", "export default", "type", "func (", "struct {", "f() {", "\0", "const"]
        {
            listed(language, text);
        }
    }
}

#[test]
fn takes_any_line_end() {
    for (language, text) in [(Language::Rust, RUST), (Language::Python, PYTHON), (Language::Go, GO), (Language::C, C)] {
        let lines = text.replace('\n', "\r\n");
        assert_eq!(listed(language, &lines), listed(language, text));
        let spans = |text: &str| -> Vec<String> {
            let found = symbols(language, text);
            found.iter().map(|symbol| text[symbol.span.clone()].replace('\r', "")).collect()
        };
        assert_eq!(spans(&lines), spans(text));
    }
    let marked = "\u{feff}// above\r\nfn one() {}\r\n";
    assert_eq!(span(Language::Rust, marked, "one"), "// above\r\nfn one() {}");
}

#[test]
fn empty_text_has_no_symbols() {
    for language in PARSED {
        for text in ["", " ", "\n", "\r\n\r\n", "\u{feff}"] {
            assert!(symbols(language, text).is_empty());
        }
    }
    assert!(symbols(Language::Other("toml"), "[fn]\nmain = 1\n").is_empty());
}

/// What nests deeper than any stack is ends no process; how long it takes is bounded by the parser's own limit.
#[test]
fn deep_brackets_end_no_process() {
    for language in PARSED {
        for bracket in ["(", "{", "<", "{a:"] {
            let text = bracket.repeat(100_000);
            check(&text, &symbols(language, &text));
        }
    }
}

#[test]
fn limits_hold() {
    let many = "fn a(){}\n".repeat(SYMBOLS_MAX + 10);
    assert_eq!(symbols(Language::Rust, &many).len(), SYMBOLS_MAX);
    let long = format!("fn a() {{}}\n//{}", "x".repeat(BYTES_MAX));
    assert!(symbols(Language::Rust, &long).is_empty());
    let deep = format!("{}fn low() {{}}{}", "mod a { ".repeat(50), "}".repeat(50));
    assert_eq!(listed_levels(&deep), LEVEL_MAX);
    let name = format!("fn {}() {{}}", "é".repeat(NAME_MAX));
    assert!(symbols(Language::Rust, &name)[0].name.len() <= NAME_MAX);
}

fn listed_levels(text: &str) -> u8 {
    symbols(Language::Rust, text).iter().map(|symbol| symbol.level).max().unwrap()
}

#[test]
fn names_languages() {
    let cases = [
        ("src/main.rs", "rust"),
        ("a/B.PY", "python"),
        ("x.d.ts", "typescript"),
        ("x.tsx", "tsx"),
        ("x.mjs", "javascript"),
        ("main.go", "go"),
        ("A.java", "java"),
        ("a.h", "c"),
        ("a.hpp", "cpp"),
        ("run.sh", "shell"),
        (".bashrc", "shell"),
        ("Cargo.toml", "toml"),
        ("a/Makefile", "makefile"),
        ("Dockerfile", "dockerfile"),
        ("Dockerfile.dev", "dockerfile"),
        ("package.json", "json"),
        ("a.proto", "proto"),
        ("Main.kt", "kotlin"),
    ];
    for (path, name) in cases {
        assert_eq!(Language::of(path).map(Language::name), Some(name), "{path}");
    }
    for path in [
        "",
        "/",
        "a.png",
        "Cargo.lock",
        "package-lock.json",
        "go.sum",
        "a.tar.gz",
        "README.md",
        "x.min.js",
        "noname",
        "rs",
    ] {
        assert_eq!(Language::of(path), None, "{path}");
    }
}
