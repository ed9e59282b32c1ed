//! The keys that logins are signed with: the newest signs, and the one before it is still believed, so that nobody is logged
//! out when keys change. HMAC with SHA-256 and nothing else, so that no token can ask for anything weaker.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Once};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use kanvoy_domain::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use signature::{Signer, Verifier};

/// The one that signs, and the one before it.
const MOST: usize = 2;
const SECRET_BYTES: usize = 32;

#[derive(Clone)]
pub(crate) struct Key {
    pub kid: String,
    secret: Vec<u8>,
    made_at: Timestamp,
}

impl Key {
    fn new(now: Timestamp) -> io::Result<Self> {
        let mut random = [0_u8; SECRET_BYTES + 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let (secret, name) = random.split_at(SECRET_BYTES);
        Ok(Self { kid: URL_SAFE_NO_PAD.encode(name), secret: secret.to_vec(), made_at: now })
    }

    pub fn signs(&self) -> EncodingKey {
        EncodingKey::from_secret(&self.secret)
    }

    pub fn checks(&self) -> DecodingKey {
        DecodingKey::from_secret(&self.secret)
    }
}

/// Newest first; never empty but for a moment.
pub struct KeyRing {
    keys: RwLock<Arc<[Key]>>,
    /// Where they are kept; by itself nowhere.
    file: Option<PathBuf>,
}

/// As they lie in their file.
#[derive(Serialize, Deserialize)]
struct Kept {
    keys: Vec<KeptKey>,
}

#[derive(Serialize, Deserialize)]
struct KeptKey {
    kid: String,
    secret: String,
    made_at: Timestamp,
}

impl Default for KeyRing {
    fn default() -> Self {
        Self { keys: RwLock::new(Arc::new([])), file: None }
    }
}

impl KeyRing {
    /// The keys of the file. Without one, new keys are made and put there when the first is needed.
    pub fn in_file(file: PathBuf) -> io::Result<Self> {
        let keys = match std::fs::read_to_string(&file) {
            Ok(text) => read(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { keys: RwLock::new(keys.into()), file: Some(file) })
    }

    /// The one that signs; made when there is none.
    pub(crate) fn newest(&self, now: Timestamp) -> io::Result<Key> {
        if let Some(key) = self.keys.read().first() {
            return Ok(key.clone());
        }
        let mut keys = self.keys.write();
        if keys.is_empty() {
            let made = [Key::new(now)?];
            self.write(&made)?;
            *keys = made.into();
        }
        Ok(keys[0].clone())
    }

    pub(crate) fn named(&self, kid: &str) -> Option<Key> {
        self.keys.read().iter().find(|key| key.kid == kid).cloned()
    }

    /// A new key signs from now on. What the last one signed is believed until the next rotation; give it as long as logins
    /// last before rotating again, unless that is the point.
    pub(crate) fn rotate(&self, now: Timestamp) -> io::Result<Vec<(String, Timestamp)>> {
        let mut keys = self.keys.write();
        let mut now_on = vec![Key::new(now)?];
        now_on.extend(keys.iter().take(MOST - 1).cloned());
        self.write(&now_on)?;
        *keys = now_on.into();
        Ok(keys.iter().map(|key| (key.kid.clone(), key.made_at)).collect())
    }

    /// Whole or not at all, and never readable by others.
    fn write(&self, keys: &[Key]) -> io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let Some(file) = &self.file else { return Ok(()) };
        let kept = |key: &Key| KeptKey {
            kid: key.kid.clone(),
            secret: URL_SAFE_NO_PAD.encode(&key.secret),
            made_at: key.made_at,
        };
        let text = serde_json::to_string_pretty(&Kept { keys: keys.iter().map(kept).collect() })?;
        let part = file.with_extension("part");
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&part, file)
    }
}

fn read(text: &str) -> io::Result<Vec<Key>> {
    let kept: Kept = serde_json::from_str(text)?;
    let key = |key: KeptKey| {
        let secret = URL_SAFE_NO_PAD.decode(&key.secret).ok().filter(|secret| secret.len() >= SECRET_BYTES);
        let secret = secret.ok_or_else(|| io::Error::other(format!("key {} is no key", key.kid)))?;
        Ok(Key { kid: key.kid, secret, made_at: key.made_at })
    };
    kept.keys.into_iter().take(MOST).map(key).collect()
}

/// What [`jsonwebtoken`] computes with. Its own providers bring RSA and elliptic curves, which nothing here may use.
static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only when the process has one already.
        let _ = PROVIDER.install_default();
    });
}

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: Algorithm, secret: &[u8]) -> jsonwebtoken::errors::Result<Self> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| ErrorKind::InvalidKeyFormat.into())
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtSigner>> {
    Ok(Box::new(Hs256::new(*algorithm, key.as_bytes())?))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(Hs256::new(*algorithm, key.try_get_as_bytes()?)?))
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    /// In constant time.
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        self.0.clone().chain_update(message).verify_slice(signed).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_privately_and_two_at_a_time() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("auth-keys.json");
        let now = Timestamp::from_millis(1);
        let ring = KeyRing::in_file(path.clone()).expect("begins");
        let first = ring.newest(now).expect("is made").kid;
        assert_eq!(path.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
        let second = ring.rotate(now).expect("rotates");
        assert_eq!((second.len(), &second[1].0), (2, &first));
        let again = KeyRing::in_file(path.clone()).expect("reads");
        assert_eq!(again.newest(now).expect("is there").kid, second[0].0);
        assert!(again.named(&first).is_some() && again.named("other").is_none());
        again.rotate(now).expect("rotates");
        assert!(again.named(&first).is_none(), "two at most");
        std::fs::write(&path, r#"{"keys":[{"kid":"a","secret":"AAAA","made_at":"2026-11-20T07:00:00.000Z"}]}"#)
            .expect("ok");
        assert!(KeyRing::in_file(path).is_err(), "a key that could be guessed is none");
    }
}
