//! Programs that are no part of this repository and that a machine may lack.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of this repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the node's crate lies in the repository")
}

/// The directory of Radicle's own `rad` and `git-remote-rad`, if `deploy/rad.sh` has built them; it is for a `PATH`.
pub fn radicle() -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os("RHIZOME_RAD_BIN") {
        return Some(directory.into());
    }
    let output = Command::new(root().join("deploy/rad.sh")).arg("--where").output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

/// Radicle's own `rad` starts in an empty environment.
#[test]
fn radicles_own_tools_start() {
    use super::{cli, home::Home, skip};

    let Some(directory) = radicle() else { return skip::skip("radicles_own_tools_start", "deploy/rad.sh has not run") };
    let home = Home::new();
    let version = cli::finish(&home, Command::new(directory.join("rad")).arg("--version")).ok();
    assert!(version.starts_with("rad "), "{version}");
}
