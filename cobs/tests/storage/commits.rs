//! What a commit must be to be an operation, byte by byte, and the worked example of `cobs/PROTOCOL.md`.

use cobs::adapter::archive::ARCHIVE_TIPS_MAX;
use cobs::adapter::reader::{ReadError, WALK_BYTES_MAX, WALK_COMMITS_MAX, list_jobs, read_job};
use cobs::adapter::writer::WriteError;
use cobs::id::{JobId, Oid, RevisionId, TreeId};
use cobs::job::action::Action;
use cobs::job::fold::Identity;
use cobs::job::history::OpId;
use cobs::job::state::NoJob;
use radicle::crypto::ExtendedSignature;

use crate::home::{Home, bid, key, node, operation, publish, sign, store};
use crate::script::{Root, WORKER1};
use crate::stage::{Frame, Stage};

/// Changed commits and trees that are read.
const MUTATIONS: usize = 400;
const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

#[test]
fn each_line_of_a_commit_is_taken_for_what_it_is_and_no_more() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let worker = stage.key(WORKER1);
    let odb = stage.repo.backend.odb().unwrap();
    let honest = sign(&stage.repo, &worker, vec![play.job.0], &bid(play.job, 7));
    let text = String::from_utf8(odb.read(honest.into()).unwrap().data().to_vec()).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let (before, signature) = head.split_once("gpgsig ").unwrap();
    let pin = body.lines().find_map(|line| line.strip_prefix("Rad-Resource: ")).unwrap();
    // whether it is an operation
    let seen = |bytes: &[u8]| {
        let tip: Oid = odb.write(git2::ObjectType::Commit, bytes).unwrap().into();
        publish(&stage.repo, &node(&worker), play.job, tip);
        play.read().unwrap().job.bids.contains_key(&node(&worker))
    };
    let cases = [
        ("as Radicle writes it", text.clone(), true),
        ("with headers that nobody knows", text.replace("gpgsig ", "encoding UTF-8\nmergetag x\n y\ngpgsig "), true),
        (
            "no author and no committer",
            format!("{}\ngpgsig {signature}\n\n{body}", before.split_once("\nauthor").unwrap().0),
            true,
        ),
        ("no message but its trailer", format!("{head}\n\nRad-Resource: {pin}"), true),
        ("no pin", format!("{head}\n\nmessage\n"), true),
        ("a trailer that nobody knows", format!("{text}Rad-New: x\n"), true),
        (
            "a trailer that is not in the last paragraph",
            format!("{head}\n\nRad-Resource: {}\n\nmessage", "0".repeat(40)),
            true,
        ),
        ("no message", head.to_owned(), false),
        ("no signature", format!("{}\n\n{body}", before.trim_end()), false),
        ("two signatures", text.replace("gpgsig ", &format!("gpgsig {signature}\ngpgsig ")), false),
        ("another header first", format!("x y\n{text}"), false),
        ("a tree in capitals", text.replacen(|digit: char| matches!(digit, 'a'..='f'), "A", 6), false),
        ("a carriage return", text.replacen("\nauthor", "\r\nauthor", 1), false),
        ("a carriage return behind the tree", text.replacen('\n', "\r\n", 1), false),
        ("a parent that is no id", text.replace("\nauthor", "\nparent main\nauthor"), false),
        ("two pins", format!("{text}Rad-Resource: {pin}\n"), false),
        ("a pin that is no id", text.replace(pin, "main"), false),
        ("a pin with a space", format!("{head}\n\nRad-Resource: {pin} \n"), false),
        ("a related commit that is no id", format!("{text}Rad-Related: main\n"), false),
        ("a signature cut short", text.replace("-----END", "----END"), false),
    ];
    for (what, text, is) in cases {
        assert_eq!(seen(text.as_bytes()), is, "{what}:\n{text}");
    }
    assert!(!seen(&[text.as_bytes(), &[0xff]].concat()), "what is not UTF-8");
}

#[test]
fn no_bytes_of_a_commit_or_a_tree_stop_the_reader() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let worker = stage.key(WORKER1);
    let git = &stage.repo.backend;
    let odb = git.odb().unwrap();
    let honest = sign(&stage.repo, &worker, vec![play.job.0], &bid(play.job, 7));
    let commit = odb.read(honest.into()).unwrap().data().to_vec();
    let tree_id = git.find_commit(honest.into()).unwrap().tree_id();
    let tree = odb.read(tree_id).unwrap().data().to_vec();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % most.max(1) as u64) as usize
    };
    let mut counted = 0;
    for round in 0..MUTATIONS {
        let (mut bytes, other) = if round % 2 == 0 { (commit.clone(), &tree) } else { (tree.clone(), &commit) };
        for _ in 0..=below(3) {
            let (at, from) = (below(bytes.len()), below(other.len()));
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.splice(at..at, other[from..].iter().copied().take(40))),
                _ => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
            }
            bytes.push(b'\n');
        }
        let tip: Oid = if round % 2 == 0 {
            odb.write(git2::ObjectType::Commit, &bytes).unwrap().into()
        } else {
            let odd = odb.write(git2::ObjectType::Tree, &bytes).unwrap();
            let id = OpId { author: node(&worker), tree: TreeId(odd.into()) };
            stage.mint(id, &worker, &Frame { parents: vec![play.job.0], ..Frame::default() })
        };
        publish(&stage.repo, &node(&worker), play.job, tip);
        let read = play.read().unwrap();
        counted += usize::from(read.reading.unreadable + read.reading.missing > 0 || read.ops == 2);
    }
    assert_eq!(counted, MUTATIONS, "each is an operation, unreadable, or names what is missing");
}

#[test]
fn the_caps_are_those_of_the_code() {
    let caps = [
        format!("looks at {},{:03} commits", WALK_COMMITS_MAX / 1000, WALK_COMMITS_MAX % 1000),
        format!("with which {} MiB", WALK_BYTES_MAX >> 20),
        format!("one commit id per line, {ARCHIVE_TIPS_MAX} at most"),
    ];
    let text = PROTOCOL.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(caps.iter().all(|cap| text.contains(cap)), "{caps:?}");
}

/// The fenced blocks of the worked example, in their order.
fn blocks() -> Vec<&'static str> {
    let (_, example) = PROTOCOL.split_once("\n## A worked example\n").unwrap();
    let example = example.split("\n## ").next().unwrap();
    example.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1).collect()
}

#[test]
fn the_worked_example_is_an_operation() {
    let home = Home::new();
    let repo = home.repo();
    let odb = repo.backend.odb().unwrap();
    let [action, manifest, tree, commit] = blocks()[..] else { panic!("{:?}", blocks()) };
    let put = |kind, bytes: &[u8]| -> Oid { odb.write(kind, bytes).unwrap().into() };
    let key = key(1);
    assert!(PROTOCOL.contains(&node(&key).to_string()));

    let decoded = Action::decode(action.as_bytes()).unwrap();
    assert_eq!(decoded.encode(), action.as_bytes(), "written canonically");
    let mut builder = repo.backend.treebuilder(None).unwrap();
    for line in tree.lines() {
        let (entry, name) = line.split_once('\t').unwrap();
        let content = if name == "0" { action } else { manifest };
        let blob = put(git2::ObjectType::Blob, content.as_bytes());
        assert_eq!(entry, format!("100644 blob {blob}"), "{name}");
        builder.insert(name, blob.into(), 0o100_644).unwrap();
    }
    let tree = TreeId(builder.write().unwrap().into());
    let commit = format!("{commit}\n");
    let job = JobId(put(git2::ObjectType::Commit, commit.as_bytes()));
    for (what, id) in [("tree", tree.0), ("commit", job.0)] {
        assert!(PROTOCOL.contains(&format!("`{id}`")), "the {what} is {id}");
    }
    let signature = ExtendedSignature::try_sign(&key, tree.0.as_ref()).unwrap().to_pem().unwrap();
    assert!(commit.contains(&signature.trim_end().replace('\n', "\n ")), "the signature is {signature}");

    publish(&repo, &node(&key), job, job.0);
    let pin = commit.split("Rad-Resource: ").nth(1).unwrap().trim();
    let identity = Identity { accepted: vec![(RevisionId(pin.parse().unwrap()), [node(&key)].into())] };
    let read = read_job(&repo, job, &identity).unwrap();
    assert_eq!((read.job.author, read.job.pin.to_string()), (node(&key), pin.to_owned()));
    assert_eq!(Action::Create(Box::new(read.job.create)), decoded);
}

#[test]
fn two_versions_live_in_one_ledger() {
    let home = Home::new();
    let writer = home.writer();
    let ours = home.job(&writer, 1, &[home.node()], 1);
    let repo = home.repo();
    let mut later = serde_json::to_value(Action::Create(Box::new(home.create(2, &[home.node()])))).unwrap();
    later["version"] = 2.into();
    later["mode"] = "parallel".into();
    let root = store(
        &repo,
        &home.key,
        Some(radicle::storage::ReadRepository::identity_head(&repo).unwrap()),
        vec![],
        vec![later.to_string().into_bytes()],
    );
    let theirs = JobId(root);
    publish(&repo, &home.node(), theirs, root);
    let error = home.read(theirs).unwrap_err();
    assert!(matches!(error, ReadError::NoJob { source: NoJob::Version(2), .. }), "{error}");
    let refused = writer.write(home.append(bid(theirs, 1)));
    assert!(matches!(refused, Err(WriteError::UnknownJob(job)) if job == theirs), "{refused:?}");
    operation(&writer, home.append(bid(ours, 2)));
    assert_eq!(home.read(ours).unwrap().ops, 3);
    assert_eq!(list_jobs(&repo).unwrap().len(), 2, "it is kept, archived and passed on all the same");
}
