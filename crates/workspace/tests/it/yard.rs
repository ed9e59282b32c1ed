//! A root, an upstream repository, and an agent that works in its clone as its own user.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kanvoy_workspace::{Access, Branch, Config, Created, Error, Id, Signature, Source, Spec, Workspaces};

pub struct Yard {
    pub dir: tempfile::TempDir,
    pub workspaces: Workspaces,
    pub config: Config,
}

pub const AGENT: u32 = 10001;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn by() -> Signature {
    Signature::new("Ada", "ada@example.com", 1_700_000_000)
}

pub fn id(text: &str) -> Id {
    text.parse().expect("an id")
}

pub fn branch(text: &str) -> Branch {
    text.parse().expect("a branch")
}

impl Yard {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        open_to_all(dir.path());
        let mut config = Config { local: vec![dir.path().join("upstream")], ..Config::default() };
        change(&mut config);
        let workspaces = Workspaces::new(dir.path().join("root"), config.clone()).expect("workspaces");
        let yard = Self { dir, workspaces, config };
        yard.seed();
        yard
    }

    fn seed(&self) {
        std::fs::create_dir(self.dir.path().join("upstream")).expect("a directory");
        let repo = self.upstream();
        std::fs::create_dir(&repo).expect("a directory");
        plain_git(&repo, &["init", "-q", "-b", "main"]);
        plain_git(&repo, &["config", "receive.denyCurrentBranch", "refuse"]);
        self.upstream_commit("README.md", "hello\n");
        self.upstream_commit("src/main.rs", "fn main() {}\n");
        self.upstream_commit(".gitignore", "/target\n*.log\n");
    }

    pub fn upstream(&self) -> PathBuf {
        self.dir.path().join("upstream/repo")
    }

    pub fn upstream_commit(&self, file: &str, content: &str) -> String {
        let repo = self.upstream();
        let path = repo.join(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, content).expect("a file");
        plain_git(&repo, &["add", "-A"]);
        plain_git(&repo, &["commit", "-q", "-m", &format!("Write {file}")]);
        plain_git(&repo, &["rev-parse", "HEAD"])
    }

    pub fn spec(&self, name: &str) -> Spec {
        Spec {
            id: id(name),
            source: Source::Local(self.upstream()),
            base: None,
            branch: branch(&format!("task/1-{name}")),
            by: by(),
            access: Access::None,
        }
    }

    pub async fn create(&self, name: &str) -> Created {
        self.workspaces.create(self.spec(name)).await.expect("a workspace")
    }

    pub async fn create_kept(&self, name: &str, board: &str) -> Result<Created, Error> {
        let source = Source::Kept(id(board));
        self.workspaces.create(Spec { source, ..self.spec(name) }).await
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn work(&self, name: &str) -> PathBuf {
        self.root().join("tasks").join(name).join("work")
    }

    /// A place where everybody may write, so that a canary can come from anybody.
    pub fn canary(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join("canaries");
        if !dir.exists() {
            std::fs::create_dir(&dir).expect("a directory");
            std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("permissions");
        }
        dir.join(name)
    }

    pub fn canaries(&self) -> Vec<String> {
        let dir = self.canary("x").parent().expect("a parent").to_owned();
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .expect("a directory")
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn open_to_all(dir: &Path) {
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
}

/// git as a person uses it in a repository of theirs.
pub fn plain_git(repo: &Path, args: &[&str]) -> String {
    let output = clean(Command::new("git"), repo).args(args).output().expect("git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn clean(mut command: Command, dir: &Path) -> Command {
    command.current_dir(dir).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Grace").env(format!("GIT_{who}_EMAIL"), "grace@example.com");
    }
    command
}

/// A shell in the clone, as the user whose clone it is: what an agent in its cage can do.
pub fn agent(work: &Path, script: &str) -> String {
    let output = agent_try(work, script);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn agent_try(work: &Path, script: &str) -> Output {
    let command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            &format!("--reuid={AGENT}"),
            &format!("--regid={AGENT}"),
            "--clear-groups",
            "--",
            "sh",
            "-ec",
            script,
        ]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-ec", script]);
        command
    };
    clean(command, work).output().expect("a shell")
}
