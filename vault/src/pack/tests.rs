//! What is in a pack, in which order, and what is not.

mod laws;

use super::*;

/// A passage of a section, with what follows from its text.
pub fn candidate(path: &str, order: usize, heading: &str, text: &str) -> Candidate {
    Candidate {
        path: path.to_owned(),
        order,
        span: order * 1_000..order * 1_000 + text.len(),
        line: order * 10 + 1,
        headings: if heading.is_empty() { Vec::new() } else { vec![heading.to_owned()] },
        block: None,
        digest: hexadecimal(&Sha256::digest(text)),
        text: text.to_owned(),
        vector: None,
        privacy: Privacy::Open,
        origin: Origin::Found,
    }
}

fn made(budget: Budget, candidates: &[Candidate]) -> Pack {
    pack(Request { budget, private: Private::Taken, candidates }, &tokens::tokens).unwrap()
}

/// What is cited, as `path#order`.
fn cited(pack: &Pack) -> Vec<String> {
    pack.citations.iter().map(|citation| format!("{}#{}", citation.path, citation.span.start / 1_000)).collect()
}

fn why<'a>(pack: &'a Pack, text: &str) -> Option<&'a Why> {
    let digest = hexadecimal(&Sha256::digest(text));
    pack.left_out.iter().find(|left| left.digest == digest).map(|left| &left.why)
}

const PLENTY: Budget = Budget::Bytes(100_000);

/// What a model reads, and what a program does.
#[test]
fn a_pack_cites_what_it_shows() {
    let mut first = candidate("Projects/Plan.md", 3, "Goals", "We want a `pack`.\n\n- small\n- exact");
    first.headings.insert(0, "Plan".to_owned());
    first.block = Some("aim".to_owned());
    let second = candidate("Daily/2026-11-26.md", 0, "", "```rust\nlet budget = 100;");
    let third =
        Candidate { origin: Origin::Linked { distance: 1 }, ..candidate("Projects/Plan.md", 1, "", "Begun in May.") };
    let pack = made(Budget::Tokens(500), &[first, second, third]);
    insta::assert_snapshot!(pack.text);
    insta::assert_json_snapshot!(pack);
}

#[test]
fn a_budget_of_nothing_is_an_error() {
    for budget in [Budget::Bytes(0), Budget::Tokens(0)] {
        let made = pack(Request { budget, private: Private::Taken, candidates: &[] }, &tokens::tokens);
        assert_eq!(made.unwrap_err().to_string(), "the budget of the pack is 0; give it at least one token or byte");
    }
    let nothing = made(PLENTY, &[]);
    assert_eq!((nothing.text.as_str(), nothing.tokens), ("", 0));
}

/// What is weaker and fits is taken where what is better does not.
#[test]
fn what_does_not_fit_is_said() {
    let (long, short) = ("Long words. ".repeat(28), "a short one");
    let candidates =
        [candidate("a.md", 0, "", "first"), candidate("b.md", 0, "", &long), candidate("c.md", 0, "", short)];
    let pack = made(Budget::Bytes(400), &candidates);
    assert_eq!(cited(&pack), ["a.md#0", "c.md#0"]);
    assert_eq!(why(&pack, &long), Some(&Why::Budget));
    assert_eq!(pack.left_out[0].rank, 2);
}

/// With two passages of a section comes its rest, also what no search found, before a better passage of another note.
#[test]
fn a_section_is_completed_first() {
    let beside = |order, heading, text| Candidate { origin: Origin::Beside, ..candidate("a.md", order, heading, text) };
    let mut candidates = vec![
        candidate("a.md", 1, "One", "the apples of the north"),
        candidate("a.md", 4, "One", "pears grow in the south"),
        candidate("b.md", 0, "Other", "nothing of that kind at all"),
        candidate("a.md", 3, "One", "plums are found by rank, but last"),
        beside(2, "One", "cherries between the others"),
        beside(5, "Two", "a section of which nothing was found"),
    ];
    let whole = made(PLENTY, &candidates);
    assert_eq!(cited(&whole), ["a.md#1", "a.md#2", "a.md#3", "a.md#4", "b.md#0"]);
    let completes = whole.citations.iter().find(|citation| citation.rank.is_none()).unwrap();
    assert_eq!((completes.origin, completes.span.start), (Origin::Beside, 2_000));

    // the weaker note is what does not fit any more
    let without: usize = whole.bytes - whole.text.split_once("b.md").unwrap().1.len() - 4;
    assert_eq!(cited(&made(Budget::Bytes(without + 20), &candidates)), ["a.md#1", "a.md#2", "a.md#3", "a.md#4"]);

    // a rest that does not fit is not begun
    candidates[4].text = "many cherries ".repeat(1_000);
    let pack = made(Budget::Bytes(2_000), &candidates);
    assert_eq!(cited(&pack), ["a.md#1", "a.md#3", "a.md#4", "b.md#0"]);
}

/// Two sections of one name are two.
#[test]
fn a_section_ends_where_another_begins() {
    let beside = |order, heading, text| Candidate { origin: Origin::Beside, ..candidate("a.md", order, heading, text) };
    let candidates = [
        candidate("a.md", 0, "Log", "monday was slow"),
        candidate("a.md", 4, "Log", "friday was quick"),
        beside(1, "Log", "tuesday of the first"),
        beside(2, "Else", "what lies between"),
        beside(3, "Log", "thursday of the second"),
    ];
    assert_eq!(cited(&made(PLENTY, &candidates)), ["a.md#0", "a.md#4"]);
}

fn pointing(candidate: Candidate, vector: [f32; 2]) -> Candidate {
    Candidate { vector: Some(vector.to_vec()), ..candidate }
}

/// Of three that say much the same and one that says something else, the other one is not the last.
#[test]
fn a_pack_is_about_more_than_one_thing() {
    let texts = ["the first", "quite alike", "also alike", "a new matter"];
    let vectors = [[1.0, 0.0], [0.9, 0.435_889_9], [0.9, -0.435_889_9], [0.0, 1.0]];
    let named = ["a.md", "b.md", "c.md", "d.md"].into_iter().zip(texts);
    let candidates: Vec<Candidate> =
        named.zip(vectors).map(|((path, text), vector)| pointing(candidate(path, 0, "", text), vector)).collect();
    assert_eq!(cited(&made(PLENTY, &candidates)), ["a.md#0", "d.md#0", "b.md#0", "c.md#0"]);
}

/// What says the same once more is left out, by vectors or else by words, in any script; but for what was named.
#[test]
fn what_is_nearly_the_same_is_left_out() {
    let one = "the quick brown fox jumps over the lazy dog while the cat sleeps on the warm mat near the fire";
    let same = one.replace("fire", "oven").to_uppercase();
    let mut candidates = vec![candidate("a.md", 0, "", one), candidate("b.md", 0, "", &same)];
    let pack = made(PLENTY, &candidates);
    assert_eq!(why(&pack, &same), Some(&Why::Similar { to: candidates[0].digest.clone() }));
    // vectors say that they differ
    let turned = [pointing(candidates[0].clone(), [1.0, 0.0]), pointing(candidates[1].clone(), [0.6, 0.8])];
    assert_eq!(cited(&made(PLENTY, &turned)).len(), 2);
    let alike =
        [pointing(candidates[0].clone(), [1.0, 0.0]), pointing(candidate("c.md", 0, "", "x"), [0.999, 0.044_7])];
    assert_eq!(cited(&made(PLENTY, &alike)), ["a.md#0"]);
    // and one that was not computed says nothing
    let unknown = [f32::NAN, 0.0];
    let turned = [pointing(candidates[0].clone(), unknown), pointing(candidates[1].clone(), unknown)];
    assert_eq!(cited(&made(PLENTY, &turned)).len(), 2);
    candidates[1].origin = Origin::Named;
    assert_eq!(cited(&made(PLENTY, &candidates)), ["b.md#0"]);
    candidates[0].origin = Origin::Named;
    assert_eq!(cited(&made(PLENTY, &candidates)), ["a.md#0", "b.md#0"]);

    let one = "人人生而自由在尊严和权利上一律平等他们赋有理性和良心并应以兄弟关系的精神互相对待";
    let same = one.replace('待', "处");
    let pack = made(PLENTY, &[candidate("a.md", 0, "", one), candidate("b.md", 0, "", &same)]);
    assert_eq!(cited(&pack), ["a.md#0"]);
}

#[test]
fn a_text_is_there_once() {
    let (part, whole) = ("the part", "before it, the part, and after");
    let digest = |text: &str| hexadecimal(&Sha256::digest(text));
    let twice = [candidate("a.md", 0, "", whole), candidate("b.md", 0, "", whole), candidate("c.md", 0, "", part)];
    let pack = made(PLENTY, &twice);
    assert_eq!(cited(&pack), ["a.md#0"]);
    assert!(
        pack.left_out.iter().all(|left| left.why == Why::Duplicate { of: digest(whole) }) && pack.left_out.len() == 2
    );
    // the longer one takes the place of what it holds
    let pack = made(PLENTY, &[candidate("a.md", 0, "", part), candidate("b.md", 0, "", whole)]);
    assert_eq!(cited(&pack), ["b.md#0"]);
    assert_eq!(why(&pack, part), Some(&Why::Duplicate { of: digest(whole) }));
    // and only where it fits
    let long = format!("{part} {}", "and so on ".repeat(20));
    let pack = made(Budget::Bytes(120), &[candidate("a.md", 0, "", part), candidate("b.md", 0, "", &long)]);
    assert!(pack.citations[0].path == "a.md" && pack.text.contains("\n\nthe part\n"));
    // what two ways found is neither there twice nor left out
    let found = candidate("a.md", 0, "", whole);
    let pack = made(PLENTY, &[Candidate { origin: Origin::Named, ..found.clone() }, found]);
    assert_eq!((pack.citations.len(), pack.left_out.len()), (1, 0));
}

/// A passage that no pack of the budget could hold is cut after a sentence, and its citation says so.
#[test]
fn what_is_too_long_for_any_pack_is_cut() {
    let text = "A sentence of some words.\n".repeat(40);
    let long = candidate("a.md", 2, "", &text);
    let pack = made(Budget::Bytes(300), std::slice::from_ref(&long));
    let citation = &pack.citations[0];
    let shown = citation.span.len();
    assert!(pack.text.ends_with("A sentence of some words.\n") && pack.bytes <= 300 && shown > 150, "{}", pack.text);
    assert!(
        pack.text
            .lines()
            .next()
            .unwrap()
            .ends_with(&format!("lines 21-{}, cut to {shown} of 1040 bytes", citation.last_line))
    );
    assert_eq!((citation.cut_from_bytes, citation.last_line), (Some(1_040), 20 + shown.div_ceil(26)));
    assert_eq!(citation.digest, long.digest);

    // beside others only whole sentences are worth it
    let wordy = candidate("b.md", 0, "", &"words without end ".repeat(40));
    let both = [candidate("a.md", 0, "", "first"), wordy.clone()];
    assert_eq!(cited(&made(Budget::Bytes(300), &both)), ["a.md#0"]);
    let alone = made(Budget::Bytes(300), &[wordy]);
    assert!(alone.text.ends_with("end\n") || alone.text.ends_with("without\n") || alone.text.ends_with("words\n"));
    // what is not shown of it is no reason to leave something out
    let last = candidate("b.md", 0, "", "the end of it");
    let ends = candidate("a.md", 0, "", &format!("Short. {}. the end of it", "a b".repeat(200)));
    assert_eq!(cited(&made(Budget::Bytes(160), &[ends, last])), ["a.md#0", "b.md#0"]);
}

/// A pack is private if a passage of it is; one that may leave the node has none, and does not say what it might have had.
#[test]
fn a_pack_is_as_private_as_its_strictest_passage() {
    let secret =
        Candidate { privacy: Privacy::Private, ..candidate("Secret.md", 0, "Secrets", "what nobody may know") };
    let open = candidate("a.md", 0, "", "what everybody knows");
    let candidates = [secret, open];
    assert_eq!(made(PLENTY, &candidates).privacy, Privacy::Private);

    let request = Request { budget: PLENTY, private: Private::Refused, candidates: &candidates };
    let refused = pack(request, &tokens::tokens).unwrap();
    assert_eq!((refused.privacy, cited(&refused).as_slice()), (Privacy::Open, &["a.md#0".to_owned()][..]));
    // nor does one that merely had no room for it
    let mut turned = candidates.clone();
    turned.reverse();
    turned[1].text = "what nobody may know ".repeat(5);
    let full = made(Budget::Bytes(100), &turned);
    assert_eq!((full.privacy, full.citations.len()), (Privacy::Open, 1));
    for pack in [&refused, &full] {
        assert_eq!((pack.private_left_out, pack.left_out.len()), (1, 0));
        let json = pack.to_json();
        assert!(!json.contains("Secret") && !json.contains("nobody") && !json.contains(&candidates[0].digest));
    }
    // a private pack may say it
    let crowded = [Candidate { privacy: Privacy::Private, ..turned[0].clone() }, turned[1].clone()];
    assert_eq!(made(Budget::Bytes(100), &crowded).left_out.len(), 1);
}

/// Tokens are counted by whoever knows them better, and the whole text is held to that count.
#[test]
fn an_exact_counter_is_believed() {
    let candidates: Vec<Candidate> =
        (0..20).map(|at| candidate(&format!("{at}.md"), 0, "", &format!("note number {at}"))).collect();
    let words = |text: &str| text.split_whitespace().count();
    let request = Request { budget: Budget::Tokens(20), private: Private::Taken, candidates: &candidates };
    let by_words = pack(request, &words).unwrap();
    assert_eq!((by_words.tokens, by_words.citations.len()), (14, 2));
    // one that counts more for a whole than for its parts
    let more = |text: &str| text.len() * text.len() / 500;
    let request = Request { budget: Budget::Tokens(100), ..request };
    let by_more = pack(request, &more).unwrap();
    assert!(by_more.tokens <= 100 && by_more.tokens > 50 && by_more.tokens == more(&by_more.text));
    assert_eq!(by_more.citations.len() + by_more.left_out.len(), 20);
}

/// What a name or a passage has in it does not hide the next citation.
#[test]
fn a_citation_stays_a_line_of_its_own() {
    let odd = candidate("a\nb.md", 0, "He\u{2028}ad", "~~~~ text\n```\n~~~\nstill code");
    let pack = made(PLENTY, &[odd, candidate("c.md", 0, "", "```\nclosed\n```\n")]);
    assert!(pack.text.starts_with("a b.md > He ad sha256:"), "{}", pack.text);
    assert!(pack.text.contains("still code\n~~~~\n\nc.md") && pack.text.ends_with("closed\n```\n\n"), "{}", pack.text);
}

#[test]
fn a_pack_is_read_as_it_was_written() {
    let pack = made(PLENTY, &[candidate("a.md", 0, "One", "text of it")]);
    let json = pack.to_json();
    assert_eq!(Pack::from_json(&json).unwrap(), pack);
    let refused = |from: &str, to: &str| {
        assert!(json.contains(from));
        Pack::from_json(&json.replace(from, to)).unwrap_err()
    };
    assert!(matches!(refused("text of it", "text of me"), PackError::Changed));
    assert!(matches!(refused("\"rank\":1", "\"rank\":2"), PackError::Changed));
    assert!(matches!(refused("\"version\":1", "\"version\":2"), PackError::Version(2)));
    assert!(matches!(refused("\"bytes\"", "\"more\":1,\"bytes\""), PackError::Malformed(_)));
}

/// What stands too far down is said to.
#[test]
fn there_are_not_more_candidates_than_can_be_compared() {
    let many: Vec<Candidate> =
        (0..=CANDIDATES_MAX).map(|at| candidate(&format!("{at}.md"), 0, "", &format!("number {at}"))).collect();
    let pack = made(Budget::Bytes(200), &many);
    assert_eq!(pack.left_out.last().map(|left| (&left.why, left.rank)), Some((&Why::Rank, CANDIDATES_MAX + 1)));
    assert_eq!(pack.citations.len() + pack.left_out.len(), CANDIDATES_MAX + 1);
}
