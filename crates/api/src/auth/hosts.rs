//! The names that this server goes by. A page elsewhere that points a name of its own at this machine (DNS rebinding) is
//! turned away by the name it must send.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};

pub(crate) struct Hosts {
    /// In small letters; with a port only where that port is meant.
    named: Vec<String>,
    /// The address we listen on. An address, unlike a name, cannot be pointed elsewhere.
    listen: IpAddr,
    /// Of the public address: `https://kanvoy.example`.
    public_origin: Option<String>,
}

impl Hosts {
    pub fn new(allowed: &[String], public_url: Option<&str>, listen: SocketAddr) -> Self {
        let public_origin = public_url.and_then(origin_of);
        let mut named: Vec<String> = allowed.iter().map(|host| host.trim().to_ascii_lowercase()).collect();
        if let Some((_, host)) = public_origin.as_deref().and_then(|origin| origin.split_once("://")) {
            named.push(host.to_owned());
        }
        Self { named, listen: listen.ip(), public_origin }
    }

    /// The name that the request was sent to, if it is one of ours.
    pub fn asked<'a>(&self, headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
        let mut sent = headers.get_all(header::HOST).iter();
        let host = sent.next().and_then(|value| value.to_str().ok());
        if sent.next().is_some() {
            return None;
        }
        // `GET http://name/ HTTP/1.1`: the name in the line counts, and the header must not say otherwise.
        match (uri.authority(), host) {
            (Some(line), Some(host)) if !line.as_str().eq_ignore_ascii_case(host) => None,
            (_, host) => host.filter(|host| self.is_ours(host)),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let Some(name) = without_port(&host) else { return false };
        if name == "localhost" || name.ends_with(".localhost") {
            return true;
        }
        if let Ok(ip) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>()
            && (ip.is_loopback() || (ip == self.listen && !ip.is_unspecified()))
        {
            return true;
        }
        self.named.iter().any(|ours| *ours == host || *ours == name)
    }

    /// Whether a page of this origin is our own page, given the name that it was asked under.
    pub fn is_own_origin(&self, origin: &str, host: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        match &self.public_origin {
            Some(public) if *public == origin => true,
            _ => origin.strip_prefix("http://").is_some_and(|own| own.eq_ignore_ascii_case(host)),
        }
    }
}

fn without_port(host: &str) -> Option<&str> {
    if host.starts_with('[') {
        let end = host.find(']')?;
        let rest = &host[end + 1..];
        let sound = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return sound.then(|| &host[..=end]);
    }
    match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => Some(host),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `https://Host:443/path` → `https://host`: as a browser writes it.
fn origin_of(url: &str) -> Option<String> {
    let url = url.to_ascii_lowercase();
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    let usual = if scheme == "https" { ":443" } else { ":80" };
    Some(format!("{scheme}://{}", host.strip_suffix(usual).unwrap_or(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let listen = "192.168.1.5:8080".parse().expect("is an address");
        Hosts::new(&["board.lan".into(), "odd.lan:81".into()], Some("https://Kanvoy.example:443/sub"), listen)
    }

    #[test]
    fn names_of_ours_and_of_others() {
        let ours = [
            "localhost",
            "LocalHost:8080",
            "a.localhost:1",
            "127.0.0.1",
            "127.9.9.9:8080",
            "[::1]",
            "[::1]:8080",
            "board.lan",
            "board.lan:99",
            "odd.lan:81",
            "kanvoy.example",
            "kanvoy.example:443",
            "192.168.1.5:8080",
        ];
        let others = [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:8080",
            "odd.lan",
            "odd.lan:82",
            "0.0.0.0",
            "127.0.0.1.evil.example",
            "[::1",
            "[::1]x",
            "localhost:",
            "localhost:x",
            "localhost@evil",
            "10.0.0.1",
        ];
        for host in ours {
            assert!(hosts().is_ours(host), "{host}");
        }
        for host in others {
            assert!(!hosts().is_ours(host), "{host}");
        }
    }

    #[test]
    fn own_pages_and_others() {
        let hosts = hosts();
        assert!(hosts.is_own_origin("http://localhost:8080", "localhost:8080"));
        assert!(hosts.is_own_origin("https://kanvoy.example", "kanvoy.example"));
        for foreign in ["null", "", "http://localhost:3000", "https://localhost:8080", "http://evil.example"] {
            assert!(!hosts.is_own_origin(foreign, "localhost:8080"), "{foreign}");
        }
    }
}
