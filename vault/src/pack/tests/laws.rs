//! What holds of every pack.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;
use super::candidate;

const WORDS: [&str; 12] = ["apple ", "pear ", "plum ", "fig", " nut ", "人民", "мир ", "é", "`", "~~~\n", ". ", "\n"];

fn text() -> impl Strategy<Value = String> {
    let words = proptest::collection::vec(proptest::sample::select(&WORDS), 1..30).prop_map(|words| words.concat());
    prop_oneof![8 => words.boxed(), 1 => "[a-c]{1,3}".boxed(), 1 => (1usize..300).prop_map(|times| "word".repeat(times)).boxed()]
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let origin = prop_oneof![
        Just(Origin::Named),
        Just(Origin::Found),
        Just(Origin::Found),
        Just(Origin::Linked { distance: 2 }),
        Just(Origin::Beside)
    ];
    let vector = proptest::option::of(0.0f32..6.3);
    let one = (0usize..4, 0usize..8, 0usize..2, text(), vector, origin);
    proptest::collection::vec(one, 0..16).prop_map(|all| {
        let read = all.into_iter().map(|(document, order, heading, text, angle, origin)| Candidate {
            vector: angle.map(|angle| vec![angle.cos(), angle.sin()]),
            // a document is private as a whole
            privacy: if document == 3 { Privacy::Private } else { Privacy::Open },
            origin,
            ..candidate(["a.md", "b.md", "c.md", "Secret.md"][document], order, ["One", "Two"][heading], &text)
        });
        read.collect()
    })
}

fn budget() -> impl Strategy<Value = Budget> {
    prop_oneof![(1usize..900).prop_map(Budget::Bytes), (1usize..300).prop_map(Budget::Tokens)]
}

fn made(budget: Budget, private: Private, candidates: &[Candidate]) -> Pack {
    pack(Request { budget, private, candidates }, &tokens::tokens).unwrap()
}

proptest! {
    /// A pack is within its budget, says what is true of it, and is the same when it is made again.
    #[test]
    fn a_pack_keeps_to_its_budget(candidates in candidates(), budget in budget()) {
        let pack = made(budget, Private::Taken, &candidates);
        let (size, limit) = match budget {
            Budget::Tokens(limit) => (tokens::tokens(&pack.text), limit),
            Budget::Bytes(limit) => (pack.text.len(), limit),
        };
        prop_assert!(size <= limit, "{size} in {limit}:\n{}", pack.text);
        prop_assert_eq!((pack.bytes, pack.tokens), (pack.text.len(), tokens::tokens(&pack.text)));
        prop_assert_eq!(made(budget, Private::Taken, &candidates).to_json(), pack.to_json());
        prop_assert_eq!(Pack::from_json(&pack.to_json()).unwrap(), pack);
    }

    /// Each passage is there once and whole, or cut with the cut said, below the line that cites it; documents do not mix.
    #[test]
    fn what_is_cited_is_shown(candidates in candidates(), budget in budget()) {
        let pack = made(budget, Private::Taken, &candidates);
        let mut rest = pack.text.as_str();
        let mut texts: Vec<&str> = Vec::new();
        for citation in &pack.citations {
            let source = candidates.iter().find(|one| one.path == citation.path && one.span.start == citation.span.start && one.digest == citation.digest);
            let source = source.unwrap();
            let shown = &source.text[..citation.span.len()];
            prop_assert_eq!(citation.cut_from_bytes, (shown.len() < source.text.len()).then_some(source.text.len()));
            let line = rest.find(&format!(" sha256:{} lines {}-{}", &citation.digest[..12], citation.first_line, citation.last_line));
            let after = line.and_then(|line| Some(line + rest[line..].find(&format!("\n\n{shown}"))?));
            prop_assert!(after.is_some(), "{citation:?} in {}", pack.text);
            rest = &rest[after.unwrap() + 2 + shown.len()..];
            texts.push(shown);
        }
        // what has no word says nothing that could be there twice
        for (at, text) in texts.iter().enumerate().filter(|(_, text)| text.contains(char::is_alphanumeric)) {
            let elsewhere = texts.iter().enumerate().filter(|(other, _)| *other != at);
            prop_assert!(elsewhere.map(|(_, other)| other).all(|other| !other.contains(text.trim())), "{text:?} is there twice");
        }
        let mut runs: Vec<&str> = pack.citations.iter().map(|citation| citation.path.as_str()).collect();
        runs.dedup();
        prop_assert_eq!(runs.iter().collect::<BTreeSet<_>>().len(), runs.len());
    }

    /// Everything with a rank is in the pack or left out with a reason that is true, but for what was given twice.
    #[test]
    fn nothing_is_lost(candidates in candidates(), budget in budget()) {
        let pack = made(budget, Private::Taken, &candidates);
        let mut ranks: Vec<usize> = pack.left_out.iter().map(|left| left.rank).collect();
        ranks.extend(pack.citations.iter().filter_map(|citation| citation.rank));
        let unique: BTreeSet<usize> = ranks.iter().copied().collect();
        prop_assert_eq!(unique.len(), ranks.len());
        let ranked: Vec<&Candidate> = candidates.iter().filter(|one| one.origin != Origin::Beside).collect();
        let lost = ranked.iter().zip(1..).filter(|(_, rank)| !unique.contains(rank)).map(|(one, _)| one);
        let is_there = |one: &Candidate| {
            let mut same = candidates.iter().filter(|other| (&other.path, &other.span) == (&one.path, &one.span));
            same.any(|other| pack.citations.iter().any(|citation| citation.digest == other.digest))
        };
        let unsaid: Vec<&&Candidate> = lost.filter(|one| !is_there(one)).collect();
        prop_assert!(unsaid.iter().all(|one| one.privacy == Privacy::Private), "{unsaid:?}");
        prop_assert!(unsaid.len() <= pack.private_left_out);
        for left in &pack.left_out {
            let there = |digest: &String| pack.citations.iter().any(|citation| citation.digest == *digest);
            match &left.why {
                Why::Duplicate { of } => prop_assert!(there(of)),
                Why::Similar { to } => prop_assert!(there(to)),
                Why::Budget => {}
                Why::Rank => prop_assert!(left.rank > CANDIDATES_MAX),
            }
        }
    }

    /// What is refused has no effect but on its count: the rest is as if it were not there.
    #[test]
    fn what_is_refused_leaves_no_trace(candidates in candidates(), budget in budget()) {
        let open: Vec<Candidate> = candidates.iter().filter(|one| one.privacy == Privacy::Open).cloned().collect();
        let refused = made(budget, Private::Refused, &candidates);
        let without = made(budget, Private::Taken, &open);
        prop_assert_eq!(refused.private_left_out, candidates.iter().filter(|one| one.privacy == Privacy::Private && one.origin != Origin::Beside).count());
        let blank = |pack: &Pack| Pack { private_left_out: 0, digest: String::new(), ..pack.clone() };
        prop_assert_eq!(blank(&refused), blank(&without));
        // and a pack with a private passage says so
        let taken = made(budget, Private::Taken, &candidates);
        let has = taken.citations.iter().any(|citation| citation.path == "Secret.md");
        prop_assert_eq!(taken.privacy == Privacy::Private, has);
        prop_assert!(has || !taken.to_json().contains("Secret.md"));
    }
}
