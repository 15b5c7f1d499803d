//! Where the groups of a home go: found once in the daemon by trying, then handed to each supervisor as plain data.
//!
//! Every group of a home stands below one named parent, `rhizome-HOME`, so that two homes on one machine never
//! touch each other's.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Controller, Group, Version};

/// The parent of all run groups of a home, in each hierarchy that we may write.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupParent {
    /// By controller, its directory and what it speaks.
    pub controllers: BTreeMap<Controller, (PathBuf, Version)>,
    /// The version 2 directory, which kills by one write; also there when its controllers are on version 1.
    pub unified: Option<PathBuf>,
    /// Why a controller is not to be had.
    pub missing: BTreeMap<Controller, String>,
    /// Where the daemon's own group lists its processes, for [`GroupParent::warm_up`].
    own_procs: Option<PathBuf>,
}

/// One mounted hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mounted {
    at: PathBuf,
    version: Version,
    controllers: Vec<Controller>,
}

impl Mounted {
    /// The list of processes of the group that the calling process is in.
    fn own_procs(&self) -> Option<PathBuf> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| {
            // `id:controllers:path`; version 2 names no controllers.
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let ours = match self.version {
                Version::One => controllers_of(controllers.split(',')) == self.controllers,
                Version::Two => controllers.is_empty(),
            };
            ours.then(|| path.trim_start_matches('/').to_owned())
        })?;
        let file = self.at.join(own).join("cgroup.procs");
        fs::File::options().write(true).open(&file).ok().map(|_| file)
    }
}

/// The daemon's own leaf on version 2, where a group with controllers may hold no process itself.
const LEAF: &str = "rhizome-daemon";

impl GroupParent {
    /// Finds and makes the parent of `home`. Never fails: what is missing says why.
    ///
    /// On version 2 below a delegated group this moves the calling process into a leaf of its own.
    pub fn prepare(home: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = format!("rhizome-{home}");
        let mut parent = Self::default();
        for mounted in hierarchies(&mounts) {
            match mounted.version {
                Version::One => parent.prepare_one(&mounted, &name),
                Version::Two => parent.prepare_two(&mounted, &own, &name),
            }
        }
        parent.own_procs = hierarchies(&mounts).iter().find_map(|mounted| mounted.own_procs());
        for controller in [Controller::Memory, Controller::Cpu, Controller::Pids] {
            if !parent.controllers.contains_key(&controller) {
                let why = || "no control group hierarchy with this controller is mounted".to_owned();
                parent.missing.entry(controller).or_insert_with(why);
            }
        }
        parent
    }

    /// The groups that exist, by name.
    pub fn groups(&self) -> Vec<String> {
        let dirs = self.controllers.values().map(|(dir, _)| dir).chain(&self.unified);
        let names = dirs.filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        let names = names.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names: std::collections::BTreeSet<_> =
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.into_iter().collect()
    }

    /// Makes the next joining of a group cheap: on its own it waits some 7 ms for the whole kernel to notice, unless
    /// somebody else joined a group just before. So the daemon joins the group that it is in already, while it prepares
    /// the run.
    pub fn warm_up(&self) {
        if let Some(file) = &self.own_procs {
            // Nothing depends on it but time.
            let _ = fs::write(file, "0");
        }
    }

    /// Kills what is left in the groups of this home and removes them, their parent, and the daemon's leaf if nobody is
    /// in it any more. For a home that is thrown away.
    pub fn remove(&self) {
        for name in self.groups() {
            let group = Group::of(self, &name);
            group.empty();
            // What stays is empty and harms nobody.
            let _ = group.remove();
        }
        for dir in self.controllers.values().map(|(dir, _)| dir).chain(&self.unified) {
            let _ = fs::remove_dir(dir);
        }
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let leaf = own.lines().find_map(|line| line.strip_prefix("0::/")).filter(|path| path.ends_with(LEAF));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let unified = hierarchies(&mounts).into_iter().find(|mounted| mounted.version == Version::Two);
        if let (Some(leaf), Some(unified)) = (leaf, unified) {
            let leaf = unified.at.join(leaf);
            // `prepare` has moved us there.
            let _ = fs::write(leaf.with_file_name("cgroup.procs"), "0");
            let _ = fs::remove_dir(leaf);
        }
    }

    fn prepare_one(&mut self, mounted: &Mounted, name: &str) {
        let dir = mounted.at.join(name);
        let made = make(&dir);
        for controller in &mounted.controllers {
            match &made {
                Ok(()) => {
                    self.controllers.insert(*controller, (dir.clone(), Version::One));
                }
                Err(error) => {
                    self.missing.insert(*controller, format!("{} is not writeable: {error}", mounted.at.display()));
                }
            }
        }
    }

    fn prepare_two(&mut self, mounted: &Mounted, own: &str, name: &str) {
        let dir = match parent_two(mounted, own, name) {
            Ok(dir) => dir,
            Err(error) => {
                for controller in &mounted.controllers {
                    self.missing.insert(*controller, format!("{} is not writeable: {error}", mounted.at.display()));
                }
                return;
            }
        };
        let usable = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in controllers_of(usable.split_whitespace()) {
            self.controllers.insert(controller, (dir.clone(), Version::Two));
            self.missing.remove(&controller);
        }
        self.unified = Some(dir);
    }
}

/// The parent on version 2: below the root if we may write there, else below the group that was delegated to us.
fn parent_two(mounted: &Mounted, own: &str, name: &str) -> io::Result<PathBuf> {
    let at_root = enable(&mounted.at, &mounted.controllers).and_then(|()| make_two(&mounted.at.join(name), mounted));
    let Err(root_error) = at_root else { return Ok(mounted.at.join(name)) };
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = own.strip_suffix(LEAF).unwrap_or(own);
    if own.is_empty() {
        return Err(root_error);
    }
    let base = mounted.at.join(own);
    make(&base.join(LEAF))?;
    fs::write(base.join(LEAF).join("cgroup.procs"), "0")?;
    enable(&base, &mounted.controllers)?;
    make_two(&base.join(name), mounted)?;
    Ok(base.join(name))
}

fn make_two(dir: &Path, mounted: &Mounted) -> io::Result<()> {
    make(dir)?;
    enable(dir, &mounted.controllers)
}

fn enable(dir: &Path, controllers: &[Controller]) -> io::Result<()> {
    for controller in controllers {
        let Some(name) = name_two(*controller) else { continue };
        fs::write(dir.join("cgroup.subtree_control"), format!("+{name}"))?;
    }
    Ok(())
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn hierarchies(mountinfo: &str) -> Vec<Mounted> {
    mountinfo.lines().filter_map(hierarchy).collect()
}

/// One line of mountinfo: `id parent dev root point options [optional...] - type source super-options`.
fn hierarchy(line: &str) -> Option<Mounted> {
    let (mount, file_system) = line.split_once(" - ")?;
    let at = PathBuf::from(mount.split(' ').nth(4)?);
    let mut file_system = file_system.split(' ');
    match file_system.next()? {
        "cgroup" => {
            let controllers = controllers_of(file_system.nth(1)?.split(','));
            (!controllers.is_empty()).then_some(Mounted { at, version: Version::One, controllers })
        }
        "cgroup2" => {
            let there = fs::read_to_string(at.join("cgroup.controllers")).unwrap_or_default();
            let mut controllers = controllers_of(there.split_whitespace());
            controllers.retain(|controller| name_two(*controller).is_some());
            Some(Mounted { at, version: Version::Two, controllers })
        }
        _ => None,
    }
}

fn controllers_of<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Controller> {
    let known = |name| match name {
        "memory" => Some(Controller::Memory),
        "cpu" => Some(Controller::Cpu),
        "pids" => Some(Controller::Pids),
        "freezer" => Some(Controller::Freezer),
        _ => None,
    };
    names.filter_map(known).collect()
}

/// Its name in `cgroup.subtree_control`; none for what version 2 has in every group.
fn name_two(controller: Controller) -> Option<&'static str> {
    match controller {
        Controller::Memory => Some("memory"),
        Controller::Cpu => Some("cpu"),
        Controller::Pids => Some("pids"),
        Controller::Freezer => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        // A version 1 line names its controllers in the super block's options; other file systems are no hierarchy.
        let memory = "35 31 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory";
        let read = hierarchies(&format!("{memory}\n27 1 254:0 / / rw - ext4 /dev/vda rw\n"));
        let at = PathBuf::from("/sys/fs/cgroup/memory");
        assert_eq!(read, [Mounted { at, version: Version::One, controllers: vec![Controller::Memory] }]);
        assert!(hierarchies("40 31 0:1 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd").is_empty());
    }
}
