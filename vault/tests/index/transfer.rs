//! What is taken in as lines, and what a fault in them leaves.

use std::io::{BufReader, Read as _, repeat};

use vault::documents::{DOCUMENT_BYTES_MAX, Document, Documents};
use vault::index::record::Privacy;
use vault::path::VaultPath;
use vault::transfer::{Counts, Import, LINE_BYTES_MAX, TransferError, import};

use crate::support::Vault;

const HEAD: &str = "{\"format\":\"rhizome-vault\",\"version\":1,\"embedder\":null}\n";

fn line(id: &str, text: &str) -> String {
    let pushed = Document { id: VaultPath::new(id).unwrap(), text: text.to_owned(), privacy: Privacy::Open };
    let pushed = serde_json::to_string(&pushed).unwrap();
    format!(
        "{{\"document\":{{\"name\":\"/pushed/{id}\",\"title\":\"\",\"digest\":\"\",\"privacy\":\"open\",\"tags\":[],\"pushed\":{pushed}}}}}\n"
    )
}

/// Takes lines into a vault that runs.
fn take(vault: &Vault, documents: &Documents, lines: impl std::io::Read) -> Result<Counts, TransferError> {
    let kept = |ids| vault.worker().documents(ids);
    import(&mut BufReader::new(lines), &Import { documents, cache: None, kept: &kept })
}

/// What came before a fault is kept and found; the fault is told with its line, a line without end among them.
#[test]
fn a_fault_leaves_what_was_before_it() {
    let mut vault = Vault::new();
    let source = vault.source();
    let documents = source.documents.clone().unwrap();
    vault.start_with(source);
    let cut = [HEAD, &line("one", "quince one"), &line("two", "quince two"), "{\"document\":{\"na"].concat();
    let error = take(&vault, &documents, cut.as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("line 4: it is no line of ours"), "{error}");
    vault.until_found("quince", &["/pushed/one", "/pushed/two"]);

    let before = [HEAD, &line("three", "quince three")].concat();
    let endless = before.as_bytes().chain(repeat(b'a').take(LINE_BYTES_MAX as u64 * 2));
    let error = take(&vault, &documents, endless).unwrap_err();
    assert_eq!(error.to_string(), format!("line 3: it is longer than {LINE_BYTES_MAX} bytes"));
    vault.until_found("quince", &["/pushed/one", "/pushed/three", "/pushed/two"]);
    let long = [HEAD, &line("four", "quince four"), &line("long", &"a".repeat(DOCUMENT_BYTES_MAX + 1))].concat();
    let error = take(&vault, &documents, long.as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("line 3: the document has"), "{error}");
    vault.until_found("quince four", &["/pushed/four", "/pushed/one", "/pushed/three", "/pushed/two"]);
}

/// Many large documents are kept piece by piece, and all are found when it has ended.
#[test]
fn large_documents_are_taken_in_pieces() {
    let mut vault = Vault::new();
    let source = vault.source();
    let documents = source.documents.clone().unwrap();
    vault.start_with(source);
    let large = "marmalade ".repeat(400_000);
    let lines = (0..20).map(|number| line(&format!("large/{number}"), &large));
    let lines: String = std::iter::once(HEAD.to_owned()).chain(lines).collect();
    let told = std::cell::RefCell::new(Vec::new());
    let kept = |ids: Vec<VaultPath>| {
        told.borrow_mut().push(ids.len());
        vault.worker().documents(ids)
    };
    let counts = import(&mut lines.as_bytes(), &Import { documents: &documents, cache: None, kept: &kept }).unwrap();
    assert_eq!((counts.pushed, told.borrow().iter().sum::<usize>()), (20, 20));
    assert!(told.borrow().len() > 1 && told.borrow().iter().all(|count| *count < 10), "{told:?}");
    assert_eq!(vault.found("path:large").len(), 20);
}
