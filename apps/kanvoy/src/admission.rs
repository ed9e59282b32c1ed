//! Before the doors open: the keys that logins are signed with, the proxy that is believed, the first admin, and whether
//! anybody could log in at all.

use std::fs;
use std::path::Path;

use kanvoy_api::{Access, KeyRing, Limits, TrustedProxy, password};
use kanvoy_domain::people::{self, LoginName, NewUser, Role};
use kanvoy_engine::By;
use tracing::info;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::wiring::Rooms;

const FIRST_ADMIN: &str = "admin";
const SHORTEST_SECRET: usize = 16;

/// How people come in, as it is configured.
pub fn access(config: &Config, data_dir: &Path) -> Result<Access, Failure> {
    let path = data_dir.join("auth-keys.json");
    let keys = KeyRing::in_file(path.clone()).map_err(|error| {
        let said =
            format!("{}: {error}; move it away, and new keys are made (everybody logs in again)", path.display());
        Failure::new(Exit::Failed, said)
    })?;
    Ok(Access { keys, proxy: trusted_proxy(config)?, limits: Limits::default() })
}

fn trusted_proxy(config: &Config) -> Result<Option<TrustedProxy>, Failure> {
    let access = &config.access;
    let addresses = access.trusted_proxy.value.0.clone();
    let Some(file) = access.proxy_secret_file.as_ref().filter(|_| !addresses.is_empty()) else { return Ok(None) };
    let secret = secret_in(&file.value)?;
    if secret.len() < SHORTEST_SECRET {
        let said = format!("{}: a proxy's secret has {SHORTEST_SECRET} characters or more", file.value.display());
        return Err(Failure::usage(said));
    }
    let header = |name: &str| name.parse().map_err(|_| Failure::usage(format!("{name} is not the name of a header")));
    Ok(Some(TrustedProxy {
        addresses,
        secret,
        secret_header: header(&access.proxy_secret_header.value.0)?,
        user_header: header(&access.proxy_user_header.value.0)?,
        role: access.proxy_role.value,
    }))
}

fn secret_in(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::BadRequest, format!("{} cannot be read: {error}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Beyond loopback everybody could try. Refused before anything is made, where it is clear already that nobody could log in.
pub fn refuse_strangers(config: &Config) -> Result<(), Failure> {
    let may_come = config.admin_password_file.is_some() || !config.access.trusted_proxy.value.0.is_empty();
    if config.listen.value.is_loopback() || may_come || config.database.value.exists() {
        return Ok(());
    }
    Err(nobody_can_log_in(config))
}

/// Makes the first admin, where there is a password for it, and refuses to listen to strangers when nobody can log in.
pub async fn prepare(config: &Config, rooms: &Rooms) -> Result<(), Failure> {
    if let Some(file) = &config.admin_password_file {
        first_admin(file, rooms).await?;
    }
    let by_proxy = !config.access.trusted_proxy.value.0.is_empty();
    if config.listen.value.is_loopback() || by_proxy || somebody_can_log_in(rooms).await? {
        return Ok(());
    }
    rooms.store.close().await;
    Err(nobody_can_log_in(config))
}

/// Once: whoever has changed the password since keeps theirs.
async fn first_admin(file: &Path, rooms: &Rooms) -> Result<(), Failure> {
    let name: LoginName = FIRST_ADMIN.parse().map_err(|error| Failure::new(Exit::Failed, format!("{error}")))?;
    if rooms.store.user_named(&name).await.map_err(broken)?.is_some() {
        return Ok(());
    }
    let secret = secret_in(file)?;
    people::password(&secret)
        .map_err(|error| Failure::usage(format!("the password in {}: {}", file.display(), error.detail)))?;
    let hash = tokio::task::spawn_blocking(move || password::hash(&secret)).await;
    let hash = hash.map_err(|error| error.to_string()).and_then(|hash| hash);
    let password = Some(hash.map_err(|error| Failure::new(Exit::Failed, error))?);
    let new = NewUser { name: name.to_string(), display_name: Some("Admin".into()), role: Role::Admin, password };
    rooms.engine.create_user(&By::engine(), new).await.map_err(broken)?;
    info!("the user {FIRST_ADMIN} has been made, with the password in {}", file.display());
    Ok(())
}

async fn somebody_can_log_in(rooms: &Rooms) -> Result<bool, Failure> {
    let mut after: Option<String> = None;
    loop {
        let page = rooms.store.users(after.as_deref(), 200).await.map_err(broken)?;
        if page.items.iter().any(|user| user.disabled_at.is_none() && user.password.is_some()) {
            return Ok(true);
        }
        after = page.next;
        if after.is_none() {
            return Ok(false);
        }
    }
}

fn nobody_can_log_in(config: &Config) -> Failure {
    let said = format!(
        "will not listen on {} ({}): others could reach it there, and there is no login that they would have to use. Make \
         one with KANVOY_ADMIN_PASSWORD_FILE=FILE (the password of the user admin), or with kanvoy user create while it \
         listens on 127.0.0.1; or stay there and come through a tunnel: ssh -L 8080:127.0.0.1:8080 HOST",
        config.listen.value, config.listen.origin
    );
    Failure::usage(said).with_next("kanvoy serve --listen 127.0.0.1:8080")
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error.to_string()).with_next("kanvoy doctor")
}
