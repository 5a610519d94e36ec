//! A user: passwords, and what they may do.

use coney_resp::Args;
use sha2::{Digest, Sha256};

use super::rule::{RuleError, UserError};
use super::selector::{Denial, Selector};
use crate::command::CommandSpec;
use crate::tenant;

/// Passwords of one user.
pub const PASSWORDS_MAX: usize = 256;
/// Selectors of one user.
pub const SELECTORS_MAX: usize = 256;

/// What binds a user to a named table; the name follows, or nothing, which sets the user free.
const TABLE_RULE: &[u8] = b"table=";

/// The SHA-256 of a password.
type Hash = [u8; 32];

/// One user. It is never changed: ACL SETUSER puts another in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct User {
    pub(crate) name: Vec<u8>,
    pub(crate) is_enabled: bool,
    pub(crate) needs_no_password: bool,
    sanitizes_payload: bool,
    passwords: Vec<Hash>,
    /// Rules outside of parentheses.
    pub(crate) root: Selector,
    pub(crate) selectors: Vec<Selector>,
    /// The named table that it is bound to.
    pub(crate) table: Option<Vec<u8>>,
    is_unrestricted: bool,
}

impl User {
    /// Somebody who cannot log in, and may do nothing.
    pub(crate) fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            is_enabled: false,
            needs_no_password: false,
            sanitizes_payload: true,
            passwords: Vec::new(),
            root: Selector::new(),
            selectors: Vec::new(),
            table: None,
            is_unrestricted: false,
        }
    }

    /// This user with other rules.
    pub(crate) fn with(&self, rules: &[&[u8]]) -> Result<Self, UserError> {
        let mut user = self.clone();
        for rule in join_selectors(rules)? {
            user.apply(&rule).map_err(|error| UserError::Rule {
                rule: String::from_utf8_lossy(&rule).into_owned(),
                error,
            })?;
        }
        user.is_unrestricted = user.root.allows_everything();
        Ok(user)
    }

    fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.is_enabled = true,
            b"off" => self.is_enabled = false,
            b"nopass" => {
                self.needs_no_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.needs_no_password = false;
                self.passwords.clear();
            }
            b"sanitize-payload" => self.sanitizes_payload = true,
            b"skip-sanitize-payload" => self.sanitizes_payload = false,
            b"clearselectors" => self.selectors.clear(),
            b"reset" => *self = Self::new(&self.name),
            lower if lower.starts_with(TABLE_RULE) => {
                let name = rule.get(TABLE_RULE.len()..).unwrap_or_default();
                if !name.is_empty() && !tenant::is_name(name) {
                    return Err(RuleError::Table);
                }
                self.table = (!name.is_empty()).then(|| name.to_vec());
            }
            _ => match rule.split_first() {
                Some((b'>', password)) => self.add_password(sha256(password))?,
                Some((b'#', hex)) => self.add_password(parse_hash(hex)?)?,
                Some((b'<', password)) => self.remove_password(&sha256(password))?,
                Some((b'!', hex)) => self.remove_password(&parse_hash(hex)?)?,
                Some((b'(', rest)) => {
                    let inner = rest.strip_suffix(b")").ok_or(RuleError::Syntax)?;
                    if self.selectors.len() == SELECTORS_MAX {
                        return Err(RuleError::TooMany);
                    }
                    let mut selector = Selector::new();
                    for rule in inner.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty())
                    {
                        selector.apply(rule)?;
                    }
                    self.selectors.push(selector);
                }
                _ => self.root.apply(rule)?,
            },
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) -> Result<(), RuleError> {
        self.needs_no_password = false;
        if self.passwords.contains(&hash) {
            return Ok(());
        }
        if self.passwords.len() == PASSWORDS_MAX {
            return Err(RuleError::TooMany);
        }
        self.passwords.push(hash);
        Ok(())
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == hash);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Whether somebody who gives this password may be this user. Hashes are compared, and so the
    /// time tells nothing of the passwords.
    pub(crate) fn admits(&self, password: &[u8]) -> bool {
        let hash = sha256(password);
        let is_known = self.passwords.iter().fold(false, |found, known| found | (*known == hash));
        self.is_enabled && (self.needs_no_password || is_known)
    }

    /// Whether the command may run; if no selector allows it, the refusal of the one that came
    /// closest.
    pub(crate) fn check(&self, spec: &CommandSpec, args: Args<'_>) -> Result<(), Denial> {
        if self.is_unrestricted {
            return Ok(());
        }
        let mut closest = Denial::Command;
        for selector in std::iter::once(&self.root).chain(&self.selectors) {
            match selector.check(spec, args) {
                Ok(()) => return Ok(()),
                Err(denial) => closest = closest.max(denial),
            }
        }
        Err(closest)
    }

    /// As ACL GETUSER shows them.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_enabled { "on" } else { "off" }];
        if self.needs_no_password {
            flags.push("nopass");
        }
        flags.push(if self.sanitizes_payload {
            "sanitize-payload"
        } else {
            "skip-sanitize-payload"
        });
        flags
    }

    /// Hashes of the passwords in hexadecimal.
    pub(crate) fn password_hashes(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|hash| hex(hash))
    }

    /// The line of ACL LIST and of the file.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut line = [b"user ", self.name.as_slice()].concat();
        for flag in self.flags() {
            line.extend_from_slice(format!(" {flag}").as_bytes());
        }
        for hash in self.password_hashes() {
            line.extend_from_slice(format!(" #{hash}").as_bytes());
        }
        line.push(b' ');
        line.extend_from_slice(&self.root.describe());
        for selector in &self.selectors {
            line.extend_from_slice(b" (");
            line.extend_from_slice(&selector.describe());
            line.push(b')');
        }
        if let Some(table) = &self.table {
            line.push(b' ');
            line.extend_from_slice(TABLE_RULE);
            line.extend_from_slice(table);
        }
        line
    }
}

/// A selector may come in several arguments: from the one that begins with `(` to the one that ends
/// with `)`.
fn join_selectors(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, UserError> {
    let mut joined = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for rule in rules {
        match &mut open {
            None if rule.starts_with(b"(") && !rule.ends_with(b")") => open = Some(rule.to_vec()),
            None => joined.push(rule.to_vec()),
            Some(selector) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
                if rule.ends_with(b")") {
                    joined.extend(open.take());
                }
            }
        }
    }
    match open {
        None => Ok(joined),
        Some(selector) => {
            let first = selector.split(|byte| *byte == b' ').next().unwrap_or_default();
            Err(UserError::Parenthesis(String::from_utf8_lossy(first).into_owned()))
        }
    }
}

fn sha256(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hash(hex: &[u8]) -> Result<Hash, RuleError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_chunks::<2>();
    let mut hash = Hash::default();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return Err(RuleError::PasswordHash);
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        let digits = digit(*high).zip(digit(*low)).ok_or(RuleError::PasswordHash)?;
        *byte = digits.0 << 4 | digits.1;
    }
    Ok(hash)
}
