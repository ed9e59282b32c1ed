//! Making workspaces: what they are, that they are whole, and that they can be asked for again.

use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use kanvoy_workspace::{Error, Source, Spec, Workspaces};

use crate::yard::{AGENT, Yard, agent, branch, id, is_root, plain_git};

#[tokio::test]
async fn a_clone_stands_alone_and_belongs_to_the_agent() {
    let yard = Yard::new();
    let tip = plain_git(&yard.upstream(), &["rev-parse", "HEAD"]);
    let made = yard.create("a").await;
    assert_eq!(made.base_commit.as_str(), tip);
    assert_eq!(made.path, yard.work("a"));
    assert_eq!(yard.workspaces.path(&id("a")).expect("a path"), made.path);

    let git = made.path.join(".git");
    assert!(git.is_dir(), "no pointer to somewhere else");
    assert!(!git.join("objects/info/alternates").exists(), "no objects of somebody else");
    assert!(!git.join("commondir").exists() && !git.join("hooks").exists());
    let config = std::fs::read_to_string(git.join("config")).expect("a configuration");
    assert!(!config.contains("worktree") && !config.contains(yard.root().to_str().expect("UTF-8")), "{config}");

    let owner = if is_root() { AGENT } else { rustix::process::geteuid().as_raw() };
    let mut all = vec![made.path.clone()];
    while let Some(path) = all.pop() {
        let meta = std::fs::symlink_metadata(&path).expect("metadata");
        assert_eq!(meta.uid(), owner, "{}", path.display());
        assert!(meta.is_dir() || meta.nlink() == 1, "{} is linked to elsewhere", path.display());
        if meta.is_dir() {
            all.extend(std::fs::read_dir(&path).expect("a directory").flatten().map(|entry| entry.path()));
        }
    }
    // The agent's own git finds a clean clone on its branch, whole even where nothing else of ours can be read.
    assert_eq!(agent(&made.path, "git status --porcelain && git symbolic-ref HEAD"), "refs/heads/task/1-a");
    assert_eq!(agent(&made.path, "git fsck --full --strict 2>&1 && git log --oneline | wc -l"), "3");
    assert_eq!(agent(&made.path, "git log -1 --format=%H origin/main"), tip);
    let beside = yard.root().join("tasks/a/results.git");
    assert_eq!(std::fs::metadata(beside).expect("metadata").mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(yard.root().join("tasks")).expect("metadata").mode() & 0o777, 0o711);
}

#[tokio::test]
async fn asked_again_it_is_the_same_and_another_is_refused() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "echo more > README.md");
    yard.upstream_commit("later", "x");
    assert_eq!(yard.create("a").await, made, "the work is left alone");
    assert_eq!(std::fs::read_to_string(made.path.join("README.md")).expect("a file"), "more\n");
    let other = Spec { branch: branch("task/2-other"), ..yard.spec("a") };
    assert!(matches!(yard.workspaces.create(other).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn what_was_cut_off_is_made_anew() {
    let yard = Yard::new();
    // As a daemon leaves it that died while cloning: a half-made task, a half-made mirror, locks in a whole mirror.
    yard.create("before").await;
    let cache =
        std::fs::read_dir(yard.root().join("cache")).expect("a cache").flatten().next().expect("a mirror").path();
    for lock in ["packed-refs.lock", "HEAD.lock", "config.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x"] {
        std::fs::create_dir_all(cache.join(lock).parent().expect("a parent")).expect("a directory");
        std::fs::write(cache.join(lock), "").expect("a lock");
    }
    let half = yard.root().join("tasks/a.making/work/.git");
    std::fs::create_dir_all(&half).expect("a directory");
    std::fs::write(half.join("HEAD"), "ref").expect("a file");
    std::fs::create_dir_all(yard.root().join("cache/0123.git.making/objects")).expect("a directory");
    yard.upstream_commit("later", "x");

    let again = Workspaces::new(yard.root(), yard.config.clone()).expect("workspaces");
    assert!(!yard.root().join("tasks/a.making").exists() && !yard.root().join("cache/0123.git.making").exists());
    assert_eq!(again.list().expect("a list"), [id("before")]);
    let made = again.create(yard.spec("a")).await.expect("a workspace");
    assert_eq!(agent(&made.path, "git status --porcelain; cat later"), "x");
}

/// Dropping the future is what stopping the daemon or a timeout does.
#[tokio::test]
async fn a_creation_can_be_dropped_at_any_moment() {
    let yard = Yard::new();
    for wait in [1, 5, 10, 20, 30, 40, 60, 80, 120] {
        let create = yard.workspaces.create(yard.spec("a"));
        let cut = tokio::time::timeout(std::time::Duration::from_millis(wait), create).await;
        if cut.is_ok() {
            break;
        }
    }
    let made = yard.create("a").await;
    assert_eq!(agent(&made.path, "git fsck --full 2>&1; git status --porcelain"), "");
    assert!(yard.workspaces.standing(&id("a")).await.is_ok());
}

#[tokio::test]
async fn without_a_repository_there_is_an_empty_one_that_stays() {
    let yard = Yard::new();
    let made = yard.create_kept("a", "board-1").await.expect("a workspace");
    assert_eq!(agent(&made.path, "git log --format='%an %s'; ls; git remote"), "Ada Empty repository");
    let second = yard.create_kept("b", "board-1").await.expect("a workspace");
    assert_eq!(second.base_commit, made.base_commit);
    let standing = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!((standing.ahead, standing.dirty, standing.unpushed), (0, 0, 0));
}

#[tokio::test]
async fn branches_are_chosen_and_missing_ones_named() {
    let yard = Yard::new();
    plain_git(&yard.upstream(), &["branch", "next", "HEAD~1"]);
    let next = plain_git(&yard.upstream(), &["rev-parse", "next"]);
    let made =
        yard.workspaces.create(Spec { base: Some(branch("next")), ..yard.spec("a") }).await.expect("a workspace");
    assert_eq!(made.base_commit.as_str(), next);
    let missing = yard.workspaces.create(Spec { base: Some(branch("nxt")), ..yard.spec("b") }).await;
    let error = missing.expect_err("no such branch");
    assert!(matches!(error, Error::NoSuchBranch { .. }));
    assert!(error.to_string().contains("it has main, next"), "{error}");
    assert_eq!(yard.workspaces.list().expect("a list"), [id("a")]);
}

#[tokio::test]
async fn an_empty_upstream_is_a_place_to_begin() {
    let yard = Yard::new();
    let empty = yard.dir.path().join("upstream/empty.git");
    std::fs::create_dir(&empty).expect("a directory");
    plain_git(&empty, &["init", "-q", "--bare", "-b", "main"]);
    let made =
        yard.workspaces.create(Spec { source: Source::Local(empty), ..yard.spec("a") }).await.expect("a workspace");
    assert_eq!(agent(&made.path, "git log --format=%s"), "Empty repository");
}

#[tokio::test]
async fn sha256_repositories_work_too() {
    let yard = Yard::new();
    let repo = yard.dir.path().join("upstream/new");
    std::fs::create_dir(&repo).expect("a directory");
    plain_git(&repo, &["init", "-q", "-b", "main", "--object-format=sha256"]);
    std::fs::write(repo.join("f"), "1\n").expect("a file");
    plain_git(&repo, &["add", "."]);
    plain_git(&repo, &["commit", "-qm", "one"]);
    let made =
        yard.workspaces.create(Spec { source: Source::Local(repo), ..yard.spec("a") }).await.expect("a workspace");
    assert_eq!(made.base_commit.as_str().len(), 64);
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty, 0);
    agent(&made.path, "echo 2 > f; git commit -qam two; echo 3 > f");
    let standing = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!((standing.ahead, standing.dirty), (1, 1));
}

#[tokio::test]
async fn local_repositories_need_leave_and_our_own_are_none() {
    let yard = Yard::new();
    let elsewhere = yard.dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    plain_git(&elsewhere, &["init", "-q"]);
    std::os::unix::fs::symlink(&elsewhere, yard.dir.path().join("upstream/link")).expect("a link");
    yard.create("a").await;
    let results = yard.root().join("tasks/a/results.git");
    let paths = [
        elsewhere,
        yard.dir.path().join("upstream/link"),
        yard.dir.path().join("upstream/../elsewhere"),
        results,
        "relative".into(),
    ];
    for path in paths {
        let spec = Spec { source: Source::Local(path.clone()), ..yard.spec("b") };
        let error = yard.workspaces.create(spec).await.expect_err("not allowed");
        assert!(matches!(error, Error::Refused(_)), "{}: {error}", path.display());
    }
    let missing = Spec { source: Source::Local(yard.dir.path().join("upstream/none")), ..yard.spec("b") };
    assert!(matches!(yard.workspaces.create(missing).await, Err(Error::NotFound(_))));
}

/// git refuses another user's repository unless it is named; we name that one and no other.
#[tokio::test]
async fn another_users_local_repository_can_be_read() {
    if !is_root() {
        return;
    }
    let yard = Yard::new();
    let chown = std::process::Command::new("chown").args(["-R", "12345:12345"]).arg(yard.upstream()).status();
    assert!(chown.expect("chown").success());
    let made = yard.create("a").await;
    assert_eq!(agent(&made.path, "cat README.md"), "hello");
}

/// Measured where the network costs nothing: the first clone fetches and indexes, the second only copies.
#[tokio::test]
async fn the_second_clone_is_quicker() {
    let yard = Yard::new();
    let repo = yard.upstream();
    // Text that packs badly, so that fetching and indexing is work.
    for round in 0..12u32 {
        for file in 0..40u32 {
            let mut state = (round * 1_000 + file).wrapping_mul(2_654_435_761).wrapping_add(1);
            let mut text = String::new();
            for _ in 0..4_000 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(&format!("{state:x}\n"));
            }
            std::fs::write(repo.join(format!("f{file}")), text).expect("a file");
        }
        plain_git(&repo, &["add", "-A"]);
        plain_git(&repo, &["commit", "-qm", "round"]);
    }
    let timed = async |name: &str| {
        let began = Instant::now();
        yard.create(name).await;
        began.elapsed()
    };
    let (first, second) = (timed("a").await, timed("b").await);
    println!("first clone {first:?}, second {second:?}");
    assert!(second.as_secs_f64() < first.as_secs_f64() * 0.8, "first {first:?}, second {second:?}");
}
