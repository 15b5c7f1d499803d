//! Who decides about a job from now on.

use serde::{Deserialize, Serialize};

/// Hand a job over that this node decides about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// A node id or alias of one that stands by for the job; the next of them without.
    #[serde(default)]
    pub to: Option<String>,
}

/// Replace the node that decides about a job, by force.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TakeOver {
    /// A node id or alias; this node without.
    #[serde(default)]
    pub to: Option<String>,
    /// That the node that decides now is dead, or hears of this before it acts again: nothing else keeps the job from
    /// running on two nodes at once. Refused without it.
    #[serde(default)]
    pub arbiter_is_dead: bool,
    /// The longest lease that node may have granted, 1,000 to 600,000; 600,000 without. The successor waits so long, and a
    /// little more.
    #[serde(default)]
    pub lease_ms: Option<u64>,
    /// That the run which holds the job without a lease is dead as well, so that another may begin.
    #[serde(default)]
    pub abandon: bool,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}
