//! What all handlers share.

use crate::{
    auth::Authenticator,
    config::Limits,
    deciders::{Advisers, Deciders},
    limits::{InFlight, RefusalLimit},
    position::Tokens,
    seal::Sealer,
    spec::SpecChecks,
    tail::Seen,
};
use axum::extract::FromRef;
use metrics_exporter_prometheus::PrometheusHandle;
use projections::database::Database;
use std::{ops::Deref, sync::Arc};

/// The API, as its handlers see it. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

/// What the API is made of.
pub struct Parts {
    /// Commands go there.
    pub deciders: Box<dyn Deciders>,
    /// Advice comes from there.
    pub advisers: Advisers,
    /// The read models.
    pub database: Database,
    /// The journal's end.
    pub seen: Arc<Seen>,
    /// Position and page tokens.
    pub tokens: Tokens,
    /// Who is calling.
    pub authenticator: Arc<Authenticator>,
    /// Slows down who is refused again and again.
    pub refusals: RefusalLimit,
    /// Bounds what is under way.
    pub in_flight: InFlight,
    /// Personal and secret fields.
    pub sealer: Sealer,
    /// Compiled schemas of specs.
    pub specs: SpecChecks,
    /// How much is taken.
    pub limits: Limits,
    /// Where metrics are rendered; none when nobody installed a recorder.
    pub metrics: Option<PrometheusHandle>,
}

impl Api {
    /// The API made of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<Api> for Arc<Authenticator> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.authenticator)
    }
}

impl FromRef<Api> for Tokens {
    fn from_ref(api: &Api) -> Self {
        api.tokens.clone()
    }
}
