//! One operation of the management API: what is said of it in the OpenAPI document, and what guards it.

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use http::StatusCode;
use kea_core::policy::Verb as Permitted;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use crate::ApiState;

/// Makes the schema of a type, or a reference to it.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Groups of operations, named after the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    RequestRouter,
    ServiceDeployer,
    Authenticator,
    OpenAPIGenerator,
    Logger,
    Health,
}

impl Tag {
    /// All of them, in the order of the document.
    pub(crate) const ALL: [Self; 6] = [
        Self::ServiceDeployer,
        Self::Authenticator,
        Self::OpenAPIGenerator,
        Self::Logger,
        Self::RequestRouter,
        Self::Health,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RequestRouter => "RequestRouter",
            Self::ServiceDeployer => "ServiceDeployer",
            Self::Authenticator => "Authenticator",
            Self::OpenAPIGenerator => "OpenAPIGenerator",
            Self::Logger => "Logger",
            Self::Health => "Health",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::RequestRouter => "Routes and validates requests, with caching.",
            Self::ServiceDeployer => "Deploys and manages ML services.",
            Self::Authenticator => "Handles authentication and RBAC.",
            Self::OpenAPIGenerator => "Generates schemas.",
            Self::Logger => "Collects and provides logs.",
            Self::Health => "Tells how KEA itself is.",
        }
    }
}

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Callers with a token.
    Token,
    /// Callers with a token, and everybody where the service is public.
    TokenUnlessPublic,
    /// The gateway decides, by the same rule.
    Gateway,
    /// Everybody.
    Open,
}

/// What a caller must be allowed to do, to be let in by an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Not said: nobody but an admin is let in.
    All,
    /// Nothing but to be who they are.
    Nothing,
    /// That, about all of KEA.
    OfKea(Permitted),
    /// That, with the service of the path.
    OfPath(Permitted),
    /// That, with the service that the body or the query names: the handler asks. Who may with none is told at once.
    OfRequest(Permitted),
    /// To see at least one service: the handler shows no others.
    List,
}

/// The body that an operation takes.
pub(crate) struct Body {
    pub(crate) schema: SchemaOf,
    pub(crate) example: Value,
}

/// The answer of an operation that succeeds.
pub(crate) struct Success {
    pub(crate) status: StatusCode,
    pub(crate) description: &'static str,
    /// Content types, each with its schema.
    pub(crate) content: Vec<(&'static str, SchemaOf)>,
    /// Headers, each with what it means.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

/// The methods that operations have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    /// The document's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// One operation.
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    pub(crate) path: String,
    pub(crate) tag: Tag,
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: Option<&'static str>,
    pub(crate) access: Access,
    pub(crate) needs: Needs,
    pub(crate) query: Option<SchemaOf>,
    pub(crate) body: Option<Body>,
    pub(crate) success: Success,
    /// Statuses of its own, beside those that follow from what it takes.
    pub(crate) also: Vec<StatusCode>,
}

impl Operation {
    /// An operation that needs a token and answers 204 until more is said.
    pub(crate) fn new(verb: Verb, path: impl Into<String>, tag: Tag, id: &'static str) -> Self {
        let success =
            Success { status: StatusCode::NO_CONTENT, description: "Done.", content: Vec::new(), headers: Vec::new() };
        Self {
            verb,
            path: path.into(),
            tag,
            id,
            summary: "",
            description: None,
            access: Access::Token,
            needs: Needs::All,
            query: None,
            body: None,
            success,
            also: Vec::new(),
        }
    }

    pub(crate) fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    pub(crate) fn description(self, description: &'static str) -> Self {
        Self { description: Some(description), ..self }
    }

    pub(crate) fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    pub(crate) fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// Takes the properties of `Q` as query parameters.
    pub(crate) fn query<Q: JsonSchema>(self) -> Self {
        Self { query: Some(Q::json_schema), ..self }
    }

    /// Takes a JSON body.
    pub(crate) fn takes<T: JsonSchema>(self, example: Value) -> Self {
        Self { body: Some(Body { schema: SchemaGenerator::subschema_for::<T>, example }), ..self }
    }

    /// Answers JSON.
    pub(crate) fn answers<T: JsonSchema>(self, status: StatusCode, description: &'static str) -> Self {
        self.answers_nothing(status, description).or::<T>("application/json")
    }

    /// Answers text of that type.
    pub(crate) fn answers_text(self, content_type: &'static str, description: &'static str) -> Self {
        self.answers_nothing(StatusCode::OK, description).or::<String>(content_type)
    }

    /// Answers without a body.
    pub(crate) fn answers_nothing(mut self, status: StatusCode, description: &'static str) -> Self {
        self.success = Success { status, description, ..self.success };
        self
    }

    /// Answers another content type too.
    pub(crate) fn or<T: JsonSchema>(mut self, content_type: &'static str) -> Self {
        self.success.content.push((content_type, SchemaGenerator::subschema_for::<T>));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, meaning: &'static str) -> Self {
        self.success.headers.push((name, meaning));
        self
    }

    pub(crate) fn also(self, also: &[StatusCode]) -> Self {
        Self { also: also.to_vec(), ..self }
    }

    /// Whether it changes something, so that the audit trail tells it as a change: all but reads, checks and calls.
    pub(crate) fn changes(&self) -> bool {
        let only_asks = ["validateRequest", "predict", "callFunction", "login"].contains(&self.id);
        self.verb != Verb::Get && !only_asks
    }

    /// Names of its query parameters.
    pub(crate) fn query_names(&self) -> Vec<String> {
        let schema = self.query.map(|schema| schema(&mut SchemaGenerator::default()));
        let properties = schema.as_ref().and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }

    /// Together with the handler that carries it out.
    pub(crate) fn by<H, T>(self, handler: H) -> Route
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        Route { handler: on(self.verb.filter(), handler), operation: self }
    }
}

/// An operation and its handler.
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) handler: MethodRouter<ApiState>,
}
