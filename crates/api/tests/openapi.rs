//! The description in `docs/openapi.json` is the one that the code gives. `KANVOY_GEN=1` writes it anew.

use std::path::Path;

#[test]
fn the_description_in_docs_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let made = kanvoy_api::openapi::json() + "\n";
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let write = std::env::var_os("KANVOY_GEN").is_some();
    if write {
        std::fs::write(&path, &made).expect("is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is out of date; `make gen` writes it anew");
}
