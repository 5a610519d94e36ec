//! What can be wrong with a rule, in Redis's words.

/// Why a rule of ACL SETUSER is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// It is none.
    #[error("Syntax error")]
    Syntax,
    /// It names a command or a category that does not exist.
    #[error("Unknown command or category name in ACL")]
    UnknownCommand,
    /// `+config|get|x`.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
    /// A pattern that adds nothing.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not \
         have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    /// A pattern that adds nothing.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does \
         not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    /// `#` without a SHA-256.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal \
         characters"
    )]
    PasswordHash,
    /// `<` or `!` of a password that is not there.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `table=` with what no table can be called.
    #[error("a table's name is a word of at most 64 bytes that is no number")]
    Table,
    /// There are [`super::user::PASSWORDS_MAX`] or [`super::user::SELECTORS_MAX`] already.
    #[error("a user cannot have more passwords or selectors")]
    TooMany,
}

/// Why users stay as they are. Displayed as the error that the client reads.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UserError {
    /// One of the rules.
    #[error("ERR Error in ACL SETUSER modifier '{rule}': {error}")]
    Rule {
        /// As it was given.
        rule: String,
        /// What is wrong.
        error: RuleError,
    },
    /// A selector that does not end.
    #[error("ERR Unmatched parenthesis in acl selector starting at '{0}'.")]
    Parenthesis(String),
    /// A name with spaces.
    #[error("ERR Usernames can't contain spaces or null characters")]
    Name,
    /// There are [`super::USERS_MAX`] users already.
    #[error("ERR there are {} users already: delete one with ACL DELUSER", super::USERS_MAX)]
    TooMany,
    /// The user that everybody is.
    #[error("ERR The 'default' user cannot be removed")]
    Default,
}

/// What is wrong with a file of users.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FileError {
    /// A line that is none.
    #[error("line {0}: a line has to begin with the word user and a name")]
    Line(usize),
    /// A user that comes twice.
    #[error("line {0}: user '{1}' comes a second time")]
    Duplicate(usize, String),
    /// A user that cannot be.
    #[error("line {0}: {1}")]
    User(usize, UserError),
}
