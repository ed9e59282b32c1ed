//! Who the engine is and what it can enforce.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};

use crate::docker::Inner;
use crate::docker::call::ASK;
use crate::error::{Absence, RuntimeError};
use crate::runtime::{EngineFacts, Kind};

impl Inner {
    pub(super) async fn facts(&self) -> Result<EngineFacts, RuntimeError> {
        let answer = self.call("ping", ASK, |docker| async move { docker.ping().await }).await;
        match answer {
            Ok(_) => {}
            // A server that knows no `/_ping` is no engine.
            Err(RuntimeError::Engine { status, detail, .. }) if status < 500 => {
                let hint = format!("what answers there is no container engine ({status} {detail})");
                return Err(self.engine_absent(Absence::NotAnEngine, hint));
            }
            Err(e) => return Err(e),
        }
        let version = self.call("version", ASK, |docker| async move { docker.version().await }).await?;
        let info = self.call("info", ASK, |docker| async move { docker.info().await }).await?;
        let api_version = version.api_version.clone().unwrap_or_default();
        let mut warnings = info.warnings.clone().unwrap_or_default();
        if minor(&api_version) < 41 {
            warnings.push(format!("API {api_version} is older than 1.41 (Engine 20.10), which is the oldest we test"));
        }
        if !info.live_restore_enabled.unwrap_or_default() {
            warnings.push("live-restore is off: a restart of the engine ends every running agent".to_owned());
        }
        Ok(told(
            &info,
            self.config.address.to_string(),
            self.config.address.is_local(),
            version.version,
            api_version,
            warnings,
        ))
    }
}

fn told(
    info: &SystemInfo,
    address: String,
    local: bool,
    version: Option<String>,
    api_version: String,
    warnings: Vec<String>,
) -> EngineFacts {
    let security = info.security_options.clone().unwrap_or_default();
    let has = |name: &str| security.iter().any(|option| option.contains(name));
    EngineFacts {
        kind: Kind::Docker,
        address,
        local,
        version: version.or_else(|| info.server_version.clone()).unwrap_or_default(),
        api_version,
        os: info.os_type.clone().unwrap_or_default(),
        arch: architecture(info.architecture.as_deref().unwrap_or_default()).to_owned(),
        cpus: info.ncpu.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1),
        memory_bytes: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        cgroup_version: if info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2) { 2 } else { 1 },
        rootless: has("name=rootless"),
        seccomp: has("name=seccomp") && !has("profile=unconfined"),
        apparmor: has("name=apparmor"),
        limits_memory: info.memory_limit.unwrap_or_default(),
        limits_swap: info.swap_limit.unwrap_or_default(),
        limits_pids: info.pids_limit.unwrap_or_default(),
        limits_cpu: info.cpu_cfs_quota.unwrap_or_default(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        warnings,
    }
}

/// Kernels and image makers spell processors differently.
pub(super) fn architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x64" => "amd64",
        "aarch64" | "armv8" => "arm64",
        "armv7l" | "armhf" => "arm",
        other => other,
    }
}

fn minor(api_version: &str) -> u32 {
    api_version.split_once('.').and_then(|(_, minor)| minor.parse().ok()).unwrap_or(u32::MAX)
}
