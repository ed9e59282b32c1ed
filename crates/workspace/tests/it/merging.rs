//! Merging into local branches, conflicts as answers, and pushing.

use std::path::Path;

use kanvoy_workspace::{Access, Error, Include, MergeSpec, Merged, PushSpec, Source, Spec, What};

use crate::yard::{Yard, agent, branch, by, id, plain_git};

fn into(name: &str, include: Include) -> MergeSpec {
    MergeSpec { into: branch(name), include, message: "Merge the work".into(), by: by() }
}

fn home(yard: &Yard) -> std::path::PathBuf {
    std::fs::read_dir(yard.root().join("cache")).expect("a cache").flatten().next().expect("a mirror").path()
}

fn show(repo: &Path, what: &str) -> String {
    plain_git(repo, &["show", what])
}

#[tokio::test]
async fn work_lands_on_a_local_branch_and_the_next_task_begins_there() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "echo one > one; git add one; git commit -qm one; echo two > two");
    let merged = yard.workspaces.merge_into(&id("a"), &into("main", Include::Commits)).await.expect("a merge");
    let Merged::Done { commit, .. } = merged else { panic!("{merged:?}") };
    assert_eq!(show(&home(&yard), "main:one"), "one");
    assert_eq!(plain_git(&home(&yard), &["rev-parse", "main"]), commit.as_str());
    let standing = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!((standing.unpushed, standing.dirty, standing.dirty_is_kept), (0, 1, false));

    let everything = into("main", Include::Everything);
    let Merged::Done { commit, work } = yard.workspaces.merge_into(&id("a"), &everything).await.expect("a merge")
    else {
        panic!("not merged")
    };
    assert_eq!(show(&home(&yard), "main:two"), "two");
    assert!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty_is_kept);
    let again = yard.workspaces.merge_into(&id("a"), &everything).await.expect("a merge");
    let Merged::Nothing { commit: at } = again else { panic!("{again:?}") };
    assert_eq!((&at, plain_git(&home(&yard), &["log", "-1", "--format=%an", "main"]).as_str()), (&commit, "Ada"));
    assert_ne!(at, work);

    let next = yard.create("b").await;
    assert_eq!(next.base_commit, commit);
    assert_eq!(agent(&next.path, "cat one two"), "one\ntwo");
    // What came to the remote meanwhile does not take the local branch away.
    yard.upstream_commit("upstream", "u");
    let third = yard.create("c").await;
    assert_eq!(plain_git(&home(&yard), &["rev-parse", "main"]), commit.as_str());
    assert_eq!(agent(&third.path, "cat upstream"), "u", "the branches went apart: the remote's is the base");
}

#[tokio::test]
async fn conflicts_are_an_answer_and_nothing_moves() {
    let yard = Yard::new();
    yard.upstream_commit("bin", "\0base");
    let (a, b) = (yard.create("a").await, yard.create("b").await);
    agent(
        &a.path,
        "echo ours > README.md; git rm -q src/main.rs; printf '\\0ours' > bin; echo add-a > added; git add -A; git commit -qm a",
    );
    agent(
        &b.path,
        "echo theirs > README.md; echo '// x' >> src/main.rs; printf '\\0their' > bin; echo add-b > added; echo fine > fine; git add -A; git commit -qm b",
    );
    let first = yard.workspaces.merge_into(&id("a"), &into("main", Include::Commits)).await.expect("a merge");
    let Merged::Done { commit: main, .. } = first else { panic!("{first:?}") };
    let second = yard.workspaces.merge_into(&id("b"), &into("main", Include::Commits)).await.expect("an answer");
    let Merged::Conflicts { onto, work, conflicts, more } = second else { panic!("{second:?}") };
    assert_eq!((&onto, more), (&main, false));
    assert_eq!(work.as_str(), agent(&b.path, "git rev-parse HEAD"));
    let text = |side: &Option<kanvoy_workspace::Side>| {
        side.as_ref().map(|side| String::from_utf8_lossy(&side.content).into_owned())
    };
    let rows: Vec<_> =
        conflicts.iter().map(|c| (c.path.to_string(), text(&c.base), text(&c.ours), text(&c.theirs))).collect();
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        ("README.md".to_owned(), some("hello\n"), some("ours\n"), some("theirs\n")),
        ("added".to_owned(), None, some("add-a\n"), some("add-b\n")),
        ("bin".to_owned(), some("\0base"), some("\0ours"), some("\0their")),
        ("src/main.rs".to_owned(), some("fn main() {}\n"), None, some("fn main() {}\n// x\n")),
    ];
    assert_eq!(rows, expected);
    assert!(text(&conflicts[0].marked).expect("marks").contains("<<<<<<<"));
    assert!(conflicts[3].about.contains("modify/delete"), "{}", conflicts[3].about);
    assert_eq!(plain_git(&home(&yard), &["rev-parse", "main"]), main.as_str());
    assert_eq!(yard.workspaces.standing(&id("b")).await.expect("standing").unpushed, 1);
    // The agent settles it in its clone, and it goes through.
    agent(&b.path, "git reset -q --hard HEAD~; echo fine > fine; git add fine; git commit -qm fine");
    assert!(matches!(
        yard.workspaces.merge_into(&id("b"), &into("main", Include::Commits)).await,
        Ok(Merged::Done { .. })
    ));
    assert!(matches!(
        yard.workspaces.merge_into(&id("b"), &into("nowhere", Include::Commits)).await,
        Err(Error::NoSuchBranch { .. })
    ));
}

#[tokio::test]
async fn a_board_without_a_repository_collects_its_work() {
    let yard = Yard::new();
    let a = yard.create_kept("a", "board").await.expect("a workspace");
    agent(&a.path, "echo hi > hi");
    assert!(matches!(
        yard.workspaces.merge_into(&id("a"), &into("main", Include::Everything)).await,
        Ok(Merged::Done { .. })
    ));
    let b = yard.create_kept("b", "board").await.expect("a workspace");
    assert_eq!(agent(&b.path, "cat hi"), "hi");
    let push = PushSpec {
        to: Source::Kept(id("board")),
        branch: branch("x"),
        what: What::Work { include: Include::Commits, message: String::new(), by: by() },
        access: Access::None,
    };
    assert!(matches!(yard.workspaces.push(&id("b"), &push).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn pushing_never_forces() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "echo one > one; git add one; git commit -qm one; echo two > two");
    let push = |name: &str, include| PushSpec {
        to: Source::Local(yard.upstream()),
        branch: branch(name),
        what: What::Work { include, message: "Rest".into(), by: by() },
        access: Access::None,
    };
    // A hook of the other side is not ours to run.
    let hook = yard.upstream().join(".git/hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().expect("a parent")).expect("a directory");
    std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\nexit 1\n", yard.canary("hook").display())).expect("a hook");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");

    let first = yard.workspaces.push(&id("a"), &push("task/1-a", Include::Commits)).await.expect("a push");
    assert!(!first.nothing_new);
    assert!(yard.workspaces.push(&id("a"), &push("task/1-a", Include::Commits)).await.expect("a push").nothing_new);
    assert_eq!(plain_git(&yard.upstream(), &["show", "task/1-a:one"]), "one");
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").unpushed, 0);
    yard.workspaces.push(&id("a"), &push("task/1-a", Include::Everything)).await.expect("a push");
    assert_eq!(plain_git(&yard.upstream(), &["show", "task/1-a:two"]), "two");
    assert!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty_is_kept);

    agent(&made.path, "git reset -q --hard HEAD~; rm -f two; echo other > one; git add one; git commit -qm other");
    let behind = yard.workspaces.push(&id("a"), &push("task/1-a", Include::Commits)).await;
    assert!(matches!(behind, Err(Error::NotFastForward { .. })), "{behind:?}");
    let checked_out = yard.workspaces.push(&id("a"), &push("main", Include::Commits)).await;
    assert!(matches!(checked_out, Err(Error::Refused(_))), "{checked_out:?}");
    assert!(yard.canaries().is_empty());
}

#[tokio::test]
async fn a_merged_branch_is_pushed_as_such() {
    let yard = Yard::new();
    plain_git(&yard.upstream(), &["checkout", "-q", "--detach"]);
    let made = yard.create("a").await;
    agent(&made.path, "echo one > one; git add one; git commit -qm one");
    yard.workspaces.merge_into(&id("a"), &into("main", Include::Commits)).await.expect("a merge");
    let spec = PushSpec {
        to: Source::Local(yard.upstream()),
        branch: branch("main"),
        what: What::Merged(branch("main")),
        access: Access::None,
    };
    let pushed = yard.workspaces.push(&id("a"), &spec).await.expect("a push");
    assert_eq!(plain_git(&yard.upstream(), &["rev-parse", "main"]), pushed.commit.as_str());
    let next =
        yard.workspaces.create(Spec { base: Some(branch("main")), ..yard.spec("b") }).await.expect("a workspace");
    assert_eq!(next.base_commit, pushed.commit);
}
