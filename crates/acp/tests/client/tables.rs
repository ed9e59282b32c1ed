//! Pure decisions, row by row.

use kanvoy_acp::envelope::{self, Envelope};
use kanvoy_acp::{Choice, Noise, OptionKind, PermissionOption, StopReason, UpdateKind, allow_once, reject};

fn options(kinds: &[&str]) -> Vec<PermissionOption> {
    let option = |(at, kind): (usize, &&str)| {
        serde_json::from_value(serde_json::json!({ "optionId": format!("{at}"), "name": kind, "kind": kind })).unwrap()
    };
    kinds.iter().enumerate().map(option).collect()
}

#[test]
fn options_are_chosen_by_kind() {
    let rows: [(&[&str], Option<&str>, Option<&str>); 8] = [
        (&["allow_once", "reject_once"], Some("0"), Some("1")),
        (&["allow_always", "allow_once", "reject_once"], Some("1"), Some("2")),
        (&["allow_always", "reject_always"], None, None),
        (&["allow_always"], None, None),
        (&["reject_once"], None, Some("0")),
        (&["allow_once", "allow_once"], Some("0"), None),
        (&["allow_twice", ""], None, None),
        (&[], None, None),
    ];
    for (kinds, yes, no) in rows {
        let options = options(kinds);
        assert_eq!(allow_once(&options).map(|option| option.id.as_str()), yes, "{kinds:?}");
        let rejected = match reject(&options) {
            Choice::Option(option) => Some(option.id.as_str()),
            Choice::Cancelled => None,
        };
        assert_eq!(rejected, no, "{kinds:?}");
    }
}

#[test]
fn kinds_of_options_survive_storage() {
    for kind in ["allow_once", "allow_always", "reject_once", "reject_always", "sometimes"] {
        let option = &options(&[kind])[0];
        let stored = serde_json::to_string(option).unwrap();
        assert_eq!(&serde_json::from_str::<PermissionOption>(&stored).unwrap(), option);
        assert_eq!(option.kind.as_str(), kind);
    }
    let odd: PermissionOption = serde_json::from_str(r#"{"optionId":"a","kind":7}"#).unwrap();
    assert_eq!((odd.kind, odd.name.as_str()), (OptionKind::Missing, ""));
}

#[test]
fn unknown_words_are_kept() {
    assert_eq!(StopReason::from("end_turn"), StopReason::EndTurn);
    assert_eq!(StopReason::from("paused").as_str(), "paused");
    assert_eq!(UpdateKind::from("plan"), UpdateKind::Plan);
    assert_eq!(UpdateKind::from("weather").as_str(), "weather");
}

fn describe(line: &[u8]) -> String {
    match envelope::read(line) {
        Err(noise) => noise.as_str().to_owned(),
        Ok(Envelope::Request { id, method, params }) => {
            format!("request {id} {method} {params:?}", id = id.get(), params = params.map(|p| p.get()))
        }
        Ok(Envelope::Notification { method, .. }) => format!("notification {method}"),
        Ok(Envelope::Response { id, outcome: Ok(result) }) => format!("result {} {}", id.get(), result.get()),
        Ok(Envelope::Response { id, outcome: Err(error) }) => format!("error {} {}", id.get(), error.get()),
    }
}

#[test]
fn envelopes_are_read_tolerantly() {
    let rows: [(&[u8], &str); 30] = [
        (br#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":1}}"#, r#"request 1 a Some("{\"x\":1}")"#),
        (br#"{"id":"1","method":"a"}"#, r#"request "1" a None"#),
        (br#"{"id":null,"method":"a"}"#, r#"request null a None"#),
        (br#"{"method":"a/b"}"#, "notification a/b"),
        (br#"{"method":"a\/b"}"#, "notification a/b"),
        (br#"{"method":"a","extra":[1,2,{"y":null}]}"#, "notification a"),
        (br#"{"jsonrpc":"1.0","id":1,"result":{},"error":null}"#, "result 1 {}"),
        (br#"{"id":1,"result":null}"#, "result 1 null"),
        (br#"{"id":1}"#, "result 1 null"),
        (br#"{"id":1,"error":{"code":400}}"#, r#"error 1 {"code":400}"#),
        (br#"{"id":1,"result":1,"error":"no"}"#, r#"error 1 "no""#),
        (b"\xef\xbb\xbf{\"method\":\"a\"}", "notification a"),
        (b"  {\"method\":\"a\"}\r", "notification a"),
        (br#"{"id":null,"error":{"code":-32700}}"#, "null_id"),
        (br#"{"method":7}"#, "not_rpc"),
        (br#"{}"#, "not_rpc"),
        (br#"[]"#, "not_rpc"),
        (br#"[{"method":"a"}]"#, "not_rpc"),
        (br#"42"#, "not_rpc"),
        (br#""text""#, "not_rpc"),
        (br#"{"method":"a","method":"b"}"#, "not_rpc"),
        (b"", "empty"),
        (b" \r", "empty"),
        (b"npm warn", "not_json"),
        (br#"{"method":"a"}{"method":"b"}"#, "not_json"),
        (br#"{"method":"a""#, "not_json"),
        (b"{\"method\":\"a\",\"params\":\"\xff\"}", "invalid_utf8"),
        (b"\xff\xfe", "invalid_utf8"),
        (b"{\"method\":\"a\0\"}", "not_json"),
        (br#"{"method":"a","params":{"text":"\ud800"}}"#, "notification a"),
    ];
    for (line, expected) in rows {
        assert_eq!(describe(line), expected, "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn lines_to_the_agent_are_lines() {
    let id = serde_json::value::to_raw_value("a\nb").unwrap();
    let params = serde_json::json!({ "text": "one\ntwo\u{2028}" });
    for line in [
        envelope::request(&id, "m", &params).unwrap(),
        envelope::notification("m", &params).unwrap(),
        envelope::result(&id, &params).unwrap(),
        envelope::error(&id, -32601, "no\nway").unwrap(),
    ] {
        assert!(!line.contains(&b'\n'));
        assert!(envelope::read(&line).is_ok());
    }
    assert_eq!(envelope::read(b"").unwrap_err(), Noise::Empty);
}
