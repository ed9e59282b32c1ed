//! One agent's life under a keeper: how it ends, what it leaves behind, what it is told.

mod cage;

use std::time::Duration;

use bytes::Bytes;
use cage::{Cage, acts, brief, is_alive, to_the_end, until, within};
use kanvoy_runtime::keeper::{AgentState, End, KeeperError, Output, Resume};

#[tokio::test]
async fn every_end_is_reported_as_it_was_and_the_keeper_ends_alike() {
    for (command, exit, code) in [
        (acts("exit 0"), "exit code 0", 0),
        (acts("exit 3"), "exit code 3", 3),
        (acts("die KILL"), "exit signal 9", 137),
        (acts("die ABRT"), "exit signal 6", 134),
        (acts("late 2"), "exit code 7", 7),
        (vec!["/no/such/command".to_owned()], "exit failed 2", 127),
        (vec!["/".to_owned()], "exit failed 13", 126),
    ] {
        let mut cage = Cage::new("", &command);
        let (mut lines, handle) = cage.attach(Resume::default()).await;
        let told = brief(&to_the_end(&mut lines, &handle).await);
        assert_eq!(told.last().map(String::as_str), Some(exit), "{command:?}");
        assert_eq!(cage.code().await, Some(code), "{command:?}");
        assert!(!cage.place.path().join("socket").exists(), "it takes its socket along");
    }
}

#[tokio::test]
async fn what_a_child_says_after_the_agent_is_heard_and_what_only_holds_on_is_not_waited_for() {
    let cage = Cage::new("", &acts("late 3"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert_eq!(brief(&to_the_end(&mut lines, &handle).await), ["1 ", "2 ", "3 ", "exit code 7"]);

    let mut cage = Cage::new("--drain 0.2", &acts("leave 1000"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let mut status = handle.watch();
    let told = tokio::join!(to_the_end(&mut lines, &handle), async {
        within(status.wait_for(|status| status.exited.is_some())).await.map(drop).expect("told at once");
    });
    let told = brief(&told.0);
    assert_eq!(told[1..], ["exit code 0 held=1"]);
    let child = told[0].parse().expect("a pid");
    until("what it left behind is gone", || !is_alive(child)).await;
    assert_eq!(cage.code().await, Some(0));
}

#[tokio::test]
async fn orphans_are_reaped() {
    let script = "for n in 1 2 3 4 5; do (sh -c 'exit 3' &); done; echo ready; read line; echo $line";
    let cage = Cage::new("", &["sh".into(), "-c".into(), script.into()]);
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert!(matches!(within(lines.next()).await, Ok(Output::Line { .. })));
    let keeper = cage.pid();
    until("only the agent is left", || {
        let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).expect("children");
        children.split_whitespace().count() == 1
    })
    .await;
    let (sent, told) = tokio::join!(handle.send_line(1, Bytes::from("bye")), to_the_end(&mut lines, &handle));
    sent.expect("delivered");
    assert_eq!(brief(&told), ["bye", "exit code 0"]);
}

#[tokio::test]
async fn signals_reach_the_agent_by_request_and_from_outside() {
    let script = "trap 'echo term' TERM; trap 'echo hup; exit 5' HUP; echo ready; while :; do sleep 0.01; done";
    let mut cage = Cage::new("", &["sh".into(), "-c".into(), script.into()]);
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert_eq!(brief(&[within(lines.next()).await.expect("a line")]), ["ready"]);
    // The shell may complain of it on stderr.
    let (done, line) = tokio::join!(handle.signal(15), async {
        loop {
            if let line @ Output::Line { .. } = within(lines.next()).await.expect("output") {
                break line;
            }
        }
    });
    done.expect("done");
    assert_eq!(brief(&[line]), ["term"]);
    let status = tokio::process::Command::new("kill").args(["-HUP", &cage.pid().to_string()]).status().await;
    assert!(status.expect("kill").success());
    assert_eq!(brief(&to_the_end(&mut lines, &handle).await), ["hup", "exit code 5 sent=1"]);
    assert_eq!(cage.code().await, Some(5));

    let mut cage = Cage::new("", &acts("deaf"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert_eq!(brief(&[within(lines.next()).await.expect("a line")]), ["deaf"]);
    let (killed, told) = tokio::join!(handle.kill(), to_the_end(&mut lines, &handle));
    killed.expect("done");
    assert_eq!(brief(&told), ["exit signal 9 sent=9"]);
    assert_eq!(cage.code().await, Some(137));
}

#[tokio::test]
async fn stdin_is_closed_after_what_was_sent() {
    let mut cage = Cage::new("", &acts("count"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let said = async {
        for (number, length) in [3, 0, 70_000, 10_000_000].into_iter().enumerate() {
            handle.queue_line(number as u64 + 1, vec![b'x'; length].into()).await.expect("room");
        }
        handle.close_stdin().await.expect("closed");
        handle.delivered(4).await.expect("delivered before");
        assert_eq!(handle.send_line(5, Bytes::new()).await, Err(KeeperError::Deaf { number: 5 }));
        assert_eq!(handle.send_line(7, Bytes::new()).await, Err(KeeperError::OutOfOrder { number: 7, expected: 6 }));
        assert_eq!(handle.send_line(6, "a\nb".into()).await, Err(KeeperError::NotALine(3)));
    };
    let ((), told) = tokio::join!(said, async {
        let mut told = Vec::new();
        while told.len() < 5 {
            told.push(within(lines.next()).await.expect("output"));
        }
        told
    });
    assert_eq!(brief(&told), ["3", "0", "70000", "10000000", "exit code 0"]);
    handle.ack(5);
    assert_eq!(cage.code().await, Some(0));
    assert!(cage.journal().exists());
}

#[tokio::test]
async fn a_deaf_agent_holds_up_nothing_but_its_own_lines() {
    let mut cage = Cage::new("--stdin-max 1000000", &acts("deaf"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let reading =
        async { while within(lines.next()).await.is_ok_and(|output| !matches!(output, Output::Exit { .. })) {} };
    let talking = async {
        for number in 1..=300 {
            handle.queue_line(number, vec![b'x'; 10_000].into()).await.expect("room");
        }
        // Requests behind three megabytes that nobody takes.
        handle.signal(0).await.expect("heard");
        assert!(handle.status().delivered < 100);
        handle.kill().await.expect("heard");
        assert_eq!(handle.delivered(300).await, Err(KeeperError::Deaf { number: 300 }));
    };
    tokio::join!(reading, talking);
    handle.ack(2);
    assert_eq!(cage.code().await, Some(137));
}

#[tokio::test]
async fn lines_that_were_refused_are_sent_again_when_the_agent_listens() {
    let place = tempfile::tempdir().expect("a directory");
    let ears = place.path().join("ears");
    let cage = Cage::new("--stdin-max 1000000", &acts(&format!("slow-ears {}", ears.display())));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let talking = async {
        for number in 1..=300 {
            handle.queue_line(number, vec![b'x'; 9_999].into()).await.expect("room");
        }
        handle.signal(0).await.expect("everything before it was read");
        std::fs::write(&ears, "").expect("ears");
        handle.delivered(300).await.expect("delivered");
        handle.close_stdin().await.expect("closed");
    };
    let (told, ()) = tokio::join!(to_the_end(&mut lines, &handle), talking);
    assert_eq!(brief(&told), ["deaf", "3000000", "exit code 0"]);
}

#[tokio::test]
async fn the_agent_dies_with_its_keeper_and_what_it_said_is_served_by_the_next() {
    let cage =
        Cage::new("", &["sh".into(), "-c".into(), "echo one; echo two; read line; echo $line; sleep 1000".into()]);
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let (sent, told) = tokio::join!(handle.send_line(1, Bytes::from("three")), async {
        let mut told = Vec::new();
        while told.len() < 3 {
            told.push(within(lines.next()).await.expect("a line"));
        }
        told
    });
    sent.expect("delivered");
    assert_eq!(brief(&told), ["one", "two", "three"]);
    let agent = handle.welcome().pid;
    assert!(is_alive(agent));
    let place = cage.killed().await;
    assert_eq!(within(lines.next()).await, Err(KeeperError::Closed));
    until("the agent is gone", || !is_alive(agent)).await;

    // Another command: whatever is asked, nothing is run for this journal any more.
    let mut cage = Cage::within(place, "", &["sh".into(), "-c".into(), "echo again".into()]);
    let (mut lines, handle) = cage.attach(Resume { received: 1, sent: 1, stderr: 0 }).await;
    let welcome = handle.welcome();
    assert_eq!((welcome.agent, welcome.last, welcome.begun, welcome.delivered), (AgentState::Lost, 3, 1, 1));
    assert_eq!(handle.send_line(1, Bytes::from("three")).await, Ok(()), "the first keeper delivered it");
    let told = to_the_end(&mut lines, &handle).await;
    assert_eq!(brief(&told), ["two", "three", "exit lost 0"]);
    assert!(matches!(told.last(), Some(Output::Exit { exit, .. }) if exit.end == End::Lost));
    assert_eq!(cage.code().await, Some(255));
}

#[tokio::test]
async fn an_end_that_nobody_heard_waits_and_is_told_after_a_keepers_death_too() {
    let cage = Cage::new("", &["sh".into(), "-c".into(), "echo words; echo cause >&2; exit 9".into()]);
    let (lines, handle) = cage.attach(Resume::default()).await;
    let mut status = handle.watch();
    let (_, mut lines) = tokio::join!(within(status.wait_for(|status| status.exited.is_some())), async {
        let mut lines = lines;
        while !matches!(within(lines.next()).await, Ok(Output::Exit { .. })) {}
        lines
    });
    // Nothing was acknowledged.
    let place = cage.killed().await;
    assert_eq!(within(lines.next()).await, Err(KeeperError::Closed));
    let mut cage = Cage::within(place, "", &acts("exit 0"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    let told = to_the_end(&mut lines, &handle).await;
    assert_eq!(brief(&told), ["words", "exit code 9"]);
    assert!(
        told.iter().any(|output| matches!(output, Output::Stderr { bytes, .. } if &bytes[..] == b"cause")),
        "{told:?}"
    );
    assert_eq!(cage.code().await, Some(9));
}

#[tokio::test]
async fn without_an_acknowledgement_it_waits_as_long_as_it_was_told() {
    let start = std::time::Instant::now();
    let mut cage = Cage::new("--linger 0.3", &acts("exit 4"));
    assert_eq!(cage.code().await, Some(4));
    assert!(start.elapsed() >= Duration::from_millis(300));

    // Told to stop by whoever runs it, it hurries, and what was not acknowledged stays.
    let mut cage = Cage::new("", &acts("deaf"));
    let (mut lines, _handle) = cage.attach(Resume::default()).await;
    assert_eq!(brief(&[within(lines.next()).await.expect("a line")]), ["deaf"]);
    drop(lines);
    tokio::process::Command::new("kill").arg(cage.pid().to_string()).status().await.expect("kill");
    assert_eq!(cage.code().await, Some(143));
    let cage = Cage::within(cage.place, "", &acts("deaf"));
    let (mut lines, handle) = cage.attach(Resume::default()).await;
    assert_eq!(brief(&to_the_end(&mut lines, &handle).await), ["deaf", "exit signal 15 sent=15"]);
}

#[tokio::test]
async fn a_second_keeper_does_not_touch_a_journal_that_is_in_use() {
    let cage = Cage::new("", &acts("deaf"));
    let (mut lines, _handle) = cage.attach(Resume::default()).await;
    let second = tokio::process::Command::new(cage::KEEPER)
        .args(["--journal".as_ref(), cage.journal().as_os_str()])
        .args(["--", "true"])
        .output()
        .await
        .expect("it ends");
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another keeper"));
    assert_eq!(brief(&[within(lines.next()).await.expect("a line")]), ["deaf"]);
}
