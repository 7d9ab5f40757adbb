//! Where parts that do not know each other meet.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use rookery_config::BridgeRule;
use rookery_config::api_keys::ApiKeys;
use rookery_policy::{
    ArgTemplate, Permission, Rules, Subject, Template, TemplateError, TextTemplate,
};
use rookery_protocol::Data;
use rookery_server::api::auth::ApiKeyCheck;
use rookery_server::api::explain::{Explain, Explanation};
use rookery_server::backplane::bridge::CompiledBridge;

/// The room rules, as the HTTP API asks them.
pub struct Explainer(pub Arc<ArcSwap<Rules>>);

impl Explain for Explainer {
    fn explain(
        &self,
        action: &str,
        room: &str,
        claims: Map<String, Value>,
        user: Option<String>,
    ) -> Explanation {
        let permission = Permission::from_key(action).unwrap_or(Permission::Join);
        let subject = Subject::new(user, Arc::new(claims));
        let decision = self.0.load().decide(permission, room, &subject);
        Explanation {
            allowed: decision.allowed,
            rule: decision.rule.as_deref().map(str::to_owned),
            why: decision.reason.to_string(),
        }
    }
}

/// The API keys as their file has them now.
pub struct CurrentKeys(pub Arc<ArcSwap<ApiKeys>>);

impl ApiKeyCheck for CurrentKeys {
    fn name_of(&self, key: &str) -> Option<String> {
        self.0.load().name_of(key).map(str::to_owned)
    }
}

/// Compiles an entry of `redis.bridge`.
///
/// # Errors
/// A template that cannot be understood.
pub fn bridge(rule: &BridgeRule) -> Result<CompiledBridge, TemplateError> {
    let room = Template::parse(&rule.room)?;
    let event = TextTemplate::parse(&rule.event)?;
    let args: Vec<_> =
        rule.args.iter().map(|arg| ArgTemplate::parse(arg)).collect::<Result<_, _>>()?;
    let route = move |message: Data| {
        let room = room.room(&message).map_err(|refusal| refusal.message)?;
        let event = event.text(&message).map_err(|refusal| refusal.message)?;
        Ok((room, event, args.iter().map(|arg| arg.value(&message)).collect()))
    };
    Ok(CompiledBridge {
        channel: rule.channel.clone(),
        namespace: rule.namespace.as_str().into(),
        route: Arc::new(route),
    })
}
