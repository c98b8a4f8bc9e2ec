//! One operation: a method on a path, what it takes and what it answers.

use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Ref, Required, Response, ResponseBuilder};

use super::errors;
use super::kinds::{Kind, flag_or, id, name, refer, some_text, time, told};

pub(super) const JSON: &str = "application/json";
/// The name of the one way to say who is calling.
pub(super) const BEARER: &str = "bearer";

/// Who may call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Anybody,
    Operators,
    Consumers,
}

/// An operation, and where it is.
pub(super) struct Op {
    pub(super) path: &'static str,
    pub(super) methods: Vec<HttpMethod>,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    callers: For,
    query: Vec<(&'static str, Kind)>,
    body: Option<(&'static str, Required)>,
    answers: Vec<(u16, Answer)>,
    errors: Vec<u16>,
}

enum Answer {
    Empty,
    Json(&'static str),
    Other(&'static str),
}

impl Op {
    fn new(
        method: HttpMethod,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            path,
            methods: vec![method],
            id,
            tag: "",
            summary,
            callers: For::Operators,
            query: Vec::new(),
            body: None,
            answers: Vec::new(),
            errors: errors::OF_EVERY.to_vec(),
        }
    }

    pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(HttpMethod::Get, path, id, summary)
    }

    pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(HttpMethod::Post, path, id, summary)
    }

    pub(super) fn put(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(HttpMethod::Put, path, id, summary)
    }

    pub(super) fn patch(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(HttpMethod::Patch, path, id, summary)
    }

    pub(super) fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(HttpMethod::Delete, path, id, summary)
    }

    /// HEAD does the same without a body.
    pub(super) fn and_head(mut self) -> Self {
        self.methods.push(HttpMethod::Head);
        self
    }

    pub(super) fn tagged(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// Consumers may call it, too.
    pub(super) fn for_consumers(mut self) -> Self {
        self.callers = For::Consumers;
        self
    }

    /// No token is asked for; these errors are all that there are.
    pub(super) fn for_anybody(mut self, errors: &[u16]) -> Self {
        self.callers = For::Anybody;
        self.errors = errors.to_vec();
        self
    }

    pub(super) fn query(mut self, name: &'static str, kind: Kind) -> Self {
        self.query.push((name, kind));
        self
    }

    /// A list: `limit` and `iterator`.
    pub(super) fn paged(self) -> Self {
        let limit = super::kinds::or(super::kinds::between(0, 250), 50);
        let iterator = told(
            some_text(None),
            "`iterator` or `prevIterator` of an earlier page.",
        );
        self.query("limit", limit).query("iterator", iterator)
    }

    /// A list in an order that can be turned round.
    pub(super) fn ordered(self) -> Self {
        self.paged().query("order", refer("Ordering"))
    }

    pub(super) fn before_and_after(self) -> Self {
        self.query("before", time()).query("after", time())
    }

    pub(super) fn with_content(self, default: bool) -> Self {
        self.query("with_content", flag_or(default))
    }

    pub(super) fn takes(mut self, schema: &'static str) -> Self {
        self.body = Some((schema, Required::True));
        self
    }

    /// The body may be left out.
    pub(super) fn may_take(mut self, schema: &'static str) -> Self {
        self.body = Some((schema, Required::False));
        self
    }

    pub(super) fn answers(mut self, status: u16, schema: &'static str) -> Self {
        self.answers.push((status, Answer::Json(schema)));
        self
    }

    pub(super) fn answers_empty(mut self) -> Self {
        self.answers.push((204, Answer::Empty));
        self
    }

    pub(super) fn answers_as(mut self, content_type: &'static str) -> Self {
        self.answers.push((200, Answer::Other(content_type)));
        self
    }

    /// For a HEAD beside a GET there is another identifier.
    pub(super) fn operation(&self, method: &HttpMethod) -> Operation {
        let id = match method {
            HttpMethod::Head => format!("{}.head", self.id),
            _ => self.id.to_owned(),
        };
        let operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tag(self.tag)
            .summary(Some(self.summary))
            .description(self.description())
            .parameters(Some(self.parameters()))
            .request_body(self.request_body());
        let operation = match self.callers {
            For::Anybody => operation.security(SecurityRequirement::default()),
            For::Operators | For::Consumers => {
                operation.security(SecurityRequirement::new(BEARER, [""; 0]))
            }
        };
        let told = self.answers.iter();
        let operation = told.fold(operation, |operation, (status, answer)| {
            operation.response(status.to_string(), response(*status, answer))
        });
        let errors = self.errors.iter().chain(self.errors_of_body());
        errors
            .fold(operation, |operation, status| {
                let shared = Ref::from_response_name(errors::name(*status));
                operation.response(status.to_string(), shared)
            })
            .build()
    }

    fn description(&self) -> Option<&'static str> {
        match self.callers {
            For::Anybody => None,
            For::Operators => Some("For operators."),
            For::Consumers => Some("For operators and consumers."),
        }
    }

    fn errors_of_body(&self) -> impl Iterator<Item = &u16> + use<'_> {
        let some = self.body.is_some() || self.methods.contains(&HttpMethod::Post);
        errors::OF_BODIES.iter().filter(move |_| some)
    }

    fn parameters(&self) -> Vec<Parameter> {
        let in_path = self.path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some(parameter(ParameterIn::Path, name, in_path(name)))
        });
        let query = self.query.iter();
        let in_query = query.map(|(name, kind)| parameter(ParameterIn::Query, name, kind.clone()));
        let posts = self.methods.contains(&HttpMethod::Post) && self.callers != For::Anybody;
        let key = posts.then(|| {
            let about = "A repetition with the same key is answered as the first was.";
            let kind = told(some_text(Some(256)), about);
            parameter(ParameterIn::Header, "idempotency-key", kind)
        });
        in_path.chain(in_query).chain(key).collect()
    }

    fn request_body(&self) -> Option<RequestBody> {
        let (schema, required) = self.body.clone()?;
        let content = ContentBuilder::new().schema(Some(refer(schema))).build();
        let body = RequestBodyBuilder::new().content(JSON, content);
        Some(body.required(Some(required)).build())
    }
}

fn parameter(place: ParameterIn, name: &str, kind: Kind) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(kind))
        .build()
}

/// What may stand in the place of a parameter of the path.
fn in_path(parameter: &str) -> Kind {
    use postrider_core::{ApiKeyId, AttemptId, DeadLetterId, TaskId};
    match parameter {
        "attempt_id" => id(AttemptId::PREFIX),
        "dead_letter_id" => id(DeadLetterId::PREFIX),
        "key_id" => id(ApiKeyId::PREFIX),
        "task_id" => id(TaskId::PREFIX),
        "event_type_name" => name(),
        "msg_id" => told(name(), "Its identifier or `eventId`."),
        _ => told(name(), "Its identifier or uid."),
    }
}

fn response(status: u16, answer: &Answer) -> Response {
    let (content_type, schema) = match answer {
        Answer::Empty => return ResponseBuilder::new().description("Done.").build(),
        Answer::Json(schema) => (JSON, Some(refer(schema))),
        Answer::Other(content_type) => (*content_type, None::<Kind>),
    };
    let description = match status {
        201 => "Created.",
        202 => "Accepted.",
        _ => "Found, or done.",
    };
    let content = ContentBuilder::new().schema(schema).build();
    ResponseBuilder::new()
        .description(description)
        .content(content_type, content)
        .build()
}
