//! The numbers behind `/metrics`: `docs/metrics.md` lists them. Labels are routes, methods and classes of status, never ids:
//! their count stays small. What is looked at only when asked for is in [`crate::vitals`].

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
const MEMBERS: &str = "kanvoy_commit_group_members";
const STREAMS: &str = "kanvoy_streams";
const BUCKETS: &[f64] = &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const MEMBER_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

const COUNTERS: &[(&str, &str)] = &[
    (REQUESTS, "Requests answered, by method, route and class of status."),
    ("kanvoy_rpc_calls_total", "Calls of /rpc, by method and outcome."),
    ("kanvoy_events_sent_total", "Events sent to all streams together."),
    ("kanvoy_commits_total", "Commits of the engine, by outcome."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (SECONDS, "How long a request took until its answer began."),
    ("kanvoy_commit_duration_seconds", "How long a commit took, its wait for the writer included."),
    ("kanvoy_commit_group_duration_seconds", "How long the writer took for a group of commits."),
    (MEMBERS, "Commits that were written together."),
];

const GAUGES: &[(&str, &str)] = &[
    ("kanvoy_http_connections", "Open connections, sockets included."),
    (STREAMS, "Open streams of events, by kind."),
    ("kanvoy_rpc_sockets", "Open WebSockets of /rpc."),
    ("kanvoy_stream_lag_events", "Events that the slowest open stream has yet to be given."),
    ("kanvoy_commits_waiting", "Commits that wait for the writer, or are being written."),
    ("kanvoy_log_events", "Events in all logs together, those that retention removed included."),
    ("kanvoy_boards", "Boards, archived ones included."),
    ("kanvoy_tasks_made", "Tasks that these boards have ever had."),
    ("kanvoy_uptime_seconds", "Since the doors were built."),
    ("kanvoy_build_info", "Always 1; its label is the version."),
    ("process_start_time_seconds", "When the doors were built, in seconds since 1970."),
    ("process_resident_memory_bytes", "Memory in use."),
    ("process_threads", "Threads."),
    ("process_open_fds", "Open files and sockets."),
    ("process_max_fds", "How many there may be."),
];

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
            let installed = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)
                .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(MEMBERS.to_owned()), MEMBER_BUCKETS))
                .and_then(PrometheusBuilder::install_recorder);
            installed.inspect_err(|error| tracing::warn!("there will be no metrics: {error}")).ok()
        });
        describe();
        metrics::gauge!("kanvoy_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        // There from the beginning: that nothing failed yet is worth seeing too.
        for outcome in ["done", "conflict", "refused", "failed"] {
            metrics::counter!("kanvoy_commits_total", "outcome" => outcome).increment(0);
        }
        Self {
            pages: pages.clone(),
            known: RwLock::default(),
            connections: metrics::gauge!("kanvoy_http_connections"),
            websockets: metrics::gauge!(STREAMS, "kind" => "websocket"),
            event_sources: metrics::gauge!(STREAMS, "kind" => "sse"),
            events_sent: metrics::counter!("kanvoy_events_sent_total"),
            rpc_sockets: metrics::gauge!("kanvoy_rpc_sockets"),
            subscriptions: metrics::gauge!(STREAMS, "kind" => "rpc"),
        }
    }

    pub fn answered(&self, method: &Method, route: Option<&MatchedPath>, status: StatusCode, took: Duration) {
        let text = route.map_or("(none)", MatchedPath::as_str);
        // Any client can make up methods: they count as one.
        let usual = matches!(*method, Method::GET | Method::POST | Method::PATCH | Method::DELETE | Method::PUT);
        let method = if usual { method } else { &Method::OPTIONS };
        let class = status.as_u16() / 100;
        // The router keeps each route's text for as long as it lives.
        let key = (text.as_ptr() as usize, method.clone(), class);
        if let Some((requests, seconds)) = self.known.read().get(&key) {
            requests.increment(1);
            seconds.record(took.as_secs_f64());
            return;
        }
        let labels = [
            ("method", if usual { method.to_string() } else { "(other)".to_owned() }),
            ("route", text.to_owned()),
            ("status", format!("{class}xx")),
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

    /// A call of `/rpc`. Names that are no method's count as one.
    pub fn called(&self, method: &'static str, error: Option<i32>) {
        let outcome = if error.is_none() { "ok" } else { "error" };
        metrics::counter!("kanvoy_rpc_calls_total", "method" => method, "outcome" => outcome).increment(1);
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

fn describe() {
    for (name, said) in COUNTERS {
        metrics::describe_counter!(*name, *said);
    }
    for (name, said) in HISTOGRAMS {
        metrics::describe_histogram!(*name, *said);
    }
    for (name, said) in GAUGES {
        metrics::describe_gauge!(*name, *said);
    }
}
