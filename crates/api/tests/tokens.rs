//! Signed tokens: the ones that are good, and every kind that is not.

mod house;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use house::{House, How, TOKEN, text, told};
use kanvoy_api::{Access, KeyRing};
use kanvoy_domain::Timestamp;
use kanvoy_engine::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

/// The machine's clock, set forward.
struct Shifted(Arc<AtomicI64>);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(chrono::TimeDelta::seconds(self.0.load(Ordering::Relaxed)))
    }
}

struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn ring(&self) -> KeyRing {
        KeyRing::in_file(self.dir.path().join("keys.json")).expect("begins")
    }

    /// The name and the secret of the key that signs.
    fn newest(&self) -> (String, Vec<u8>) {
        let text = std::fs::read_to_string(Path::new(self.dir.path()).join("keys.json")).expect("is there");
        let kept: Value = serde_json::from_str(&text).expect("is JSON");
        let secret = URL_SAFE_NO_PAD.decode(self::text(&kept["keys"][0], "secret")).expect("base64");
        (self::text(&kept["keys"][0], "kid"), secret)
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    signed_parts(&part(header), &part(claims), secret)
}

fn signed_parts(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{header}.{claims}");
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length").chain_update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("is JSON")
}

fn with(value: &Value, name: &str, to: Value) -> Value {
    let mut value = value.clone();
    value[name] = to;
    value
}

fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().expect("an object").remove(name);
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens() {
    let keys = Keys::new();
    let access = Access { keys: keys.ring(), ..Access::default() };
    let house = House::built(How { access, ..How::default() }).await;
    let id = house.user("ada", "admin").await;
    house.user("bob", "member").await;
    let (login, bob) = (house.login("ada").await, house.login("bob").await);
    let (good, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
    let (kid, secret) = keys.newest();
    let header = json!({"typ": "JWT", "alg": "HS256", "kid": kid});
    let claims = claims_of(&good);
    let now = SystemClock.now().millis() / 1_000;
    assert_eq!(claims["exp"].as_i64().expect("a number") - claims["iat"].as_i64().expect("a number"), 900);
    for name in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"] {
        assert!(claims.get(name).is_some(), "{name}: {claims}");
    }

    let alg = |alg: &str| with(&header, "alg", json!(alg));
    let re = |name: &str, to: Value| signed(&header, &with(&claims, name, to), &secret);
    let no = |name: &str| signed(&header, &without(&claims, name), &secret);
    let headed = |name: &str, to: Value| signed(&with(&header, name, to), &claims, &secret);
    let unsigned = |header: &Value| format!("{}.{}.", part(header), part(&claims));
    let (head, rest) = good.split_once('.').expect("three parts");
    let (body, tail) = rest.split_once('.').expect("three parts");
    let public_key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";
    let flipped = format!("{}{}", &tail[..tail.len() - 1], if tail.ends_with('A') { "E" } else { "A" });
    let forged: Vec<(&str, String)> = vec![
        ("no algorithm", unsigned(&alg("none"))),
        ("no algorithm, spelled otherwise", unsigned(&alg("nOnE"))),
        ("no algorithm, signed all the same", signed(&alg("none"), &claims, &secret)),
        ("an empty algorithm", signed(&alg(""), &claims, &secret)),
        ("HS384", signed(&alg("HS384"), &claims, &secret)),
        ("HS512", signed(&alg("HS512"), &claims, &secret)),
        ("RS256", signed(&alg("RS256"), &claims, &secret)),
        ("PS256", signed(&alg("PS256"), &claims, &secret)),
        ("ES256", signed(&alg("ES256"), &claims, &secret)),
        ("EdDSA", signed(&alg("EdDSA"), &claims, &secret)),
        ("no algorithm named", signed(&without(&header, "alg"), &claims, &secret)),
        ("no key named", signed(&without(&header, "kid"), &claims, &secret)),
        ("an unknown key", headed("kid", json!("another"))),
        ("a key by its file", headed("kid", json!("../../auth-keys.json"))),
        ("a key that is no text", headed("kid", json!(7))),
        ("another secret", signed(&header, &claims, b"another secret of thirty-two bytes")),
        ("no secret", signed(&header, &claims, b"")),
        ("the name as the secret", signed(&header, &claims, kid.as_bytes())),
        ("a public key as the secret", signed(&header, &claims, public_key.as_bytes())),
        ("its own key", signed(&with(&header, "jwk", json!({"kty": "oct", "k": "AAAA"})), &claims, &[0, 0, 0])),
        ("a key from elsewhere", signed(&with(&header, "jku", json!("https://evil.example/keys")), &claims, b"theirs")),
        (
            "a certificate from elsewhere",
            signed(&with(&header, "x5u", json!("https://evil.example/c")), &claims, b"theirs"),
        ),
        ("something critical", headed("crit", json!(["exp"]))),
        ("no end", no("exp")),
        ("over", re("exp", json!(now - 6))),
        ("over for long", re("exp", json!(0))),
        ("an end as text", re("exp", json!("9999999999"))),
        ("an end of nothing", re("exp", Value::Null)),
        ("an end beyond numbers", re("exp", json!(1e300))),
        ("before 1970", re("exp", json!(-1))),
        ("not yet", re("nbf", json!(now + 600))),
        ("not before as text", re("nbf", json!("0"))),
        ("no not before", no("nbf")),
        ("made in the future", re("iat", json!(now + 600))),
        ("made never", no("iat")),
        ("another issuer", re("iss", json!("elsewhere"))),
        ("several issuers", re("iss", json!(["kanvoy", "elsewhere"]))),
        ("no issuer", no("iss")),
        ("another audience", re("aud", json!("kanvoy:other"))),
        ("several audiences", re("aud", json!(["kanvoy:api", "kanvoy:other"]))),
        ("no audience", no("aud")),
        ("nobody", no("sub")),
        ("somebody else", re("sub", json!(text(&claims_of(&text(&bob, "access_token")), "sub")))),
        ("the owner of the machine", re("sub", json!("local"))),
        ("no login", no("sid")),
        ("another's login", re("sid", claims_of(&text(&bob, "access_token"))["sid"].clone())),
        ("a login that never was", re("sid", json!("01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111"))),
        ("a login by its maker", re("sid", json!(id))),
        ("no name of its own", no("jti")),
        ("a refresh token", refresh.clone()),
        ("without its end", good[..good.len() - 4].to_owned()),
        ("without its signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{good}.{tail}")),
        ("one bit of the signature", format!("{head}.{body}.{flipped}")),
        (
            "other claims under the same signature",
            format!("{head}.{}.{tail}", part(&with(&claims, "role", json!("admin")))),
        ),
        (
            "another's claims under one's own signature",
            format!("{head}.{}.{}", body, text(&bob, "access_token").rsplit('.').next().expect("one")),
        ),
        ("padded", format!("{head}.{body}.{tail}=")),
        (
            "in the other alphabet",
            signed_parts(&STANDARD.encode(header.to_string()), &STANDARD.encode(claims.to_string()), &secret),
        ),
        (
            "claims twice",
            signed_parts(
                &part(&header),
                &URL_SAFE_NO_PAD.encode(claims.to_string().replacen('{', "{\"exp\":9999999999,", 1)),
                &secret,
            ),
        ),
        ("claims that are a list", signed(&header, &json!([claims]), &secret)),
        ("no JSON", signed_parts(&part(&header), &URL_SAFE_NO_PAD.encode("claims"), &secret)),
        ("huge", signed(&header, &with(&claims, "pad", json!("x".repeat(20_000))), &secret)),
        ("dots", "..".to_owned()),
        ("a personal token that never was", "kanvoy_pat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
    ];
    assert!(forged.len() >= 60);
    for (what, token) in &forged {
        let asked = house.as_(token, Method::GET, "/api/v1/auth/me");
        let (status, problem) = told(asked).await;
        assert_eq!((status.as_u16(), &problem["code"]), (401, &json!("unauthenticated")), "{what}: {problem}");
        let got = house.socket_as(token, "/api/v1/stream").await.err();
        assert_eq!(got, Some(401), "{what} as a socket");
        let body = json!({"refresh_token": token});
        if token != &refresh {
            let (status, _) = told(house.bare(Method::POST, "/api/v1/auth/refresh").json(&body)).await;
            assert!([401, 429].contains(&status.as_u16()), "{what} to refresh: {status}");
        }
    }
    let by_own_hand = signed(&header, &claims, &secret);
    for token in [&good, &by_own_hand, &re("nbf", json!(now + 4)), &re("exp", json!(now - 3))] {
        assert_eq!(house.get_as(token, "/api/v1/auth/me").await.0, 200, "what is good is taken, five seconds and all");
    }
    let where_no_token_belongs = format!("/api/v1/auth/me?access_token={good}&token={good}");
    assert_eq!(told(house.bare(Method::GET, &where_no_token_belongs)).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once() {
    let house = House::new().await;
    house.user("ada", "member").await;
    let login = house.login("ada").await;
    let refresh =
        |token: String| told(house.bare(Method::POST, "/api/v1/auth/refresh").json(&json!({"refresh_token": token})));
    let first = text(&login, "refresh_token");
    let keyed = || {
        let request = house.bare(Method::POST, "/api/v1/auth/refresh").header("idempotency-key", "once");
        told(request.json(&json!({"refresh_token": first})))
    };
    let (status, second) = keyed().await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(keyed().await, (status, second.clone()), "the answer was lost, and asked for again");
    assert_eq!(house.get_as(&text(&second, "access_token"), "/api/v1/auth/me").await.0, 200);
    assert_ne!(text(&second, "refresh_token"), first);
    let (status, third) = refresh(text(&second, "refresh_token")).await;
    assert_eq!(status, 200, "{third}");
    let access = text(&third, "access_token");
    let mut socket = house.socket_as(&access, "/api/v1/stream").await.expect("opens");
    socket.ready().await;

    // Somebody shows one that was used: it was stolen, then or now.
    assert_eq!(refresh(first.clone()).await.0, 401);
    assert_eq!(house.get_as(&access, "/api/v1/auth/me").await.0, 401, "the login has ended");
    assert_eq!(socket.next().await, house::Got::Closed(Some(4401)));
    assert_eq!(refresh(text(&third, "refresh_token")).await.0, 401, "for everybody");
    let (_, log) = house.get("/api/v1/events?types=user.session_ended").await;
    assert_eq!(log["items"][0]["data"]["reason"], "refresh token used twice", "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_passes_and_keys_change() {
    let (keys, ahead) = (Keys::new(), Arc::new(AtomicI64::new(0)));
    let access = Access { keys: keys.ring(), ..Access::default() };
    let clock: Arc<dyn Clock> = Arc::new(Shifted(Arc::clone(&ahead)));
    let house = House::built(How { access, clock: Some(clock), ..How::default() }).await;
    house.user("ada", "admin").await;
    let login = house.login("ada").await;
    let good = async |token: &Value, name: &str| house.get_as(&text(token, name), "/api/v1/auth/me").await.0 == 200;
    assert!(good(&login, "access_token").await);
    ahead.store(890, Ordering::Relaxed);
    assert!(good(&login, "access_token").await, "for a quarter of an hour");
    ahead.store(910, Ordering::Relaxed);
    assert!(!good(&login, "access_token").await, "and no longer");
    let refresh = |login: &Value| {
        let body = json!({"refresh_token": text(login, "refresh_token")});
        told(house.bare(Method::POST, "/api/v1/auth/refresh").json(&body))
    };
    let (status, login) = refresh(&login).await;
    assert_eq!(status, 200, "{login}");

    // What the last key signed is believed beside what the new one signs, until the keys change once more.
    let (old, _) = keys.newest();
    let rotate = async |token: &str| house.post_as(token, "/api/v1/auth/rotate-keys", json!({})).await;
    let (status, now) = rotate(TOKEN).await;
    assert_eq!((status.as_u16(), &now["keys"][1]["kid"]), (200, &json!(old)), "{now}");
    assert_ne!(keys.newest().0, old);
    assert!(good(&login, "access_token").await);
    let (status, next) = refresh(&login).await;
    assert_eq!(status, 200, "the refresh token of the old key gives one of the new");
    assert!(good(&login, "access_token").await && good(&next, "access_token").await);
    assert_eq!(rotate(TOKEN).await.0, 200);
    assert!(!good(&login, "access_token").await, "two keys and no more");
    assert!(good(&next, "access_token").await);

    // A month of silence ends a login.
    ahead.store(910 + 31 * 24 * 3_600, Ordering::Relaxed);
    assert_eq!(refresh(&next).await.0, 401);
    house.user("bob", "member").await;
    let bob = text(&house.login("bob").await, "access_token");
    assert_eq!(rotate(&bob).await.0, 403);
}
