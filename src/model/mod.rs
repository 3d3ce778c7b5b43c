//! The vocabulary: identities, channel names, secrets and time. Knows nothing of ours.

pub mod application;
pub mod channel;
pub mod fault;
pub mod fleet;
pub mod habit;
pub mod id;
pub mod known;
pub mod number;
pub mod secret;
pub mod time;
pub mod webhook;

pub use channel::{ChannelKind, ChannelName};
pub use fleet::{Member, MemberRole, Shard};
pub use id::{AppId, AppKey, ClusterRole, RunId, Seq, SocketId, StreamIx, WitnessIx};
pub use secret::{MasterKey, Secret};
pub use time::{Clock, RunTime};
pub use webhook::WebhookKind;
