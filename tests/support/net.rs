//! A network of its own for the nodes of a test: a namespace each, joined by a router that can lose what it is told to.
//!
//! Loss is silent, one way at a time, and of all or of one port. The router is a namespace too, so nothing of the
//! machine's own network is touched, and nothing of it is heard.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::AsFd as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::skip::skip;

/// Where the direct link of a node in a network listens.
pub const LINK: u16 = 8777;
/// Where its Radicle node does.
pub const RADICLE: u16 = 8776;

static NETS: AtomicU32 = AtomicU32::new(0);
static RULES: AtomicU32 = AtomicU32::new(100);

/// A network. It outlives the nodes in it.
pub struct Net {
    name: String,
    places: Vec<Place>,
}

/// Where a node is.
#[derive(Clone, Debug)]
pub struct Place {
    namespace: String,
    /// Its address.
    pub host: String,
}

/// What is lost.
#[derive(Clone, Copy, Debug)]
pub enum Lost {
    All,
    /// What goes to this port, or comes from it.
    Port(u16),
}

/// A loss that goes on until this is dropped.
pub struct Cut<'a> {
    net: &'a Net,
    rules: Vec<u32>,
}

impl Net {
    /// A network with this many places; none where it cannot be had, which is said of `test`.
    pub fn new(test: &str, places: usize) -> Option<Self> {
        let number = NETS.fetch_add(1, Ordering::Relaxed);
        let name = format!("rz-{}-{number}", std::process::id());
        let mut net = Self { name, places: Vec::new() };
        let hub = net.hub();
        if !rustix::process::geteuid().is_root() || !ip(&["netns", "add", &hub]) {
            skip(test, "only root may make network namespaces, and not in every sandbox");
            return None;
        }
        for index in 0..places {
            net.add(index);
        }
        let mut forward = Command::new("sh");
        forward.args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
        Place { namespace: hub, host: String::new() }.enter(&mut forward);
        assert!(forward.status().expect("a shell starts").success(), "the router does not forward");
        Some(net)
    }

    /// A place by its number.
    pub fn place(&self, index: usize) -> &Place {
        &self.places[index]
    }

    /// Loses what goes from one place to the other from now on.
    pub fn one_way(&self, from: usize, to: usize, lost: Lost) -> Cut<'_> {
        let mut cut = Cut { net: self, rules: Vec::new() };
        match lost {
            Lost::All => cut.add(from, to, &[]),
            Lost::Port(port) => {
                let port = port.to_string();
                cut.add(from, to, &["ipproto", "tcp", "dport", &port]);
                cut.add(from, to, &["ipproto", "tcp", "sport", &port]);
            }
        }
        cut
    }

    /// Loses what goes between two places from now on.
    pub fn both_ways(&self, one: usize, other: usize, lost: Lost) -> Cut<'_> {
        let mut cut = self.one_way(one, other, lost);
        cut.rules.append(&mut self.one_way(other, one, lost).rules);
        cut
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    fn add(&mut self, index: usize) {
        let (namespace, hub) = (format!("{}-{index}", self.name), self.hub());
        let (port, host, router) = (format!("p{index}"), format!("10.77.{index}.2"), format!("10.77.{index}.1"));
        let must = |arguments: &[&str]| assert!(ip(arguments), "ip {arguments:?} failed");
        must(&["netns", "add", &namespace]);
        self.places.push(Place { namespace: namespace.clone(), host: host.clone() });
        must(&["link", "add", &port, "netns", &hub, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        must(&["-n", &hub, "addr", "add", &format!("{router}/24"), "dev", &port]);
        must(&["-n", &hub, "link", "set", &port, "up"]);
        must(&["-n", &namespace, "addr", "add", &format!("{host}/24"), "dev", "eth0"]);
        must(&["-n", &namespace, "link", "set", "lo", "up"]);
        must(&["-n", &namespace, "link", "set", "eth0", "up"]);
        must(&["-n", &namespace, "route", "add", "default", "via", &router]);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let places = self.places.iter().map(|place| place.namespace.clone());
        for namespace in places.chain([self.hub()]) {
            // one that could not be made is none to remove
            ip(&["netns", "delete", &namespace]);
        }
    }
}

impl Place {
    /// Has a command run here.
    pub fn enter(&self, command: &mut Command) {
        let namespace = File::open(PathBuf::from("/run/netns").join(&self.namespace)).expect("it was made");
        // SAFETY: one system call, which touches no memory.
        unsafe {
            command.pre_exec(move || {
                let kind = Some(LinkNameSpaceType::Network);
                Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
            });
        }
    }
}

impl Cut<'_> {
    fn add(&mut self, from: usize, to: usize, which: &[&str]) {
        let rule = RULES.fetch_add(1, Ordering::Relaxed);
        let [from, to] = [from, to].map(|index| self.net.place(index).host.as_str());
        let (hub, number) = (self.net.hub(), rule.to_string());
        let start = ["-n", &hub, "rule", "add", "pref", &number, "from", from, "to", to];
        let all = [&start[..], which, &["blackhole"]].concat();
        assert!(ip(&all), "ip {all:?} failed");
        self.rules.push(rule);
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        for rule in &self.rules {
            let healed = ip(&["-n", &self.net.hub(), "rule", "del", "pref", &rule.to_string()]);
            assert!(healed || std::thread::panicking(), "rule {rule} cannot be removed");
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

/// What is cut is lost, one way only and on that port only, and heals; without this a test could cut nothing.
#[test]
fn loses_what_it_is_told_to() {
    use super::wait;
    use std::time::Duration;

    let Some(net) = Net::new("loses_what_it_is_told_to", 2) else { return };
    // bash can send a datagram, and the router counts what arrived
    let arrived = || {
        let file = PathBuf::from("/proc/net/snmp");
        let mut read = Command::new("cat");
        net.place(1).enter(read.arg(file));
        let text = String::from_utf8(read.output().unwrap().stdout).unwrap();
        let line = text.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap().to_owned();
        // datagrams for a port that nobody has opened
        line.split(' ').nth(2).unwrap().parse::<u32>().unwrap()
    };
    let send = |port: u16| {
        let mut send = Command::new("bash");
        send.args(["-c", &format!("echo hello >/dev/udp/{}/{port}", net.place(1).host)]);
        net.place(0).enter(&mut send);
        send.output().unwrap();
    };
    let comes = |limit| {
        let before = arrived();
        send(LINK);
        wait::poll(limit, || (arrived() > before).then_some(())).is_some()
    };
    const SHORT: Duration = Duration::from_millis(300);
    assert!(comes(wait::LIMIT));
    let cut = net.one_way(0, 1, Lost::All);
    assert!(!comes(SHORT));
    drop(cut);
    let other_way = net.one_way(1, 0, Lost::All);
    assert!(comes(wait::LIMIT));
    drop(other_way);
    let names = fs::read_dir("/run/netns").unwrap().flatten().count();
    drop(net);
    assert!(fs::read_dir("/run/netns").unwrap().flatten().count() < names, "nothing is left of it");
}
