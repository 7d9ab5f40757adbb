//! What flows through the server: publications, and the names by which rooms and members are
//! addressed.

pub mod member_id;
mod publication;
mod receipt;
mod selector;

pub use publication::{Hop, Publication, Source};
pub use receipt::{PublishError, Receipt, Scope};
pub use selector::{MemberInfo, Selector};
