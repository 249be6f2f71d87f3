//! The key that turns user ids into pseudonyms.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::engine::hex;

/// Bytes of a key at least: as many as the hash gives (RFC 2104, section 3).
const SHORTEST: usize = 32;
/// Bytes of a pseudonym. Among 10⁹ ids the chance that two share one is 10⁻²¹.
const PSEUDONYM: usize = 16;
/// What the id of a key is made of. No user id begins with this byte.
const ID_OF: &[u8] = b"\0recost key id";

/// A secret key. It is never shown: neither by `Debug` nor in an error.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl Key {
    /// The key with these bytes.
    ///
    /// # Errors
    /// What is wrong with them, without saying what they are.
    pub fn new(secret: &str) -> Result<Self, String> {
        if secret.trim() != secret {
            return Err("begins or ends with a blank or a line end".into());
        }
        if secret.len() < SHORTEST {
            return Err(format!(
                "has {} bytes, and a key has {SHORTEST} at least",
                secret.len()
            ));
        }
        let mac = Hmac::new_from_slice(secret.as_bytes()).map_err(|e| e.to_string())?;
        Ok(Key(mac))
    }

    /// The pseudonym of a text: the first 128 bits of HMAC-SHA-256 (RFC 2104), as 32 hexadecimal digits.
    pub fn pseudonym(&self, text: &str) -> String {
        hex(&self.hash(text.as_bytes())[..PSEUDONYM])
    }

    /// Names the key without telling it: 16 hexadecimal digits.
    pub fn id(&self) -> String {
        hex(&self.hash(ID_OF)[..8])
    }

    fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_pseudonym_is_the_start_of_the_hmac() {
        // python3: hmac.new(SECRET.encode(), b"u000123", "sha256").hexdigest()[:32]
        let key = Key::new(SECRET).unwrap();
        assert_eq!(key.pseudonym("u000123"), "52d9762a52768eda63008a16792214a6");
        assert_ne!(key.pseudonym("u000124"), key.pseudonym("u000123"));
        assert_eq!(key.id().len(), 16);
    }

    #[test]
    fn a_key_that_is_short_or_has_blanks_around_it_is_refused_and_never_told() {
        for secret in [&SECRET[1..], " 0123456789abcdef0123456789abcdef", ""] {
            let said = Key::new(secret).unwrap_err();
            assert!(secret.is_empty() || !said.contains(secret.trim()), "{said}");
        }
        let shown = format!("{:?}", Key::new(SECRET).unwrap());
        assert!(!shown.contains(&SECRET[..8]), "{shown}");
    }
}
