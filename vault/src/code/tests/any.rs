//! Any text at all: nothing panics, and all spans lie right.

use proptest::prelude::*;

use super::{C, CPP, GO, JAVA, JAVASCRIPT, PARSED, PYTHON, RUST, SHELL, TYPESCRIPT, check};
use crate::code::symbols;

const WORDS: &[&str] = &[
    "fn ",
    "def ",
    "class ",
    "export ",
    "default ",
    "const ",
    "let ",
    "type ",
    "func ",
    "impl ",
    "for ",
    "struct ",
    "enum ",
    "template",
    "typedef ",
    "namespace ",
    "interface ",
    "@a ",
    "#[a]",
    "#define ",
    "//! x\n",
    "// x\n",
    "# x\n",
    "/* x */",
    "\n",
    "\r\n",
    "\n    ",
    "\t",
    "a",
    "B",
    "é",
    "名",
    "\u{feff}",
    "\0",
    "(",
    ")",
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    "=",
    "=>",
    ";",
    ":",
    ",",
    ".",
    "*",
    "&",
    "'",
    "\"",
    "`",
    "~",
    "!",
    "function ",
    "async ",
    "mod ",
    "var ",
    "static ",
    "final ",
    "public ",
    "1",
    "\\",
    "|",
    "$",
    "${",
    "<<E\n",
    "extern \"C\" ",
    "macro_rules! ",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_text_is_taken(text in any::<String>(), words in pieces()) {
        for language in PARSED {
            check(&text, &symbols(language, &text));
            check(&words, &symbols(language, &words));
        }
    }

    #[test]
    fn any_cut_of_code_is_taken(from in 0_usize..2_000, length in 0_usize..2_000, between in pieces()) {
        let sources = [RUST, PYTHON, TYPESCRIPT, TYPESCRIPT, JAVASCRIPT, GO, JAVA, C, CPP, SHELL];
        for (language, source) in PARSED.into_iter().zip(sources) {
            let from = source.floor_char_boundary(from);
            let to = source.floor_char_boundary(from + length);
            let text = format!("{}{between}{}", &source[..from], &source[to..]);
            check(&text, &symbols(language, &text));
        }
    }
}
