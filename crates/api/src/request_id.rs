//! What a request is called in the log and in its answer, so that one can be found by the other.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MOST_CHARS: usize = 128;

/// As the caller, or a proxy before us, calls it; else a name that this server gives once.
pub struct RequestId(HeaderValue);

impl RequestId {
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).filter(|id| is_name(id.as_bytes()));
        Self(given.cloned().unwrap_or_else(made))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub fn header(self) -> HeaderValue {
        self.0
    }
}

/// It is written into the log as it is: nothing that could be taken for something else there.
fn is_name(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MOST_CHARS).contains(&id.len()) && id.iter().all(plain)
}

/// A few letters for the life of this process, and a number within it.
fn made() -> HeaderValue {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| {
        let mut bytes = [0u8; 4];
        // Without randomness the numbers of two lives of the server look alike, and no more.
        let _ = getrandom::fill(&mut bytes);
        u32::from_be_bytes(bytes)
    });
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    crate::app::header(&format!("{:08x}-{number:x}", *PROCESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_name_is_kept_and_another_replaced() {
        let called = |name: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(name).expect("a header"));
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(called(b"01934c4e-6d3a:7/c"), "01934c4e-6d3a:7/c");
        for bad in [&b"two words"[..], b"", b"\"quoted\"", "\u{e9}".as_bytes(), &[b'x'; 129]] {
            assert_ne!(called(bad).as_bytes(), bad);
        }
        assert_ne!(RequestId::of(&HeaderMap::new()).as_str(), RequestId::of(&HeaderMap::new()).as_str());
    }
}
