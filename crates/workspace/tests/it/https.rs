//! A real https host on loopback: git's own `http-backend` behind TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kanvoy_workspace::{
    Access, Config, Confirm, Error, Hosts, Include, PushSpec, Secret, Source, Spec, What, Workspaces,
};

use crate::yard::{Yard, agent, branch, by, id, plain_git};

const PASSWORD: &str = "open-sesame-4711";

struct Host {
    yard: Yard,
    port: u16,
    /// How git was called, with what environment.
    ledger: PathBuf,
}

impl Host {
    fn new() -> Self {
        let key =
            rcgen::generate_simple_self_signed(["localhost".into(), "nowhere.invalid".into()]).expect("a certificate");
        let yard = Yard::new();
        plain_git(&yard.upstream(), &["checkout", "-q", "--detach"]);
        let ca = yard.dir.path().join("ca.pem");
        std::fs::write(&ca, key.cert.pem()).expect("a file");
        let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private)
            .expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (tls, root) = (Arc::new(tls), yard.dir.path().join("upstream"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, root) = (Arc::clone(&tls), root.clone());
                std::thread::spawn(move || serve(stream, tls, &root, port));
            }
        });
        let ledger = yard.dir.path().join("ledger");
        let git = yard.dir.path().join("git");
        let script =
            format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >> {0}; env >> {0}\nexec git \"$@\"\n", ledger.display());
        std::fs::write(&git, script).expect("a script");
        std::fs::set_permissions(&git, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
        let config = Config {
            git,
            hosts: Hosts { private: vec!["localhost".into()], ..Hosts::default() },
            ca_file: Some(ca),
            ..yard.config.clone()
        };
        let workspaces = Workspaces::new(yard.root(), config.clone()).expect("workspaces");
        Self { yard: Yard { workspaces, config, ..yard }, port, ledger }
    }

    fn spec(&self, name: &str, user: &str, path: &str, access: Access) -> Spec {
        let url = format!("https://{user}localhost:{}/{path}", self.port);
        Spec { source: Source::Remote(url.parse().expect("a URL")), access, ..self.yard.spec(name) }
    }

    async fn refused(&self, path: &str, access: Access) -> Error {
        let error = self.yard.workspaces.create(self.spec("x", "", path, access)).await.expect_err("refused");
        assert!(!error.to_string().contains(PASSWORD), "{error}");
        error
    }
}

/// `/open/…` for everybody, `/shut/…` for ada, `/moved/…` is elsewhere, `/away/…` at a metadata service.
fn serve(stream: TcpStream, tls: Arc<rustls::ServerConfig>, root: &Path, port: u16) -> Option<()> {
    let connection = rustls::ServerConnection::new(tls).ok()?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let header = |name: &str| {
        headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (area, rest) = path[1..].split_once('/')?;
    let ada = header("authorization") == format!("Basic {}", base64(&format!("ada:{PASSWORD}")));
    let answer = match area {
        "moved" => format!(
            "HTTP/1.1 301 M\r\nLocation: https://localhost:{port}/open/{rest}?{query}\r\nContent-Length: 0\r\n\r\n"
        ),
        "away" => "HTTP/1.1 302 F\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "shut" if !ada => "HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => String::new(),
    };
    if !answer.is_empty() {
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
        stream.get_mut().conn.send_close_notify();
        return stream.get_mut().flush().ok();
    }
    let mut backend = Command::new("git");
    backend
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1");
    backend.env("PATH_INFO", format!("/{rest}")).env("QUERY_STRING", query).env("REQUEST_METHOD", method);
    backend.env("CONTENT_TYPE", header("content-type")).env("HTTP_CONTENT_ENCODING", header("content-encoding"));
    backend.env("GIT_PROTOCOL", header("git-protocol")).stdin(Stdio::piped()).stdout(Stdio::piped());
    if ada {
        backend.env("REMOTE_USER", "ada");
    }
    let mut backend = backend.spawn().ok()?;
    let mut stdin = backend.stdin.take()?;
    std::thread::spawn(move || stdin.write_all(&body));
    let output = backend.wait_with_output().ok()?.stdout;
    let head = String::from_utf8_lossy(&output[..output.len().min(200)]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").trim().to_owned();
    let out = stream.get_mut();
    out.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n").as_bytes()).ok()?;
    out.write_all(&output).ok()?;
    out.conn.send_close_notify();
    out.flush().ok()
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4usize {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char;
            coded.push(if at > three.len() { '=' } else { digit });
        }
    }
    coded
}

fn login(password: &str) -> Access {
    Access::Https { username: "ada".into(), password: Secret::new(password) }
}

#[tokio::test]
async fn https_works_pinned_and_without_redirects() {
    let host = Host::new();
    let made =
        host.yard.workspaces.create(host.spec("a", "", "open/repo/.git", Access::None)).await.expect("a workspace");
    assert_eq!(agent(&made.path, "cat README.md"), "hello");
    let ledger = std::fs::read_to_string(&host.ledger).expect("a ledger");
    assert!(ledger.contains(&format!("http.curloptResolve=localhost:{}:127.0.0.1", host.port)), "{ledger}");

    for path in ["moved/repo/.git", "away/repo/.git"] {
        let error = host.refused(path, Access::None).await;
        assert!(matches!(error, Error::Refused(_)), "{path}: {error}");
    }
    assert!(matches!(host.refused("open/none.git", Access::None).await, Error::NotFound(_)));
    // A certificate that nobody vouches for.
    let config = Config { ca_file: None, ..host.yard.config.clone() };
    let strict = Workspaces::new(host.yard.root(), config).expect("workspaces");
    let error = strict.create(host.spec("x", "", "open/repo/.git", Access::None)).await.expect_err("refused");
    assert!(matches!(error, Error::HostUnreachable { .. }), "{error}");
}

/// That git goes where it is pinned to, whatever the name says.
#[tokio::test]
async fn the_pin_holds() {
    let host = Host::new();
    let ca = host.yard.config.ca_file.clone().expect("a file");
    let url = format!("https://nowhere.invalid:{}/open/repo/.git", host.port);
    let output = Command::new("git")
        .arg("-c")
        .arg(format!("http.curloptResolve=nowhere.invalid:{}:127.0.0.1", host.port))
        .arg("-c")
        .arg(format!("http.sslCAInfo={}", ca.display()))
        .args(["ls-remote", &url])
        .current_dir("/")
        .env_remove("GIT_SSL_CAINFO")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_login_comes_from_memory_and_stays_there() {
    let host = Host::new();
    for access in [Access::None, login("wrong-password")] {
        let error = host.refused("shut/repo/.git", access).await;
        assert!(matches!(error, Error::AuthNeeded { .. }), "{error}");
    }
    let spec = host.spec("a", "tok_visible@", "shut/repo/.git", login(PASSWORD));
    let to = spec.source.clone();
    let made = host.yard.workspaces.create(spec).await.expect("a workspace");
    agent(&made.path, "echo x > x; git add x; git commit -qm x");
    let what = What::Work { include: Include::Commits, message: String::new(), by: by() };
    let push = PushSpec { to, branch: branch("task/1-a"), what, access: login(PASSWORD) };
    host.yard.workspaces.push(&id("a"), &push).await.expect("a push");
    assert_eq!(plain_git(&host.yard.upstream(), &["show", "task/1-a:x"]), "x");
    assert!(host.yard.workspaces.push(&id("a"), &PushSpec { access: Access::None, ..push }).await.is_err());

    let config = std::fs::read_to_string(made.path.join(".git/config")).expect("a configuration");
    assert!(config.contains(&format!("url = https://localhost:{}/shut/repo/.git", host.port)), "{config}");
    let ledger = std::fs::read_to_string(&host.ledger).expect("a ledger");
    assert!(!ledger.contains(PASSWORD), "an argument or the environment held the password");
    let mut left = vec![host.yard.root()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).expect("a directory").flatten().map(|entry| entry.path()));
        } else {
            let content = std::fs::read(&path).expect("a file");
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains(PASSWORD) && !text.contains("tok_visible"), "a login lies in {}", path.display());
        }
    }
    host.yard.workspaces.remove(&id("a"), &Confirm::Nothing).await.expect("removed");
}
