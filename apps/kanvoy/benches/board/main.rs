//! `make bench`: ours against the bare floor, side by side in one run, on this machine and now. Absolute figures move from
//! day to day; the ratios are what counts. Server and load share the machine's cores, in ours and in the floor alike.
//!
//! A measure is taken in rounds, ours and the floor in turn, and the median is printed.

mod daemon;
mod fanout;
mod floor;
mod http;
mod lists;
mod posting;
mod replay;
mod report;
mod sockets;
mod store;

use report::Report;

/// Rounds of each measure.
const ROUNDS: usize = 5;

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("floor") {
        return floor::serve();
    }
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut report = Report::new();
        if wanted("commit") {
            store::commit(&mut report).await;
        }
        if wanted("post") {
            posting::measure(&mut report).await;
        }
        if wanted("replay") {
            replay::measure(&mut report).await;
        }
        if wanted("fanout") {
            fanout::measure(&mut report).await;
        }
        if wanted("idle") {
            fanout::idle(&mut report).await;
        }
        if wanted("lists") {
            lists::measure(&mut report).await;
        }
        report.print();
    });
}
