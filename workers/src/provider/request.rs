//! The calls that the simulated cloud understands.

use serde::{Deserialize, Serialize};

use super::object::{Address, Filter, NewObject, Properties};

/// One call to the simulated cloud.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Make a new object.
    Create {
        /// Where.
        zone: String,
        /// What.
        kind: String,
        /// With which content.
        new: NewObject,
    },
    /// Show one.
    Get {
        /// Which.
        address: Address,
    },
    /// Show a part of all.
    List {
        /// Where.
        zone: String,
        /// Which.
        filter: Filter,
        /// At most so many.
        limit: usize,
        /// [`super::Page::next`] of the part before.
        marker: Option<String>,
    },
    /// Set some properties.
    Change {
        /// Of which object.
        address: Address,
        /// Those that are named are replaced, the others stay.
        properties: Properties,
    },
    /// Do something to it.
    Act {
        /// To which object.
        address: Address,
        /// What.
        action: Action,
    },
    /// Delete one.
    Delete {
        /// Which.
        address: Address,
    },
}

/// What can be done to an object besides changing and deleting it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Switch a server on.
    Start,
    /// Switch a server off.
    Stop,
    /// Restart a server.
    Reboot,
    /// Attach this object to a server. It may be attached to one only.
    Attach {
        /// Id of the server, in the same zone or region.
        server: String,
    },
    /// Detach this object from its server.
    Detach,
}

/// The name of an operation, for rules, counters and latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the request or action of the same name")]
pub enum Verb {
    Create,
    Get,
    List,
    Change,
    Start,
    Stop,
    Reboot,
    Attach,
    Detach,
    Delete,
}

impl Verb {
    /// Does it change anything at the provider?
    #[must_use]
    pub fn mutates(self) -> bool {
        !matches!(self, Self::Get | Self::List)
    }

    /// As the wire spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
            Self::Change => "change",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reboot => "reboot",
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Delete => "delete",
        }
    }
}

impl Request {
    /// Which operation it is.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Create { .. } => Verb::Create,
            Self::Get { .. } => Verb::Get,
            Self::List { .. } => Verb::List,
            Self::Change { .. } => Verb::Change,
            Self::Delete { .. } => Verb::Delete,
            Self::Act { action, .. } => match action {
                Action::Start => Verb::Start,
                Action::Stop => Verb::Stop,
                Action::Reboot => Verb::Reboot,
                Action::Attach { .. } => Verb::Attach,
                Action::Detach => Verb::Detach,
            },
        }
    }

    /// The availability zone or region that it goes to.
    #[must_use]
    pub fn zone(&self) -> &str {
        match self {
            Self::Create { zone, .. } | Self::List { zone, .. } => zone,
            Self::Get { address } | Self::Change { address, .. } | Self::Act { address, .. } | Self::Delete { address } => &address.zone,
        }
    }

    /// The kind that it names; a listing may go over all.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Create { kind, .. } => Some(kind),
            Self::List { filter, .. } => filter.kind.as_deref(),
            Self::Get { address } | Self::Change { address, .. } | Self::Act { address, .. } | Self::Delete { address } => {
                Some(&address.kind)
            }
        }
    }

    /// The object that it names by id.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Create { .. } | Self::List { .. } => None,
            Self::Get { address } | Self::Change { address, .. } | Self::Act { address, .. } | Self::Delete { address } => Some(address),
        }
    }
}
