//! What people have already is taken as it is: a Rust repository's own tests, with a toolchain and crates of the machine
//! that runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::home::Home;
use crate::support::node::Node;
use crate::support::{cli, repository, tools};

/// The crate that the repository depends on, as `cargo vendor` would leave it.
const VENDORED: [(&str, &str); 3] = [
    ("Cargo.toml", "[package]\nname = \"greeting\"\nversion = \"1.2.0\"\nedition = \"2021\"\n"),
    ("src/lib.rs", "pub fn greet(name: &str) -> String {\n    format!(\"hello {name}\")\n}\n"),
    (".cargo-checksum.json", "{\"files\":{},\"package\":null}"),
];

/// The repository; the sandbox shows the vendored crates at the path that its configuration names.
const REPOSITORY: [(&str, &str); 4] = [
    (
        "Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\ngreeting = \"1\"\n",
    ),
    ("src/lib.rs", "pub fn hail() -> String {\n    greeting::greet(\"peer\")\n}\n"),
    ("tests/hail.rs", "#[test]\nfn hails() {\n    assert_eq!(app::hail(), \"hello peer\");\n}\n"),
    (
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"/dir/vendor\"\n",
    ),
];

/// A Rust repository's own `cargo test --offline` runs on the other machine, with the toolchain and the vendored crates
/// that its configuration names.
#[test]
fn a_rust_repository_tests_itself_there() {
    let toolchain = sysroot();
    let ann = Node::start("ann");
    let vendor = ann.home.join("vendor");
    write(&vendor.join("greeting"), &VENDORED);
    let rust = toolchain.to_str().expect("it was printed");
    let vendor_path = vendor.to_str().expect("our homes are UTF-8");
    let settings = [
        ("directories.rust.path", rust),
        ("directories.rust.bin", "bin"),
        ("directories.rust.environment.CARGO_NET_OFFLINE", "true"),
        ("directories.vendor.path", vendor_path),
    ];
    let bob = Node::join("bob", &settings, &ann, "submit,run");
    let path = ann.home.join("app");
    write(&path, &REPOSITORY);
    lock(&ann.home, &path, &toolchain, &vendor);
    repository::create(&ann.home, &path, &[]);
    let output = ann.cli(&[
        "run",
        "--repo",
        path.to_str().expect("our homes are UTF-8"),
        "--publish",
        "--dir",
        "rust",
        "--dir",
        "vendor",
        "--",
        "cargo",
        "test",
        "--offline",
        "--locked",
    ]);
    assert_eq!(output.code, 0, "{}{}\n{}", output.stdout, output.stderr, bob.log());
    assert!(output.stdout.contains("test hails ... ok"), "{output:?}");
    assert!(output.stderr.contains("Compiling greeting v1.2.0"), "{output:?}");
    let job = &ann.jobs()[0].0;
    assert_eq!((ann.runs(job), bob.runs(job)), (0, 1), "only the other machine has the toolchain");
}

fn sysroot() -> PathBuf {
    // in the repository, since its toolchain is pinned
    let output = Command::new("rustc").args(["--print", "sysroot"]).current_dir(tools::root()).output();
    let output = output.expect("these tests were built by it");
    PathBuf::from(String::from_utf8(output.stdout).expect("paths are UTF-8").trim())
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("the home is writable");
        fs::write(path, content).expect("the home is writable");
    }
}

/// Writes the lock file, with the vendored crates where they are on this machine.
fn lock(home: &Home, repository: &Path, toolchain: &Path, vendor: &Path) {
    let source = format!("source.vendored.directory={:?}", vendor.display().to_string());
    let mut command = Command::new(toolchain.join("bin/cargo"));
    command.args(["generate-lockfile", "--offline", "--config", &source]).current_dir(repository);
    command.env("CARGO_HOME", home.join("cargo"));
    cli::finish(home, &mut command).ok();
}
