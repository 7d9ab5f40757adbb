//! The [`Login`] of admins: who may connect to their namespace.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rookery_config::password_hash::PasswordHash;
use rookery_policy::{Code, Refusal, Subject};
use rookery_protocol::Data;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::session_tokens::SessionTokens;
use crate::gateway::authenticator::Admission;

/// Passwords that are compared at once: each takes a core for some tenths of a second.
const AT_ONCE: usize = 2;

/// Passwords that may be compared or wait for it; further logins are refused.
const MAX_WAITING: usize = 16;

/// The claim of an admin that began a session: its token.
const SESSION: &str = "session";

/// Decides who may connect to the namespace of admins.
pub struct Login {
    username: String,
    secrets: ArcSwap<Secrets>,
    waiting: Arc<Semaphore>,
    comparing: Arc<Semaphore>,
}

struct Secrets {
    hash: PasswordHash,
    sessions: SessionTokens,
}

impl Login {
    /// The login with this name and password.
    pub fn new(username: &str, hash: PasswordHash) -> Self {
        Login {
            username: username.to_owned(),
            secrets: ArcSwap::from_pointee(Secrets::new(username, hash)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            comparing: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Sets the hash of the password. True: it is another, so that all sessions have ended.
    pub fn set_hash(&self, hash: PasswordHash) -> bool {
        if self.secrets.load().hash == hash {
            return false;
        }
        self.secrets.store(Arc::new(Secrets::new(&self.username, hash)));
        true
    }

    /// Admits an admin by `sessionId`, or by `username` and `password`, of the auth payload.
    ///
    /// # Errors
    /// Why it may not connect: in the package's words where name or password are wrong.
    pub async fn admit(&self, auth: Option<&Data>) -> Result<Admission, Refusal> {
        let field = |name| auth.and_then(|auth| auth.get(name)).and_then(Data::as_str);
        let secrets = self.secrets.load_full();
        if field("sessionId").is_some_and(|id| secrets.sessions.accepts(id, SystemTime::now())) {
            return Ok(self.admission(None));
        }
        if let (Some(username), Some(password)) = (field("username"), field("password")) {
            // The password is compared whatever the name is, so that the time does not tell.
            let matches = self.compare(secrets.clone(), password.to_owned()).await?;
            if matches && username == self.username {
                return Ok(self.admission(Some(secrets.sessions.issue(SystemTime::now()))));
            }
        }
        Err(Refusal::new(Code::Unauthenticated, "invalid credentials"))
    }

    /// Compares a password on a thread for work that blocks, which goes on where the client is gone
    /// meanwhile.
    async fn compare(&self, secrets: Arc<Secrets>, password: String) -> Result<bool, Refusal> {
        let Ok(waiting) = self.waiting.clone().try_acquire_owned() else {
            return Err(Refusal::new(Code::RateLimited, "too many logins at once; try again"));
        };
        let comparing = self.comparing.clone().acquire_owned().await;
        let compared = tokio::task::spawn_blocking(move || {
            let _permits = (waiting, comparing);
            secrets.hash.verify(&password)
        });
        // It fails only when the process ends.
        Ok(compared.await.unwrap_or(false))
    }

    fn admission(&self, session: Option<String>) -> Admission {
        let claims: Map<_, _> =
            session.into_iter().map(|token| (SESSION.to_owned(), Value::from(token))).collect();
        let subject = Subject::new(Some(self.username.clone()), Arc::new(claims));
        Admission { subject: Arc::new(subject), expires: None }
    }
}

impl Secrets {
    fn new(username: &str, hash: PasswordHash) -> Self {
        let sessions = SessionTokens::new(username, hash.as_bytes());
        Secrets { hash, sessions }
    }
}

/// The token of the session that an admin began when it connected; `None` where it continued one.
pub fn begun_session(subject: &Subject) -> Option<&str> {
    subject.claims().get(SESSION)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of `secret`, of cost 4.
    const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    const OTHER: &str = "$2b$04$abcdefghijklmnopqrstuuW839tY81OgYwy4gFNdslinRlf6MvQ8m";

    fn hash(text: &str) -> PasswordHash {
        PasswordHash::parse(text).unwrap()
    }

    fn auth(fields: &[(&str, &str)]) -> Data {
        Data::Object(fields.iter().map(|(k, v)| ((*k).into(), Data::from(*v))).collect())
    }

    #[tokio::test]
    async fn a_password_begins_a_session_that_admits_until_the_password_changes() {
        let login = Login::new("ada", hash(HASH));
        let by_password = auth(&[("username", "ada"), ("password", "secret")]);
        let admitted = login.admit(Some(&by_password)).await.ok().unwrap();
        assert_eq!(admitted.subject.user(), Some("ada"));
        let token = begun_session(&admitted.subject).unwrap().to_owned();
        let by_session = auth(&[("sessionId", &token)]);
        let again = login.admit(Some(&by_session)).await.ok().unwrap();
        assert_eq!(begun_session(&again.subject), None);
        assert!(!login.set_hash(hash(HASH)));
        assert!(login.admit(Some(&by_session)).await.is_ok());
        assert!(login.set_hash(hash(OTHER)));
        assert!(login.admit(Some(&by_session)).await.is_err());
        assert!(login.admit(Some(&by_password)).await.is_err());
    }

    #[tokio::test]
    async fn who_is_no_admin_is_refused_in_the_packages_words() {
        let login = Login::new("ada", hash(HASH));
        for wrong in [
            None,
            Some(Data::Null),
            Some(auth(&[])),
            Some(auth(&[("username", "ada")])),
            Some(auth(&[("password", "secret")])),
            Some(auth(&[("username", "ada"), ("password", "Secret")])),
            Some(auth(&[("username", "bob"), ("password", "secret")])),
            Some(auth(&[("sessionId", "a.9999999999.b")])),
            Some(Data::Object(vec![("username".into(), Data::Bool(true))])),
        ] {
            let refusal = login.admit(wrong.as_ref()).await.err().unwrap();
            assert_eq!(
                (refusal.code, &*refusal.message),
                (Code::Unauthenticated, "invalid credentials")
            );
        }
    }

    #[tokio::test]
    async fn logins_beyond_a_bound_are_refused_at_once() {
        let login = Login::new("ada", hash(HASH));
        let _all = login.waiting.acquire_many(MAX_WAITING as u32).await.unwrap();
        let by_password = auth(&[("username", "ada"), ("password", "secret")]);
        let refusal = login.admit(Some(&by_password)).await.err().unwrap();
        assert_eq!(refusal.code, Code::RateLimited);
    }
}
