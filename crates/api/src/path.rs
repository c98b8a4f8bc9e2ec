//! The identifiers in a path. Each may be Postrider's or the caller's own; a text that could be neither is a 422,
//! one that names nothing is a 404.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use postrider_core::ports::{AppKey, EndpointKey, MessageKey};
use postrider_core::{
    ApiKeyId, AppId, AttemptId, DeadLetterId, EndpointId, EventTypeName, MessageId, TaskId, Uid,
};

use crate::error::{ApiError, kind};

/// The parameters of the path, decoded.
#[derive(Debug, Clone)]
pub(crate) struct Path(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        // Fails where a parameter is not UTF-8: no name is.
        let raw = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::NotFound)?;
        let owned = raw
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(Self(owned.collect()))
    }
}

/// An identifier of Postrider's, or a name of the caller's.
enum Key<I> {
    Id(I),
    Uid(Uid),
}

impl Path {
    /// That of a request which does not come by the router.
    pub(crate) fn of(name: &str, value: &str) -> Self {
        Self(vec![(name.to_owned(), value.to_owned())])
    }

    fn text(&self, name: &str) -> Result<&str, ApiError> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or(ApiError::Internal(
                "a route lacks a parameter that it reads",
            ))
    }

    fn name(&self, name: &str) -> Result<Uid, ApiError> {
        Uid::new(self.text(name)?)
            .map_err(|error| ApiError::invalid(&["path", name], kind::VALUE, error.to_string()))
    }

    fn key<I: std::str::FromStr>(&self, name: &str, prefix: &str) -> Result<Key<I>, ApiError> {
        let uid = self.name(name)?;
        if !uid.as_str().starts_with(prefix) {
            return Ok(Key::Uid(uid));
        }
        self.id(name).map(Key::Id)
    }

    fn id<I: std::str::FromStr>(&self, name: &str) -> Result<I, ApiError> {
        let text = self.name(name)?;
        text.as_str().parse().map_err(|_| ApiError::NotFound)
    }

    pub(crate) fn app(&self) -> Result<AppKey, ApiError> {
        Ok(match self.key("app_id", AppId::PREFIX)? {
            Key::Id(id) => AppKey::Id(id),
            Key::Uid(uid) => AppKey::Uid(uid),
        })
    }

    pub(crate) fn endpoint(&self) -> Result<EndpointKey, ApiError> {
        Ok(match self.key("endpoint_id", EndpointId::PREFIX)? {
            Key::Id(id) => EndpointKey::Id(id),
            Key::Uid(uid) => EndpointKey::Uid(uid),
        })
    }

    pub(crate) fn message(&self) -> Result<MessageKey, ApiError> {
        Ok(match self.key("msg_id", MessageId::PREFIX)? {
            Key::Id(id) => MessageKey::Id(id),
            Key::Uid(uid) => MessageKey::EventId(uid),
        })
    }

    pub(crate) fn attempt(&self) -> Result<AttemptId, ApiError> {
        self.id("attempt_id")
    }

    pub(crate) fn dead_letter(&self) -> Result<DeadLetterId, ApiError> {
        self.id("dead_letter_id")
    }

    pub(crate) fn task(&self) -> Result<TaskId, ApiError> {
        self.id("task_id")
    }

    pub(crate) fn api_key(&self) -> Result<ApiKeyId, ApiError> {
        self.id("key_id")
    }

    pub(crate) fn event_type(&self) -> Result<EventTypeName, ApiError> {
        let name = "event_type_name";
        EventTypeName::new(self.text(name)?)
            .map_err(|error| ApiError::invalid(&["path", name], kind::VALUE, error.to_string()))
    }
}
