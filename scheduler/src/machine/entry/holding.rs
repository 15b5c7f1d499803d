//! A grant that this node holds, from its taking to its report; or a run that it started by rank.

use cobs::id::{RunId, Term};
use cobs::job::action::GrantKind;

use crate::machine::settings::Millis;
use crate::machine::wire::Phase;
use crate::machine::{RunReport, StopReason};

/// A grant that this node holds.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Holding {
    pub run: RunId,
    pub kind: GrantKind,
    pub lease: Millis,
    pub prepared: bool,
    pub taken_at: Millis,
    pub confirmed_until: Option<Millis>,
    pub stage: Stage,
}

/// Where the run of a grant stands.
#[derive(Clone, Debug)]
pub(in crate::machine) enum Stage {
    Waiting,
    Running { stopping: Option<StopReason> },
    Finished { report: RunReport },
}

impl Holding {
    pub fn phase(&self) -> Phase {
        match self.stage {
            Stage::Waiting => Phase::Waiting,
            Stage::Running { .. } => Phase::Running,
            Stage::Finished { .. } => Phase::Finished,
        }
    }

    pub fn is_started(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    pub fn is_unconfirmed(&self) -> bool {
        matches!(self.stage, Stage::Waiting) && self.confirmed_until.is_none()
    }

    /// Whether it runs without a grant, since its arbiter was away.
    pub fn is_by_rank(&self) -> bool {
        self.run.token.term == Term(0)
    }

    /// Whether its arbiters are asked about it: a held term needs no confirmation.
    pub fn is_renewed(&self) -> bool {
        self.kind == GrantKind::Leased || self.is_by_rank()
    }
}
