//! The wire form of the actions: each bound at its edge, one spelling, and what a reader does with what it does not know.

use std::time::{Duration, Instant};

use cobs::JOB_VERSION;
use cobs::job::action::{ACTION_BYTES_MAX, Action, ActionError, GrantKind};
use cobs::job::outcome::{RunOutcome, Settlement};
use serde_json::{Value, json};

use crate::script::{ARBITER2, AUTHOR, WORKER1};
use crate::world::{JOB, OTHER_JOB, act, create, node};

/// The most that a decoder may take for one action, in milliseconds of an unoptimised build on a busy machine.
const DECODE_MS_MAX: u64 = 500;

fn value(action: &Action) -> Value {
    serde_json::from_slice(&action.encode()).unwrap()
}

fn root() -> Value {
    value(&Action::Create(Box::new(create())))
}

fn decode(value: &Value) -> Result<Action, ActionError> {
    Action::decode(value.to_string().as_bytes())
}

/// `base` with the field at `pointer` set.
fn with(base: &Value, pointer: &str, field: Value) -> Value {
    let mut value = base.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[key] = field;
    value
}

fn nodes(count: usize) -> Value {
    json!((0..count).map(|seed| node(seed as u8).to_string()).collect::<Vec<_>>())
}

/// One action of each kind but the root, with every field set.
fn actions() -> [Action; 7] {
    let act = act(JOB, 3);
    let Action::Takeover(takeover) = act.takeover(1, WORKER1, 2) else { unreachable!("it is one") };
    let abandoned = Some(cobs::id::Term(2));
    [
        act.bid(7),
        act.grant(0, 1, WORKER1, GrantKind::Held),
        act.done(0, 1, RunOutcome::Exited { code: 3 }),
        act.settle(0, Settlement::Superseded { by: OTHER_JOB }),
        act.cancel("enough"),
        act.step_down(0, ARBITER2, 1),
        Action::Takeover(cobs::job::action::Takeover { abandoned, reason: "died".to_owned(), ..takeover }),
    ]
}

#[test]
fn each_bound_holds_at_its_edge_and_not_beyond() {
    let [bid, grant, done, _, cancel, _, takeover] = actions().map(|action| value(&action));
    let root = root();
    let granted = with(&root, "/grant", json!({"node": node(WORKER1), "kind": "leased", "leaseMs": 1000}));
    let text = |bytes: usize| json!("x".repeat(bytes));
    let list = |count: usize, item: Value| json!(vec![item; count]);
    let input = json!({"path": "a", "digest": "ab".repeat(32), "size": 1});
    let cases: [(&Value, &str, Vec<Value>, Vec<Value>); 18] = [
        (&root, "/nonce", vec![json!("0fA9".repeat(8))], vec![text(32), json!("0".repeat(31)), json!("0".repeat(33))]),
        (&root, "/queue", vec![text(1), text(64)], vec![text(0), text(65)]),
        (&root, "/arbiters", vec![nodes(1), nodes(8)], vec![nodes(0), nodes(9), list(2, json!(node(AUTHOR)))]),
        (&root, "/workers", vec![nodes(1), nodes(64)], vec![nodes(0), nodes(65), list(2, json!(node(AUTHOR)))]),
        (&root, "/spec/attempts", vec![json!(1), json!(50)], vec![json!(0), json!(51)]),
        (&root, "/spec/inputs", vec![list(256, input.clone())], vec![list(257, input)]),
        (&root, "/spec/artifacts", vec![list(64, json!("*"))], vec![list(65, json!("*"))]),
        (&root, "/spec/command", vec![json!(["a"])], vec![json!([]), json!([""])]),
        (&granted, "/grant/leaseMs", vec![json!(1_000), json!(600_000)], vec![json!(999), json!(600_001)]),
        (&bid, "/score", vec![json!(0), json!(1_000)], vec![json!(1_001), json!(-1)]),
        (&bid, "/reason", vec![text(1_024)], vec![text(1_025), json!("é".repeat(513))]),
        (&grant, "/leaseMs", vec![json!(1_000), json!(600_000)], vec![json!(999), json!(600_001)]),
        (&grant, "/term", vec![json!(1), json!(u32::MAX)], vec![json!(0), json!(1u64 << 32)]),
        (&done, "/tail", vec![text(4_096)], vec![text(4_097), json!("é".repeat(2_049))]),
        (&done, "/reason", vec![text(1_024)], vec![text(1_025)]),
        (&cancel, "/reason", vec![text(1_024)], vec![text(1_025)]),
        (&takeover, "/reason", vec![text(1_024)], vec![text(1_025)]),
        (&takeover, "/epoch", vec![json!(1), json!(u32::MAX)], vec![json!(0)]),
    ];
    for (base, pointer, within, beyond) in cases {
        for field in within {
            let edited = with(base, pointer, field);
            assert!(decode(&edited).is_ok(), "{pointer}: {:?}", decode(&edited));
        }
        for field in beyond {
            let error = decode(&with(base, pointer, field.clone())).unwrap_err();
            let named = matches!(error, ActionError::Bounds { field } if pointer.ends_with(field));
            assert!(named || matches!(error, ActionError::Malformed { .. }), "{pointer}: {field} gives {error}");
        }
    }
}

#[test]
fn an_action_is_read_up_to_its_size_and_no_further() {
    let mut bytes = act(JOB, 0).bid(1).encode();
    bytes.resize(ACTION_BYTES_MAX, b' ');
    assert!(Action::decode(&bytes).is_ok());
    bytes.push(b' ');
    assert_eq!(Action::decode(&bytes), Err(ActionError::TooLarge { bytes: ACTION_BYTES_MAX + 1 }));
}

#[test]
fn every_action_is_written_in_one_way_and_reads_as_itself() {
    let root = Action::Create(Box::new(create()));
    for action in actions().into_iter().chain([root]) {
        let bytes = action.encode();
        assert_eq!(Action::decode(&bytes), Ok(action.clone()));
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains([' ', '\n']), "{text}");
        let given = value(&action);
        let keys = given.as_object().unwrap().keys();
        let places: std::collections::BTreeMap<_, _> =
            keys.map(|key| (key, text.rfind(&format!("\"{key}\":")))).collect();
        assert!(places.values().is_sorted() && text.starts_with(r#"{""#), "sorted keys: {text}");
        assert_eq!(value(&action)["type"], json!(action.name()));
    }
    // text is written as it is: composing it (NFC) would name another file, and could break a bound
    let text = "e\u{301} \u{1d160} \u{7f} \u{2028} \" \\ \u{0} \u{1f}";
    let cancel = act(JOB, 0).cancel(text);
    let expected = format!(
        r#"{{"job":"{JOB}","reason":"{}","seq":0,"type":"cancel"}}"#,
        "e\u{301} \u{1d160} \u{7f} \u{2028} \\\" \\\\ \\u0000 \\u001f"
    );
    assert_eq!(String::from_utf8(cancel.encode()).unwrap(), expected);
}

#[test]
fn a_value_in_another_form_makes_an_action_malformed() {
    let [_, grant, done, settle, ..] = actions().map(|action| value(&action));
    let root = with(&root(), "/spec/requirements", json!({"runners": ["vm"], "gpu": {"count": 1}}));
    let log = json!({"digest": "ab".repeat(32), "size": 1});
    let cases = [
        // lists for objects
        (&root, "/grant", json!([node(AUTHOR), "leased", 1000])),
        (&root, "/spec/limits", json!([])),
        (&root, "/spec/limits", json!({"wallMs": [1000, true]})),
        (&root, "/spec/requirements", json!([])),
        (&root, "/spec/requirements/gpu", json!([1])),
        (&root, "/spec/source", json!(["rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5", "c".repeat(40)])),
        (&root, "/spec/inputs", json!([["a", "ab".repeat(32), 1]])),
        (&root, "/spec/retry", json!(["any", 1, 1])),
        (&root, "/spec/llm", json!(["cheap", 1, 1])),
        (&done, "/digests", json!([log])),
        (&done, "/digests", json!([])),
        (&done, "/digests", json!({"log": ["ab".repeat(32), 1]})),
        (&done, "/outcome", json!(["exited", 3])),
        (&settle, "/outcome", json!(["cancelled"])),
        // objects and numbers for words
        (&grant, "/kind", json!({"held": null})),
        (&done, "/outcome/type", json!(0)),
        (&root, "/spec/type", json!(0)),
        (&root, "/mode", json!({"exclusive": null})),
        (&root, "/spec/privacy", json!({"shared": null})),
        (&root, "/spec/requirements/runners", json!([{"vm": null}])),
        (&root, "/spec/requirements/runners", json!(["vm", {"vm": null}])),
        (&root, "/spec/retry", json!({"place": {"any": null}})),
        // what is no integer
        (&grant, "/seq", json!(3.0)),
        (&grant, "/seq", json!("3")),
        (&grant, "/leaseMs", json!(30_000.5)),
        (&done, "/outcome/code", json!(256)),
        // nothing, where something must stand
        (&grant, "/kind", Value::Null),
        (&root, "/mode", Value::Null),
        (&root, "/spec/attempts", Value::Null),
        (&done, "/tail", Value::Null),
    ];
    for (base, pointer, field) in cases {
        let read = decode(&with(base, pointer, field.clone()));
        assert!(matches!(read, Err(ActionError::Malformed { .. })), "{pointer}: {field} gives {read:?}");
    }
    let whole = [
        r#"["bid",null]"#.to_owned(),
        r#"["cancel",1]"#.to_owned(),
        format!(r#"{{"type":"cancel","type":"cancel","job":"{JOB}","seq":0}}"#),
        format!(r#"{{"type":"cancel","job":"{JOB}","seq":0,"seq":0}}"#),
        format!(r#"{{"type":"cancel","job":"{JOB}","seq":0}} {{}}"#),
        format!("\u{feff}{{\"type\":\"cancel\",\"job\":\"{JOB}\",\"seq\":0}}"),
        format!(r#"{{"type":"cancel","job":"{JOB}","seq":-0}}"#),
        format!(r#"{{"type":"cancel","job":"{JOB}","seq":0,"reason":"\ud800"}}"#),
    ];
    for text in whole {
        let read = Action::decode(text.as_bytes());
        assert!(matches!(read, Err(ActionError::Malformed { .. })), "{text} gives {read:?}");
    }
}

#[test]
fn null_is_as_good_as_nothing_where_a_field_has_no_default() {
    for pointer in ["/grant", "/spec/title", "/spec/source", "/spec/retry", "/spec/context", "/spec/startWithinMs"] {
        assert_eq!(decode(&with(&root(), pointer, Value::Null)), decode(&root()), "{pointer}");
    }
}

#[test]
fn a_set_has_no_order_and_of_a_key_that_stands_twice_the_last_counts() {
    let spec = |field: &str, value: &str| {
        let text = root().to_string().replacen(r#""spec":{"#, &format!(r#""spec":{{"{field}":{value},"#), 1);
        Action::decode(text.as_bytes()).unwrap()
    };
    let same = [
        ("requirements", r#"{"labels":["b","a","b"]}"#, r#"{"labels":["a","b"]}"#),
        ("requirements", r#"{"runners":["vm","pod","vm"]}"#, r#"{"runners":["pod","vm"]}"#),
        ("requirements", r#"{"directories":["b","a"]}"#, r#"{"directories":["a","b"]}"#),
        ("retry", r#"{"exitCodes":[9,1,9]}"#, r#"{"exitCodes":[1,9]}"#),
        ("labels", r#"{"a":"1","a":"2"}"#, r#"{"a":"2"}"#),
        ("environment", r#"{"a":"1","a":"2"}"#, r#"{"a":"2"}"#),
    ];
    for (field, one, other) in same {
        assert_eq!(spec(field, one), spec(field, other), "{field}: {one}");
    }
}

#[test]
fn unknown_fields_are_ignored_wherever_they_stand() {
    let odd = json!({"a": [1.5, null, {"b": "ü"}], "reason": 3});
    for action in actions().into_iter().chain([Action::Create(Box::new(create()))]) {
        let given = value(&action);
        let mut pointers = vec!["/new"];
        pointers.extend(given.get("outcome").map(|_| "/outcome/new"));
        pointers.extend(given.get("spec").map(|_| "/spec/new"));
        for pointer in pointers {
            assert_eq!(decode(&with(&given, pointer, odd.clone())), Ok(action.clone()), "{pointer}");
        }
        // a later version may give a field of a root to other actions as well
        let versioned = with(&given, "/version", json!("2"));
        assert_eq!(decode(&versioned).is_ok(), given["type"] != "create", "{versioned}");
    }
    for (number, reads) in [("1e308", true), ("1e309", false), ("18446744073709551616", true)] {
        let text = format!(r#"{{"type":"cancel","job":"{JOB}","seq":0,"new":{number}}}"#);
        assert_eq!(Action::decode(text.as_bytes()).is_ok(), reads, "{number}");
    }
    // an unknown field that stands twice is as unknown; one that no JSON parser takes is not JSON
    let doubled = format!(r#"{{"type":"cancel","job":"{JOB}","seq":0,"new":1,"new":2}}"#);
    assert!(Action::decode(doubled.as_bytes()).is_ok());
    // one level is the action itself
    for (depth, reads) in [(126, true), (127, false), (20_000, false)] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!(r#"{{"type":"cancel","job":"{JOB}","seq":0,"new":{nested}}}"#);
        assert_eq!(Action::decode(text.as_bytes()).is_ok(), reads, "{depth}");
    }
}

#[test]
fn what_a_later_version_adds_is_malformed_and_a_later_root_says_its_version() {
    let [bid, grant, done, settle, ..] = actions().map(|action| value(&action));
    let root = root();
    let unknown = [
        with(&bid, "/type", json!("renew")),
        with(&grant, "/kind", json!("shared")),
        with(&done, "/outcome/type", json!("suspended")),
        with(&settle, "/outcome/type", json!("paused")),
        with(&root, "/mode", json!("parallel")),
        with(&root, "/spec/type", json!("image")),
        with(&root, "/spec/privacy", json!("secret")),
        with(&root, "/spec/requirements", json!({"runners": ["cloud"]})),
    ];
    for value in unknown {
        assert!(matches!(decode(&value), Err(ActionError::Malformed { .. })), "{value}");
    }
    let next = u64::from(JOB_VERSION) + 1;
    for version in [0, next, u64::from(u32::MAX) + 1] {
        // whatever else stands in it, and in whatever form
        let other = json!({"type": "create", "version": version, "spec": [1], "mode": 7});
        assert_eq!(decode(&other), Err(ActionError::Version { version }));
    }
    for version in [json!(-1), json!(1.0), json!("1"), Value::Null] {
        assert!(matches!(decode(&with(&root, "/version", version)), Err(ActionError::Malformed { .. })));
    }
}

#[test]
fn no_action_takes_long_to_read() {
    // each text of a list was looked for in the whole of it
    let texts: Vec<String> = (0..9_000).map(|number| format!("{number:04}")).collect();
    let labels: std::collections::BTreeMap<_, _> = texts.iter().take(6_000).map(|text| (text, "")).collect();
    let many = [
        with(&root(), "/spec/command", json!(texts)),
        with(&root(), "/spec/requirements", json!({"labels": texts})),
        with(&root(), "/spec/labels", json!(labels)),
    ];
    for value in many {
        let bytes = value.to_string().into_bytes();
        assert!((60_000..=ACTION_BYTES_MAX).contains(&bytes.len()), "{}", bytes.len());
        let began = Instant::now();
        assert!(Action::decode(&bytes).is_ok());
        let took = began.elapsed();
        assert!(took < Duration::from_millis(DECODE_MS_MAX), "{took:?}");
    }
}
