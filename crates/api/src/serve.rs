//! The accept loop. Ours, because what is needed here is a time limit on request headers, a bound on connections, and an end
//! that comes whatever clients do: sockets and half-read answers included.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, sleep, timeout};
use tower::ServiceExt;

use crate::app::Api;
use crate::auth::proxy::Peer;

const MOST_CONNECTIONS: usize = 8_192;
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
const MOST_HEADER_BYTES: usize = 64 << 10;
const MOST_READ_BUFFER: usize = 128 << 10;
/// What is being answered may take so long to end, once the server shall stop.
const ANSWERS_END_WITHIN: Duration = Duration::from_secs(4);
const ALL_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A place among the connections. Sockets keep it for as long as they live.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// Serves until `shutdown` is cancelled, then ends within seconds: nothing new is accepted, idle connections close at once,
/// running requests are answered, sockets are closed with 1012 and event sources end.
pub async fn serve(listener: TcpListener, api: Arc<Api>, router: Router) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut upkeep = tokio::time::interval(Duration::from_secs(5));
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let shutdown = api.shutdown.clone();
    let looking = Arc::new(Semaphore::new(1));
    loop {
        let accepted = async {
            // A place first: who is not accepted waits in the kernel's queue instead of in ours.
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (stream, Peer(peer), place))
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = upkeep.tick() => {
                api.meter.upkeep();
                look_again(&api, &looking);
            }
            accepted = accepted => match accepted {
                Ok((stream, peer, place)) => {
                    let connection = connection(stream, peer, Arc::new(place), router.clone(), Arc::clone(&api));
                    api.connections.spawn(connection);
                }
                Err(error) => {
                    // Out of files, or a client that was gone before it was taken. Neither ends a server.
                    tracing::warn!("a connection could not be accepted: {error}");
                    sleep(Duration::from_millis(20)).await;
                }
            },
        }
    }
    drop(listener);
    api.connections.close();
    if timeout(ALL_ENDS_WITHIN, api.connections.wait()).await.is_err() {
        tracing::warn!("{} connections did not end in time and are cut", api.connections.len());
    }
    Ok(())
}

/// One at a time: a slow store is not asked twice at once.
fn look_again(api: &Arc<Api>, looking: &Arc<Semaphore>) {
    let Ok(turn) = Arc::clone(looking).try_acquire_owned() else { return };
    let (looker, stop) = (Arc::clone(api), api.shutdown.clone());
    api.connections.spawn(async move {
        let _turn = turn;
        tokio::select! {
            () = looker.look_again() => {}
            () = stop.cancelled() => {}
        }
    });
}

async fn connection(stream: TcpStream, peer: Peer, place: Place, router: Router, api: Arc<Api>) {
    // Without it small answers wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    api.meter.connections.increment(1.0);
    let asked = std::sync::atomic::AtomicBool::new(false);
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        asked.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&place));
        request.extensions_mut().insert(peer);
        let router = router.clone();
        async move { router.oneshot(request).await.map_err(|never: Infallible| never) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_header_size(MOST_HEADER_BYTES)
        .max_buf_size(MOST_READ_BUFFER);
    let mut served = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = api.shutdown.cancelled() => None,
    };
    // Errors here are clients that went away or sent no HTTP: nothing to do about either.
    if ended.is_none() && asked.load(std::sync::atomic::Ordering::Relaxed) {
        served.as_mut().graceful_shutdown();
        let _ = timeout(ANSWERS_END_WITHIN, served).await;
    }
    api.meter.connections.decrement(1.0);
}
