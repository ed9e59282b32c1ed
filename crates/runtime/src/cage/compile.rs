//! From what is asked to what is done. Pure: the same question in the same world gives the same cage.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cage::{
    AGENT_UID, Cage, CageSpec, Facts, HOME, HostMount, JOURNAL, KEEPER_DIR, LABEL_INSTALLATION, LABEL_INSTANCE,
    LABEL_VERSION, Limits, Mount, MountWhy, Network, Place, Refusal, Rule, SECRETS, Source, UserPolicy, WORKSPACE,
    Warning, paths,
};
use crate::runtime::{EngineFacts, Kind};

const MB: u64 = 1024 * 1024;

/// Either a whole cage, or the first thing that is refused.
pub fn compile(spec: &CageSpec, facts: &Facts) -> Result<Cage, Refusal> {
    check_words(spec)?;
    check_limits(&spec.limits)?;
    if matches!(spec.network, Network::Allowlist(_)) {
        return Err(Refusal::NotAvailable {
            what: "network `allowlist`",
            detail: "choose `none`, or `open` if the agent may reach everything",
        });
    }
    if !spec.secret_files.is_empty() {
        return Err(Refusal::NotAvailable {
            what: "delivering secrets as files",
            detail: "the keeper cannot take them so far; choose variables",
        });
    }
    let (uid, gid) = match spec.user {
        UserPolicy::Id { uid: 0, .. } | UserPolicy::Id { gid: 0, .. } => return Err(Refusal::Root),
        UserPolicy::Id { uid, gid } => (uid, gid),
        UserPolicy::Auto if facts.daemon_uid == 0 => (AGENT_UID, AGENT_UID),
        // A user whose group is root's is not made a member of it inside.
        UserPolicy::Auto => (facts.daemon_uid, if facts.daemon_gid == 0 { facts.daemon_uid } else { facts.daemon_gid }),
    };
    let cage = facts.engine.kind.is_cage();
    let mut warnings = Vec::new();
    let spec = &within_the_engine(spec, &facts.engine, &mut warnings);
    let mounts = mounts(spec, facts, &mut warnings)?;
    let rules = rules(spec, facts, (uid, gid), &mut warnings);
    warn_of_holes(spec, &mut warnings);
    let enforced = cage && rules.iter().all(|rule| rule.enforced);
    Ok(Cage {
        instance: spec.instance.clone(),
        runtime: facts.engine.kind,
        enforced,
        summary: summary(spec, facts.engine.kind, uid),
        labels: labels(spec),
        image: spec.image.clone(),
        command: spec.command.clone(),
        keeper: facts.keeper.clone(),
        working_dir: if cage { WORKSPACE.to_owned() } else { place_path(&spec.workspace) },
        uid,
        gid,
        env: env(spec, cage),
        secret_env: spec.secret_env.union(&spec.host_env).cloned().collect(),
        secret_files: spec.secret_files.clone(),
        memory_bytes: spec.limits.memory_mb * MB,
        nano_cpus: nanos(spec.limits.cpus),
        pids: spec.limits.pids,
        nofile: spec.limits.nofile,
        network: spec.network.clone(),
        mounts,
        rules,
        warnings,
    })
}

fn check_words(spec: &CageSpec) -> Result<(), Refusal> {
    if spec.command.first().is_none_or(String::is_empty) {
        return Err(Refusal::NoCommand);
    }
    if let Some(word) = spec.command.iter().find(|word| word.contains('\0')) {
        return Err(Refusal::Value { name: word.replace('\0', "\u{2400}") });
    }
    let image = &spec.image;
    let named = (1..=255).contains(&image.len())
        && image.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
        && image.as_bytes()[0].is_ascii_alphanumeric();
    if !named {
        return Err(Refusal::Image { image: image.clone() });
    }
    for (name, value) in &spec.env {
        variable(name)?;
        if value.contains('\0') {
            return Err(Refusal::Value { name: name.clone() });
        }
    }
    spec.secret_env.iter().chain(&spec.host_env).chain(&spec.secret_files).try_for_each(|name| variable(name))?;
    for (name, value) in &spec.labels {
        let fits = !name.is_empty() && name.len() <= 64 && value.len() <= 255;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fits || !plain || value.chars().any(char::is_control) {
            return Err(Refusal::Label { label: name.clone() });
        }
    }
    Ok(())
}

/// Also the name of a file, so nothing that means something in a path.
fn variable(name: &str) -> Result<(), Refusal> {
    let fits = (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.as_bytes()[0].is_ascii_digit();
    if fits { Ok(()) } else { Err(Refusal::Name { name: name.to_owned() }) }
}

fn check_limits(limits: &Limits) -> Result<(), Refusal> {
    let refuse = |what, must| Err(Refusal::Limit { what, must });
    // Below this the first processes themselves do not fit, and the engine says so in words nobody understands.
    if !(16..=16 * 1024 * 1024).contains(&limits.memory_mb) {
        return refuse("memory_mb", "at least 16 and at most 16 million");
    }
    if !(limits.cpus.is_finite() && (0.01..=4096.0).contains(&limits.cpus)) {
        return refuse("cpus", "at least 0.01");
    }
    if !(8..=4_000_000).contains(&limits.pids) {
        return refuse("pids", "at least 8");
    }
    if !(64..=1_048_576).contains(&limits.nofile) {
        return refuse("nofile", "between 64 and 1048576");
    }
    Ok(())
}

fn labels(spec: &CageSpec) -> std::collections::BTreeMap<String, String> {
    let own = [
        (LABEL_INSTANCE.to_owned(), spec.instance.to_string()),
        (LABEL_INSTALLATION.to_owned(), spec.installation.clone()),
        (LABEL_VERSION.to_owned(), spec.version.clone()),
    ];
    // Ours last, so that nothing asked for can pass for another instance.
    spec.labels.iter().map(|(name, value)| (format!("kanvoy.{name}"), value.clone())).chain(own).collect()
}

fn env(spec: &CageSpec, cage: bool) -> std::collections::BTreeMap<String, String> {
    let mut env = spec.env.clone();
    let home = if cage { HOME.to_owned() } else { place_path(&spec.home) };
    env.insert("HOME".to_owned(), home);
    // The uid has no entry in the image's passwd; programs that look for a name find one here.
    for name in ["USER", "LOGNAME"] {
        env.entry(name.to_owned()).or_insert_with(|| "agent".to_owned());
    }
    env
}

fn place_path(place: &Place) -> String {
    match place {
        Place::Bind { path } => path.to_string_lossy().into_owned(),
        Place::Volume { name } => name.clone(),
    }
}

/// Asked for more processors than there are, engines refuse the whole instance.
fn within_the_engine(spec: &CageSpec, engine: &EngineFacts, warnings: &mut Vec<Warning>) -> CageSpec {
    let most = f64::from(engine.cpus.max(1));
    let mut spec = spec.clone();
    if spec.limits.cpus > most {
        let detail = format!("{} processors asked for, the engine has {most}", spec.limits.cpus);
        warnings.push(warning("cpus_clamped", detail));
        spec.limits.cpus = most;
    }
    spec
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie between 0.01 and 4096")]
fn nanos(cpus: f64) -> u64 {
    (cpus * 1e9) as u64
}

fn mounts(spec: &CageSpec, facts: &Facts, warnings: &mut Vec<Warning>) -> Result<Vec<Mount>, Refusal> {
    let engine = facts.engine.address.as_str();
    let mut mounts = Vec::new();
    for (place, target, why) in [
        (&spec.workspace, WORKSPACE, MountWhy::Workspace),
        (&spec.home, HOME, MountWhy::Home),
        (&spec.journal, JOURNAL, MountWhy::Journal),
    ] {
        // Without a keeper nobody writes a journal, and a plain process has its own among its runtime's files.
        if why == MountWhy::Journal && (facts.keeper.is_none() || !facts.engine.kind.is_cage()) {
            continue;
        }
        mounts.push(Mount { target: target.to_owned(), source: placed(place, facts)?, read_only: false, why });
    }
    if let Some(digest) = facts.keeper.as_ref().filter(|_| facts.engine.kind.is_cage()) {
        let source = Source::Volume { name: keeper_volume(digest) };
        mounts.push(Mount { target: KEEPER_DIR.to_owned(), source, read_only: true, why: MountWhy::Keeper });
    }
    mounts.extend(scratch(spec)?);
    for ask in &spec.mounts {
        local(&ask.source, facts)?;
        paths::asked_source(&ask.source, engine, &facts.mount_roots)?;
        paths::target(&ask.target)?;
        let access = if ask.read_only { "reads" } else { "writes" };
        warnings.push(warning("host_path", format!("the agent {access} {} of the host", ask.source.display())));
        mounts.push(Mount {
            target: text(&ask.target),
            source: Source::Bind { path: ask.source.clone() },
            read_only: ask.read_only,
            why: MountWhy::Asked,
        });
    }
    for mount in &spec.host_mounts {
        let path = facts.host_files.get(mount).ok_or(Refusal::HostMountMissing { mount: *mount })?;
        local(path, facts)?;
        paths::source(path, engine)?;
        warnings.push(host_mount_warning(*mount, path));
        mounts.push(Mount {
            target: format!("{HOME}/{}", mount.file()),
            source: Source::Bind { path: path.clone() },
            read_only: true,
            why: MountWhy::HostMount,
        });
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = mounts.iter().find(|mount| !seen.insert(mount.target.clone())) {
        return Err(Refusal::Target { path: PathBuf::from(&twice.target), why: "two things cannot be in one place" });
    }
    Ok(mounts)
}

fn placed(place: &Place, facts: &Facts) -> Result<Source, Refusal> {
    match place {
        Place::Bind { path } => {
            local(path, facts)?;
            paths::source(path, &facts.engine.address)?;
            Ok(Source::Bind { path: path.clone() })
        }
        Place::Volume { name } => {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            // Only names of our own making: an existing volume of somebody else's would be given away.
            if plain && name.starts_with("kanvoy-") && name.len() <= 128 && facts.engine.kind.is_cage() {
                Ok(Source::Volume { name: name.clone() })
            } else {
                Err(Refusal::Mount { path: PathBuf::from(name), why: "it is not the name of a volume of ours" })
            }
        }
    }
}

fn local(path: &Path, facts: &Facts) -> Result<(), Refusal> {
    if facts.engine.local { Ok(()) } else { Err(Refusal::NotLocal { path: path.to_owned() }) }
}

fn scratch(spec: &CageSpec) -> Result<Vec<Mount>, Refusal> {
    // In memory, so it counts against the limit: never so large that filling it alone kills the agent.
    let half = spec.limits.memory_mb * MB / 2;
    let tmpfs = |target: &str, bytes: u64, mode: u32, exec: bool, why: MountWhy| Mount {
        target: target.to_owned(),
        source: Source::Tmpfs { bytes, mode, exec },
        read_only: false,
        why,
    };
    let mut mounts = vec![
        // Not `noexec`: compilers, test runners and package managers run what they put there. What it would buy is little
        // beside a writable home and workspace.
        tmpfs("/tmp", half.min(1024 * MB), 0o1777, true, MountWhy::Scratch),
        tmpfs("/run", half.min(16 * MB), 0o755, false, MountWhy::Scratch),
    ];
    if !spec.secret_files.is_empty() {
        mounts.push(tmpfs(SECRETS, half.min(MB), 0o700, false, MountWhy::Secrets));
    }
    for ask in &spec.tmpfs {
        paths::target(&ask.target)?;
        if ask.size_mb == 0 || ask.size_mb > spec.limits.memory_mb {
            return Err(Refusal::Limit { what: "the size of a tmpfs", must: "at least 1 MB and at most the memory" });
        }
        mounts.push(tmpfs(&text(&ask.target), ask.size_mb * MB, 0o700, ask.exec, MountWhy::Asked));
    }
    Ok(mounts)
}

fn rules(spec: &CageSpec, facts: &Facts, (uid, gid): (u32, u32), warnings: &mut Vec<Warning>) -> Vec<Rule> {
    let engine = &facts.engine;
    let cage = engine.kind.is_cage();
    let mut rules = Vec::new();
    let mut rule = |name: &str, value: String, lacking: Option<&str>| {
        let why_not = if cage { lacking } else { Some("a plain process of the daemon's user, not a cage") };
        rules.push(Rule {
            rule: name.to_owned(),
            value,
            enforced: why_not.is_none(),
            why_not: why_not.map(str::to_owned),
        });
    };
    let lacks = |has: bool, why: &'static str| (!has).then_some(why);
    let limits = &spec.limits;
    rule("user", format!("{uid}:{gid}"), None);
    rule("capabilities", "none".to_owned(), None);
    rule("no_new_privileges", "yes".to_owned(), None);
    rule("seccomp", "default profile".to_owned(), lacks(engine.seccomp, "the engine has no seccomp"));
    rule("root_filesystem", "read-only".to_owned(), None);
    rule("memory", format!("{} MB", limits.memory_mb), lacks(engine.limits_memory, "the engine cannot limit memory"));
    rule("swap", "none".to_owned(), lacks(engine.limits_swap, "the engine's kernel does not account swap"));
    rule("cpus", format!("{}", limits.cpus), lacks(engine.limits_cpu, "the engine cannot limit processors"));
    rule("pids", format!("{}", limits.pids), lacks(engine.limits_pids, "the engine cannot limit processes"));
    rule("open_files", format!("{}", limits.nofile), None);
    rule(
        "network",
        match spec.network {
            Network::None => "none".to_owned(),
            _ => "open, on a network of its own".to_owned(),
        },
        None,
    );
    rule("engine_socket", "never".to_owned(), None);
    if cage && !engine.apparmor {
        warnings.push(warning("no_apparmor", "the engine's machine has no AppArmor; one wall less".to_owned()));
    }
    if !cage {
        warnings.push(warning(
            "not_a_cage",
            "this agent runs on the host as the daemon's user and can do whatever that user can".to_owned(),
        ));
    }
    rules
}

fn warn_of_holes(spec: &CageSpec, warnings: &mut Vec<Warning>) {
    if spec.network == Network::Open {
        warnings.push(warning(
            "network_open",
            "the agent reaches everything that the engine's machine reaches, its own services on non-loopback addresses too"
                .to_owned(),
        ));
    }
    for name in &spec.host_env {
        warnings.push(warning("host_token", format!("the agent is given {name} from the daemon's environment")));
    }
    for name in &spec.secret_env {
        warnings
            .push(warning("secret_in_env", format!("{name} is a variable: whoever may ask the engine can read it")));
    }
}

fn host_mount_warning(mount: HostMount, path: &Path) -> Warning {
    let what = match mount {
        HostMount::Ssh => "private keys, for every repository and host they open",
        HostMount::Gitconfig => "your git settings, with whatever they name",
        HostMount::GitCredentials => "passwords and tokens of git hosts",
    };
    warning("host_mount", format!("the agent reads {}: {what}", path.display()))
}

fn summary(spec: &CageSpec, kind: Kind, uid: u32) -> String {
    if !kind.is_cage() {
        return "NOT A CAGE: a plain process on the host; network and limits are not enforced".to_owned();
    }
    let network = if spec.network == Network::None { "no network" } else { "open network" };
    let Limits { memory_mb, cpus, pids, .. } = spec.limits;
    format!("uid {uid}, no capabilities, read-only root, {network}, {memory_mb} MB, {cpus} CPUs, {pids} processes")
}

/// Named after the bytes in it, so that two versions live side by side.
pub fn keeper_volume(digest: &str) -> String {
    format!("kanvoy-keeper-{}", &digest[..digest.len().min(16)])
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn warning(code: &str, detail: String) -> Warning {
    Warning { code: code.to_owned(), detail }
}
