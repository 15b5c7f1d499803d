//! The two nodes: set up, started and paired, as a person would do it.

use std::time::{Duration, Instant};

use cobs::id::{NodeId, RepoId};
use hyper::Method;
use serde::Deserialize;
use tokio::time::sleep;

use super::site::{Name, Site};
use super::tell::{Teller, Who};
use crate::cli::exit::Failure;
use crate::ops::error::{Code, Error};
use crate::ops::types::{Health, Invitation, Invite, Joined, Peer, PeerGrant};

/// How long a daemon may take until it answers, and two until they are linked: far above what a busy machine needs.
const READY: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What `rhizome init --json` prints, as far as it is needed here.
#[derive(Deserialize)]
struct Made {
    node: NodeId,
    ledger: Option<RepoId>,
}

/// Both up, linked, and each with its word for the other.
pub async fn pair(site: &mut Site, teller: &Teller) -> Result<(), Failure> {
    let made: Made = site.run(Name::Alice, &["init", "--alias", "alice"]).await?;
    site.note_groups(&made.node).await?;
    site.start(Name::Alice)?;
    answers(site, Name::Alice).await?;
    let ledger = made.ledger.map(|ledger| ledger.to_string()).unwrap_or_default();
    teller.say(Who::Alice, &format!("is up, node {} with the ledger {ledger}", made.node))?;

    site.step = "pair the nodes";
    let invite = Invite { grants: [PeerGrant::Run].into(), ..Invite::default() };
    let invitation: Invitation = site.client(Name::Alice).send(Method::POST, "/v1/invitations", &invite).await?;
    let join = ["join", invitation.link.as_str(), "--grant", "submit", "--alias", "bob"];
    let _joined: Joined = site.run(Name::Bob, &join).await?;
    let bob = newcomer(site).await?;
    site.note_groups(&bob.node).await?;
    teller.say(Who::Alice, "made a link by which bob may run her jobs")?;
    teller.say(Who::Bob, &format!("joined by it, node {}, and lets alice submit", bob.node))?;
    site.start(Name::Bob)?;
    answers(site, Name::Bob).await?;
    linked(site).await?;
    teller.say(Who::Bob, "is up, linked with alice and in step with her ledger")
}

/// The one peer that alice has.
async fn newcomer(site: &Site) -> Result<Peer, Failure> {
    let peers: Vec<Peer> = site.client(Name::Alice).get("/v1/peers").await?;
    let missing = || Error::new(Code::Internal, "alice does not know bob after the pairing");
    Ok(peers.into_iter().next().ok_or_else(missing)?)
}

async fn answers(site: &mut Site, name: Name) -> Result<(), Failure> {
    let client = site.client(name);
    let until = Instant::now() + READY;
    loop {
        match client.get::<Health>("/health").await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.code() != Some(Code::NoDaemon) || Instant::now() > until => return Err(failure),
            Err(_) => site.check(name)?,
        }
        sleep(LOOK).await;
    }
}

async fn linked(site: &mut Site) -> Result<(), Failure> {
    let until = Instant::now() + READY;
    loop {
        let ready = |peer: &Peer| peer.linked && peer.replicating && peer.capacity.is_some();
        let mut there = newcomer(site).await.is_ok_and(|peer| ready(&peer));
        let health: Health = site.client(Name::Bob).get("/health").await?;
        there &= health.detail.is_some_and(|bob| {
            bob.peers.iter().any(ready) && !bob.ledgers.is_empty() && bob.ledgers.iter().all(|ledger| ledger.present)
        });
        if there {
            return Ok(());
        }
        if Instant::now() > until {
            let words = format!("alice and bob are not linked after {} s", READY.as_secs());
            return Err(Error::new(Code::PeerUnreachable, words).into());
        }
        site.check(Name::Alice)?;
        site.check(Name::Bob)?;
        sleep(LOOK).await;
    }
}
