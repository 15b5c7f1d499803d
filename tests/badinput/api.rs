//! Requests that the HTTP API refuses.

use super::check::asked;
use super::machine::{Machine, ask};

const JSON: &str = "content-type: application/json";
const SUBMIT: &str = "POST /schedule HTTP/1.1";
/// A body that is a job.
const JOB: &[u8] = br#"{"command":["true"]}"#;
/// Of a JSON body.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Bodies of a submit, and what is said about them.
const BODIES: &[(&str, u16, &str, &[&str])] = &[
    ("{bad", 400, "bad_request", &["is not JSON"]),
    ("", 400, "bad_request", &["is not JSON"]),
    (r#"{"command":["true"],"odd":1}"#, 400, "bad_request", &["unknown field `odd`"]),
    (r#"{"command":"true"}"#, 400, "bad_request", &["does not fit"]),
    (r#"{"command":[]}"#, 400, "bad_request", &["the command is empty", "give a program"]),
    (r#"{"command":["true"],"artifacts":["../x"]}"#, 422, "path_escapes", &["'../x' leaves the work tree"]),
    (r#"{"command":["true"],"workingDirectory":"/"}"#, 422, "path_escapes", &["directory '/' leaves the work tree"]),
    (r#"{"command":["true"],"on":"nobody"}"#, 422, "infeasible", &["it is not 'nobody'"]),
    (
        r#"{"command":["true"],"limits":{"memoryBytes":{"value":999999999999999,"strict":true}}}"#,
        422,
        "infeasible",
        &["the memory limit of 999999999999999 is beyond"],
    ),
    (
        r#"{"command":["true"],"inputs":[{"path":"in","size":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000"}]}"#,
        400,
        "bad_request",
        &["the input 'in' is not here", "upload it first"],
    ),
    (r#"{"command":["true"],"environment":{"A=B":"x"}}"#, 400, "bad_request", &["'A=B' is no name"]),
    (
        r#"{"command":["true"],"source":{"type":"repository","repo":"rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5"}}"#,
        422,
        "repository_not_found",
        &["is not on this node"],
    ),
    (r#"{"command":["true"],"source":{"type":"path","path":"/etc"}}"#, 403, "forbidden", &["only the owner"]),
];

/// Each request that is wrong gets a problem of its own, with a hint and the id of the request.
#[test]
fn answers_wrong_requests_with_problems() {
    let machine = Machine::start("alpha");
    let api = machine.address("api");
    let write = format!("authorization: Bearer {}", machine.token("writer", &["read:jobs", "write:jobs"]));
    let read = format!("authorization: Bearer {}", machine.token("reader", &["read:jobs"]));
    for (body, status, code, words) in BODIES {
        asked(&api, &[SUBMIT, JSON, &write], body.as_bytes(), (*status, code, words));
    }
    let large = [b"{\"command\":[\"true\"]}".as_slice(), &b" ".repeat(BODY_BYTES_MAX)].concat();
    let unauthorized = (401, "unauthorized", ["no valid token", "rhizome token create"]);
    let (status, code, words) = unauthorized;
    type Row<'a> = (&'a [&'a str], &'a [u8], (u16, &'a str, &'a [&'a str]));
    let rows: &[Row<'_>] = &[
        (&[SUBMIT, JSON, &write], &large, (413, "too_large", &["more than 1048576 bytes", "/v1/blobs"])),
        (&[SUBMIT, &write], JOB, (415, "bad_request", &["not application/json"])),
        (&[SUBMIT, JSON, &read], JOB, (403, "forbidden", &["lacks the scope write:jobs", "rhizome token create"])),
        (&[SUBMIT, JSON], JOB, (status, code, &words)),
        (&[SUBMIT, JSON, "authorization: Bearer rhz_wrong"], JOB, (status, code, &words)),
        (&[SUBMIT, JSON, "authorization: Basic YTpi"], JOB, (status, code, &words)),
        (&["GET /v1/jobs HTTP/1.1"], b"", (status, code, &words)),
        (&["GET /v1/tokens HTTP/1.1", &write], b"", (403, "forbidden", &["only the owner", "rhizome command"])),
        (&["POST /v1/invitations HTTP/1.1", JSON, &write], b"{}", (403, "forbidden", &["only the owner"])),
        (
            &["GET /v1/jobs HTTP/1.1", &write, "host: rhizome.evil.example"],
            b"",
            (421, "forbidden", &["'rhizome.evil.example'", "api.allowed_hosts"]),
        ),
        (
            &["GET /v1/jobs HTTP/1.1", &write, "origin: http://evil.example"],
            b"",
            (403, "forbidden", &["'http://evil.example'", "api.allowed_origins"]),
        ),
        (&["GET /nothing HTTP/1.1", &write], b"", (404, "not_found", &["nothing at /nothing"])),
        (&["GET /v1/jobs/../../etc/passwd HTTP/1.1", &write], b"", (404, "not_found", &["nothing at"])),
        (&["GET /v1/jobs/%2e%2e%2fx HTTP/1.1", &write], b"", (404, "not_found", &["no job '../x'"])),
        (&["PATCH /v1/jobs HTTP/1.1", &write], b"", (405, "bad_request", &["no method PATCH", "'allow'"])),
        (&["GET /v1/jobs/zz HTTP/1.1", &write], b"", (404, "not_found", &["no job 'zz'", "rhizome job list"])),
        (&["GET /v1/jobs?limit=0 HTTP/1.1", &write], b"", (400, "bad_request", &["limit is 0; it is 1 to 500"])),
        (&["GET /v1/jobs?odd=1 HTTP/1.1", &write], b"", (400, "bad_request", &["unknown field `odd`"])),
        (&["GET /v1/jobs?cursor=odd HTTP/1.1", &write], b"", (400, "bad_request", &["'odd' is no cursor"])),
        (&["GET /v1/jobs/zz/explain HTTP/1.1", &write], b"", (404, "not_found", &["no job 'zz'", "rhizome job list"])),
        (
            &["GET /v1/jobs/zz/replication HTTP/1.1", &write],
            b"",
            (404, "not_found", &["no job 'zz'", "rhizome job list"]),
        ),
        (&["GET /v1/jobs/zz/logs?offset=-1 HTTP/1.1", &write], b"", (400, "bad_request", &["offset"])),
        (
            &[SUBMIT, JSON, &write, "idempotency-key: a b"],
            JOB,
            (400, "bad_request", &["idempotency-key", "visible ASCII"]),
        ),
    ];
    for (head, body, expected) in rows {
        asked(&api, head, body, *expected);
    }
    let keyed = [SUBMIT, JSON, &write, "idempotency-key: once"];
    assert_eq!(ask(&api, &keyed, JOB).status, 202);
    let other = br#"{"command":["false"]}"#;
    asked(&api, &keyed, other, (409, "idempotency_conflict", &["'once' was used with another request", "new key"]));
    assert_eq!(machine.json(&["job", "list"])["items"].as_array().unwrap().len(), 1, "a refused job was written");
}
