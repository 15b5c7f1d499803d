//! What a job is given: its tree, its files, its directories and its environment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Work;
use scheduler::runner::request::{Directory, InputFile};

use crate::harness::{Tests, exited, finish, script, strict};

pub const TESTS: Tests = &[
    ("inputs::a_tree_is_copied_as_it_is", a_tree_is_copied_as_it_is),
    ("inputs::a_tree_that_does_not_fit_is_told", a_tree_that_does_not_fit_is_told),
    ("inputs::a_tree_that_is_not_there_starts_nothing", a_tree_that_is_not_there_starts_nothing),
    ("inputs::directories_are_read_only_wherever_they_are", directories_are_read_only_wherever_they_are),
    ("inputs::a_working_directory_and_an_environment", a_working_directory_and_an_environment),
];

/// A directory below a parent that only its owner may enter, as a home of root is.
fn private() -> (tempfile::TempDir, std::path::PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let dir = parent.path().join("dir");
    fs::create_dir(&dir).unwrap();
    (parent, dir)
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn a_tree_is_copied_as_it_is() {
    // With `.git`, executables, links and files that only the host's root may read; the job may change its copy, and
    // the original stays. An input lies over it.
    let (_parent, tree) = private();
    write(&tree.join(".git/HEAD"), "ref: x\n", 0o600);
    write(&tree.join("run.sh"), "#!/bin/sh\necho ran\n", 0o700);
    symlink("run.sh", tree.join("link")).unwrap();
    let mut request = script("cat .git/HEAD; ./link; cat in/put; id -u; stat -c %u run.sh; echo changed >run.sh");
    write(&tree.join("../input"), "put\n", 0o600);
    request.inputs = vec![InputFile { host: tree.join("../input"), path: "in/put".into() }];
    request.tree = Some(tree.clone());
    let (finished, log) = finish(&request);
    assert_eq!(finished.outcome, exited(0), "{log}");
    assert_eq!(log, "ref: x\nran\nput\n1000\n1000\n");
    assert!(fs::read_to_string(tree.join("run.sh")).unwrap().contains("ran"));
}

fn a_tree_that_does_not_fit_is_told() {
    // The disk limit covers it too.
    let (_parent, tree) = private();
    write(&tree.join("big"), &"x".repeat(3 << 20), 0o644);
    let mut request = script("echo started");
    request.tree = Some(tree);
    request.limits.disk_bytes = strict(1 << 20);
    let (finished, log) = finish(&request);
    assert_eq!(finished.outcome, RunOutcome::CouldNotStart);
    assert_eq!(finished.reason.as_deref(), Some("the work tree and inputs do not fit within the disk limit"));
    assert_eq!(log, "");
}

fn a_tree_that_is_not_there_starts_nothing() {
    // Half a tree would be worse than none.
    let (_parent, tree) = private();
    write(&tree.join("a"), "a", 0o644);
    for (tree, input) in [(tree.join("missing"), None), (tree.clone(), Some(tree.join("missing")))] {
        let mut request = script("echo started");
        request.tree = Some(tree);
        request.inputs = input.into_iter().map(|host| InputFile { host, path: "x".into() }).collect();
        let (finished, log) = finish(&request);
        assert_eq!(finished.outcome, RunOutcome::CouldNotStart, "{:?}", finished.reason);
        assert!(finished.reason.unwrap().contains("could not be read"));
        assert_eq!(log, "");
    }
}

fn directories_are_read_only_wherever_they_are() {
    // Below a parent that the job's user may not enter; programs in its `bin` are found first, its variables are set, and
    // it cannot be written.
    let (_parent, tools) = private();
    write(&tools.join("bin/ls"), "#!/bin/sh\necho our ls\n", 0o755);
    write(&tools.join("data"), "data\n", 0o644);
    let directory = |name: &str, mount: Option<&str>| Directory {
        name: name.into(),
        host: tools.clone(),
        mount: mount.map(Into::into),
        bin: vec!["bin".into()],
        environment: BTreeMap::from([("TOOLS".into(), "here".into())]),
    };
    let text = "ls; cat /dir/tools/data /opt/more/data; echo $TOOLS; \
                for d in /dir/tools /opt/more; do touch $d/x 2>&1; rm -f $d/data 2>&1; done";
    let mut request = script(text);
    request.directories = vec![directory("tools", None), directory("more", Some("/opt/more"))];
    let (_, log) = finish(&request);
    assert!(log.starts_with("our ls\ndata\ndata\nhere\n"), "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 4, "{log}");
    request.directories[0].host = "/not/there".into();
    let (finished, _) = finish(&request);
    assert_eq!(finished.outcome, RunOutcome::CouldNotStart);
    assert_eq!(finished.reason.as_deref(), Some("the directory 'tools' '/not/there' is not there"));
}

fn a_working_directory_and_an_environment() {
    // The job's variables win over the sandbox's, and its run's name over both.
    let (_parent, tree) = private();
    write(&tree.join("sub/dir/file"), "x", 0o644);
    let mut request = script("pwd; ls; echo $LANG $RHIZOME_JOB");
    request.tree = Some(tree);
    let Work::Command { environment, working_directory, .. } = &mut request.work;
    *working_directory = Some("sub/dir".into());
    environment.extend([("LANG".into(), "C".into()), ("RHIZOME_JOB".into(), "forged".into())]);
    let (_, log) = finish(&request);
    assert_eq!(log, format!("/job/sub/dir\nfile\nC {}\n", request.run.job));
}
