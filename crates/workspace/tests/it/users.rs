//! The daemon as another user: everything above holds there too.

use std::process::Command;

use crate::yard::is_root;

/// `nobody`'s number on no machine that matters: an ordinary user without an entry anywhere.
const ORDINARY: &str = "10002";

#[test]
fn everything_again_as_an_ordinary_user() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(dir.path(), mode(0o755)).expect("permissions");
    let program = dir.path().join("it");
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
    std::fs::set_permissions(&program, mode(0o755)).expect("permissions");
    let temp = dir.path().join("tmp");
    std::fs::create_dir(&temp).expect("a directory");
    std::fs::set_permissions(&temp, mode(0o777)).expect("permissions");
    let output = Command::new("setpriv")
        .args([&format!("--reuid={ORDINARY}"), &format!("--regid={ORDINARY}"), "--clear-groups", "--"])
        .arg(&program)
        .args(["--skip", "as_an_ordinary_user", "--skip", "quicker"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("TMPDIR", &temp)
        .current_dir(&temp)
        .output()
        .expect("the suite");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test result: ok"), "{text}");
}
