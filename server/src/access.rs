//! Who may connect, and how fast: the settings in the form that the XDP program and the workers use.

use coney_control::config::Config;
use coney_xdp_prog::{AccessList, Rules, RulesError};

/// The settings, as [`Rules`].
///
/// # Errors
/// The lists contradict each other or are too long.
pub(crate) fn rules(config: &Config) -> Result<Rules, RulesError> {
    Ok(Rules {
        access: AccessList::new(&config.access_list_allow, &config.access_list_deny)?,
        syns_per_source: config.syn_limit_per_source,
        syns_global: config.syn_limit_global,
    })
}
