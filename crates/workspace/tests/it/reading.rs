//! Reading what was made: standing, files, diffs, commits, patches; honest names and large things.

use kanvoy_workspace::{Branch, Error, Limits, PatchKind, Range, Status, Why};

use crate::yard::{Yard, agent, agent_try, id, plain_git};

#[tokio::test]
async fn standing_tells_commits_and_dirt_apart() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    let fresh = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!((fresh.ahead, fresh.dirty, fresh.unpushed, &fresh.tip), (0, 0, 0, &made.base_commit));
    assert_eq!(fresh.on.as_ref().map(Branch::as_str), Some("task/1-a"));

    agent(
        &made.path,
        "echo two >> README.md; git commit -qam two; echo three >> README.md; echo new > new; mkdir -p target; echo x > target/x; echo x > x.log",
    );
    let now = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!((now.ahead, now.dirty, now.unpushed, now.dirty_is_kept), (1, 2, 1, false));
    assert_eq!(now.head.as_str(), agent(&made.path, "git rev-parse HEAD"));
    assert_ne!(now.tip, now.head);
    let again = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!(now.tip, again.tip, "the same changes have the same name");
    agent(&made.path, "echo four >> new");
    assert_ne!(now.tip, yard.workspaces.standing(&id("a")).await.expect("standing").tip);

    // Branches and a stash beside the head are work too.
    agent(
        &made.path,
        "git stash -qu; git checkout -qb side; echo s > s; git add s; git commit -qm s; git checkout -q task/1-a",
    );
    let side = yard.workspaces.standing(&id("a")).await.expect("standing");
    let names: Vec<&str> = side.elsewhere.iter().map(|other| other.name.as_str()).collect();
    assert_eq!((side.dirty, names), (0, vec!["side", "stash"]));
    assert!(side.unpushed >= 3, "{}", side.unpushed);
    assert_eq!(agent(&made.path, "git status --porcelain"), "", "looking changes nothing");
}

#[tokio::test]
async fn diffs_hold_every_kind_of_change() {
    let yard = Yard::new();
    yard.upstream_commit("old name.txt", &"a line that stays\n".repeat(20));
    yard.upstream_commit("gone", "1\n");
    yard.upstream_commit("tool.sh", "#!/bin/sh\n");
    yard.upstream_commit("turns/into", "x\n");
    let made = yard.create("a").await;
    agent(
        &made.path,
        "git mv 'old name.txt' 'nëw
name.txt'; echo end >> 'nëw
name.txt'; git commit -qam move
        rm gone; chmod +x tool.sh; rm -r turns; ln -s /etc/shadow turns; printf 'a\\0b' > bin
        printf 'x' > '\"quoted\\back'; printf 'x' > \"$(printf 'b\\377d')\"; printf 'no end' >> README.md; : > empty
        rm src/main.rs; ln -s ../README.md src/main.rs",
    );
    let diff = yard.workspaces.diff(&id("a"), &Range::All).await.expect("a diff");
    let mut rows: Vec<String> = diff
        .files
        .iter()
        .map(|file| {
            let change = &file.change;
            let old = change.old_path.as_ref().map(|old| format!(" < {old}")).unwrap_or_default();
            format!("{:?} {:?}{old} {:?}/{:?}", change.status, change.path, change.added, change.removed)
        })
        .collect();
    rows.sort();
    let expected = [
        "Added \"\\\"quoted\\\\back\" Some(1)/Some(0)",
        "Added \"bin\" None/None",
        "Added \"b�d\" Some(1)/Some(0)",
        "Added \"empty\" Some(0)/Some(0)",
        "Added \"turns\" Some(1)/Some(0)",
        "Changed \"README.md\" Some(1)/Some(0)",
        "Changed \"tool.sh\" Some(0)/Some(0)",
        "Deleted \"gone\" Some(0)/Some(1)",
        "Deleted \"turns/into\" Some(0)/Some(1)",
        "Renamed \"nëw\\nname.txt\" < old name.txt Some(1)/Some(0)",
        "Retyped \"src/main.rs\" Some(1)/Some(1)",
    ];
    assert_eq!(rows, expected);
    let text = |name: &str| -> &str {
        let file = diff.files.iter().find(|file| file.change.path.to_string() == name).expect("the file");
        assert!(!file.truncated);
        &file.text
    };
    assert!(text("README.md").contains("\n+no end\n\\ No newline"), "{}", text("README.md"));
    assert!(text("turns").contains("+/etc/shadow"), "the link is shown, not what it leads to");
    assert_eq!(text("src/main.rs").matches("diff --git ").count(), 2);
    assert!(text("bin").contains("Binary files"));
    assert!(text("tool.sh").contains("new mode 100755"));

    let committed = yard.workspaces.files(&id("a"), &Range::Committed).await.expect("files").0;
    assert_eq!(committed.iter().map(|change| change.status).collect::<Vec<_>>(), [Status::Renamed]);
    let uncommitted = yard.workspaces.files(&id("a"), &Range::Uncommitted).await.expect("files").0;
    assert_eq!(uncommitted.len(), 10);
    let head = yard.workspaces.standing(&id("a")).await.expect("standing").head;
    assert_eq!(yard.workspaces.files(&id("a"), &Range::Commit(head)).await.expect("files").0, committed);
    let root = plain_git(&yard.upstream(), &["rev-list", "--max-parents=0", "HEAD"]).parse().expect("a commit");
    assert_eq!(
        yard.workspaces.files(&id("a"), &Range::Commit(root)).await.expect("files").0.len(),
        1,
        "a first commit"
    );
    let unknown = "0".repeat(40).parse().expect("a commit");
    assert!(matches!(yard.workspaces.files(&id("a"), &Range::Commit(unknown)).await, Err(Error::NotFound(_))));

    // The patch brings another clone to the same files.
    let patch = yard.workspaces.patch(&id("a"), &Range::All, PatchKind::Plain).await.expect("a patch");
    let upstream = yard.upstream();
    std::fs::write(yard.dir.path().join("all.patch"), patch).expect("a file");
    plain_git(&upstream, &["apply", "--index", "../../all.patch"]);
    let theirs = plain_git(&upstream, &["write-tree"]);
    let tip = yard.workspaces.standing(&id("a")).await.expect("standing").tip;
    let results = yard.root().join("tasks/a/results.git");
    assert_eq!(theirs, plain_git(&results, &["rev-parse", &format!("{tip}^{{tree}}")]));
}

#[tokio::test]
async fn commits_are_listed_and_mailed() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(
        &made.path,
        "for n in 1 2 3; do echo $n > f; git add f; git commit -qm \"Title $n

Body ü\n\nEnd\"; done; git -c i18n.commitEncoding=ISO-8859-1 commit -q --allow-empty -m 'empty'",
    );
    let list = yard.workspaces.commits(&id("a")).await.expect("commits");
    let subjects: Vec<&str> = list.commits.iter().map(|commit| commit.subject.as_str()).collect();
    assert_eq!((subjects, list.more), (vec!["empty", "Title 3", "Title 2", "Title 1"], false));
    assert_eq!(list.commits[1].author_name, "Grace");
    assert!(list.commits[1].body.starts_with("Body ü"));
    assert_eq!(list.commits[1].parents, [list.commits[2].id.clone()]);

    let mail = yard.workspaces.patch(&id("a"), &Range::Committed, PatchKind::Mail).await.expect("a patch");
    std::fs::write(yard.dir.path().join("mail"), mail).expect("a file");
    plain_git(&yard.upstream(), &["am", "-q", "../../mail"]);
    assert_eq!(plain_git(&yard.upstream(), &["log", "--format=%s", "-3"]), "Title 3\nTitle 2\nTitle 1");
}

#[tokio::test]
async fn everything_is_bounded() {
    let yard = Yard::with(|config| {
        config.limits = Limits {
            file: 100_000,
            entries: 2_000,
            depth: 20,
            diff_file: 1_000,
            diff_total: 10_000,
            diff_files: 50,
            commits: 3,
            patch: 20_000,
            ..Limits::default()
        };
    });
    let made = yard.create("a").await;
    agent(
        &made.path,
        "truncate -s 10G huge; yes | head -c 90000 > big.txt; yes | head -c 90000 > big2.txt; mkfifo pipe
        d=.; for n in $(seq 40); do d=$d/d; done; mkdir -p $d; echo deep > $d/f
        for n in $(seq 60); do seq 50 > many$n; done; for n in 1 2 3 4 5; do git commit -q --allow-empty -m $n; done",
    );
    let began = std::time::Instant::now();
    let diff = yard.workspaces.diff(&id("a"), &Range::All).await.expect("a diff");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    assert!(diff.more_files && diff.files.len() == 50);
    assert!(diff.files.iter().map(|file| file.text.len()).sum::<usize>() <= 10_000);
    let big = diff.files.iter().find(|file| file.change.path.to_string() == "big.txt").expect("the file");
    assert!(big.truncated && big.text.len() == 1_000 && big.change.added == Some(45_000));
    assert!(diff.files.last().expect("a file").truncated, "what was not reached says so");
    let skipped: Vec<(String, Why)> = diff.skipped.iter().map(|s| (s.path.to_string(), s.why)).collect();
    assert!(skipped.contains(&("huge".into(), Why::TooLarge(10 << 30))), "{skipped:?}");
    assert!(skipped.contains(&("pipe".into(), Why::NotAFile)), "{skipped:?}");
    assert!(skipped.iter().any(|(path, why)| path.starts_with("d/d") && *why == Why::TooDeep), "{skipped:?}");
    let commits = yard.workspaces.commits(&id("a")).await.expect("commits");
    assert!(commits.more && commits.commits.len() == 3);
    let patch = yard.workspaces.patch(&id("a"), &Range::All, PatchKind::Plain).await;
    assert!(matches!(patch, Err(Error::TooLarge { .. })), "half a patch is none");

    agent(&made.path, "mkdir crowd; cd crowd; seq 3000 | xargs touch; cd ..; rm README.md");
    let cut = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert!(cut.cut);
    let gone = yard.workspaces.files(&id("a"), &Range::Uncommitted).await.expect("files").0;
    assert!(
        gone.iter().all(|change| change.status != Status::Deleted),
        "what was not looked at is not said to be gone"
    );
}

#[tokio::test]
async fn ignoring_is_gits() {
    let yard = Yard::new();
    std::fs::write(yard.upstream().join("kept.log"), "tracked although ignored\n").expect("a file");
    plain_git(&yard.upstream(), &["add", "-f", "kept.log"]);
    std::fs::create_dir_all(yard.upstream().join("target/in")).expect("a directory");
    std::fs::write(yard.upstream().join("target/in/f"), "1").expect("a file");
    plain_git(&yard.upstream(), &["add", "-f", "target/in/f"]);
    plain_git(&yard.upstream(), &["commit", "-qm", "force"]);
    let made = yard.create("a").await;
    agent(
        &made.path,
        "mkdir -p a/b a/target target/other; printf '*.tmp\\n!keep.tmp\\n/only-here\\nsub/dir/\\n' > a/.gitignore
        touch a/x.tmp a/keep.tmp a/b/x.tmp a/only-here a/b/only-here a/target/f target/f target/in/new x.log a/y.log only-here
        mkdir -p a/sub/dir sub/dir; touch a/sub/dir/f sub/dir/f; printf '!z.log\\n# c\\n\\\\#hash\\ntrail \\n' > a/b/.gitignore
        touch a/b/z.log 'a/b/#hash' a/b/trail; echo changed >> kept.log; echo 2 > target/in/f",
    );
    let ours = yard.workspaces.files(&id("a"), &Range::Uncommitted).await.expect("files").0;
    let mut ours: Vec<String> = ours.iter().map(|change| change.path.to_string()).collect();
    ours.sort();
    let theirs = agent(&made.path, "git status --porcelain -uall | cut -c4- | tr -d '\"' | LC_ALL=C sort");
    assert_eq!(ours, theirs.lines().map(str::to_owned).collect::<Vec<_>>(), "as the agent's own git has it");
}

#[tokio::test]
async fn what_only_the_checkout_converted_is_no_change() {
    let yard = Yard::new();
    yard.upstream_commit(
        ".gitattributes",
        "*.bat text eol=crlf\n*.u16 text working-tree-encoding=UTF-16LE\n*.id ident\n",
    );
    yard.upstream_commit("a.bat", "one\r\ntwo\r\n");
    yard.upstream_commit("x.id", "$Id$\n");
    std::fs::write(yard.upstream().join("t.u16"), "h\0i\0\n\0".as_bytes()).expect("a file");
    plain_git(&yard.upstream(), &["add", "-A"]);
    plain_git(&yard.upstream(), &["commit", "-qm", "encoded"]);
    let made = yard.create("a").await;
    assert_eq!(
        std::fs::read(made.path.join("a.bat")).expect("a file"),
        b"one\r\ntwo\r\n",
        "the agent gets them converted"
    );
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty, 0);
    agent(&made.path, "printf 'three\\r\\n' >> a.bat");
    let diff = yard.workspaces.diff(&id("a"), &Range::Uncommitted).await.expect("a diff");
    let [file] = &diff.files[..] else { panic!("{:?}", diff.files) };
    assert_eq!((file.change.added, file.change.removed), (Some(1), Some(0)), "{}", file.text);
}

#[tokio::test]
async fn a_file_rewritten_with_the_same_size_and_time_is_seen() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "touch -d '2020-01-01' README.md");
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty, 0);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty, 0);
    let noted = std::fs::read(yard.root().join("tasks/a/seen")).expect("a file");
    assert!(String::from_utf8_lossy(&noted).contains("README.md"), "it will not be read again");
    agent(&made.path, "printf 'hallo\\n' > README.md; touch -d '2020-01-01' README.md");
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty, 1, "the change time is the kernel's");
    let broken = yard.root().join("tasks/a/seen");
    std::fs::write(broken, "nonsense\0\0x y z\0").expect("a file");
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").dirty, 1);
}

#[tokio::test]
async fn history_can_be_rewritten_and_repacked() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "for n in 1 2 3; do echo $n > f; git add f; git commit -qm $n; done");
    let before = yard.workspaces.standing(&id("a")).await.expect("standing");
    agent(
        &made.path,
        "git reset -q --hard HEAD~2; git reflog expire --expire=all --all; git gc -q --prune=now --aggressive",
    );
    let after = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!((after.ahead, &after.unread), (1, &None));
    assert_eq!(after.unpushed, 3, "what was undone is still known here");
    let results = yard.root().join("tasks/a/results.git");
    assert_eq!(plain_git(&results, &["cat-file", "-t", before.head.as_str()]), "commit");
    // A merge from upstream's other branch, then detached.
    agent(&made.path, "git checkout -q --detach; echo d > d; git add d; git commit -qm detached");
    let detached = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert_eq!((detached.on, detached.ahead), (None, 2));
    // All of the history replaced.
    agent(&made.path, "git checkout -q --orphan fresh; git commit -qm fresh");
    let fresh = yard.workspaces.diff(&id("a"), &Range::All).await.expect("a diff");
    assert_eq!(fresh.files.iter().filter(|file| file.change.status == Status::Added).count(), 5);
    assert!(agent_try(&made.path, "git fsck").status.success());
}

#[tokio::test]
async fn tidying_keeps_all_that_can_be_named() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    agent(&made.path, "echo undone > u; git add u; git commit -qm undone");
    let undone = yard.workspaces.standing(&id("a")).await.expect("standing").head;
    agent(&made.path, "git reset -q --hard HEAD~");
    for n in 0..5 {
        agent(&made.path, &format!("echo {n} > f"));
        yard.workspaces.standing(&id("a")).await.expect("standing");
    }
    let results = yard.root().join("tasks/a/results.git");
    let loose = || plain_git(&results, &["count-objects"]).split(' ').next().and_then(|n| n.parse::<u32>().ok());
    assert!(loose() > Some(10));
    let before = yard.workspaces.diff(&id("a"), &Range::All).await.expect("a diff");
    yard.workspaces.tidy(&id("a")).await.expect("tidied");
    yard.workspaces.tidy_homes().await.expect("tidied");
    assert_eq!(loose(), Some(0));
    let after = yard.workspaces.diff(&id("a"), &Range::All).await.expect("a diff");
    assert_eq!((before.to, &before.files[0].text), (after.to, &after.files[0].text));
    assert_eq!(plain_git(&results, &["log", "-1", "--format=%s", undone.as_str()]), "undone");
    agent(&made.path, "echo more > g; git add g; git commit -qm more");
    assert_eq!(yard.workspaces.standing(&id("a")).await.expect("standing").unread, None);
    yard.create("b").await;
}
