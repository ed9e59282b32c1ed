//! Holds the house to its own rules: who may import whom, what may come in from outside, how our files look, and whether
//! the documents tell the truth about them.
//!
//! Knows nothing of boards and tasks. Each message says what to do. `make gen` writes the import table again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use cargo_metadata::semver::{Version, VersionReq};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// What a room must know nothing of, directly or through others: crates by name, or by the beginning of their names.
const NEVER: &[(&str, &[&str])] = &[
    ("domain", &["tokio", "async-trait", "sqlx", "axum", "hyper", "reqwest", "bollard"]),
    ("client", &["kanvoy", "sqlx", "axum", "bollard", "utoipa"]),
    ("store", &["sqlx", "axum", "hyper", "reqwest", "bollard"]),
    ("store-sql", &["sqlx", "axum", "hyper", "reqwest", "bollard"]),
    ("store-sqlite", &["axum", "hyper", "reqwest", "bollard"]),
    ("store-postgres", &["axum", "hyper", "reqwest", "bollard"]),
    ("engine", &["sqlx", "axum", "hyper", "utoipa"]),
    ("api", &["sqlx", "reqwest"]),
];

/// What a room must not name itself, though a room below it does.
const NOT_BY_NAME: &[(&str, &[&str])] = &[("engine", &["bollard"]), ("api", &["bollard"])];

/// Rooms whose `lib.rs` says what they know nothing of.
const MODEST: &[&str] = &["domain", "store", "store-sql", "store-sqlite", "store-postgres", "engine", "api", "client"];

/// Lines of Rust in one file, its tests not counted.
const LONGEST_FILE: usize = 700;

#[test]
fn the_import_table_in_the_documents_is_the_true_one() {
    const BEGIN: &str = "<!-- imports: written by `make gen` -->\n";
    const END: &str = "<!-- imports end -->";
    let path = root().join("docs/ARCHITECTURE.md");
    let text = read(&path);
    let (before, rest) = text.split_once(BEGIN).expect("docs/ARCHITECTURE.md has the beginning mark of the table");
    let (table, after) = rest.split_once(END).expect("docs/ARCHITECTURE.md has the end mark of the table");
    let truth = import_table();
    if told_to_write() {
        fs::write(&path, format!("{before}{BEGIN}{truth}{END}{after}")).expect("docs/ARCHITECTURE.md can be written");
    } else {
        assert!(
            table == truth,
            "The arrows between the rooms changed. If that is meant: run `make gen`, look at the diff of \
             docs/ARCHITECTURE.md, and say in the commit why the new arrow is there. If not: the line to take back is in \
             a Cargo.toml.\n\nin the document:\n{table}\nin truth:\n{truth}"
        );
    }
}

#[test]
fn rooms_know_nothing_of_what_they_must_not_know() {
    for (room, never) in NEVER {
        let package = room_named(room);
        for reached in reachable(package) {
            let name = metadata()[&reached].name.as_str();
            let banned = never.iter().find(|ban| names(ban, name) && name != package.name.as_str());
            assert!(
                banned.is_none(),
                "{room} reaches {name}: see `cargo tree -p {} -i {name} -e normal`, and the reasons in \
                 docs/ARCHITECTURE.md",
                package.name
            );
        }
    }
    for (room, never) in NOT_BY_NAME {
        for dependency in &room_named(room).dependencies {
            let banned = never.iter().any(|ban| names(ban, &dependency.name));
            assert!(!banned, "{room} names {}: that belongs behind the room below it", dependency.name);
        }
    }
}

#[test]
fn every_licence_is_one_that_we_allow() {
    let allowed = DENY.licences();
    for package in &metadata().packages {
        let licence = package.license.as_deref().unwrap_or_default();
        assert!(
            permits(&allowed, licence),
            "{} {} is licensed as {licence:?}, which deny.toml does not allow. Another crate may do; else add the licence \
             to deny.toml and say in the commit why it may come in.",
            package.name,
            package.version
        );
    }
}

#[test]
fn licence_expressions_are_read_honestly() {
    let allowed = ["MIT", "Apache-2.0", "ISC"].map(licensee);
    for (expression, permitted) in [
        ("MIT", true),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-3.0-only) AND ISC", true),
        ("(MIT AND GPL-3.0-only) OR ISC", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("GPL-2.0-or-later", false),
        ("whatever you like", false),
        ("", false),
    ] {
        assert_eq!(permits(&allowed, expression), permitted, "{expression}");
    }
}

#[test]
fn everything_from_outside_is_from_crates_io() {
    for package in &metadata().packages {
        match &package.source {
            Some(source) => assert!(source.is_crates_io(), "{} comes from {source}", package.name),
            None => assert!(package.manifest_path.starts_with(root()), "{} lies outside of the house", package.name),
        }
    }
}

#[test]
fn no_crate_is_built_in_two_versions_unless_listed() {
    let mut versions: BTreeMap<String, BTreeSet<Version>> = BTreeMap::new();
    for (name, version) in built() {
        versions.entry(name).or_default().insert(version);
    }
    let skips = DENY.skips();
    let skipped =
        |name: &str, version: &Version| skips.iter().any(|skip| skip.name == name && skip.req.matches(version));
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let unlisted: Vec<String> =
            versions.iter().filter(|version| !skipped(name, version)).map(Version::to_string).collect();
        assert!(
            unlisted.len() <= 1,
            "{name} is built in versions {}. Ask for the same one as the others (`cargo tree -d -i {name}`), or list the \
             one that will go in deny.toml with who asks for it.",
            unlisted.join(" and ")
        );
    }
    for skip in &skips {
        let needed =
            versions.get(&skip.name).is_some_and(|all| all.len() > 1 && all.iter().any(|v| skip.req.matches(v)));
        assert!(needed, "{}:{} is no duplicate any more: take the line out of deny.toml", skip.name, skip.req);
        assert!(!skip.reason.is_empty(), "{}:{} in deny.toml has no reason", skip.name, skip.req);
    }
}

#[test]
fn every_room_keeps_the_house_rules() {
    for package in metadata().workspace_packages() {
        let folder = folder(package);
        let manifest: toml::Table = read(package.manifest_path.as_std_path()).parse().expect("Cargo.toml is TOML");
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(lints, Some(true), "{folder}/Cargo.toml needs `[lints] workspace = true`");
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{folder}/Cargo.toml: license.workspace = true");
        assert!(package.publish.as_ref().is_some_and(Vec::is_empty), "{folder}/Cargo.toml: publish.workspace = true");

        let name = room(package);
        if let Some(room) = folder.strip_prefix("crates/") {
            assert_eq!(package.name.as_str(), format!("kanvoy-{room}"), "the crate is called as its folder");
            let lib = read(&root().join(&folder).join("src/lib.rs"));
            assert!(lib.starts_with("//! "), "{folder}/src/lib.rs begins with what the room is for (`//! …`)");
            let head: String = lib.lines().take_while(|line| line.starts_with("//!")).collect();
            assert!(
                !MODEST.contains(&name) || head.contains("nows nothing of"),
                "{folder}/src/lib.rs says in its head what the room knows nothing of"
            );
        }
    }
}

#[test]
fn no_file_is_long_vague_or_unfinished() {
    for path in rust_files() {
        let text = read(&path);
        let shown = shown(&path);
        let tests = shown.contains("/tests/") || shown.contains("/benches/") || shown.contains("/story");
        let lines = lines_before_tests(&text);
        assert!(tests || lines <= LONGEST_FILE, "{shown} has {lines} lines: split it by what a reader looks for");
        for vague in ["utils", "util", "common", "helpers", "misc", "services"] {
            let named = path.file_stem().is_some_and(|stem| stem == vague) || shown.contains(&format!("/{vague}/"));
            assert!(!named, "{shown}: name it after what it is about");
        }
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_start())) {
            assert!(!line.starts_with(concat!("to", "do!(")), "{shown}:{number}: unfinished");
            assert!(line != concat!("#[ign", "ore]"), "{shown}:{number}: a skipped test says why");
            assert!(!line.ends_with(concat!("```ign", "ore")), "{shown}:{number}: an example runs, or is ```text");
        }
    }
}

#[test]
fn migrations_and_decisions_are_numbered_without_holes() {
    let mut dialects = BTreeMap::new();
    for dialect in entries(&root().join("migrations")).into_iter().filter(|path| path.is_dir()) {
        let names: Vec<String> = entries(&dialect).iter().map(|path| file_name(path)).collect();
        numbered(&shown(&dialect), names.iter().filter(|name| name.ends_with(".sql")));
        dialects.insert(shown(&dialect), names);
    }
    let mut all = dialects.iter();
    if let (Some((one, names)), Some((other, others))) = (all.next(), all.next()) {
        assert_eq!(names, others, "{one} and {other} have the same numbers and names");
    }

    let folder = root().join("docs/decisions");
    let pages: Vec<String> = entries(&folder).iter().map(|path| file_name(path)).collect();
    numbered("docs/decisions", pages.iter().filter(|name| *name != "README.md"));
    let index = read(&folder.join("README.md"));
    for page in &pages {
        assert!(page == "README.md" || index.contains(page), "docs/decisions/README.md lists {page}");
    }
}

#[test]
fn the_documents_name_only_what_is_there() {
    let mut broken = String::new();
    for path in documents() {
        let text = read(&path);
        let folder = path.parent().expect("a file lies in a folder");
        for link in links(&text) {
            if !folder.join(link).exists() {
                writeln!(broken, "{}: no {link}", shown(&path)).expect("a string takes it");
            }
        }
        for named in quoted_paths(&text) {
            if !root().join(named).exists() {
                writeln!(broken, "{}: no {named}", shown(&path)).expect("a string takes it");
            }
        }
    }
    assert!(broken.is_empty(), "the documents name files that are not there:\n{broken}");
}

#[test]
fn the_readme_shows_the_two_commands() {
    let readme = read(&root().join("README.md"));
    for command in ["make run", "make test"] {
        assert!(readme.contains(command), "README.md shows `{command}`");
    }
    assert!(readme.lines().count() <= 90, "README.md is one screen, more or less; the rest belongs in docs/");
}

#[test]
fn the_closing_line_hides_no_failure() {
    let fine = "     Running unittests src/lib.rs (target/a)\n\nrunning 2 tests\ntest one ... ok\n\
                test two ... ignored, needs a moon\n\n\
                test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";
    let failed = "     Running tests/b.rs (target/b)\n\nrunning 2 tests\ntest one ... ok\ntest two ... FAILED\n\n\
                  ---- two stdout ----\ntest result: ok. 900 passed; 0 failed; 0 ignored; 0 measured\n\n\
                  test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    let died = "     Running tests/c.rs (target/c)\n\nrunning 9 tests\ntest one ... ok\n";
    let examples = "   Doc-tests kanvoy_a\n\nrunning 1 test\ntest a.rs - f (line 3) ... ok\n\n\
                    test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n\n\
                    running 1 test\ntest a.rs - g (line 9) - compile fail ... ok\n\n\
                    test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    let check = |log: &str, status: i32, parts: &str, said: &str| {
        let (printed, good) = count(log, status, parts);
        assert_eq!(printed.lines().last(), Some(said), "{printed}");
        assert_eq!(good, said.contains(" 0 failed"), "{printed}");
        printed
    };
    let printed = check(fine, 0, "", "1 passed, 0 failed, 1 skipped");
    assert!(printed.contains("skipped: two: needs a moon"), "{printed}");
    let printed = check(&format!("{fine}{failed}{examples}"), 101, "", "4 passed, 1 failed, 1 skipped");
    assert!(printed.contains("FAILED: two in tests/b.rs"), "{printed}");
    check(&format!("{died}{examples}"), 101, "", "2 passed, 1 failed, 0 skipped");
    check(fine, 0, ",format,lint", "1 passed, 2 failed, 1 skipped");
    check(fine, 101, "", "1 passed, 1 failed, 1 skipped");
    check(fine, 101, ",lint", "1 passed, 2 failed, 1 skipped");
    check("", 0, "", "0 passed, 1 failed, 0 skipped");
}

// The rooms and their arrows

fn metadata() -> &'static Metadata {
    static METADATA: LazyLock<Result<Metadata, cargo_metadata::Error>> = LazyLock::new(|| {
        MetadataCommand::new().manifest_path(root().join("Cargo.toml")).other_options(["--locked".to_owned()]).exec()
    });
    METADATA.as_ref().unwrap_or_else(|error| {
        panic!("When a Cargo.toml changed, `cargo check` brings Cargo.lock along; `cargo fetch` gets what is missing. {error}")
    })
}

fn import_table() -> String {
    let mut rooms = metadata().workspace_packages();
    rooms.sort_by_key(|package| (height(package), room(package).to_owned()));
    let mut table = String::from(
        "\n| room | imports of ours | in its tests also | reaches none of | names none of |\n|---|---|---|---|---|\n",
    );
    for package in rooms {
        let normal = ours(package, DependencyKind::Normal);
        let tests: Vec<_> =
            ours(package, DependencyKind::Development).into_iter().filter(|room| !normal.contains(room)).collect();
        let banned = |list: &[(&str, &[&'static str])]| {
            list.iter().find(|(name, _)| *name == room(package)).map(|(_, bans)| bans.to_vec()).unwrap_or_default()
        };
        let cells = [normal, tests, banned(NEVER), banned(NOT_BY_NAME)]
            .map(|names| if names.is_empty() { "—".to_owned() } else { names.join(", ") });
        writeln!(table, "| {} | {} |", room(package), cells.join(" | ")).expect("a string takes it");
    }
    table.push('\n');
    table
}

/// The rooms that `package` imports, in the order of their names.
fn ours(package: &'static Package, kind: DependencyKind) -> Vec<&'static str> {
    let mut rooms: Vec<_> = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.path.is_some() && dependency.kind == kind)
        .map(|dependency| room(package_named(&dependency.name)))
        .collect();
    rooms.sort_unstable();
    rooms.dedup();
    rooms
}

/// How many rooms lie under this one, at most.
fn height(package: &'static Package) -> usize {
    ours(package, DependencyKind::Normal).into_iter().map(|room| height(room_named(room)) + 1).max().unwrap_or(0)
}

/// Everything that `package` needs to run, itself included.
fn reachable(package: &Package) -> BTreeSet<PackageId> {
    let nodes = &metadata().resolve.as_ref().expect("the metadata is resolved").nodes;
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let (mut seen, mut next) = (BTreeSet::new(), vec![&package.id]);
    while let Some(id) = next.pop() {
        if seen.insert(id.clone()) {
            let normal =
                |kinds: &[cargo_metadata::DepKindInfo]| kinds.iter().any(|it| it.kind == DependencyKind::Normal);
            next.extend(nodes[id].deps.iter().filter(|dep| normal(&dep.dep_kinds)).map(|dep| &dep.pkg));
        }
    }
    seen
}

/// `sqlx` names sqlx, sqlx-core and so on.
fn names(ban: &str, name: &str) -> bool {
    name.strip_prefix(ban).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn room(package: &Package) -> &str {
    package.name.strip_prefix("kanvoy-").unwrap_or(&package.name)
}

fn room_named(room: &str) -> &'static Package {
    let found = metadata().workspace_packages().into_iter().find(|package| self::room(package) == room);
    found.unwrap_or_else(|| panic!("there is no room called {room}"))
}

fn package_named(name: &str) -> &'static Package {
    let found = metadata().workspace_packages().into_iter().find(|package| package.name.as_str() == name);
    found.unwrap_or_else(|| panic!("there is no crate of ours called {name}"))
}

/// `crates/domain`
fn folder(package: &Package) -> String {
    shown(package.manifest_path.parent().expect("a manifest lies in a folder").as_std_path())
}

/// Every crate that is compiled for any platform, as cargo's own resolver of features sees it.
fn built() -> Vec<(String, Version)> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--workspace", "--all-features", "--target", "all"])
        .args(["--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let crates = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
    });
    crates.collect()
}

// What may come in

static DENY: LazyLock<Deny> =
    LazyLock::new(|| Deny(read(&root().join("deny.toml")).parse().expect("deny.toml is TOML")));

struct Deny(toml::Table);

struct Skip {
    name: String,
    req: VersionReq,
    reason: String,
}

impl Deny {
    fn licences(&self) -> Vec<spdx::Licensee> {
        let allow = self.0["licenses"]["allow"].as_array().expect("[licenses] allow is a list");
        allow.iter().map(|name| licensee(name.as_str().expect("a licence is a string"))).collect()
    }

    fn skips(&self) -> Vec<Skip> {
        let skips = self.0["bans"]["skip"].as_array().expect("[bans] skip is a list");
        let field =
            |skip: &toml::Value, name| skip.get(name).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let read = |skip| {
            let spec = field(skip, "crate");
            let (name, req) = spec.split_once(':').expect("a skip names its versions: crate = \"name:1.2\"");
            let req = req.parse().expect("a skip has a version requirement");
            Skip { name: name.to_owned(), req, reason: field(skip, "reason") }
        };
        skips.iter().map(read).collect()
    }
}

fn licensee(name: &str) -> spdx::Licensee {
    spdx::Licensee::parse(name).unwrap_or_else(|error| panic!("{name} is no SPDX licence: {error}"))
}

/// Older crates write `MIT/Apache-2.0` for `MIT OR Apache-2.0`.
fn permits(allowed: &[spdx::Licensee], expression: &str) -> bool {
    spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX)
        .is_ok_and(|expression| expression.evaluate(|asked| allowed.iter().any(|licensee| licensee.satisfies(asked))))
}

// Files

fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        root.canonicalize().expect("the house stands")
    });
    &ROOT
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "a switch of `make gen`, not of the board")]
fn told_to_write() -> bool {
    std::env::var_os("GEN").is_some()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("it has a name").to_string_lossy().into_owned()
}

/// In the order of their names; hidden ones left out. Nothing, where there is no such folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(read) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = read.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.retain(|path| !file_name(path).starts_with('.'));
    paths.sort();
    paths
}

fn files_under(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut next) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = next.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                next.push(path);
            } else if path.extension().is_some_and(|it| it == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    ["apps", "crates"].iter().flat_map(|folder| files_under(&root().join(folder), "rs")).collect()
}

fn documents() -> Vec<PathBuf> {
    let mut found = files_under(&root().join("docs"), "md");
    found.extend(["README.md", "CONTRIBUTING.md", "frontend/README.md"].map(|name| root().join(name)));
    found
}

/// Lines up to the module of tests at the end of a file.
fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(begins).unwrap_or(lines.len())
}

/// `0001_first.sql` or `0001-first.md`, counting from 1.
fn numbered<'a>(place: &str, names: impl Iterator<Item = &'a String>) {
    for (index, name) in names.enumerate() {
        assert!(name.starts_with(&format!("{:04}", index + 1)), "{place}/{name}: number {:04} is next", index + 1);
    }
}

/// `](target)` of a Markdown text, without those that lead out of the house or stay on the page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter_map(|link| {
        let file = link.split('#').next().unwrap_or_default();
        (!file.is_empty() && !link.contains("://") && !link.contains(char::is_whitespace)).then_some(file)
    })
}

/// Paths in backticks that begin at the top of the house. Those with a hole in them (`<name>`, `*`, `…`) are patterns.
fn quoted_paths(text: &str) -> impl Iterator<Item = &str> {
    const TOPS: [&str; 7] = ["apps/", "crates/", "docker/", "docs/", "frontend/", "migrations/", ".ci/"];
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.filter(|span| TOPS.iter().any(|top| span.starts_with(top)) && !span.contains(['<', '*', '…', '{', ' ']))
}

fn count(log: &str, status: i32, parts: &str) -> (String, bool) {
    let mut awk = Command::new("awk")
        .arg("-f")
        .arg(root().join(".ci/count"))
        .args(["-v", &format!("status={status}"), "-v", &format!("parts={parts}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("awk runs");
    awk.stdin.take().expect("is piped").write_all(log.as_bytes()).expect("awk reads");
    let output = awk.wait_with_output().expect("awk ends");
    (String::from_utf8(output.stdout).expect("is UTF-8"), output.status.success())
}
