//! Sends one request and reads one answer: credentials, retries, deadlines, problems. The routes are in the files beside.

use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::error::{ClientError, Problem};

/// Asks one server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    credentials: Option<HeaderValue>,
    patience: Duration,
}

pub struct ClientOptions {
    /// Where the daemon is, without `/api/v1`. May have a path.
    pub url: Url,
    pub token: Option<String>,
    /// For how long a request that certainly did nothing, and the first connection of a stream, are tried again.
    pub patience: Duration,
}

/// How long a whole answer may take. Streams, uploads and downloads are only held to [`SILENCE`].
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long nothing may come on a download.
const SILENCE: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An answer longer than this is none of ours.
const LONGEST_ANSWER: usize = 256 << 20;

/// What `/readyz` says, and when the server said it.
#[derive(Clone, Debug)]
pub struct Health {
    pub ready: bool,
    pub body: Value,
    /// The `Date` header.
    pub date: Option<String>,
}

impl Client {
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        install_crypto();
        let ClientOptions { url, token, patience } = options;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(ClientError::Protocol(format!("{url} is not an http or https address")));
        }
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("kanvoy-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE)
            // A redirect could carry the token to where it does not belong.
            .redirect(reqwest::redirect::Policy::none());
        if url.scheme() == "http" {
            // A bare machine has no certificates to load, and without TLS none are needed.
            http = http.tls_certs_only([]);
        }
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| ClientError::Protocol(causes(&error)))?;
        let credentials = token.map(|token| bearer(&token)).transpose()?;
        Ok(Self { inner: Arc::new(Inner { http, base: url, credentials, patience }) })
    }

    pub fn url(&self) -> &Url {
        &self.inner.base
    }

    /// Asked once and without the token, whatever the patience: for those who want to know how it stands now.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let url = self.at(&["readyz"], &[]);
        let sent = self.inner.http.get(url).timeout(CONNECT_WITHIN).send().await;
        let response = sent.map_err(|error| self.unreachable(&error))?;
        let ready = response.status().is_success();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        let body: Value = serde_json::from_str(&text)
            .map_err(|_| ClientError::Protocol(format!("/readyz at {} answered no JSON", self.inner.base)))?;
        Ok(Health { ready, body, date })
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        self.ask(Method::GET, path, query, None).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(Method::POST, path, &[], Some(text_of(body)?)).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(Method::PATCH, path, &[], Some(text_of(body)?)).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, query, None).await
    }

    /// Where the answer is only that it is done.
    pub(crate) async fn post_for_nothing(&self, path: &[&str], body: &impl Serialize) -> Result<(), ClientError> {
        self.asked(Method::POST, path, &[], Some(text_of(body)?)).await.map(drop)
    }

    pub(crate) async fn delete_for_nothing(&self, path: &[&str]) -> Result<(), ClientError> {
        self.asked(Method::DELETE, path, &[], None).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<String>,
    ) -> Result<T, ClientError> {
        read(&self.asked(method, path, query, body).await?)
    }

    async fn asked(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<String>,
    ) -> Result<Vec<u8>, ClientError> {
        let url = self.api(path, query);
        // One key for all tries: whichever of them arrives first is the one that counts.
        let key = (method == Method::POST).then(idempotency_key).transpose()?;
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let mut request = self.inner.http.request(method.clone(), url.clone()).timeout(ANSWER_WITHIN);
            if let Some(key) = &key {
                request = request.header("Idempotency-Key", key);
            }
            if let Some(body) = &body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
            }
            let (error, wait) = match self.send(request).await {
                Ok(response) => match self.whole(response).await {
                    Ok(text) => return Ok(text),
                    Err(error) if is_repeatable(&method) => (error, None),
                    Err(error) => return Err(error),
                },
                Err(Failed::Said(error, wait)) => match error.problem() {
                    Some(problem) if problem.status == 503 => (error, wait),
                    _ => return Err(error),
                },
                // Never sent, or safe to do twice.
                Err(Failed::Broke { error, sent }) if !sent || is_repeatable(&method) => (error, None),
                Err(Failed::Broke { error, .. }) => return Err(error),
            };
            let wait = wait.unwrap_or(pause);
            if began.elapsed() + wait > self.inner.patience {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends once. An answer with an error status is an error.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Failed> {
        let request = match &self.inner.credentials {
            Some(credentials) => request.header(AUTHORIZATION, credentials.clone()),
            None => request,
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                return Err(Failed::Broke { sent: !error.is_connect(), error: self.unreachable(&error) });
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = seconds(response.headers().get(RETRY_AFTER));
        let body = response.bytes().await.unwrap_or_default();
        let mut problem = Box::new(Problem::read(status.as_u16(), &body));
        problem.retry_after = problem.retry_after.or(wait.map(|wait| wait.as_secs()));
        let error = match status {
            StatusCode::UNAUTHORIZED => ClientError::Unauthenticated(problem),
            _ if status.is_redirection() => ClientError::Protocol(format!("{} redirects elsewhere", self.inner.base)),
            _ if problem.is_foreign() => ClientError::Protocol(format!("HTTP {status} from {}", self.inner.base)),
            _ => ClientError::Problem(problem),
        };
        Err(Failed::Said(error, wait))
    }

    async fn whole(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            text.extend_from_slice(&piece);
            if text.len() > LONGEST_ANSWER {
                return Err(ClientError::Protocol("the answer does not end".to_owned()));
            }
        }
        Ok(text)
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.inner.base.to_string(), why: causes(error) }
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        self.inner.http.request(method, url)
    }

    pub(crate) fn credentials(&self) -> Option<&HeaderValue> {
        self.inner.credentials.as_ref()
    }

    pub(crate) fn patience(&self) -> Duration {
        self.inner.patience
    }

    pub(crate) fn api(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let whole: Vec<&str> = ["api", "v1"].iter().chain(path).copied().collect();
        self.at(&whole, query)
    }

    fn at(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.inner.base.clone();
        // An http address always has a path to extend.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// Why one try did not do it.
pub(crate) enum Failed {
    /// The server answered, and asks to be left alone for this long if it said so.
    Said(ClientError, Option<Duration>),
    /// No whole answer came. `sent` is false when the server certainly heard nothing.
    Broke { error: ClientError, sent: bool },
}

impl From<Failed> for ClientError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Said(error, _) | Failed::Broke { error, .. } => error,
        }
    }
}

/// A GET does nothing, and a POST carries its idempotency key; other writes might be done twice.
fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::POST)
}

fn text_of(body: &impl Serialize) -> Result<String, ClientError> {
    serde_json::to_string(body).map_err(|error| ClientError::Protocol(error.to_string()))
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(text).map_err(|error| ClientError::Protocol(error.to_string()))
}

fn idempotency_key() -> Result<String, ClientError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Local(std::io::Error::other(error.to_string())))?;
    Ok(uuid::Uuid::from_bytes(bytes).simple().to_string())
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| ClientError::Protocol("the token holds characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether it names this very machine, by name or number.
pub fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

fn seconds(value: Option<&HeaderValue>) -> Option<Duration> {
    value?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The whole chain, since the outermost error says only that something went wrong.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn install_crypto() {
    static ONCE: Once = Once::new();
    // Fails only when the process has one already, which is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Client {
        let url = Url::parse(url).expect("is a URL");
        Client::new(ClientOptions { url, token: Some("t\n".into()), patience: Duration::ZERO }).expect("is made")
    }

    #[test]
    fn paths_are_escaped_and_lie_below_the_base() {
        let url = client("http://localhost:1/kanvoy/").api(&["tasks", "a/b?c"], &[("q", "ä &".to_owned())]);
        assert_eq!(url.as_str(), "http://localhost:1/kanvoy/api/v1/tasks/a%2Fb%3Fc?q=%C3%A4+%26");
    }

    #[test]
    fn loopback_is_known_by_name_and_number() {
        for (url, expected) in [
            ("http://localhost", true),
            ("http://127.0.0.7:80", true),
            ("http://[::1]:80", true),
            ("http://10.0.0.1", false),
            ("https://kanvoy.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).expect("is a URL")), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("is bound");
        let error = client(&format!("http://{free}")).boards(false).await.expect_err("nobody is there");
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    }
}
