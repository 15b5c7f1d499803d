//! The probe on this machine, on made-up power supplies and against a made-up graphics driver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use cobs::id::NodeId;

use super::gpu::Driver;
use super::power::on_battery;
use super::{Facts, Probe};
use crate::capacity::{GpuDevice, Gpus};

fn probe() -> Probe {
    Probe::new(Facts {
        node: NodeId::from([7; 32]),
        alias: "here".into(),
        labels: BTreeSet::from(["fast".to_owned()]),
        queues: BTreeSet::from(["default".to_owned()]),
        runners: BTreeMap::new(),
        directories: BTreeSet::new(),
        slots: 3,
    })
}

#[test]
fn a_sample_tells_this_machine() {
    // every number is read, in bounds that hold on any machine, also for a directory that is not there yet
    let home = tempfile::tempdir().unwrap();
    let capacity = probe().sample(2, &home.path().join("not/yet"));
    assert_eq!((capacity.slots, capacity.slots_used, capacity.slots_free()), (3, 2, 1));
    assert_eq!(capacity.architecture, std::env::consts::ARCH);
    assert!(capacity.cpu_milli >= 1000 && capacity.cpu_milli.is_multiple_of(1000));
    assert!(capacity.memory_bytes > 64 << 20, "{}", capacity.memory_bytes);
    assert!(capacity.memory_free_bytes > 0 && capacity.memory_free_bytes <= capacity.memory_bytes);
    let stat = rustix::fs::statvfs(home.path()).unwrap();
    assert!(capacity.disk_free_bytes > 0 && capacity.disk_free_bytes <= stat.f_blocks * stat.f_frsize);
    assert!(capacity.load_milli < 10_000_000);
}

#[test]
fn a_sample_is_cheap() {
    // it is taken every few seconds, so ten of them stay far below one of those seconds even on a busy machine
    let mut probe = probe();
    let start = Instant::now();
    for _ in 0..10 {
        probe.sample(0, Path::new("/"));
    }
    let each = start.elapsed() / 10;
    eprintln!("{each:?} for a sample");
    assert!(each.as_millis() < 50, "{each:?} for a sample");
}

fn supply(root: &Path, name: &str, files: &[(&str, &str)]) {
    std::fs::create_dir_all(root.join(name)).unwrap();
    for (file, text) in files {
        std::fs::write(root.join(name).join(file), format!("{text}\n")).unwrap();
    }
}

#[test]
fn a_battery_counts_only_when_the_machine_runs_on_it() {
    // case by case: what the supplies say, and whether that is "on battery"
    let battery = |status| ("BAT0", vec![("type", "Battery"), ("status", status)]);
    let mains = |online| ("AC", vec![("type", "Mains"), ("online", online)]);
    let mouse = ("hid", vec![("type", "Battery"), ("scope", "Device"), ("status", "Discharging")]);
    let cases = [
        (vec![], false),
        (vec![battery("Discharging")], true),
        (vec![battery("Full")], false),
        (vec![battery("Charging"), mains("1")], false),
        (vec![battery("Unknown"), mains("0")], true),
        (vec![battery("Discharging"), mains("0")], true),
        (vec![battery("Discharging"), mains("1")], true),
        (vec![mouse.clone()], false),
        (vec![mouse, mains("0")], false),
    ];
    for (supplies, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        for (name, files) in &supplies {
            supply(root.path(), name, files);
        }
        assert_eq!(on_battery(root.path()), expected, "{supplies:?}");
    }
    assert!(!on_battery(Path::new("/there/is/no/such/directory")));
}

fn fake(home: &Path, defines: &[&str]) -> PathBuf {
    let library = home.join(format!("{}.so", defines.join("_").replace('=', "")));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/probe/fake_nvml.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    compiler.args(defines.iter().map(|define| format!("-D{define}")));
    assert!(compiler.status().unwrap().success(), "cc builds the fake driver");
    library
}

#[test]
fn a_graphics_driver_is_read_or_its_failure_told() {
    // each state of the driver: working, with a call missing, failing at start, failing to list, absent
    let home = tempfile::tempdir().unwrap();
    let read = |defines: &[&str]| Driver::open(Some(fake(home.path(), defines).as_os_str())).sample();
    let blank = GpuDevice { name: None, memory_bytes: None, memory_free_bytes: None };
    let whole =
        GpuDevice { name: Some("Fake 24G".into()), memory_bytes: Some(24 << 30), memory_free_bytes: Some(23 << 30) };
    let devices = |first: &GpuDevice| Gpus::Devices { devices: vec![first.clone(), blank.clone()] };
    assert_eq!(read(&["INIT_ERROR=0", "COUNT_ERROR=0"]), devices(&whole));
    let partial = GpuDevice { memory_bytes: None, memory_free_bytes: None, ..whole };
    assert_eq!(read(&["INIT_ERROR=0", "COUNT_ERROR=0", "NO_MEMORY"]), devices(&partial));
    let reasons = [
        (["INIT_ERROR=9", "COUNT_ERROR=0"], "driver"),
        (["INIT_ERROR=4", "COUNT_ERROR=0"], "permission"),
        (["INIT_ERROR=18", "COUNT_ERROR=0"], "version"),
        (["INIT_ERROR=0", "COUNT_ERROR=999"], ""),
    ];
    for (defines, word) in reasons {
        let Gpus::Unavailable { reason } = read(&defines) else { panic!("{defines:?} is available") };
        assert!(!reason.is_empty() && reason.contains(word), "{defines:?}: {reason}");
    }
    assert_eq!(read(&["INIT_ERROR=12", "COUNT_ERROR=0"]), Gpus::None);
    assert_eq!(Driver::open(Some(home.path().join("none.so").as_os_str())).sample(), Gpus::None);
}
