//! The numbers behind `/metrics`. Labels are routes, methods and statuses, never ids: their count stays small.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::RwLock;

const REQUESTS: &str = "kanvoy_http_requests_total";
const SECONDS: &str = "kanvoy_http_request_duration_seconds";
const BUCKETS: &[f64] = &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

type Labels = (usize, Method, u16);

pub struct Meter {
    pages: Option<PrometheusHandle>,
    /// Looking a metric up by its labels copies them; this is looked up by where the route's text lies.
    known: RwLock<HashMap<Labels, (Counter, Histogram)>>,
    pub connections: Gauge,
    pub websockets: Gauge,
    pub event_sources: Gauge,
    pub events_sent: Counter,
    pub rpc_sockets: Gauge,
    pub subscriptions: Gauge,
}

impl Meter {
    /// There is one recorder a process, however many servers it holds.
    pub fn install() -> Self {
        static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
        let pages = RECORDER.get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let installed = builder
                .set_buckets_for_metric(Matcher::Full(SECONDS.to_owned()), BUCKETS)
                .and_then(PrometheusBuilder::install_recorder);
            installed.inspect_err(|error| tracing::warn!("there will be no metrics: {error}")).ok()
        });
        metrics::describe_counter!(REQUESTS, "Requests answered, by method, route and status.");
        metrics::describe_histogram!(SECONDS, "How long a request took until its answer began.");
        metrics::describe_gauge!("kanvoy_http_connections", "Open connections, sockets included.");
        metrics::describe_gauge!("kanvoy_streams", "Open streams of events, by kind.");
        metrics::describe_counter!("kanvoy_events_sent_total", "Events sent to all streams together.");
        Self {
            pages: pages.clone(),
            known: RwLock::default(),
            connections: metrics::gauge!("kanvoy_http_connections"),
            websockets: metrics::gauge!("kanvoy_streams", "kind" => "websocket"),
            event_sources: metrics::gauge!("kanvoy_streams", "kind" => "sse"),
            events_sent: metrics::counter!("kanvoy_events_sent_total"),
            rpc_sockets: metrics::gauge!("kanvoy_rpc_sockets"),
            subscriptions: metrics::gauge!("kanvoy_streams", "kind" => "rpc"),
        }
    }

    /// A call of `/rpc`. Names that are no method's count as one.
    pub fn called(&self, method: &'static str, error: Option<i32>) {
        let outcome = if error.is_none() { "ok" } else { "error" };
        metrics::counter!("kanvoy_rpc_calls_total", "method" => method, "outcome" => outcome).increment(1);
    }

    pub fn answered(&self, method: &Method, route: Option<&MatchedPath>, status: StatusCode, took: Duration) {
        let text = route.map_or("(none)", MatchedPath::as_str);
        // Any client can make up methods: they count as one.
        let usual = matches!(*method, Method::GET | Method::POST | Method::PATCH | Method::DELETE | Method::PUT);
        let method = if usual { method } else { &Method::OPTIONS };
        // The router keeps each route's text for as long as it lives.
        let key = (text.as_ptr() as usize, method.clone(), status.as_u16());
        if let Some((requests, seconds)) = self.known.read().get(&key) {
            requests.increment(1);
            seconds.record(took.as_secs_f64());
            return;
        }
        let labels = [
            ("method", if usual { method.to_string() } else { "(other)".to_owned() }),
            ("route", text.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        let requests = metrics::counter!(REQUESTS, &labels);
        let seconds = metrics::histogram!(SECONDS, &labels[..2]);
        requests.increment(1);
        seconds.record(took.as_secs_f64());
        let mut known = self.known.write();
        if known.len() < 4_096 {
            known.insert(key, (requests, seconds));
        }
    }

    pub fn page(&self) -> String {
        self.pages.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Samples wait in memory until they are counted: called every few seconds.
    pub fn upkeep(&self) {
        if let Some(pages) = &self.pages {
            pages.run_upkeep();
        }
    }
}
