//! [`AuthMetrics`]: the keys of the API and of tokens.

use prometheus::IntCounter;

use super::families::Families;

/// What is counted of the keys of the API and of tokens.
pub struct AuthMetrics {
    /// `rookery_api_key_reloads_total{outcome="applied"}`: changes of the file of API keys that were
    /// put into effect.
    pub api_keys_applied: IntCounter,
    /// `rookery_api_key_reloads_total{outcome="refused"}`: times that the file of API keys became
    /// malformed, or could not be read any more.
    pub api_keys_refused: IntCounter,
    /// `rookery_token_key_reloads_total{outcome="applied"}`: changes of the files of token keys that
    /// were put into effect.
    pub token_keys_applied: IntCounter,
    /// `rookery_token_key_reloads_total{outcome="refused"}`: times that a file of token keys became
    /// empty or malformed, or could not be read any more.
    pub token_keys_refused: IntCounter,
}

impl AuthMetrics {
    pub(super) fn new(families: &Families) -> prometheus::Result<Self> {
        let reloads = families.counter_vec(
            "rookery_api_key_reloads_total",
            "Reloads of the file of API keys",
            "outcome",
        )?;
        let token_keys = families.counter_vec(
            "rookery_token_key_reloads_total",
            "Reloads of the files of token keys",
            "outcome",
        )?;
        Ok(AuthMetrics {
            token_keys_applied: token_keys.with_label_values(&["applied"]),
            token_keys_refused: token_keys.with_label_values(&["refused"]),
            api_keys_applied: reloads.with_label_values(&["applied"]),
            api_keys_refused: reloads.with_label_values(&["refused"]),
        })
    }
}
