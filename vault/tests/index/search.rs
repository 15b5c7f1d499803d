//! What is found, how it is ranked, and what is shown of it.

use vault::search::SearchError;

use crate::support::{NO_EMBEDDER, Vault};

fn vault() -> Vault {
    let mut vault = Vault::new();
    vault.write(
        "Bees/Swarm control.md",
        "---\naliases: [Artificial swarm]\nprivacy: private\n---\n# Swarm control\n\nIntro.\n\n## In May\n\nFind the queen first. ^queen\n\nThen split the colony in two.\n",
    );
    vault.write("Bees/Diary.md", "# 2026\n\nThe swarm sat in the old pear tree.\n\nWe took the queen home.\n");
    vault.write("Work/parser.md", "The function `parseHTTPResponse` fails with E0382 in `max_retry_count`.\n");
    vault.write("Work/日誌.md", "東京都の天気は晴れです。\n");
    vault.write("Work/deploy.md", "How to deploy: run the deployment script, then watch the deployment.\n");
    vault.write("Work/plain.md", "Nothing of note.\n");
    vault.start();
    vault
}

/// A long text is searched for by its first words, in the time that a search has.
#[test]
fn a_long_text_is_searched_for() {
    let vault = vault();
    let unknown = |number: usize| format!("unheardof{number} ");
    let text = |begin: &str| begin.to_owned() + &(0..200).map(unknown).collect::<String>() + "swarmz";
    let both = ["Bees/Diary.md", "Bees/Swarm control.md"];
    vault.until_found(&text("queenz "), &both);
    // what is like a word that nothing has is looked for only for the first such words
    vault.until_found("swarmz", &both);
    assert_eq!(vault.found(&text("")), [""; 0]);
}

/// Words rank by where they stand; phrases, beginnings of words, words with a wrong letter, names of programs and scripts
/// without spaces are found.
#[test]
fn words_are_found_in_every_form() {
    let vault = vault();
    assert_eq!(vault.found("swarm"), ["Bees/Swarm control.md", "Bees/Diary.md"], "the title counts more");
    vault.until_found("colonies", &["Bees/Swarm control.md"]);
    assert_eq!(vault.found("what is the colony")[0], "Bees/Swarm control.md", "small words say little");
    assert_eq!(vault.found("max_retry_count")[0], "Work/parser.md");
    assert_eq!(vault.found("artificial"), ["Bees/Swarm control.md"], "another name");
    assert_eq!(vault.found("\"queen home\""), ["Bees/Diary.md"]);
    assert_eq!(vault.found("\"home queen\""), [""; 0]);
    assert_eq!(vault.found("deploym"), ["Work/deploy.md"], "the beginning of a word");
    assert_eq!(vault.found("colonny"), ["Bees/Swarm control.md"], "one letter too many");
    assert_eq!(vault.found("parseHTTPResponse"), ["Work/parser.md"]);
    assert_eq!(vault.found("response"), ["Work/parser.md"], "a part of a name");
    assert_eq!(vault.found("e0382"), ["Work/parser.md"]);
    assert_eq!(vault.found("MAX_RETRY_COUNT"), ["Work/parser.md"]);
    assert_eq!(vault.found("retry"), ["Work/parser.md"]);
    for query in ["東京", "天気", "京都の", "晴", "\"東京都の天気\"", "日誌"] {
        assert_eq!(vault.found(query), ["Work/日誌.md"], "{query}");
    }
}

/// A hit names its place: heading, block, line and the words that were found.
#[test]
fn a_hit_shows_its_place() {
    let vault = vault();
    let answer = vault.search("queen path:control").unwrap();
    let [hit] = &answer.hits[..] else { panic!("{answer:#?}") };
    assert_eq!(hit.headings, ["Swarm control", "In May"]);
    assert_eq!((hit.block.as_deref(), hit.line, hit.title.as_str()), (Some("queen"), 11, "Swarm control"));
    assert!(hit.excerpt.starts_with("Find the queen first."), "{}", hit.excerpt);
    assert_eq!(serde_json::to_value(hit.privacy).unwrap(), "private");
    let [part] = &hit.parts[..] else { panic!("{hit:#?}") };
    assert_eq!((&*part.list, part.rank), ("words", 1));
    assert!(part.raw > 0.0 && (part.adds - 1.0 / 11.0).abs() < 1e-9, "{part:?}");
}

/// Filters hold before anything ranks, and a query of filters alone lists what they allow.
#[test]
fn filters_come_first() {
    let vault = vault();
    assert_eq!(vault.found("swarm -path:control"), ["Bees/Diary.md"]);
    assert_eq!(vault.found("swarm deploy path:Work"), ["Work/deploy.md"]);
    assert_eq!(vault.found("[privacy:private]"), ["Bees/Swarm control.md"]);
    assert_eq!(vault.found("line:(queen first)"), ["Bees/Swarm control.md"]);
    assert_eq!(vault.found("/E\\d+/"), ["Work/parser.md"]);
    assert_eq!(vault.found("path:Work").len(), 4);
}

/// What is no query is told, and so is a limit that is none.
#[test]
fn wrong_queries_are_told() {
    let vault = vault();
    let told = |query: &str| vault.search(query).unwrap_err().to_string();
    assert!(told("/a(/").contains("is not one: unclosed group"));
    assert!(told("foo:bar").contains("there is no operator foo"));
    assert!(told("").contains("the query is empty"));
    let request = vault::search::Request {
        query: "a",
        mode: vault::search::Mode::Keyword,
        matching: vault::search::Matching::Any,
        limit: 0,
        privacy: vault::index::record::Privacy::Open,
    };
    let refused = vault::search::search(&vault.serving(), Err(NO_EMBEDDER.to_owned()), request);
    assert!(matches!(refused, Err(SearchError::Limit(0))));
}

/// Without an embedder it is searched by words, and said.
#[test]
fn what_is_missing_is_said() {
    let vault = vault();
    let request = vault::search::Request {
        query: "swarm",
        mode: vault::search::Mode::Hybrid,
        matching: vault::search::Matching::Any,
        limit: 5,
        privacy: vault::index::record::Privacy::Open,
    };
    let answer = vault::search::search(&vault.serving(), Err(NO_EMBEDDER.to_owned()), request).unwrap();
    assert_eq!(answer.hits.len(), 2);
    assert_eq!(answer.mode, vault::search::Mode::Keyword);
    assert_eq!(answer.notices, ["by words only: no embedder is configured"]);
}

/// A hit far into a line is shown from a space on, of whatever kind and length that is.
#[test]
fn any_space_begins_an_excerpt() {
    let mut vault = Vault::new();
    for (name, space) in [("no-break", '\u{a0}'), ("ideographic", '\u{3000}'), ("thin", '\u{2009}')] {
        let text = format!("{}{space}{}quagga\n", "é".repeat(60), "ü".repeat(20));
        vault.write(&format!("{name}.md"), text);
    }
    vault.start();
    assert_eq!(vault.found("/quagga/").len(), 3);
}
