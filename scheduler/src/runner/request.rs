//! What a run is asked to be: everything the supervisor needs, in plain data.
//!
//! Knows nothing of processes. What comes from the ledger is checked here, before anything is spawned.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use cobs::id::RunId;
use cobs::job::spec::{ARTIFACT_PATTERNS_MAX, INPUTS_MAX, Limit, Work};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::clock::BootMs;

/// Most read-only directories of one run.
pub const DIRECTORIES_MAX: usize = 32;
/// Smallest memory limit that the sandbox itself can start in.
pub const MEMORY_BYTES_MIN: u64 = 4 << 20;

/// One run, with every limit resolved. Written to `request.json` in the run directory before anything starts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunRequest {
    /// Which run; its token goes into the job's environment.
    pub run: RunId,
    /// What is run.
    pub work: Work,
    /// Caps on it.
    pub limits: ResolvedLimits,
    /// A prepared work tree on the host, copied into the scratch space; an empty directory without.
    pub tree: Option<PathBuf>,
    /// Files copied over the work tree.
    pub inputs: Vec<InputFile>,
    /// Patterns, relative to the work tree, of the files kept after the run. A directory that matches is kept whole;
    /// `.git` never is.
    pub artifacts: Vec<String>,
    /// Read-only directories of the host.
    pub directories: Vec<Directory>,
    /// Until when it may run.
    pub deadline: Deadline,
}

/// Every cap of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResolvedLimits {
    /// Thousandths of a core.
    pub cpu_milli: Limit,
    /// Memory, scratch space included; at least [`MEMORY_BYTES_MIN`].
    pub memory_bytes: Limit,
    /// Processes and threads.
    pub processes: Limit,
    /// Work tree, home, temporary files and shared memory together.
    pub disk_bytes: Limit,
    /// Wall-clock time from the first instruction.
    pub wall_ms: Limit,
    /// Standard output and error together.
    pub log_bytes: Limit,
}

/// A file of the host that the job gets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputFile {
    /// On the host.
    pub host: PathBuf,
    /// In the job, relative to the work tree.
    pub path: String,
}

/// A directory of the host that the job sees read-only, such as a toolchain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Directory {
    /// What jobs call it.
    pub name: String,
    /// On the host.
    pub host: PathBuf,
    /// In the job; `/dir/NAME` without.
    pub mount: Option<PathBuf>,
    /// Sub-directories that go in front of `PATH`.
    pub bin: Vec<String>,
    /// Added to the job's environment.
    pub environment: BTreeMap<String, String>,
}

/// Until when a run may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deadline {
    /// No end by time; it cannot be given one later.
    Held,
    /// Its lease ends then, unless extended.
    At(BootMs),
}

/// The request asks for something that no runner may do.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing to run.
    #[error("the command is empty")]
    EmptyCommand,
    /// A NUL byte where the kernel takes none, or `=` in a variable's name.
    #[error("{0} holds a character that the kernel does not take")]
    BadText(&'static str),
    /// A path that would leave the work tree.
    #[error("{what} '{path}' leaves the work tree")]
    Leaves {
        /// Which of the request's paths.
        what: &'static str,
        /// The path.
        path: String,
    },
    /// Not a pattern.
    #[error("artifact pattern '{pattern}' is malformed")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: globset::Error,
    },
    /// More than fits.
    #[error("{what}: {count} given, at most {max} fit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were given.
        count: usize,
        /// How many fit.
        max: usize,
    },
    /// A directory whose name or mount point is not usable.
    #[error("directory '{name}' cannot be mounted at '{mount}'")]
    BadDirectory {
        /// Its name.
        name: String,
        /// Where it would have gone.
        mount: String,
    },
    /// A cap below what anything can run in.
    #[error("limit {limit} of {value} is below the smallest possible, {min}")]
    LimitTooSmall {
        /// Which.
        limit: &'static str,
        /// The value asked for.
        value: u64,
        /// The smallest.
        min: u64,
    },
}

impl RunRequest {
    /// Checks all that comes from the ledger.
    pub fn check(&self) -> Result<(), RequestError> {
        let Work::Command { command, environment, working_directory } = &self.work;
        if command.first().is_none_or(String::is_empty) {
            return Err(RequestError::EmptyCommand);
        }
        if command.iter().any(|argument| argument.contains('\0')) {
            return Err(RequestError::BadText("the command"));
        }
        check_environment(environment)?;
        if let Some(path) = working_directory {
            check_relative("working directory", path)?;
        }
        check_count("inputs", self.inputs.len(), INPUTS_MAX)?;
        for input in &self.inputs {
            check_relative("input", &input.path)?;
        }
        artifact_patterns(&self.artifacts)?;
        check_count("directories", self.directories.len(), DIRECTORIES_MAX)?;
        for directory in &self.directories {
            directory.check()?;
        }
        self.limits.check()
    }
}

impl ResolvedLimits {
    fn check(&self) -> Result<(), RequestError> {
        let least = [
            ("cpuMilli", self.cpu_milli, 1),
            ("memoryBytes", self.memory_bytes, MEMORY_BYTES_MIN),
            ("processes", self.processes, 1),
            ("diskBytes", self.disk_bytes, 4096),
            ("wallMs", self.wall_ms, 1),
        ];
        for (limit, Limit { value, .. }, min) in least {
            if value < min {
                return Err(RequestError::LimitTooSmall { limit, value, min });
            }
        }
        Ok(())
    }
}

impl Directory {
    /// Where the job sees it.
    pub fn mount_point(&self) -> PathBuf {
        self.mount.clone().unwrap_or_else(|| Path::new("/dir").join(&self.name))
    }

    fn check(&self) -> Result<(), RequestError> {
        let mount = self.mount_point();
        let error =
            || RequestError::BadDirectory { name: self.name.clone(), mount: mount.to_string_lossy().into_owned() };
        let plain_name = !self.name.is_empty() && !self.name.contains(['/', '\0']) && !self.name.starts_with('.');
        let mut components = mount.components();
        let absolute = components.next() == Some(Component::RootDir);
        let normal = components.all(|component| matches!(component, Component::Normal(_)));
        // What the sandbox itself mounts is not to be covered.
        let reserved = ["/proc", "/dev", "/job", "/tmp", "/home", "/sys", "/.rhizome"];
        let free = mount != Path::new("/") && !reserved.iter().any(|taken| mount.starts_with(taken));
        if !(plain_name && absolute && normal && free && self.host.is_absolute()) {
            return Err(error());
        }
        check_environment(&self.environment)?;
        self.bin.iter().try_for_each(|bin| check_relative("bin", bin))
    }
}

/// The set that matches artifact paths, each with its place in `patterns`.
pub(crate) fn artifact_patterns(patterns: &[String]) -> Result<GlobSet, RequestError> {
    check_count("artifact patterns", patterns.len(), ARTIFACT_PATTERNS_MAX)?;
    let mut set = GlobSetBuilder::new();
    let bad = |pattern: &str| {
        let pattern = pattern.to_owned();
        move |source| RequestError::BadPattern { pattern, source }
    };
    for pattern in patterns {
        check_relative("artifact pattern", pattern)?;
        let plain = pattern.trim_end_matches('/');
        set.add(GlobBuilder::new(plain).literal_separator(true).build().map_err(bad(pattern))?);
    }
    set.build().map_err(bad("(all)"))
}

/// Whether `path` stays below the directory it is relative to.
pub fn stays_below(path: &str) -> bool {
    let clean = !path.is_empty() && !path.contains('\0');
    clean && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn check_relative(what: &'static str, path: &str) -> Result<(), RequestError> {
    if stays_below(path) { Ok(()) } else { Err(RequestError::Leaves { what, path: path.to_owned() }) }
}

fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), RequestError> {
    for (name, value) in environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(RequestError::BadText("the environment"));
        }
    }
    Ok(())
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), RequestError> {
    if count > max { Err(RequestError::TooMany { what, count, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_work_tree_are_refused() {
        // Parents, absolute paths, nothing and NUL are refused; what stays below is taken.
        for bad in ["../x", "a/../../x", "/etc/passwd", "", "a\0b", "a/.."] {
            assert!(!stays_below(bad), "{bad:?}");
        }
        for good in ["x", "a/b", "./a", "out/**/*.txt", "..x"] {
            assert!(stays_below(good), "{good:?}");
        }
    }

    #[test]
    fn a_star_does_not_cross_a_slash() {
        // `*` stays in its directory, `**` does not, and a trailing slash names the directory.
        let set = artifact_patterns(&["*.txt".into(), "out/**/*.bin".into(), "doc/".into()]).unwrap();
        assert!(set.is_match("a.txt") && set.is_match("out/a/b/c.bin") && set.is_match("doc"));
        assert!(!set.is_match("sub/a.txt"));
    }

    #[test]
    fn directories_do_not_cover_the_sandbox() {
        // A mount point over the sandbox's own, or one that is not absolute and plain, is refused.
        let at = |mount: Option<&str>| Directory {
            name: "tools".into(),
            host: "/opt/tools".into(),
            mount: mount.map(PathBuf::from),
            bin: vec!["bin".into()],
            environment: BTreeMap::new(),
        };
        assert!(at(None).check().is_ok() && at(Some("/opt/rust")).check().is_ok());
        for bad in ["/", "/proc", "/job/x", "relative", "/opt/../job", "/.rhizome/init"] {
            assert!(at(Some(bad)).check().is_err(), "{bad}");
        }
    }
}
