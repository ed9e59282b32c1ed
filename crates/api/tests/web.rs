//! The page: from whichever address it is loaded it finds its own files, and what it must not become it does not.

mod house;

use house::House;
use reqwest::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
use reqwest::{Method, Response, StatusCode};

async fn load(house: &House, path: &str) -> Response {
    house.ask(Method::GET, path).send().await.expect("is answered")
}

fn said<'a>(response: &'a Response, name: &reqwest::header::HeaderName) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_found_from_every_place_in_it() {
    let house = House::new().await;
    let page = load(&house, "/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(said(&page, &CONTENT_SECURITY_POLICY).contains("frame-ancestors 'none'"));
    assert_eq!(said(&page, &CACHE_CONTROL), "no-store");
    let html = page.text().await.expect("is text");
    assert!(!html.contains("http://") && !html.contains("https://"), "the page asks nobody else");

    let built = html.contains("id=\"root\"");
    assert!(built || option_env!("KANVOY_REQUIRE_WEB").is_none(), "the web board was to be built in");
    let deep = load(&house, "/boards/KAN/cards/1").await;
    if !built {
        assert!(html.contains("/api/docs"), "{html}");
        assert_eq!(deep.status(), StatusCode::NOT_FOUND);
        return;
    }
    assert!(deep.text().await.expect("is text").contains("<base href=\"../../../\""));
    let (_, rest) = html.split_once("src=\"./assets/").expect("the page has a script");
    let asset = format!("/assets/{}", rest.split('"').next().unwrap_or_default());

    let packed = house.ask(Method::GET, &asset).header(ACCEPT_ENCODING, "br, gzip").send().await.expect("is answered");
    assert_eq!((packed.status(), said(&packed, &CONTENT_ENCODING)), (StatusCode::OK, "gzip"));
    assert!(said(&packed, &CACHE_CONTROL).contains("immutable"));
    let tag = said(&packed, &ETAG).to_owned();
    let plain = house.ask(Method::GET, &asset).header(ACCEPT_ENCODING, "identity").send().await.expect("is answered");
    assert_eq!((plain.status(), said(&plain, &CONTENT_ENCODING)), (StatusCode::OK, ""));
    let again = house.ask(Method::GET, &asset).header(IF_NONE_MATCH, tag).send().await.expect("is answered");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

    for missing in ["/assets/main-of-an-older-build.js", "/assets/", "/x.js", "/api/v1/nowhere", "/api", "/rpcx/../api/x"] {
        let status = load(&house, missing).await.status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{missing}");
    }
    let written = house.ask(Method::POST, "/boards/KAN").send().await.expect("is answered");
    assert_eq!(written.status(), StatusCode::NOT_FOUND, "a page is only read");
}
