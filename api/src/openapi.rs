//! The OpenAPI document: made from the handlers, completed with what all of them have in common.

use crate::problem::{MEDIA_TYPE, ProblemDocument};
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{
        Content, KnownFormat, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema, SchemaFormat,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

/// What stands at the head of the document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cirrus",
        description = "The API of a sovereign cloud. Every write answers when its outcome has been read back from the journal; every read says \
                       the position that it shows.",
    ),
    tags(
        (name = "me", description = "Who the caller is."),
        (name = "tenants", description = "Customers."),
        (name = "cells", description = "Divisions of a tenant."),
        (name = "quota", description = "What may be used, and what is."),
        (name = "members", description = "Who holds which role."),
        (name = "resources", description = "Whatever the catalogue offers."),
        (name = "operations", description = "What became of a request whose caller did not wait."),
        (name = "history", description = "What happened."),
        (name = "catalogue", description = "What can be ordered, and where."),
        (name = "platform", description = "For those who run the platform."),
        (name = "health", description = "For those who run this process."),
    )
)]
pub struct Document;

/// The document of these routes, with the headers, errors and security that all of them share.
pub fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = document.components.get_or_insert_default();
    components.schemas.insert(ProblemDocument::name().into_owned(), ProblemDocument::schema());
    let mut schemas = Vec::new();
    ProblemDocument::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with("/v1/") {
            continue;
        }
        for operation in [&mut item.get].into_iter().flatten() {
            finish(operation, &[at_least()]);
        }
        for operation in [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten() {
            finish(operation, &write_parameters());
        }
    }
    document
}

fn finish(operation: &mut Operation, parameters: &[Parameter]) {
    operation.parameters.get_or_insert_default().extend(parameters.iter().cloned().map(RefOr::T));
    operation.security.get_or_insert_default().push(SecurityRequirement::new::<_, [&str; 0], &str>("bearer", []));
    operation.responses.responses.insert("default".to_owned(), RefOr::T(problem()));
}

fn problem() -> Response {
    let schema = RefOr::Ref(Ref::from_schema_name(ProblemDocument::name()));
    ResponseBuilder::new()
        .description(
            "Any error: what kind, what about this occurrence, and what a program needs to go on. The kinds are listed at /problems.",
        )
        .content(MEDIA_TYPE, Content::new(Some(schema)))
        .build()
}

fn write_parameters() -> Vec<Parameter> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let header = |name: &str, required, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(if required { Required::True } else { Required::False })
            .description(Some(description))
    };
    let key = text().min_length(Some(1)).max_length(Some(255)).pattern(Some("^[!-~]+$"));
    let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let validate = ObjectBuilder::new().schema_type(Type::Boolean);
    vec![
        header("Idempotency-Key", true, "Chosen by the caller. The same request with the same key is done once and answered alike.")
            .schema(Some(Schema::from(key)))
            .build(),
        header("If-Match", false, "On which generation of the resource it is to be done, as its `ETag` said.")
            .schema(Some(Schema::from(text())))
            .build(),
        header("Prefer", false, "`respond-async` answers at once with an operation; `wait=N` waits N seconds, 10 at most.")
            .schema(Some(Schema::from(text())))
            .build(),
        header("Cirrus-Effective-At", false, "When it happened, for tenants with the effective clock.")
            .schema(Some(Schema::from(time)))
            .build(),
        at_least(),
        ParameterBuilder::new()
            .name("validate_only")
            .parameter_in(ParameterIn::Query)
            .description(Some("Do nothing; say what would become of it."))
            .schema(Some(Schema::from(validate)))
            .build(),
    ]
}

fn at_least() -> Parameter {
    ParameterBuilder::new()
        .name("Cirrus-At-Least")
        .parameter_in(ParameterIn::Header)
        .description(Some("Position tokens, separated by commas: wait until the read models have come that far, five seconds at most."))
        .schema(Some(Schema::from(ObjectBuilder::new().schema_type(Type::String))))
        .build()
}

#[cfg(test)]
mod tests;
