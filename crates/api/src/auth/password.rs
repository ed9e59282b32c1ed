//! Passwords: argon2id with 19 MiB, two passes and one lane. Two at a time, since each takes a core: more would keep the board
//! itself waiting.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use kanvoy_domain::people::PasswordHash;
use tokio::sync::Semaphore;

use crate::problem::{Code, Problem};

const AT_ONCE: usize = 2;
const WAITS: Duration = Duration::from_secs(5);

pub(crate) struct Passwords {
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// What is compared with when there is nobody of that name: that takes as long as a wrong password.
static NOBODY: LazyLock<Option<PasswordHash>> = LazyLock::new(|| hash("nobody has this one").ok());

impl Passwords {
    pub async fn hash(&self, password: String) -> Result<PasswordHash, Problem> {
        self.with_a_place(move || hash(&password)).await?.map_err(Problem::internal)
    }

    /// Always as slow, whether there is somebody or not.
    pub async fn fits(&self, kept: Option<PasswordHash>, password: String) -> Result<bool, Problem> {
        self.with_a_place(move || {
            let somebody = kept.is_some();
            let fits = kept.as_ref().or(NOBODY.as_ref()).is_some_and(|kept| verified(kept, &password));
            somebody && fits
        })
        .await
    }

    async fn with_a_place<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let place = tokio::time::timeout(WAITS, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Problem::new(Code::TooManyRequests, "too many people log in at once").retry_after(2));
        };
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await.map_err(Problem::internal)
    }
}

fn argon2() -> Argon2<'static> {
    // The defaults of the library are these very numbers; here they cannot change by themselves.
    let params = Params::new(19 * 1_024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Takes tens of milliseconds of a core.
pub fn hash(password: &str) -> Result<PasswordHash, String> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    let hash = argon2().hash_password_with_salt(password.as_bytes(), &salt).map_err(|error| error.to_string())?;
    let hash: phc::PasswordHash = hash;
    Ok(PasswordHash(hash.to_string()))
}

fn verified(kept: &PasswordHash, password: &str) -> bool {
    let Ok(parsed) = phc::PasswordHash::new(&kept.0) else { return false };
    argon2().verify_password(password.as_bytes(), &parsed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_one_fits_and_nobody_takes_as_long() {
        let passwords = Passwords::default();
        let kept = passwords.hash("correct horse".to_owned()).await.expect("is hashed");
        assert!(kept.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", kept.0);
        assert!(passwords.fits(Some(kept.clone()), "correct horse".to_owned()).await.expect("is asked"));
        assert!(!passwords.fits(Some(kept.clone()), "wrong horse".to_owned()).await.expect("is asked"));
        assert!(!passwords.fits(None, "nobody has this one".to_owned()).await.expect("is asked"));
        let timed = async |kept: Option<PasswordHash>| {
            let began = std::time::Instant::now();
            for _ in 0..3 {
                passwords.fits(kept.clone(), "wrong horse".to_owned()).await.expect("is asked");
            }
            began.elapsed()
        };
        let (somebody, nobody) = (timed(Some(kept)).await, timed(None).await);
        assert!(nobody * 4 > somebody && somebody * 4 > nobody, "{somebody:?} and {nobody:?}");
    }
}
