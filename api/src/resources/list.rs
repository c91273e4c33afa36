//! The list of a tenant's resources, filtered and in pages.

use super::ResourceBody;
use crate::{
    asked::wrong_parameter,
    position::page::PageKey,
    problem::{
        Problem,
        extract::{Parameters, PathParameters},
    },
    state::Api,
    tenants::{by_creation, created},
    view::{Asking, List, Page},
};
use axum::{extract::State, response::Response};
use domain::{
    Labels,
    id::{CellId, TenantId},
    people::Permission,
};
use projections::{
    page::ByName,
    resources::{Filter, InCell, Named, Order, ResourceRow},
};
use std::collections::BTreeMap;

/// The resources that the caller may see. What matches during the whole walk appears exactly once, but not in the order of names.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/resources", tag = "resources",
    params(("tenant" = Uuid, Path),
        ("kind" = Option<String>, Query, description = "Only of this service."),
        ("phase" = Option<String>, Query, description = "Only in this phase."),
        ("cell" = Option<String>, Query, description = "Only in this cell; `none` for those at the tenant itself."),
        ("zone" = Option<String>, Query, description = "Only in this availability zone."),
        ("label" = Option<Vec<String>>, Query, description = "Only with this label, `key:value`; several must all be there."),
        ("name" = Option<String>, Query, description = "Only of this name."),
        ("name_prefix" = Option<String>, Query, description = "Only with a name that begins like this."),
        ("order" = Option<String>, Query, description = "`created` (the usual) or `name`, which promises no stability."),
        ("limit" = Option<u32>, Query, description = "Most items, 1 to 1,000; 100 if absent."),
        ("page" = Option<String>, Query, description = "Token of the page, from `next` of the one before.")),
    responses((status = 200, body = Page<ResourceBody>)), extensions(("x-permission" = json!(Permission::ReadResources))))]
pub async fn list(
    State(api): State<Api>,
    PathParameters(tenant): PathParameters<TenantId>,
    asking: Asking,
    Parameters(query): Parameters<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let Query { mut filter, by_name, limit, page, canonical } = Query::parse(query)?;
    let view = api.view(asking, Some(tenant)).await?;
    filter.visible = view.standing.visible(Permission::ReadResources)?.cells().map(<[CellId]>::to_vec);
    let walked = format!("GET /v1/tenants/{tenant}/resources {canonical}");
    let list = List { filter: &walked, order: if by_name { "name" } else { "created" }, limit, page: page.as_deref() };
    let (after, limit) = view.walk(list)?;
    let order = match after {
        Some(PageKey::Named { name, partition, id }) if by_name => Order::Name(Some(ByName { name, partition, id })),
        None if by_name => Order::Name(None),
        after => Order::Creation(by_creation(after)?),
    };
    let rows = view.snapshot.resources(tenant, &filter, &order, limit).await?;
    let key = |row: &ResourceRow| match by_name {
        true => PageKey::Named { name: row.name.clone(), partition: row.partition, id: row.id.0 },
        false => created(row.created_seq, row.partition, row.id.0),
    };
    view.page(list, rows, key, |row| Some(ResourceBody::from(row)))
}

/// What a query asks for.
#[derive(Debug, Default, PartialEq)]
struct Query {
    filter: Filter,
    by_name: bool,
    limit: Option<u32>,
    page: Option<String>,
    /// The filters as canonical JSON: equal for equal filters, in whatever order they were sent.
    canonical: String,
}

impl Query {
    fn parse(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut query = Self::default();
        let mut once: BTreeMap<String, String> = BTreeMap::new();
        let mut labels = Labels::new();
        for (name, value) in pairs {
            if value.contains('\0') {
                return Err(wrong_parameter(&name, "holds a character that nothing has"));
            }
            if name == "label" {
                let (key, value) = value.split_once(':').ok_or_else(|| wrong_parameter("label", "is written as key:value"))?;
                labels.insert(key.to_owned(), value.to_owned());
            } else if let Some(_twice) = once.insert(name.clone(), value) {
                return Err(wrong_parameter(&name, "is given more than once"));
            }
        }
        query.page = once.remove("page");
        query.limit = once.remove("limit").map(|n| n.parse().map_err(|_| wrong_parameter("limit", "is not a number"))).transpose()?;
        query.by_name = match once.remove("order").as_deref() {
            None | Some("created") => false,
            Some("name") => true,
            Some(_) => return Err(wrong_parameter("order", "is created or name")),
        };
        query.canonical = serde_json::to_string(&(&once, &labels)).expect("texts are always JSON");
        query.filter = Self::filter(once)?;
        query.filter.labels = labels;
        Ok(query)
    }

    fn filter(mut once: BTreeMap<String, String>) -> Result<Filter, Problem> {
        let name = match (once.remove("name"), once.remove("name_prefix")) {
            (Some(_), Some(_)) => return Err(wrong_parameter("name_prefix", "does not go with name")),
            (Some(name), None) => Some(Named::Is(name)),
            (None, prefix) => prefix.map(Named::StartsWith),
        };
        let cell = match once.remove("cell").as_deref() {
            None => None,
            Some("none") => Some(InCell::Tenant),
            Some(id) => Some(InCell::Of(id.parse().map_err(|_| wrong_parameter("cell", "is neither the id of a cell nor none"))?)),
        };
        let filter = Filter {
            kind: once
                .remove("kind")
                .map(|kind| kind.parse().map_err(|_| wrong_parameter("kind", "is no name of a service")))
                .transpose()?,
            zone: once.remove("zone").map(|zone| zone.parse().map_err(|_| wrong_parameter("zone", "is no name of a zone"))).transpose()?,
            phase: once.remove("phase"),
            cell,
            name,
            ..Filter::default()
        };
        match once.into_keys().next() {
            None => Ok(filter),
            Some(name) => Err(wrong_parameter(&name.chars().take(100).collect::<String>(), "does not exist here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::ProblemType;

    fn parse(pairs: &[(&str, &str)]) -> Result<Query, Problem> {
        Query::parse(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_list_is_the_same_in_whatever_order_its_filters_are_sent() {
        let one = parse(&[("kind", "server"), ("label", "a:1"), ("label", "b:x:y"), ("limit", "5")]).unwrap();
        let other = parse(&[("label", "b:x:y"), ("label", "a:1"), ("kind", "server"), ("page", "t")]).unwrap();
        assert_eq!(one.canonical, other.canonical);
        assert_eq!(one.filter, other.filter);
        assert_eq!(one.filter.labels["b"], "x:y");
        assert_ne!(one.canonical, parse(&[("kind", "volume")]).unwrap().canonical);
    }

    #[test]
    fn a_parameter_that_cannot_be_used_is_named() {
        for pairs in [
            &[("colour", "red")][..],
            &[("kind", "Ä")],
            &[("kind", "server"), ("kind", "volume")],
            &[("name", "a"), ("name_prefix", "b")],
            &[("cell", "7")],
            &[("label", "web")],
            &[("order", "size")],
            &[("limit", "-1")],
            &[("name", "a\0b")],
        ] {
            assert_eq!(parse(pairs).unwrap_err().kind(), ProblemType::InvalidParameter, "{pairs:?}");
        }
        assert_eq!(parse(&[("cell", "none")]).unwrap().filter.cell, Some(InCell::Tenant));
    }
}
