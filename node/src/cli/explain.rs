//! Which nodes could run a job, as a person reads it: a line for each, with all that speaks for and against it.

use scheduler::place::Verdict;

use super::output::{plain, table};
use super::quantity::show_ms;
use crate::ops::types::{Explain, ExplainNode};

/// A capacity younger than this is as good as new.
const NEW_MS: u64 = 15_000;

/// What it waits for, the table of nodes, and what is odd about it.
pub fn explain(explained: &Explain) -> String {
    let mut text = format!("{}\n\n", plain(&explained.waits_for));
    let rows = explained.nodes.iter().map(|node| row(node, node.node == explained.arbiter));
    text.push_str(&table(["NODE", "CAN RUN", "SCORE", "BID", "AGE", "WHY"], rows.collect()));
    if !explained.ignored.is_empty() || !explained.alarms.is_empty() {
        text.push('\n');
    }
    for (reason, count) in &explained.ignored {
        text.push_str(&format!("{count} operations mean nothing: {}\n", plain(reason)));
    }
    for alarm in &explained.alarms {
        text.push_str(&format!("alarm: {}\n", plain(alarm)));
    }
    text
}

fn row(node: &ExplainNode, arbiter: bool) -> [String; 6] {
    let none = || String::from("-");
    let can = match &node.verdict {
        _ if !node.why_not.is_empty() => "no",
        None => "unknown",
        Some(Verdict::Infeasible { .. }) => "no",
        Some(Verdict::Busy { .. }) => "not now",
        Some(Verdict::Feasible { .. }) => "yes",
    };
    let score = match &node.verdict {
        Some(Verdict::Feasible { score, .. }) => score.to_string(),
        Some(Verdict::Busy { .. } | Verdict::Infeasible { .. }) | None => none(),
    };
    let age = match node.capacity_age_ms {
        Some(0) => String::from("now"),
        Some(age) => show_ms(age),
        None => none(),
    };
    let alias = if arbiter { format!("{} (decides)", node.alias) } else { node.alias.clone() };
    let bid = node.bid.map_or_else(none, |bid| bid.to_string());
    [plain(&alias), can.into(), score, bid, age, plain(&reasons(node).join("; "))]
}

/// What stands against it comes first, then what its capacity says.
fn reasons(node: &ExplainNode) -> Vec<String> {
    let mut all = node.why_not.clone();
    match &node.verdict {
        None => all.push("its capacity is unknown: it has not told it since this daemon started".into()),
        Some(Verdict::Busy { reason }) => all.push(format!("busy: {reason}")),
        Some(Verdict::Infeasible { reasons }) => all.extend(reasons.iter().cloned()),
        Some(Verdict::Feasible { parts, .. }) => {
            all.extend(parts.iter().map(|part| format!("{} {} ({})", part.name, part.score, part.reason)));
        }
    }
    if node.capacity_age_ms.is_some_and(|age| age >= NEW_MS) {
        all.push("its capacity is old, and may be another by now".into());
    }
    all.extend(node.token.map(|token| format!("holds token {token}")));
    all.extend(node.bid_reason.as_ref().map(|reason| format!("it bids so for: {reason}")));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cobs::id::{JobId, NodeId, Oid};
    use scheduler::place::Part;

    use super::*;

    fn node(seed: u8, alias: &str) -> ExplainNode {
        ExplainNode {
            node: NodeId::from([seed; 32]),
            alias: alias.into(),
            worker: true,
            bid: None,
            bid_reason: None,
            token: None,
            verdict: None,
            capacity_age_ms: None,
            why_not: Vec::new(),
        }
    }

    /// A person reads one aligned line for each node, with the words of every verdict.
    #[test]
    fn each_node_has_its_line() {
        let parts = vec![Part { name: "slots".into(), score: 500, reason: "1 of 2 slots free".into() }];
        let can = ExplainNode {
            verdict: Some(Verdict::Feasible { score: 500, parts }),
            capacity_age_ms: Some(0),
            bid: Some(490),
            bid_reason: Some("idle".into()),
            ..node(1, "ann")
        };
        let busy = ExplainNode {
            verdict: Some(Verdict::Busy { reason: "all 1 slots are taken".into() }),
            capacity_age_ms: Some(2_500),
            ..node(2, "bob")
        };
        let cannot = ExplainNode {
            verdict: Some(Verdict::Infeasible { reasons: vec!["it lacks the label 'gpu'".into(), "it is old".into()] }),
            capacity_age_ms: Some(61_000),
            why_not: vec!["it is not among the job's workers".into()],
            ..node(3, "carol\u{1b}")
        };
        let explained = Explain {
            id: JobId(Oid::from_sha1([1; 20])),
            waits_for: "it waits for bids".into(),
            arbiter: NodeId::from([1; 32]),
            nodes: vec![can, busy, cannot, node(4, "dave")],
            ignored: BTreeMap::from([("noGrant".into(), 2)]),
            alarms: vec!["odd".into()],
        };
        let wanted = "\
it waits for bids

NODE           CAN RUN  SCORE  BID  AGE        WHY
ann (decides)  yes      500    490  now        slots 500 (1 of 2 slots free); it bids so for: idle
bob            not now  -      -    2.5 s      busy: all 1 slots are taken
carol          no       -      -    1 min 1 s  it is not among the job's workers; it lacks the label 'gpu'; it is old; its capacity is old, and may be another by now
dave           unknown  -      -    -          its capacity is unknown: it has not told it since this daemon started

2 operations mean nothing: noGrant
alarm: odd
";
        assert_eq!(explain(&explained), wanted);
    }
}
