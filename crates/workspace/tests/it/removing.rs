//! Nothing with work in it is removed without being told twice.

use kanvoy_workspace::{Confirm, Error, Include, MergeSpec, Range, Workspaces};

use crate::yard::{Yard, agent, branch, by, id, plain_git};

async fn refused(yard: &Yard, confirm: &Confirm) -> kanvoy_workspace::Commit {
    match yard.workspaces.remove(&id("a"), confirm).await {
        Err(Error::Unpushed { tip, .. }) => tip,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_untouched_workspace_goes_at_once() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "mkdir target; echo built > target/x; mkfifo p");
    let removed = yard.workspaces.remove(&id("a"), &Confirm::Nothing).await.expect("removed");
    assert_eq!(removed.attic, None);
    assert!(!made.path.exists() && yard.workspaces.list().expect("a list").is_empty());
    assert!(matches!(yard.workspaces.remove(&id("a"), &Confirm::Nothing).await, Err(Error::NotFound(_))));
    assert!(matches!(yard.workspaces.diff(&id("a"), &Range::All).await, Err(Error::NotFound(_))));
    let cache =
        std::fs::read_dir(yard.root().join("cache")).expect("a cache").flatten().next().expect("a mirror").path();
    assert_eq!(plain_git(&cache, &["for-each-ref", "refs/tasks"]), "");
    yard.create("a").await;
}

#[tokio::test]
async fn work_is_given_up_by_name_and_kept_in_the_attic() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "echo dirt > dirt");
    let dirty = refused(&yard, &Confirm::Nothing).await;
    agent(
        &made.path,
        "echo one > one; git add one; git commit -qm one; git checkout -qb side; git commit -q --allow-empty -m side; git checkout -q -",
    );
    let tip = refused(&yard, &Confirm::Unpushed { head: dirty }).await;
    let base = Confirm::Unpushed { head: made.base_commit.clone() };
    assert_eq!(refused(&yard, &base).await, tip, "what came meanwhile was not confirmed");
    assert_eq!(std::fs::read_to_string(made.path.join("dirt")).expect("a file"), "dirt\n");

    let removed = yard.workspaces.remove(&id("a"), &Confirm::Unpushed { head: tip }).await.expect("removed");
    let bundle = removed.attic.expect("a bundle");
    let clone = yard.upstream();
    plain_git(&clone, &["fetch", "-q", bundle.to_str().expect("UTF-8"), "+refs/*:refs/attic/*"]);
    assert_eq!(plain_git(&clone, &["show", "refs/attic/given-up:dirt"]), "dirt");
    assert_eq!(plain_git(&clone, &["show", "refs/attic/given-up:one"]), "one");
    assert_eq!(plain_git(&clone, &["log", "-1", "--format=%s", "refs/attic/heads/work/heads/side"]), "side");
}

#[tokio::test]
async fn kept_work_needs_no_second_word() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "echo one > one; git add one; git commit -qm one; echo two > two");
    refused(&yard, &Confirm::Nothing).await;
    let spec = MergeSpec { into: branch("main"), include: Include::Everything, message: "m".into(), by: by() };
    yard.workspaces.merge_into(&id("a"), &spec).await.expect("a merge");
    yard.workspaces.remove(&id("a"), &Confirm::Nothing).await.expect("removed");
}

#[tokio::test]
async fn what_cannot_be_read_counts_as_work() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "echo one > one; git add one; git commit -qm one");
    yard.workspaces.standing(&id("a")).await.expect("standing");
    agent(&made.path, "rm -rf .git; rm one");
    let standing = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert!(standing.unread.is_some());
    assert_eq!(standing.ahead, 1, "the last state that could be read");
    let tip = refused(&yard, &Confirm::Nothing).await;
    let removed = yard.workspaces.remove(&id("a"), &Confirm::Unpushed { head: tip }).await.expect("removed");
    plain_git(
        &yard.upstream(),
        &["fetch", "-q", removed.attic.expect("a bundle").to_str().expect("UTF-8"), "+refs/*:refs/attic/*"],
    );
    assert_eq!(plain_git(&yard.upstream(), &["show", "refs/attic/given-up^:one"]), "one");
}

#[tokio::test]
async fn whatever_an_agent_builds_can_be_taken_down() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(
        &made.path,
        "mkdir target; cd target; for m in $(seq 40); do d=d; for n in $(seq 40); do d=$d/d; done; mkdir -p $d; cd $d; done; cd ../../..
        true",
    );
    agent(
        &made.path,
        "cd target; mkdir shut; touch shut/f; chmod 0 shut; ln -s /etc etc; ln -s / root; mkfifo p; touch ro; chmod 0 ro",
    );
    let outside = yard.canary("outside");
    std::fs::write(&outside, "still here").expect("a file");
    agent(
        &made.path,
        &format!(
            "ln -s {} target/out; ln -s {} target/outdir",
            outside.display(),
            outside.parent().expect("a parent").display()
        ),
    );
    yard.workspaces.remove(&id("a"), &Confirm::Nothing).await.expect("removed");
    assert!(outside.exists() && std::path::Path::new("/etc").exists());
    assert_eq!(std::fs::read_dir(yard.root().join("tasks")).expect("a directory").count(), 0);
}

#[tokio::test]
async fn a_removal_that_was_cut_off_is_finished() {
    let yard = Yard::new();
    yard.create("a").await;
    std::fs::rename(yard.root().join("tasks/a"), yard.root().join("tasks/a.removing")).expect("a rename");
    yard.workspaces.remove(&id("a"), &Confirm::Nothing).await.expect("removed");
    yard.create("b").await;
    std::fs::rename(yard.root().join("tasks/b"), yard.root().join("tasks/b.removing")).expect("a rename");
    Workspaces::new(yard.root(), yard.config.clone()).expect("workspaces");
    assert_eq!(std::fs::read_dir(yard.root().join("tasks")).expect("a directory").count(), 0);
}
