//! What a commit says about the platform.

use super::{Done, tenant_path};
use axum::http::StatusCode;
use domain::platform::PlatformEvent as E;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What changed on the platform's own chain.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlatformAnswer {
    /// Always true: this commit changed something.
    pub changed: bool,
    /// What changed: `region`, `zone`, `service`, `flavor`, `default_quota`, `operator`, `format` or `tenant`, with its fields.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub what: Value,
}

/// What the commit says.
pub(super) fn done(event: &E) -> Done {
    let (status, what) = match event {
        E::RegionDeclared { region, title } => (StatusCode::CREATED, json!({ "region": region, "title": title })),
        E::ZoneDeclared { zone, region } => (StatusCode::CREATED, json!({ "zone": zone, "region": region, "state": "open" })),
        E::ZoneStateSet { zone, state } => (StatusCode::OK, json!({ "zone": zone, "state": state })),
        E::ServicePublished { service } => {
            (StatusCode::CREATED, json!({ "service": service.name, "version": service.version, "state": "published" }))
        }
        E::ServicePaused { service } => (StatusCode::OK, json!({ "service": service, "state": "paused" })),
        E::ServiceRetired { service } => (StatusCode::OK, json!({ "service": service, "state": "retired" })),
        E::FlavorDefined { flavor } => {
            (StatusCode::CREATED, json!({ "flavor": flavor.name, "vcpus": flavor.vcpus, "memory_mib": flavor.memory_mib }))
        }
        E::DefaultQuotaSet { tenant, cell } => (StatusCode::OK, json!({ "default_quota": { "tenant": tenant, "cell": cell } })),
        E::OperatorAppointed { operator } => (StatusCode::CREATED, json!({ "operator": operator, "appointed": true })),
        E::OperatorDismissed { operator } => (StatusCode::OK, json!({ "operator": operator, "appointed": false })),
        E::FormatRaised { format } => (StatusCode::OK, json!({ "format": format })),
        // Half of opening a tenant; the tenant's own chain says when it is open.
        E::TenantReserved { tenant, reservation } => {
            let what = json!({ "tenant": tenant, "reference": reservation.reference, "status": "reserved" });
            return Done::new(StatusCode::ACCEPTED, &PlatformAnswer { changed: true, what }).at(tenant_path(*tenant));
        }
    };
    Done::new(status, &PlatformAnswer { changed: true, what })
}
