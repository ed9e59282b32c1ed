//! Which hosts git may be sent to. A URL is typed by people and read by the daemon, which may reach what they may not: a
//! cloud's metadata address, a router, a database on localhost.
//!
//! Covered: the name is resolved here, each address is judged, and git is pinned to one that was judged (libcurl's
//! `CURLOPT_RESOLVE` for https, `HostName` with `HostKeyAlias` for ssh), so that a name that answers differently the second
//! time gains nothing; redirects are not followed; addresses in disguise are not taken by [`crate::Url`].
//! Not covered: a proxy (`Config::proxy`) resolves by itself, so there only addresses that are written out or resolve here
//! to a private one are refused; a public host that forwards to a private one; what an agent does from its cage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::error::Error;
use crate::names::Url;

/// Hosts that may be private, by name or by address as written in the URL.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// If not empty, only these hosts are taken at all.
    pub only: Vec<String>,
    /// These may have private addresses.
    pub private: Vec<String>,
    /// Every host may.
    pub any_private: bool,
}

impl Hosts {
    /// The address that git is to be sent to.
    pub(crate) async fn judge(&self, url: &Url, patience: Duration) -> Result<IpAddr, Error> {
        let refused = |why: String| Error::HostRefused { host: url.host.clone(), why };
        let named = |list: &[String]| list.iter().any(|host| host.eq_ignore_ascii_case(&url.host));
        if !self.only.is_empty() && !named(&self.only) {
            return Err(refused("it is not on the list of hosts that repositories may come from".into()));
        }
        let private = self.any_private || named(&self.private);
        let unreachable = |why: String| Error::HostUnreachable { host: url.host.clone(), why };
        let lookup = tokio::net::lookup_host((url.host.as_str(), url.port_or_default()));
        let found = match tokio::time::timeout(patience, lookup).await {
            Err(_) => return Err(unreachable("its name was not resolved in time".into())),
            Ok(Err(_)) => return Err(unreachable("its name cannot be resolved".into())),
            Ok(Ok(found)) => found.map(|at| at.ip()).collect::<Vec<_>>(),
        };
        if !private && let Some(inward) = found.iter().find(|ip| !is_public(**ip)) {
            return Err(refused(format!(
                "{inward} is not a public address; an administrator can allow this host for repositories"
            )));
        }
        // IPv4 first: the one that works where only one does.
        found
            .iter()
            .find(|ip| ip.is_ipv4())
            .or_else(|| found.first())
            .copied()
            .ok_or_else(|| unreachable("its name has no address".into()))
    }
}

/// A public address: none of the ranges that IANA sets aside, in whatever way an IPv4 address is wrapped.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let set_aside = a == 0
        || a == 10
        || a == 127
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 192 && b == 168)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224;
    !set_aside
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let wrapped = |hi: u16, lo: u16| {
        let ([a, b], [c, d]) = (hi.to_be_bytes(), lo.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, hi, lo] | [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => wrapped(hi, lo),
        [0x2002, hi, lo, ..] => wrapped(hi, lo),
        // Only 2000::/3 is given out; of it, Teredo and the like, benchmarking and documentation are not hosts.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_inward_are_known() {
        let inward = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::1",
            "2001:db8::1",
            "ff02::1",
            "::127.0.0.1",
            "64:ff9b:1::1",
            "fec0::1",
            "2001::1",
        ];
        for ip in inward {
            assert!(!is_public(ip.parse().expect("an address")), "{ip}");
        }
        for ip in
            ["140.82.121.3", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:140.82.121.3", "2a00:1450::1"]
        {
            assert!(is_public(ip.parse().expect("an address")), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_where_it_leads() {
        let judge = async |hosts: Hosts, url: &str| {
            let url: Url = url.parse().expect("a URL");
            hosts.judge(&url, Duration::from_secs(5)).await
        };
        for url in [
            "https://localhost/r",
            "https://127.0.0.1/r",
            "git@169.254.169.254:x",
            "ssh://git@[::1]/r",
            "https://[::ffff:10.0.0.1]/r",
        ] {
            assert!(matches!(judge(Hosts::default(), url).await, Err(Error::HostRefused { .. })), "{url}");
        }
        let allowed = Hosts { private: vec!["LocalHost".into()], ..Hosts::default() };
        assert!(judge(allowed.clone(), "https://localhost/r").await.is_ok());
        assert!(judge(allowed, "https://127.0.0.1/r").await.is_err(), "a host is allowed by the name that is typed");
        let only = Hosts { only: vec!["github.com".into()], any_private: true, ..Hosts::default() };
        assert!(matches!(judge(only, "https://127.0.0.1/r").await, Err(Error::HostRefused { .. })));
        let none = judge(Hosts::default(), "https://no-such-host.invalid/r").await;
        assert!(matches!(none, Err(Error::HostUnreachable { .. })), "{none:?}");
    }
}
