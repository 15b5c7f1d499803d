//! Queries of small notes.

use proptest::prelude::*;

use super::*;
use crate::links::tests::at;
use crate::parse;
use crate::source::Source;

const TEXT: &str = "---\ntags: [project/garden]\nrating: 4.5\ndue: 2027-03-01\nstatus: active plan\nempty:\ndone: true\n---\n\
                    Intro about Bees.\n\n# Spring\n\nSow beans and peas\n\n- [ ] buy seeds #shop\n- [x] mend the fence\n\n\
                    # Autumn\n\nHarvest beans\nand store peas. 東京\n";

/// What the query finds in a note called `Projects/Garden plan.md`; none where it is not the note.
fn found(query: &str) -> Option<Vec<&'static str>> {
    let query = read(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let (path, source) = (at("Projects/Garden plan.md"), Source::from(TEXT));
    let note = parse::note(&source);
    let hit = query.find(Document { path: &path, text: TEXT, note: &note })?;
    Some(hit.spans.into_iter().map(|span| &TEXT[span]).collect())
}

fn fits(query: &str) -> bool {
    found(query).is_some()
}

#[test]
fn words_are_found_anywhere() {
    assert_eq!(found("beans"), Some(vec!["beans", "beans"]));
    assert_eq!(found("bees seeds"), Some(vec!["Bees", "seeds"]));
    assert!(fits("garden plan") && fits("東") && !fits("bees wasps"));
    assert_eq!(found("bees OR wasps"), Some(vec!["Bees"]));
    assert!(!fits("wasps OR hornets") && fits("(wasps OR bees) beans") && !fits("wasps OR (bees wasps)"));
    assert!(fits("bees -wasps") && !fits("bees -beans") && fits("-(wasps beans)"));
    assert_eq!(found("\"sow beans\""), Some(vec!["Sow beans"]));
    assert_eq!(found("\"harvest beans and\""), Some(vec!["Harvest beans\nand"]));
    assert!(!fits("\"beans sow\"") && fits("\"peas.\""));
    assert_eq!(found("/b(ee|ean)s/"), Some(vec!["Bees", "beans", "beans"]));
    assert!(fits("/^harvest/") && !fits("/^beans/"));
}

#[test]
fn operators_say_where() {
    assert!(fits("file:garden") && !fits("file:projects") && fits("path:projects") && fits("path:\"Projects/Garden\""));
    assert!(fits("content:bees") && !fits("content:\"garden plan\""));
    assert!(fits("line:(sow peas)") && !fits("line:(sow harvest)") && !fits("line:(harvest store)"));
    assert!(fits("block:(harvest store)") && !fits("block:(sow seeds)"));
    assert!(fits("section:(sow fence)") && !fits("section:(sow harvest)"));
    assert_eq!(found("task:fence"), Some(vec!["fence"]));
    assert!(fits("task-todo:seeds") && !fits("task-todo:fence") && fits("task-done:fence") && !fits("task:beans"));
    assert!(fits("tag:project") && fits("tag:#project/garden") && fits("tag:#SHOP") && !fits("tag:proj"));
    assert!(fits("line:(tag:shop seeds)") && !fits("line:(tag:shop fence)"));
    assert!(fits("match-case:Bees") && !fits("match-case:bees") && fits("match-case:(Bees ignore-case:BEANS)"));
    assert!(fits("bees match-case:Bees BEANS"), "it holds for what follows alone");
}

#[test]
fn properties_are_asked() {
    assert!(fits("[rating]") && fits("[RATING:4.5]") && !fits("[stars]"));
    assert!(fits("[rating:>4]") && !fits("[rating:>5]") && fits("[rating:<5]") && !fits("[rating:<x]"));
    assert!(fits("[due:>2027-01-01]") && fits("[due:<2027-04-01]") && !fits("[due:<2027-03-01]"));
    assert!(fits("[status:active]") && fits("[status:\"active plan\"]") && !fits("[status:done]"));
    assert!(fits("[status:done OR active]") && fits("[status:/^act/]") && fits("[done:true]") && fits("[tags:garden]"));
    assert!(fits("[empty:null]") && !fits("[status:null]") && fits("-[stars] bees"));
}

#[test]
fn what_is_no_query_is_told() {
    let told = |text: &str| read(text).expect_err("it is none").to_string();
    assert_eq!(told(""), "the query is empty at byte 0");
    assert_eq!(told("a OR"), "the query is empty at byte 4");
    assert_eq!(told("( )"), "the query is empty at byte 2");
    assert_eq!(told("(a b"), "what opens with ( at byte 0 is never closed");
    assert_eq!(told("a \"b"), "what opens with \" at byte 2 is never closed");
    assert_eq!(told("[a:b"), "what opens with [ at byte 0 is never closed");
    assert_eq!(told("a)"), "nothing was opened that ) at byte 1 could close");
    assert!(told("foo:bar").starts_with("there is no operator foo: at byte 0; there are file, path"));
    assert!(
        told("/a(/").starts_with("the regular expression at byte 0 is not one: unclosed group"),
        "{}",
        told("/a(/")
    );
    assert!(told("/(a{200}){200}/").contains("exceeds size limit of 1048576"), "{}", told("/(a{200}){200}/"));
    assert!(told(&"(".repeat(100)).contains("lie in each other"));
    assert!(told(&"a".repeat(5000)).contains("4096 are the most"));
    assert!(told("tag:").contains("empty") && told("[:x]").contains("empty") && told("[a:>]").contains("empty"));
}

proptest! {
    /// No text makes reading or asking fail.
    #[test]
    fn any_query_is_read(text in "[a-z:()\"/\\[\\]<>\\-# OR\\\\é|+*]{0,40}") {
        if let Ok(query) = read(&text) {
            let (path, source) = (at("a.md"), Source::from(TEXT));
            let note = parse::note(&source);
            for span in query.find(Document { path: &path, text: TEXT, note: &note }).unwrap_or_default().spans {
                prop_assert!(TEXT.get(span).is_some());
            }
        }
    }

    /// The note is one that a query finds, or one that its opposite finds.
    #[test]
    fn not_is_the_opposite(words in proptest::collection::vec("[a-z]{1,3}", 1..4)) {
        let query = words.join(" ");
        prop_assert_ne!(fits(&query), fits(&format!("-({query})")));
    }
}
