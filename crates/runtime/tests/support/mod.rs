//! The keeper itself, built static for these tests.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;

pub fn keeper() -> &'static Bytes {
    static KEEPER: OnceLock<Bytes> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keeper");
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "kanvoy-keeper",
                "--bin",
                "kanvoy-keeper",
                "--target-dir",
            ])
            .arg(&target)
            .args([
                "--config",
                "build.rustflags=[\"-Ctarget-feature=+crt-static\"]",
                "--config",
                "profile.release.strip=true",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.expect("cargo").success());
        std::fs::read(target.join("release/kanvoy-keeper")).expect("the keeper").into()
    })
}
