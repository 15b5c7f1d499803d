//! What a query allows by the index is what it is true of.

use std::fs;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use vault::index::record::Privacy;
use vault::parse;
use vault::path::VaultPath;
use vault::query::{self, Document};
use vault::search::{self, Matching, Mode, Request};
use vault::source::Source;

use crate::support::{NO_EMBEDDER, Vault};

const NOTES: usize = 60;
const QUERIES: u32 = 2_000;
const WORDS: [&str; 16] = [
    "bee",
    "bees",
    "beekeeper",
    "honey",
    "Honey",
    "東京",
    "東京都",
    "京",
    "parseHTTP",
    "foo_bar",
    "café",
    "cafe",
    "don't",
    "v1.2",
    "Straße",
    "ключ",
];
const TAGS: [&str; 4] = ["hive", "hive/new", "work", "Ärzte"];

fn word() -> impl Strategy<Value = String> {
    proptest::sample::select(&WORDS[..]).prop_map(str::to_owned)
}

fn line() -> impl Strategy<Value = String> {
    let words = proptest::collection::vec(word(), 1..5).prop_map(|words| words.join(" ")).boxed();
    let tag = proptest::sample::select(&TAGS[..]);
    prop_oneof![
        4 => words.clone(),
        1 => words.clone().prop_map(|words| format!("\n# {words}\n")),
        1 => words.clone().prop_map(|words| format!("- [ ] {words}")),
        1 => words.clone().prop_map(|words| format!("- [x] {words}")),
        1 => (words, tag).prop_map(|(words, tag)| format!("{words} #{tag}\n")),
        1 => Just(String::new()),
    ]
}

fn note() -> impl Strategy<Value = String> {
    let properties = (0..9u32, proptest::sample::select(&TAGS[..]), word())
        .prop_map(|(rating, tag, word)| format!("---\nrating: {rating}\ntags: [{tag}]\nkind: {word}\n---\n"));
    (proptest::option::of(properties), proptest::collection::vec(line(), 0..12))
        .prop_map(|(properties, lines)| properties.unwrap_or_default() + &lines.join("\n"))
}

fn text_query() -> impl Strategy<Value = String> {
    // parts of words too: a query finds what has it anywhere
    let part = (word(), 0usize..4, 1usize..6).prop_map(|(word, from, length)| {
        let characters: Vec<char> = word.chars().collect();
        let from = from.min(characters.len() - 1);
        characters[from..characters.len().min(from + length)].iter().collect::<String>()
    });
    let phrase = proptest::collection::vec(word(), 1..3).prop_map(|words| format!("\"{}\"", words.join(" ")));
    let plain = part.prop_map(|part| format!("\"{part}\""));
    prop_oneof![3 => plain, 2 => phrase, 1 => Just("/b.e/".to_owned()), 1 => Just("/^Honey/".to_owned())]
}

fn any_query() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        5 => text_query(),
        1 => proptest::sample::select(&TAGS[..]).prop_map(|tag| format!("tag:{tag}")),
        1 => (0..9u32).prop_map(|rating| format!("[rating:>{rating}]")),
        1 => word().prop_map(|word| format!("[kind:\"{word}\"]")),
        1 => Just("[kind]".to_owned()),
        1 => word().prop_map(|word| format!("path:\"{word}\"")),
        1 => word().prop_map(|word| format!("match-case:\"{word}\"")),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let scope = proptest::sample::select(
            &["line", "block", "section", "task", "task-todo", "task-done", "content", "file"][..],
        );
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|all| format!("({})", all.join(" "))),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|any| format!("({})", any.join(" OR "))),
            inner.clone().prop_map(|query| format!("-({query})")),
            (scope, inner).prop_map(|(scope, query)| format!("{scope}:({query})")),
        ]
    })
}

/// The index finds the notes that the query, asked of every note, is true of.
#[test]
fn the_index_finds_what_the_query_is_true_of() {
    let config = Config { failure_persistence: None, cases: QUERIES, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()));
    let mut vault = Vault::new();
    for number in 0..NOTES {
        let text = note().new_tree(&mut runner).unwrap().current();
        let name = WORDS[number % WORDS.len()];
        vault.write(&format!("{name}/{number} {name}.md"), text);
    }
    vault.start();
    let notes: Vec<(VaultPath, Source)> = vault
        .serving()
        .catalog()
        .entries()
        .map(|(_, entry)| {
            let bytes = fs::read(vault.root().join(&entry.name)).unwrap();
            (VaultPath::new(&entry.name).unwrap(), Source::new(bytes))
        })
        .collect();
    assert_eq!(notes.len(), NOTES);
    let result = runner.run(&any_query(), |text| {
        let query = query::read(&text).unwrap();
        let is_true = |(path, source): &&(VaultPath, Source)| {
            let note = parse::note(source);
            query.find(Document { path, text: source.text(), note: &note }).is_some()
        };
        let mut expected: Vec<&str> = notes.iter().filter(is_true).map(|(path, _)| path.as_str()).collect();
        let request = Request {
            query: &text,
            mode: Mode::Keyword,
            matching: Matching::All,
            limit: NOTES,
            privacy: Privacy::Open,
        };
        let answer = search::search(&vault.serving(), Err(NO_EMBEDDER.to_owned()), request).unwrap();
        let mut found: Vec<&str> = answer.hits.iter().map(|hit| hit.path.as_str()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected, "{}", text);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
