//! What flows through the server: publications, and the names by which rooms and members are
//! addressed.

mod address_key;
pub mod id_source;
mod member_id;
mod pod_id;
mod publication;
mod publication_id;
mod receipt;
mod room_key;
mod selector;

pub use address_key::AddressKey;
pub use member_id::{MemberId, MemberIds};
pub use pod_id::PodId;
pub use publication::{Hop, Publication, Source};
pub use publication_id::PublicationId;
pub use receipt::{PUBLISH_DEADLINE, PublishError, Receipt, Scope};
pub use room_key::{RoomKey, RoomKeyRef};
pub use selector::{MemberInfo, Selector};
