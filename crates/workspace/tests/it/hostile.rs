//! An agent that wants our git to run its programs, to show it what is not its own, or to wait for ever.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kanvoy_workspace::{
    Access, Confirm, Error, Include, MergeSpec, PatchKind, PushSpec, Range, Source, Spec, Standing, What,
};

use crate::yard::{Yard, agent, agent_try, branch, by, id, is_root, open_to_all, plain_git};

const SECRET: &str = "topsecret-of-somebody-else";

/// A repository beside ours that the daemon may read and the agent may not have.
fn secret(yard: &Yard) -> (std::path::PathBuf, String) {
    let repo = yard.dir.path().join("secret");
    std::fs::create_dir(&repo).expect("a directory");
    plain_git(&repo, &["init", "-q", "-b", "main"]);
    std::fs::write(repo.join("s"), SECRET).expect("a file");
    plain_git(&repo, &["add", "."]);
    plain_git(&repo, &["commit", "-qm", "secret"]);
    let commit = plain_git(&repo, &["rev-parse", "HEAD"]);
    (repo, commit)
}

/// Everything that this room does with a workspace, one after the other. Removal comes last.
async fn everything(yard: &Yard, name: &str) -> Standing {
    let (workspaces, id) = (&yard.workspaces, id(name));
    let standing = workspaces.standing(&id).await.expect("standing");
    let mut shown = String::new();
    for range in [Range::All, Range::Committed, Range::Uncommitted, Range::Commit(standing.head.clone())] {
        let diff = workspaces.diff(&id, &range).await.expect("a diff");
        shown.extend(diff.files.iter().map(|file| file.text.as_str()));
        workspaces.files(&id, &range).await.expect("files");
        for kind in [PatchKind::Plain, PatchKind::Mail] {
            shown.push_str(&String::from_utf8_lossy(&workspaces.patch(&id, &range, kind).await.expect("a patch")));
        }
    }
    workspaces.commits(&id).await.expect("commits");
    workspaces.create(yard.spec(name)).await.expect("the same workspace");
    for include in [Include::Commits, Include::Everything] {
        let merge = MergeSpec { into: branch("main"), include, message: "m".into(), by: by() };
        let merged = workspaces.merge_into(&id, &merge).await;
        let what = What::Work { include, message: "m".into(), by: by() };
        let to = Source::Local(yard.upstream());
        let push = PushSpec { to, branch: branch(&format!("out/{include:?}")), what, access: Access::None };
        let pushed = workspaces.push(&id, &push).await;
        if standing.unread.is_none() {
            assert!(merged.is_ok() && pushed.is_ok(), "{merged:?} {pushed:?}");
        }
    }
    assert!(!shown.contains(SECRET), "somebody else's file was shown");
    assert!(!shown.contains("root:"), "/etc was shown");
    workspaces.standing(&id).await.expect("standing")
}

/// The same in short: every way in which the commits, the files and the branches are read.
async fn the_main_things(yard: &Yard, name: &str) -> Standing {
    let (workspaces, id) = (&yard.workspaces, id(name));
    let diff = workspaces.diff(&id, &Range::All).await.expect("a diff");
    assert!(diff.files.iter().all(|file| !file.text.contains(SECRET)), "somebody else's file was shown");
    workspaces.commits(&id).await.expect("commits");
    let merge = MergeSpec { into: branch("main"), include: Include::Everything, message: "m".into(), by: by() };
    assert!(matches!(workspaces.merge_into(&id, &merge).await, Err(Error::Refused(_))));
    workspaces.standing(&id).await.expect("standing")
}

async fn away(yard: &Yard, name: &str) {
    let tip = yard.workspaces.standing(&id(name)).await.expect("standing").tip;
    yard.workspaces.remove(&id(name), &Confirm::Unpushed { head: tip }).await.expect("removed");
}

#[tokio::test]
async fn nothing_that_an_agent_plants_is_run() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    let canary = |name: &str| format!("touch {}", yard.canary(name).display());
    // Commits first, while the agent's own git still does what it is told.
    agent(
        &made.path,
        "printf '* filter=evil diff=evil merge=evil\\n' > .gitattributes; echo one > one; git add -A; git commit -qm one",
    );
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut plant = |key: &str| settings.push((key.to_owned(), canary(key)));
    for key in [
        "core.fsmonitor",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "merge.evil.driver",
        "gpg.program",
        "gpg.ssh.program",
        "gpg.x509.program",
        "core.sshCommand",
        "core.pager",
        "core.editor",
        "core.askPass",
        "core.gitProxy",
        "core.alternateRefsCommand",
        "credential.helper",
        "uploadpack.packObjectsHook",
        "remote.origin.uploadpack",
        "remote.origin.receivepack",
        "sequence.editor",
        "interactive.diffFilter",
        "pager.log",
        "pager.diff",
        "trailer.x.command",
        "hook.post-checkout.command",
        "difftool.x.cmd",
        "mergetool.x.cmd",
        "submodule.sub.update",
        "man.viewer",
        "help.browser",
        "browser.x.cmd",
    ] {
        plant(key);
    }
    for alias in ["status", "log", "fetch", "upload-pack", "x"] {
        settings.push((format!("alias.{alias}"), format!("!{}", canary("alias"))));
    }
    for (key, value) in [
        ("filter.evil.required", "true"),
        ("log.showSignature", "true"),
        ("commit.gpgSign", "true"),
        ("core.hooksPath", "evil-hooks"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("extensions.worktreeConfig", "true"),
        ("core.repositoryFormatVersion", "1"),
        ("url.ext::sh -c id.insteadOf", "https://"),
        ("protocol.ext.allow", "always"),
        ("core.untrackedCache", "true"),
        ("gc.auto", "1"),
        ("maintenance.auto", "true"),
        ("fetch.recurseSubmodules", "true"),
        ("include.path", "../evil.inc"),
        ("includeIf.gitdir:/.path", "../evil.inc"),
        ("core.attributesFile", "/dev/zero"),
        ("core.worktree", "/etc"),
        ("status.submoduleSummary", "true"),
        ("diff.submodule", "diff"),
    ] {
        settings.push((key.to_owned(), value.to_owned()));
    }
    let mut text = std::fs::read_to_string(made.path.join(".git/config")).expect("a configuration");
    for (key, value) in &settings {
        let (section, name) = key.rsplit_once('.').expect("a key");
        let section = match section.split_once('.') {
            Some((section, sub)) => format!("{section} \"{sub}\""),
            None => section.to_owned(),
        };
        text.push_str(&format!("[{section}]\n\t{name} = \"{value}\"\n"));
    }
    let hooks = [
        "post-checkout",
        "pre-commit",
        "post-commit",
        "reference-transaction",
        "post-index-change",
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "pre-push",
        "post-merge",
        "pre-auto-gc",
        "fsmonitor-watchman",
        "proc-receive",
        "post-rewrite",
        "push-to-checkout",
        "applypatch-msg",
        "prepare-commit-msg",
    ];
    let evil = yard.dir.path().join("evil");
    std::fs::create_dir(&evil).expect("a directory");
    open_to_all(&evil);
    std::fs::write(evil.join("config"), &text).expect("a file");
    std::fs::write(evil.join("hook"), format!("#!/bin/sh\n{}\n", canary("hook"))).expect("a file");
    agent(
        &made.path,
        &format!(
            "echo dirty > dirty; echo more >> one
            mkdir -p evil-hooks .git/hooks
            for h in {hooks}; do for d in .git/hooks evil-hooks; do cp {evil}/hook $d/$h; chmod +x $d/$h; done; done
            printf '[core]\\n\\tfsmonitor = {include}\\n' > evil.inc; cp evil.inc .git/config.worktree
            printf '* filter=evil diff=evil\\n' > .git/info/attributes
            printf '[submodule \"sub\"]\\n\\tpath = sub\\n\\turl = ext::sh -c {include}\\n' > .gitmodules
            mkdir sub lone; cd sub; git init -q; git commit -q --allow-empty -m sub; git config core.fsmonitor '{nested} #'; echo f > f; cd ..
            echo 'gitdir: {secret}/.git' > lone/.git; echo inside > lone/file
            ln -s /etc/shadow shadow; ln -s /etc etc; ln -s / root; ln -s {secret} elsewhere
            mkfifo pipe; ln -s /dev/zero zero; printf 'filter=evil' > .lfsconfig
            mkfifo lone/.gitignore; mkdir linked; ln -s ../pipe linked/.gitignore; echo x > linked/x; ln -s /dev/zero linked/.gitattributes
            mkfifo .git/refs/heads/pipe; ln -s /etc/passwd .git/refs/heads/link; mkdir -p '.git/refs/heads/--upload-pack=touch x'
            H=$(git rev-parse HEAD); O=$(git rev-parse HEAD~1)
            for b in '-x' '--exec=sh' '$(touch y)' 'a;b' 'a..b' '@{{x' 'x.lock'; do printf \"$H\\n\" > \".git/refs/heads/$b\"; done
            printf \"$H refs/heads/../../../x\\n$H refs/heads/-packed\\n$H refs/heads/good\\n$H refs/replace/$H\\n\" >> .git/packed-refs
            mkdir -p .git/refs/replace; printf \"$H\\n\" > .git/refs/replace/$O; echo \"$H\" > .git/info/grafts
            printf '%s' 'x' > '--upload-pack=touch z'
            cp {evil}/config .git/config",
            hooks = hooks.join(" "),
            evil = evil.display(),
            include = canary("include"),
            nested = canary("nested"),
            secret = yard.dir.path().join("secret").display(),
        ),
    );
    secret(&yard);
    for entry in std::fs::read_dir(made.path.join(".git")).expect("a directory").flatten() {
        assert_ne!(entry.file_name(), "index.lock");
    }

    let standing = everything(&yard, "a").await;
    assert_eq!((standing.unread, standing.ahead), (None, 1), "its commits are read all the same");
    let paths: Vec<String> = yard
        .workspaces
        .files(&id("a"), &Range::Uncommitted)
        .await
        .expect("files")
        .0
        .iter()
        .map(|change| change.path.to_string())
        .collect();
    for path in
        ["one", "dirty", "shadow", "etc", "lone/file", "linked/x", "sub/f", ".gitmodules", "--upload-pack=touch z"]
    {
        assert!(paths.iter().any(|found| found == path), "{path} is missing in {paths:?}");
    }
    assert!(paths.iter().all(|path| !path.contains(".git/") && !path.starts_with("etc/")), "{paths:?}");
    away(&yard, "a").await;
    assert_eq!(yard.canaries(), Vec::<String>::new(), "a planted program ran");
}

/// The same traps, sprung by a git that does work in the tree: otherwise the test above would prove nothing.
#[tokio::test]
async fn the_traps_are_live() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    let canary = |name: &str| yard.canary(name).display().to_string();
    agent(
        &made.path,
        &format!(
            "mkdir sub; cd sub; git init -q; git commit -q --allow-empty -m sub; git config core.fsmonitor 'touch {nested} #'; echo f > f; cd ..
            git config core.fsmonitor 'touch {fsmonitor} #'; git config filter.evil.clean 'touch {clean}; cat'
            printf '* filter=evil\\n' > .gitattributes; echo x >> README.md; printf '#!/bin/sh\\ntouch {hook}\\n' > hook; chmod +x hook
            mkdir -p .git/hooks; cp hook .git/hooks/post-checkout; git status > /dev/null; git add README.md; git checkout -q -b z",
            nested = canary("nested"),
            fsmonitor = canary("fsmonitor"),
            clean = canary("clean"),
            hook = canary("hook"),
        ),
    );
    assert_eq!(yard.canaries(), ["clean", "fsmonitor", "hook"]);
    // And what was tempting: our own git directory and index over the agent's tree. Its filters stay out, the repository
    // inside it does not: on the second `add` its monitor runs.
    let own = yard.dir.path().join("own.git");
    let script = format!(
        "git init -q --bare {own}; export GIT_DIR={own} GIT_WORK_TREE=$PWD GIT_INDEX_FILE={own}/ix
        git add -A 2> /dev/null; echo more > sub/f; git add -A 2> /dev/null",
        own = own.display()
    );
    std::fs::remove_file(yard.canary("clean")).expect("a canary");
    std::fs::create_dir(&own).expect("a directory");
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("permissions");
    agent(&made.path, &script);
    assert_eq!(yard.canaries(), ["fsmonitor", "hook", "nested"]);
}

#[tokio::test]
async fn a_repository_that_points_elsewhere_is_not_followed() {
    let yard = Yard::new();
    let (secret, commit) = secret(&yard);
    let at = secret.display();
    let rows = [
        ("alternates", format!("echo {at}/.git/objects > .git/objects/info/alternates; echo {commit} > .git/refs/heads/task/1-alternates")),
        ("alternates-2", format!("echo {at}/.git/objects > .git/objects/info/alternates; echo {commit} > .git/refs/heads/stolen")),
        ("head", format!("echo {at}/.git/objects > .git/objects/info/alternates; echo {commit} > .git/HEAD")),
        ("gitfile", format!("rm -rf .git; echo 'gitdir: {at}/.git' > .git")),
        ("gitlink", format!("rm -rf .git; ln -s {at}/.git .git")),
        ("commondir", format!("echo {at}/.git > .git/commondir; echo 'ref: refs/heads/main' > .git/HEAD")),
        ("objects", format!("rm -rf .git/objects; ln -s {at}/.git/objects .git/objects; echo {commit} > .git/HEAD")),
        ("pack", format!("rm -rf .git/objects/pack; ln -s {at}/.git/objects .git/objects/pack; echo {commit} > .git/HEAD")),
        ("refs", format!("rm -rf .git/refs; ln -s {at}/.git/refs .git/refs; echo 'ref: refs/heads/main' > .git/HEAD")),
        ("heads", format!("rm -rf .git/refs/heads; ln -s {at}/.git/refs/heads .git/refs/heads; echo 'ref: refs/heads/main' > .git/HEAD")),
        ("head-link", format!("rm .git/HEAD; ln -s {at}/.git/HEAD .git/HEAD")),
        ("head-pipe", "rm .git/HEAD; mkfifo .git/HEAD".into()),
        ("packed-pipe", format!("rm -f .git/packed-refs; mkfifo .git/packed-refs; echo {commit} > .git/HEAD")),
        ("object-pipe", "echo x > n; git add n; git commit -qm n; o=$(git rev-parse HEAD | sed 's,^..,&/,'); rm -f .git/objects/$o; mkfifo .git/objects/$o".into()),
        ("head-huge", "truncate -s 5G .git/HEAD".into()),
        ("head-zero", "rm .git/HEAD; ln -s /dev/zero .git/HEAD".into()),
        ("head-blob", "h=$(echo x | git hash-object -w --stdin); echo $h > .git/HEAD".into()),
        ("head-path", "echo 'ref: refs/heads/../../../../../etc/passwd' > .git/HEAD".into()),
        ("head-option", "echo 'ref: refs/heads/--upload-pack=id' > .git/HEAD".into()),
        ("missing", "echo x > n; git add n; git commit -qm n; rm n; rm -f .git/objects/$(git rev-parse HEAD^{tree} | sed 's,^..,&/,')".into()),
        ("garbled", "echo x > n; git add n; git commit -qm n; rm n; o=.git/objects/$(git rev-parse HEAD^{tree} | sed 's,^..,&/,'); chmod u+w $o; echo garbage > $o".into()),
        ("swapped", "echo x > n; git add n; git commit -qm n; rm n; o=.git/objects/$(git rev-parse HEAD:n | sed 's,^..,&/,'); p=.git/objects/$(echo y | git hash-object -w --stdin | sed 's,^..,&/,'); cp -f $p $o".into()),
        ("shallow", "git rev-parse HEAD > .git/shallow".into()),
        ("gone", "rm -rf .git".into()),
        ("dot-git", "t=$(printf '[core]\\n' | git hash-object -w --stdin); s=$(printf \"100644 blob $t\\tconfig\\n\" | git mktree); r=$(printf \"040000 tree $s\\t.git\\n\" | git mktree); c=$(git commit-tree -p HEAD -m x $r); echo $c > .git/refs/heads/task/1-dot-git".into()),
        ("dot-dot", "t=$(echo x | git hash-object -w --stdin); s=$(printf \"100644 blob $t\\tpasswd\\n\" | git mktree); r=$(printf \"040000 tree $s\\t..\\n\" | git mktree); c=$(git commit-tree -p HEAD -m x $r); echo $c > .git/refs/heads/task/1-dot-dot".into()),
        ("modules", "printf '[submodule \"s\"]\\n\\tpath = s\\n\\turl = x\\n\\tupdate = !id\\n' > .gitmodules; git add .gitmodules; git commit -qm m; rm .gitmodules".into()),
        ("fake-pack", "n=pack-$(printf '%040d' 7); printf 'PACK\\0\\0\\0\\2\\377\\377\\377\\377' > .git/objects/pack/$n.pack; echo junk > .git/objects/pack/$n.idx; git commit -q --allow-empty -m x || echo $RANDOM > .git/HEAD".into()),
    ];
    for (name, script) in rows {
        let made = yard.create(name).await;
        agent(&made.path, &script);
        let began = Instant::now();
        let standing = the_main_things(&yard, name).await;
        assert!(standing.unread.is_some(), "{name} was believed: {standing:?}");
        assert_eq!(standing.head, made.base_commit, "{name}");
        assert!(began.elapsed() < Duration::from_secs(30), "{name} took {:?}", began.elapsed());
        let results = yard.root().join("tasks").join(name).join("results.git");
        let probe =
            std::process::Command::new("git").args(["cat-file", "-e", &commit]).env("GIT_DIR", results).status();
        assert!(!probe.expect("git").success(), "{name}: the secret commit came over");
        away(&yard, name).await;
    }
}

/// Objects alone prove nothing: with the same alternates and honest branches, the work is read without them.
#[tokio::test]
async fn alternates_are_not_needed_and_not_used() {
    let yard = Yard::new();
    let (secret, _) = secret(&yard);
    let made = yard.create("a").await;
    agent(
        &made.path,
        &format!(
            "echo {}/.git/objects > .git/objects/info/alternates; git commit -q --allow-empty -m x 2> /dev/null",
            secret.display()
        ),
    );
    let standing = everything(&yard, "a").await;
    assert_eq!((standing.unread, standing.ahead), (None, 1));
}

#[tokio::test]
async fn what_is_exchanged_while_we_look_leads_nowhere() {
    let yard = Yard::new();
    let (secret, _) = secret(&yard);
    let made = yard.create("a").await;
    agent(&made.path, "mkdir d; echo mine > d/s; echo mine > s");
    let stop = Arc::new(AtomicBool::new(false));
    let flipping = {
        let (stop, work) = (Arc::clone(&stop), made.path.clone());
        std::thread::spawn(move || {
            let (d, other) = (work.join("d"), work.join("other"));
            let (s, t) = (work.join("s"), work.join("t"));
            while !stop.load(Ordering::Relaxed) {
                let _ = std::fs::rename(&d, &other);
                let _ = std::os::unix::fs::symlink(&secret, &d);
                let _ = std::fs::remove_file(&s);
                let _ = std::os::unix::fs::symlink(secret.join("s"), &s);
                std::thread::yield_now();
                let _ = std::fs::remove_file(&d);
                let _ = std::fs::rename(&other, &d);
                let _ = std::fs::write(&t, "mine\n").and_then(|()| std::fs::rename(&t, &s));
            }
        })
    };
    let until = Instant::now() + Duration::from_secs(3);
    let mut looks = 0;
    while Instant::now() < until {
        let diff = yard.workspaces.diff(&id("a"), &Range::All).await.expect("a diff");
        assert!(diff.files.iter().all(|file| !file.text.contains(SECRET)), "{:?}", diff.files);
        looks += 1;
    }
    stop.store(true, Ordering::Relaxed);
    flipping.join().expect("the thread");
    assert!(looks > 5, "{looks}");
}

#[tokio::test]
async fn a_hard_link_to_somebody_elses_file_is_not_read() {
    let yard = Yard::new();
    let made = yard.create("a").await;
    if !is_root() {
        return;
    }
    let theirs = yard.dir.path().join("theirs");
    std::fs::write(&theirs, SECRET).expect("a file");
    std::fs::hard_link(&theirs, made.path.join("linked")).expect("a link");
    let diff = yard.workspaces.diff(&id("a"), &Range::All).await.expect("a diff");
    assert!(diff.files.is_empty());
    assert_eq!(diff.skipped[0].why, kanvoy_workspace::Why::Foreign);
}

/// A repository that was made to hurt whoever clones it.
#[tokio::test]
async fn a_hostile_upstream_runs_nothing_either() {
    let yard = Yard::new();
    let canary = |name: &str| format!("touch {}", yard.canary(name).display());
    let upstream = yard.upstream();
    let script = format!(
        "printf '* filter=evil diff=evil merge=evil\\n*.bin filter=lfs diff=lfs merge=lfs\\n' > .gitattributes
        printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:{zeros}\\nsize 5\\n' > big.bin
        printf '[submodule \"sub\"]\\n\\tpath = sub\\n\\turl = ./sub\\n\\tupdate = none\\n' > .gitmodules
        ln -s .git link; ln -s /etc/shadow shadow; mkdir -p hooks .githooks; printf '#!/bin/sh\\n{hook}\\n' > hooks/post-checkout; chmod +x hooks/post-checkout
        git add -A; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub; git commit -qm evil
        git config uploadpack.packObjectsHook '{pack}'; git config core.fsmonitor '{fsmonitor}'; git config filter.evil.smudge '{smudge}'
        cp hooks/post-checkout .git/hooks/post-checkout; cp hooks/post-checkout .git/hooks/pre-receive; cp hooks/post-checkout .git/hooks/update",
        zeros = "0".repeat(64),
        hook = canary("hook"),
        pack = canary("pack"),
        fsmonitor = canary("fsmonitor"),
        smudge = canary("smudge"),
    );
    std::fs::create_dir_all(upstream.join(".git/hooks")).expect("a directory");
    let mut run = std::process::Command::new("sh");
    run.args(["-ec", &script]).current_dir(&upstream);
    run.env("GIT_AUTHOR_NAME", "x")
        .env("GIT_AUTHOR_EMAIL", "x")
        .env("GIT_COMMITTER_NAME", "x")
        .env("GIT_COMMITTER_EMAIL", "x");
    let ran = run.env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1").output().expect("a shell");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    for name in yard.canaries() {
        std::fs::remove_file(yard.canary(&name)).expect("a canary");
    }
    let made = yard.create("a").await;
    assert_eq!(
        std::fs::read_dir(made.path.join("sub")).map(Iterator::count).unwrap_or(0),
        0,
        "no submodule is fetched"
    );
    assert!(
        std::fs::read_to_string(made.path.join("big.bin")).expect("a file").starts_with("version"),
        "no LFS is fetched"
    );
    agent(&made.path, "echo x > x; git add x; git commit -qm x; echo y > y");
    let standing = everything(&yard, "a").await;
    assert_eq!((standing.unread, standing.ahead), (None, 1));
    away(&yard, "a").await;
    assert_eq!(yard.canaries(), Vec::<String>::new());
}

#[tokio::test]
async fn names_are_never_options_or_shell() {
    let yard = Yard::new();
    let odd = yard.dir.path().join("upstream").join(format!("it's $(touch {}) -x", "x"));
    std::fs::rename(yard.upstream(), &odd).expect("a rename");
    let spec = Spec { source: Source::Local(odd.clone()), base: Some(branch("main")), ..yard.spec("a") };
    let made = yard.workspaces.create(spec).await.expect("a workspace");
    agent(&made.path, "echo x > x; git add x; git commit -qm x");
    let what = What::Work { include: Include::Commits, message: String::new(), by: by() };
    let push = PushSpec {
        to: Source::Local(odd.clone()),
        branch: branch("$(touch${IFS}y);'\"&|x"),
        what,
        access: Access::None,
    };
    yard.workspaces.push(&id("a"), &push).await.expect("a push");
    assert_eq!(plain_git(&odd, &["log", "-1", "--format=%s", "refs/heads/$(touch${IFS}y);'\"&|x"]), "x");
    for dir in [yard.dir.path(), &odd, &made.path, &yard.root()] {
        assert!(!dir.join("x").is_file() || dir == made.path, "a shell ran in {}", dir.display());
        assert!(!dir.join("y").exists(), "a shell ran in {}", dir.display());
    }
}

/// Objects that ask for more memory than they are worth.
#[tokio::test]
async fn a_bomb_hurts_only_its_own_task() {
    let yard = Yard::with(|config| config.limits.object = 20 << 20);
    let made = yard.create("a").await;
    agent(&made.path, "head -c 300000000 /dev/zero > zeros; git add zeros; git commit -qm zeros");
    let began = Instant::now();
    let diff = yard.workspaces.diff(&id("a"), &Range::Committed).await.expect("a diff");
    assert_eq!(diff.unread, None);
    assert!(diff.files[0].change.is_binary() && diff.files[0].text.len() < 1_000);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    agent(&made.path, "rm zeros; head -c 30000000 /dev/urandom > noise; git add -A; git commit -qm noise");
    let standing = yard.workspaces.standing(&id("a")).await.expect("standing");
    assert!(standing.unread.as_ref().is_some_and(|why| why.contains("larger than 20 MiB")), "{:?}", standing.unread);
    assert!(matches!(yard.workspaces.remove(&id("a"), &Confirm::Nothing).await, Err(Error::Unpushed { .. })));
    assert!(Path::new("/").exists() && agent_try(&made.path, "true").status.success());
}
