//! `cobs/PROTOCOL.md` says what the code does: its examples are read and written as they stand, and its numbers are ours.

use std::collections::BTreeMap;

use cobs::job::action::{
    ACTION_BYTES_MAX, ARBITERS_MAX, Action, LEASE_MS, NONCE_DIGITS, REASON_BYTES_MAX, TAIL_BYTES_MAX, WORKERS_MAX,
};
use cobs::job::fold::EPOCHS_MAX;
use cobs::job::spec::{ARTIFACT_PATTERNS_MAX, ATTEMPTS_MAX, INPUTS_MAX, Limits, Requirements, Spec};
use cobs::job::state::Ignored;
use cobs::peer::{ADDRESSES_MAX, PeerRecord, RECORD_BYTES_MAX};
use cobs::radworks;
use serde_json::{Value, json};

use crate::script::{ARBITER2, AUTHOR, WORKER1};
use crate::world::node;

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// The JSON examples, with what their abbreviations stand for.
fn examples() -> Vec<Value> {
    let long = [
        ("0…0", "0".repeat(40)),
        ("…", "ab".repeat(32)),
        ("\"z6MkA\"", json!(node(AUTHOR)).to_string()),
        ("\"z6MkB\"", json!(node(WORKER1)).to_string()),
        ("\"z6MkC\"", json!(node(ARBITER2)).to_string()),
        ("rad:z3x", "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5".to_owned()),
    ];
    let blocks = PROTOCOL.split("\n```json\n").skip(1).map(|block| block.split_once("\n```").unwrap().0);
    blocks
        .flat_map(|block| {
            let block = long.iter().fold(block.to_owned(), |block, (short, long)| block.replace(short, long));
            serde_json::Deserializer::from_str(&block).into_iter().map(Result::unwrap).collect::<Vec<Value>>()
        })
        .collect()
}

#[test]
fn every_example_is_read_and_written_as_it_stands() {
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for example in examples() {
        let bytes = example.to_string().into_bytes();
        let (what, written) = if example["type"].is_string() {
            let action = Action::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {example}"));
            assert_eq!(Action::decode(&action.encode()).as_ref(), Ok(&action));
            (action.name().to_owned(), action.encode())
        } else if example["protocol"].is_u64() {
            ("peer record".to_owned(), PeerRecord::decode(&bytes).unwrap().encode())
        } else if let Some(action) = radworks::Action::decode(&bytes) {
            (action.message().to_owned(), action.encode())
        } else {
            assert_eq!(example, json!({"typeName": cobs::job::TYPE_NAME, "version": 1}));
            ("manifest".to_owned(), bytes)
        };
        // no field of an example is unknown, or out of its form
        assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), example);
        *shown.entry(what).or_default() += 1;
    }
    let kinds =
        ["create", "bid", "grant", "done", "settle", "cancel", "stepDown", "takeover", "peer record", "manifest"];
    let radworks = ["Request job", "Run node job", "Finished node job"];
    let all = kinds.iter().chain(&radworks).all(|kind| shown.contains_key(*kind));
    assert!(all && shown["create"] == 3, "{shown:?}");
}

/// A field that is new must be shown in the example with every field.
#[test]
fn the_full_example_sets_every_field_of_a_spec() {
    let full = examples().into_iter().find(|example| example["queue"] == "gpu").unwrap();
    let Action::Create(create) = Action::decode(full.to_string().as_bytes()).unwrap() else { panic!("a root") };
    let Spec {
        work: _,
        title,
        description,
        source,
        inputs,
        artifacts,
        limits,
        requirements,
        attempts,
        retry,
        held_allowed,
        start_within_ms,
        supersedes,
        context,
        llm,
        traceparent,
        submitted_by,
        priority,
        privacy,
        labels,
    } = create.spec;
    let texts = [title, description, traceparent, submitted_by];
    assert!(texts.iter().all(Option::is_some) && source.is_some() && context.is_some() && start_within_ms.is_some());
    assert!(!inputs.is_empty() && !artifacts.is_empty() && !supersedes.is_empty() && !labels.is_empty());
    assert!(attempts > 1 && held_allowed && priority != 0 && privacy != cobs::job::spec::Privacy::Shared);
    let Limits { cpu_milli, memory_bytes, processes, disk_bytes, wall_ms, log_bytes } = limits;
    assert!([cpu_milli, memory_bytes, processes, disk_bytes, wall_ms, log_bytes].iter().all(Option::is_some));
    let Requirements { architecture, system, labels, runners, directories, gpu } = requirements;
    assert!(architecture.is_some() && system.is_some() && gpu.is_some_and(|gpu| gpu.memory_bytes > 0));
    assert!(!labels.is_empty() && !runners.is_empty() && !directories.is_empty());
    let (retry, llm) = (retry.unwrap(), llm.unwrap());
    assert!(retry.backoff_ms > 0 && retry.backoff_max_ms > 0 && !retry.exit_codes.is_empty());
    assert!(llm.budget_tokens.is_some() && llm.budget_micro_usd.is_some());
}

/// A number with commas between its thousands.
fn spelled(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(",")
}

#[test]
fn the_bounds_are_those_of_the_code() {
    let rows = [
        ("action", vec![ACTION_BYTES_MAX as u64]),
        ("`nonce`", vec![NONCE_DIGITS as u64]),
        ("`arbiters`, `workers`", vec![ARBITERS_MAX as u64, WORKERS_MAX as u64]),
        ("`attempts`", vec![u64::from(ATTEMPTS_MAX)]),
        ("`inputs`, `artifacts`", vec![INPUTS_MAX as u64, ARTIFACT_PATTERNS_MAX as u64]),
        ("`leaseMs`, of a grant and a takeover", vec![*LEASE_MS.start(), *LEASE_MS.end()]),
        ("`tail`", vec![TAIL_BYTES_MAX as u64]),
        ("`reason`", vec![REASON_BYTES_MAX as u64]),
    ];
    for (what, numbers) in rows {
        let row = PROTOCOL.lines().find(|line| line.starts_with(&format!("| {what} |"))).unwrap();
        assert!(numbers.iter().all(|number| row.contains(&spelled(*number))), "{row}: {numbers:?}");
    }
    assert!(PROTOCOL.contains(&format!("At most {EPOCHS_MAX} are followed")));
    assert!(PROTOCOL.contains(&format!("at most {} KiB, at most {ADDRESSES_MAX} addresses", RECORD_BYTES_MAX / 1024)));
}

#[test]
fn the_reasons_are_those_of_the_code() {
    let (_, table) = PROTOCOL.split_once("\n| reason |").unwrap();
    let rows =
        table.split("\n\n").next().unwrap().lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let named: Vec<&str> = rows.flat_map(|names| names.split(", ")).map(|name| name.trim_matches('`')).collect();
    let reasons = crate::coverage::EXPECTED.iter().filter_map(|name| name.strip_prefix("ignored "));
    for reason in reasons {
        assert!(named.iter().any(|name| name.eq_ignore_ascii_case(reason)), "{reason} is not there: {named:?}");
    }
    for name in named {
        let reason: Result<Ignored, _> = serde_json::from_value(json!(name));
        assert!(reason.is_ok(), "there is no reason {name}");
    }
}

#[test]
fn a_newer_peer_is_a_peer_all_the_same() {
    let record = examples().into_iter().find(|example| example["protocol"].is_u64()).unwrap();
    let read = |record: &Value| PeerRecord::decode(record.to_string().as_bytes());
    let known = read(&record).unwrap();
    let mut newer = record.clone();
    newer["new"] = json!({"a": 1.5});
    newer["runners"] = json!(["cloud", "sandbox"]);
    assert_eq!(read(&newer).unwrap(), known);
    newer["protocol"] = json!(2);
    assert_eq!(read(&newer).unwrap().protocol, 2);
    // its bounds, at the edge and beyond
    for field in ["linkAddresses", "radicleAddresses"] {
        for (count, reads) in [(ADDRESSES_MAX, true), (ADDRESSES_MAX + 1, false)] {
            let mut many = record.clone();
            many[field] = json!(vec!["192.0.2.1:8777"; count]);
            assert_eq!(read(&many).is_ok(), reads, "{count} {field}");
        }
    }
    for (bytes, reads) in [(RECORD_BYTES_MAX, true), (RECORD_BYTES_MAX + 1, false)] {
        let mut text = record.to_string().into_bytes();
        text.resize(bytes, b' ');
        assert_eq!(PeerRecord::decode(&text).is_ok(), reads, "{bytes}");
    }
}
