//! The same, by somebody who is only in the engine's group: another uid in the cage, other owners on disk.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use kanvoy_runtime::docker::Address;

use crate::world::{engine, probe, probe_path, runtime};

const UID: &str = "12345";

#[test]
fn an_ordinary_user_of_the_engine_gets_the_same_cages() {
    runtime().block_on(async {
        let Some(Address::Unix(socket)) = engine("ordinary").await else { return };
        if !rustix::process::getuid().is_root() {
            println!("SKIPPED ordinary: whoever runs this is one");
            return;
        }
        probe();
        let group = std::fs::metadata(socket).unwrap().gid().to_string();
        let dir = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let copy = dir.path().join("tests");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let as_user = |program: &std::path::Path| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", UID, "--regid", UID, "--groups", &group]).arg(program);
            command
        };
        let reads = as_user("cat".as_ref()).arg(probe_path()).output();
        if !reads.is_ok_and(|reads| reads.status.success()) {
            println!("SKIPPED ordinary: another user cannot read what is built here, or there is no setpriv");
            return;
        }
        let ran = as_user(&copy)
            .args([
                "--test-threads=2",
                "confined::",
                "life::bytes",
                "life::the_keeper",
                "causes::an_end",
                "absent::each",
                "canary",
            ])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        println!("{told}{}", String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && !told.contains("running 0 tests"));
    });
}
