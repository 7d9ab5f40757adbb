//! The [`PasswordHash`] of `admin.passwordHashFile`.

use std::fmt;
use std::str::FromStr as _;

use bcrypt::HashParts;

/// The highest cost of a hash, of which each step doubles the time of a login: 15 takes seconds.
const MAX_COST: u32 = 15;

/// A bcrypt hash of a password, as `htpasswd -B` and bcryptjs make it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash of this text.
    ///
    /// # Errors
    /// Says in a sentence that it is no bcrypt hash, or one that takes too long to compare.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = HashParts::from_str(text).map_err(|_| {
            "the file holds no bcrypt hash alone: it begins with $2a$, $2b$ or $2y$ and has 60 \
             characters, as docs/admin-ui.md makes it"
                .to_owned()
        })?;
        match parts.get_cost() {
            ..=MAX_COST => Ok(PasswordHash(text.to_owned())),
            cost => Err(format!(
                "the hash has the cost {cost}, so that a login takes very long: make one of at \
                 most {MAX_COST}, such as 10"
            )),
        }
    }

    /// Whether this is the password. Takes a core for some tenths of a second, by the hash's cost. Of
    /// a longer password the first 72 bytes count, as everywhere with bcrypt.
    pub fn verify(&self, password: &str) -> bool {
        bcrypt::verify(password, &self.0).unwrap_or(false)
    }

    /// The bytes of the hash, which are a secret: keys are derived from them.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of `admin-password`, of cost 4.
    fn hash(prefix: &str) -> String {
        let made = bcrypt::hash("admin-password", 4).unwrap();
        format!("{prefix}{}", &made[3..])
    }

    #[test]
    fn a_hash_of_any_of_the_usual_tools_matches_its_password_alone() {
        for prefix in ["$2a", "$2b", "$2y"] {
            let hash = PasswordHash::parse(&hash(prefix)).unwrap();
            assert!(hash.verify("admin-password"), "{prefix}");
            assert!(!hash.verify("admin-passwor"), "{prefix}");
            assert!(!hash.verify(""), "{prefix}");
        }
    }

    #[test]
    fn what_is_no_hash_or_takes_too_long_is_refused_without_its_text() {
        let good = hash("$2b");
        let costly = good.replacen("$04$", "$16$", 1);
        for bad in ["", "secret", &good[..59], &format!("{good}x"), &format!("admin:{good}")] {
            let error = PasswordHash::parse(bad).unwrap_err();
            assert!(error.contains("no bcrypt hash"), "{bad}: {error}");
        }
        assert!(PasswordHash::parse(&costly).unwrap_err().contains("cost 16"));
        assert!(PasswordHash::parse(&good.replacen("$04$", "$15$", 1)).is_ok());
        assert_eq!(format!("{:?}", PasswordHash::parse(&good).unwrap()), "PasswordHash");
    }
}
