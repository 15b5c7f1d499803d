//! Who may call what: every route has its row, and every row is tried by every caller.

use std::collections::BTreeSet;

use hyper::Method;

use super::fake::{Fake, READER, WRITER};
use super::rig::Rig;
use crate::api::routes;
use crate::api::settings::Settings;

/// Who a route is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    Everyone,
    Readers,
    Writers,
    TheOwner,
}

const JOB: &str = r#"{"command":["true"]}"#;

/// Method, path, who it is for, and a body that fits.
const ROWS: &[(Method, &str, For, &str)] = &[
    (Method::GET, "/health", For::Everyone, ""),
    (Method::GET, "/metrics", For::Readers, ""),
    (Method::GET, "/pods", For::Readers, ""),
    (Method::POST, "/schedule", For::Writers, JOB),
    (Method::POST, "/evict", For::Writers, r#"{"id":"{id}"}"#),
    (Method::GET, "/v1/jobs", For::Readers, ""),
    (Method::GET, "/v1/jobs/{id}", For::Readers, ""),
    (Method::GET, "/v1/jobs/{id}/explain", For::Readers, ""),
    (Method::GET, "/v1/jobs/{id}/replication", For::Readers, ""),
    (Method::GET, "/v1/replication", For::Readers, ""),
    (Method::POST, "/v1/jobs/{id}/cancel", For::Writers, ""),
    (Method::POST, "/v1/jobs/{id}/handover", For::Writers, ""),
    (Method::POST, "/v1/jobs/{id}/takeover", For::TheOwner, r#"{"arbiterIsDead":true}"#),
    (Method::GET, "/v1/jobs/{id}/logs", For::Readers, ""),
    (Method::GET, "/v1/jobs/{id}/artifacts", For::Readers, ""),
    (Method::GET, "/v1/jobs/{id}/artifacts/{*path}", For::Readers, ""),
    (Method::PUT, "/v1/blobs", For::Writers, "content"),
    (Method::GET, "/stream/{id}", For::Readers, ""),
    (Method::GET, "/v1/search?q=a", For::Readers, ""),
    (Method::GET, "/context/search?q=a", For::Readers, ""),
    (Method::GET, "/v1/context/{job}", For::Readers, ""),
    (Method::POST, "/v1/ingest", For::Writers, r#"{"remove":["a"]}"#),
    (Method::GET, "/v1/notes?path=a", For::Readers, ""),
    (Method::PATCH, "/v1/notes?path=a", For::Writers, "{}"),
    (Method::POST, "/v1/notes/rename", For::Writers, r#"{"from":"a","to":"b"}"#),
    (Method::GET, "/v1/links", For::Readers, ""),
    (Method::GET, "/v1/vault/status", For::Readers, ""),
    (Method::POST, "/v1/vault/rebuild", For::Writers, ""),
    (Method::GET, "/v1/vault/export", For::Readers, ""),
    (Method::PUT, "/v1/vault/import", For::Writers, ""),
    (Method::GET, "/v1/tokens", For::TheOwner, ""),
    (Method::POST, "/v1/tokens", For::TheOwner, r#"{"name":"ci","scopes":["read:jobs"]}"#),
    (Method::DELETE, "/v1/tokens/{name}", For::TheOwner, ""),
    (Method::GET, "/v1/peers", For::TheOwner, ""),
    (Method::PATCH, "/v1/peers/{peer}", For::TheOwner, r#"{"grant":["run"]}"#),
    (Method::DELETE, "/v1/peers/{peer}", For::TheOwner, ""),
    (Method::POST, "/v1/invitations", For::TheOwner, ""),
    (Method::POST, "/v1/join", For::TheOwner, r#"{"link":"rhizome:link"}"#),
    (Method::POST, "/v1/recover", For::TheOwner, ""),
    (Method::GET, "/v1/config", For::TheOwner, ""),
    (Method::GET, "/v1/audit", For::TheOwner, ""),
];

/// A route without a row, or a row without a route, fails.
#[test]
fn every_route_has_its_row() {
    let name = |method: &Method, path: &str| format!("{method} {path}");
    let routes: BTreeSet<String> = routes::<Fake>().listed.iter().map(|(method, path)| name(method, path)).collect();
    let path = |target: &'static str| target.split('?').next().unwrap_or_default();
    let rows: BTreeSet<String> = ROWS.iter().map(|(method, target, ..)| name(method, path(target))).collect();
    assert_eq!(routes, rows);
}

/// The status for a caller: 401 for nobody and for a wrong token, 403 for a token that may not, else what the
/// operation says.
fn expected(caller: Option<&str>, whose: For) -> Option<u16> {
    match (caller, whose) {
        (Some("wrong"), _) => Some(401),
        (_, For::Everyone) | (Some(READER), For::Readers) | (Some(WRITER), For::Writers) => None,
        (_, For::TheOwner) | (Some(_), For::Readers | For::Writers) => Some(403),
        (None, For::Readers | For::Writers) => Some(401),
    }
}

/// Over TCP a token opens what its scope names and nothing else; the owner's routes stay shut there.
#[tokio::test]
async fn tokens_open_what_their_scopes_name() {
    let rig = Rig::start(Settings::default()).await;
    let id = rig.job(&["true"]).await;
    for (method, path, whose, body) in ROWS {
        for caller in [None, Some("wrong"), Some(READER), Some(WRITER)] {
            let target = path.replace("{id}", &id).replace("{*path}", "out/result.txt").replace("{name}", "ci");
            let mut request = rig.request(method.clone(), &target.replace("{peer}", "alpha"));
            if let Some(token) = caller {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = rig.tcp(request.body(body.replace("{id}", &id)).unwrap()).await;
            let what = format!("{method} {path} by {caller:?}: {answer:?}");
            match expected(caller, *whose) {
                Some(status) => {
                    assert_eq!(answer.status, status, "{what}");
                    answer.problem();
                }
                // a stream asks for an upgrade
                None if *path == "/stream/{id}" => assert_eq!(answer.status, 400, "{what}"),
                None => assert!(answer.status < 300, "{what}"),
            }
        }
    }
}

/// On the unix socket everything is open.
#[tokio::test]
async fn the_owner_may_do_everything() {
    let rig = Rig::start(Settings::default()).await;
    let id = rig.job(&["true"]).await;
    for (method, path, _, body) in ROWS.iter().filter(|(_, path, ..)| *path != "/stream/{id}") {
        let target = path.replace("{id}", &id).replace("{*path}", "out/result.txt").replace("{name}", "ci");
        let answer = rig.owner(method.clone(), &target.replace("{peer}", "alpha"), &body.replace("{id}", &id)).await;
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
    }
}
