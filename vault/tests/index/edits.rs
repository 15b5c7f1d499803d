//! Notes are written as a whole, and not over what somebody else has just written; a name is given to all links or finished
//! later.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;
use vault::edit::names::{self, NameError, Namer, Renamed};
use vault::ingest::read::digest;
use vault::links::Links;
use vault::parse;
use vault::path::VaultPath;
use vault::root::Root;
use vault::root::write::WriteError;
use vault::source::Source;

fn path(path: &str) -> VaultPath {
    VaultPath::new(path).unwrap()
}

/// A folder with files, beside which there is room.
struct Place {
    folder: TempDir,
    root: Root,
}

impl Place {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let vault = folder.path().join("vault");
        fs::create_dir(&vault).unwrap();
        let place = Self { root: Root::open(&vault).unwrap(), folder };
        files.iter().for_each(|(path, text)| place.put(path, text));
        place
    }

    fn put(&self, path: &str, text: &str) {
        let file = self.root.folder().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.folder().join(path)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = fs::read_dir(self.root.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }

    fn namer(&self) -> Namer {
        Namer::new(self.folder.path().join("names.json"))
    }

    /// The plan of a name by these files as they are now.
    fn plan(&self, files: &[&str], from: &str, to: &str) -> Result<names::Plan, NameError> {
        let mut links = Links::default();
        for file in files {
            links.insert_note(path(file), &parse::note(&Source::from(&*self.text(file))));
        }
        let digest_of = |path: &VaultPath| Some(digest(self.text(path.as_str()).as_bytes()));
        names::plan(&links, digest_of, &path(from), &path(to))
    }
}

/// A file is written over just the bytes that were seen, keeps its mode, and nothing is left beside it.
#[test]
fn a_file_is_written_over_what_was_seen() {
    let place = Place::with(&[("a.md", "one")]);
    let mode = |mode| fs::set_permissions(place.root.folder().join("a.md"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o640);
    place.root.write(&path("a.md"), &digest(b"one"), b"two").unwrap();
    assert_eq!(place.text("a.md"), "two");
    assert_eq!(fs::metadata(place.root.folder().join("a.md")).unwrap().permissions().mode() & 0o777, 0o640);
    let stale = place.root.write(&path("a.md"), &digest(b"one"), b"three");
    assert!(matches!(stale, Err(WriteError::Changed { bytes: Some(bytes) }) if bytes == b"two"));
    assert_eq!(place.text("a.md"), "two");
    for gone in ["b.md", "folder/b.md"] {
        let gone = place.root.write(&path(gone), &digest(b"one"), b"three");
        assert!(matches!(gone, Err(WriteError::Changed { bytes: None })));
    }
    symlink("a.md", place.root.folder().join("link.md")).unwrap();
    assert!(matches!(place.root.write(&path("link.md"), &digest(b"two"), b""), Err(WriteError::Link(_))));
    assert!(matches!(place.root.rename(&path("a.md"), &path("link.md")), Err(WriteError::Taken(_))));
    assert_eq!(place.files(), ["a.md", "link.md"]);
}

/// What fails in the middle of a name is finished later, and a file that was changed meanwhile is left and told.
#[test]
fn a_name_is_finished_later() {
    let link = |number: u8| format!("see [[Old]] {number}\n");
    let files = ["Old.md", "1.md", "2.md", "3.md", "4.md"];
    let place = Place::with(&[("Old.md", "old"), ("other.md", &link(2))]);
    (1..=4).for_each(|number| place.put(&format!("{number}.md"), &link(number)));
    let plan = place.plan(&files, "Old.md", "new/New.md").unwrap();
    let namer = place.namer();
    // a link cannot be written over, though its text is the one that was planned for
    fs::remove_file(place.root.folder().join("2.md")).unwrap();
    symlink("other.md", place.root.folder().join("2.md")).unwrap();
    let error = namer.rename(&place.root, plan).unwrap_err();
    assert!(error.to_string().contains("2.md is not written"), "{error}");
    assert_eq!((&*place.text("1.md"), &*place.text("3.md")), ("see [[New]] 1\n", "see [[Old]] 3\n"));
    assert!(namer.recover(&place.root).is_err(), "it cannot be written yet");

    fs::remove_file(place.root.folder().join("2.md")).unwrap();
    place.put("2.md", &link(2));
    place.put("4.md", "somebody wrote [[Old]]");
    // as the next start would, or the next name
    let files = ["new/New.md", "1.md", "2.md", "3.md", "4.md", "other.md"];
    let plan = place.plan(&files, "other.md", "Another.md").unwrap();
    place.namer().rename(&place.root, plan).unwrap();
    assert_eq!(place.text("new/New.md"), "old");
    let texts = ["1.md", "2.md", "3.md", "4.md"].map(|file| place.text(file));
    assert_eq!(texts, ["see [[New]] 1\n", "see [[New]] 2\n", "see [[New]] 3\n", "somebody wrote [[Old]]"]);
    assert_eq!(place.namer().recover(&place.root).unwrap(), None, "it is over");
    assert_eq!(place.files(), ["1.md", "2.md", "3.md", "4.md", "Another.md", "new"]);
}

/// What a crash left is finished at the next start, which tells what it found.
#[test]
fn a_name_is_recovered() {
    let place = Place::with(&[("Old.md", "old"), ("1.md", "[[Old]]"), ("2.md", "[[Old]]")]);
    let plan = place.plan(&["Old.md", "1.md", "2.md"], "Old.md", "New.md").unwrap();
    fs::remove_file(place.root.folder().join("1.md")).unwrap();
    symlink("New.md", place.root.folder().join("1.md")).unwrap();
    // nothing is written where a file with links is another than was planned for
    assert!(matches!(place.namer().rename(&place.root, plan.clone()), Err(NameError::Behind(_))));
    assert_eq!(place.text("Old.md"), "old");

    fs::remove_file(place.root.folder().join("1.md")).unwrap();
    place.put("shown.md", "[[Old]]");
    symlink("shown.md", place.root.folder().join("1.md")).unwrap();
    place.namer().rename(&place.root, plan).unwrap_err();
    place.put("shown.md", "changed");
    let renamed = place.namer().recover(&place.root).unwrap().unwrap();
    let expected = Renamed { written: vec![path("2.md")], links: 1, left: vec![path("1.md")], lost: Vec::new() };
    assert_eq!(renamed, expected);
    assert_eq!(place.text("2.md"), "[[New]]");
}
