//! Rules of any text: no path of somebody's machine, links that lead somewhere, scripts that stop at a fault.

use std::path::{Component, Path, PathBuf};

use super::Source;

/// Places that exist on one machine only.
fn machine_places() -> [&'static str; 3] {
    // in two pieces each, since this file is looked at too
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/fa", "rm/")]
}

/// Nothing committed names a place on the machine it was written on.
pub fn machine_paths(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for place in machine_places() {
            let at_root =
                |start: usize| !line[..start].ends_with(|c: char| c.is_alphanumeric() || "_-.~}])>".contains(c));
            if line.match_indices(place).any(|(start, _)| at_root(start)) {
                faults.push(format!("line {}: `{place}` is a place on one machine", index + 1));
            }
        }
    }
    faults
}

/// A relative link of a Markdown file leads to a tracked file or to a directory of some.
pub fn links(source: &Source, tracked: &[String]) -> Vec<String> {
    // a vault has links of its own kind, some of them wrong on purpose
    if !source.path.ends_with(".md") || source.path.starts_with("fixtures/") {
        return Vec::new();
    }
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    let mut faults = Vec::new();
    let mut fenced = false;
    for (index, line) in source.text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for target in targets(line) {
            let file = target.split('#').next().unwrap_or_default();
            let elsewhere = file.contains("://") || file.starts_with("mailto:") || file.is_empty();
            if !elsewhere && !exists(&folder.join(file), tracked) {
                faults.push(format!("line {}: the link to `{target}` leads nowhere", index + 1));
            }
        }
    }
    faults
}

/// The targets of the inline links on a line, `[text](target)`, besides what stands in backquotes.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    prose.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next()).collect()
}

fn exists(path: &Path, tracked: &[String]) -> bool {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir if plain.pop() => {}
            Component::CurDir => {}
            // out of the repository, or absolute
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    tracked.iter().any(|file| Path::new(file).starts_with(&plain))
}

/// A script stops at the first command that fails: its first command says so.
pub fn shell(source: &Source) -> Option<String> {
    let shebang = source.text.lines().next().filter(|line| line.starts_with("#!"));
    let is_shell = source.path.ends_with(".sh") || shebang.is_some_and(|line| line.ends_with("sh"));
    if !is_shell {
        return None;
    }
    let strict = source.text.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty());
    if shebang == Some("#!/usr/bin/env bash") && strict == Some("set -euo pipefail") {
        return None;
    }
    Some("a script begins with `#!/usr/bin/env bash`, and its first command is `set -euo pipefail`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn a_place_on_one_machine_is_seen() {
        for place in machine_places() {
            assert_eq!(machine_paths(&source("a.md", &format!("see {place}x"))).len(), 1, "{place}");
            assert_eq!(machine_paths(&source("a.md", &format!("{place}x"))).len(), 1, "{place}");
            assert!(machine_paths(&source("a.md", &format!("$HOME{place}x target{place}x"))).is_empty(), "{place}");
        }
    }

    #[test]
    fn a_link_leads_somewhere() {
        let tracked = ["docs/a.md", "README.md", "deploy/demo.sh"].map(ToOwned::to_owned);
        let read = |text: &str| links(&source("docs/a.md", text), &tracked);
        assert!(
            read("[r](../README.md#use) [d](../deploy) [s](a.md) [u](#here) [w](https://example.org/x)").is_empty()
        );
        assert!(read("`[r](gone.md)` is code\n```\n[r](gone.md)\n```\n").is_empty());
        assert_eq!(read("x\n[r](gone.md)"), ["line 2: the link to `gone.md` leads nowhere"]);
        assert_eq!(read("[r](README.md), [o](../../other/README.md) and [a](/README.md)").len(), 3);
    }

    #[test]
    fn a_script_stops_at_a_fault() {
        let strict = "#!/usr/bin/env bash\n# why\n\nset -euo pipefail\nls\n";
        assert_eq!(shell(&source(".ci/run", strict)), None);
        assert_eq!(shell(&source("notes.md", "ls\n")), None);
        assert!(shell(&source("a.sh", "ls\n")).is_some());
        assert!(shell(&source("run", "#!/bin/sh\nls\n")).is_some());
        assert!(shell(&source("run", "#!/usr/bin/env bash\nls\nset -euo pipefail\n")).is_some());
    }
}
