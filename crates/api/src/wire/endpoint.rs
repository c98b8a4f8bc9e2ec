//! Endpoints.

use std::collections::BTreeMap;

use postrider_core::endpoint::EndpointSecret;
use postrider_core::secret::SecretText;
use postrider_core::target::TargetPolicy;
use postrider_core::{AppId, Channel, Endpoint, EndpointId, EventTypeName, Timestamp, Uid};
use serde::Serialize;

use super::app::{metadata, not_null, patch_map};
use super::fields::{Fields, Given};
use super::headers;
use crate::error::ApiError;
use crate::validate;

/// Channels that an endpoint may listen on.
const MAX_CHANNELS: usize = 10;

/// The whole of an endpoint, for POST and PUT.
#[derive(Debug, Clone)]
pub(crate) struct EndpointIn {
    url: String,
    pub(crate) uid: Option<Uid>,
    description: String,
    event_types: Option<Vec<EventTypeName>>,
    channels: Option<Vec<Channel>>,
    disabled: bool,
    metadata: BTreeMap<String, String>,
    throttle_rate: Option<u16>,
    /// For POST.
    headers: Option<BTreeMap<String, SecretText>>,
    /// For POST.
    secret: Option<SecretText>,
}

impl EndpointIn {
    pub(crate) fn read(mut fields: Fields, policy: &TargetPolicy) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let url = fields.required_string("url")?;
        check_url(fields, policy, &url)?;
        Ok(Self {
            url,
            uid: fields.checked("uid", validate::endpoint_uid)?.value(),
            description: fields.string("description")?.value().unwrap_or_default(),
            event_types: event_types(fields)?.value(),
            channels: channels(fields, 1)?.value(),
            disabled: fields.flag("disabled")?.value().unwrap_or(false),
            metadata: metadata(fields)?.value().unwrap_or_default(),
            throttle_rate: super::throttle_rate(fields)?.value(),
            headers: headers::read(fields, "headers")?,
            secret: fields.checked("secret", validate::secret)?.value(),
        })
    }

    /// The event types that have to exist.
    pub(crate) fn event_types(&self) -> &[EventTypeName] {
        self.event_types.as_deref().unwrap_or_default()
    }

    /// An endpoint that does not exist yet. `generated` becomes its key where it brings none.
    pub(crate) fn create(
        self,
        id: EndpointId,
        app: AppId,
        generated: SecretText,
        now: Timestamp,
    ) -> Endpoint {
        Endpoint {
            id,
            app,
            uid: self.uid,
            url: self.url,
            description: self.description,
            event_types: self.event_types,
            channels: self.channels,
            disabled: self.disabled,
            metadata: self.metadata,
            headers: self.headers.unwrap_or_default(),
            throttle_rate: self.throttle_rate,
            secrets: vec![EndpointSecret {
                key: self.secret.unwrap_or(generated),
                expires_at: None,
            }],
            created_at: now,
            updated_at: now,
            created_version: 0,
            era: 0,
        }
    }

    /// Puts everything in the place of what is there, but for keys and headers, which have addresses of their own.
    pub(crate) fn replace(self, endpoint: &mut Endpoint, now: Timestamp) {
        endpoint.uid = self.uid;
        endpoint.url = self.url;
        endpoint.description = self.description;
        endpoint.event_types = self.event_types;
        endpoint.channels = self.channels;
        endpoint.metadata = self.metadata;
        endpoint.throttle_rate = self.throttle_rate;
        endpoint.updated_at = now;
        set_disabled(endpoint, self.disabled);
    }
}

/// Some of an endpoint, for PATCH.
#[derive(Debug, Clone)]
pub(crate) struct EndpointPatch {
    url: Option<String>,
    uid: Given<Uid>,
    description: Option<String>,
    event_types: Given<Vec<EventTypeName>>,
    channels: Given<Vec<Channel>>,
    disabled: Option<bool>,
    metadata: Given<BTreeMap<String, String>>,
    throttle_rate: Given<u16>,
}

impl EndpointPatch {
    pub(crate) fn read(mut fields: Fields, policy: &TargetPolicy) -> Result<Self, ApiError> {
        let fields = &mut fields;
        let url = not_null(fields, "url", |text| Ok(text.to_owned()))?;
        if let Some(url) = &url {
            check_url(fields, policy, url)?;
        }
        let disabled = match fields.flag("disabled")? {
            Given::Absent => None,
            Given::Value(disabled) => Some(disabled),
            Given::Null => return Err(fields.wrong("disabled", "must not be null")),
        };
        Ok(Self {
            url,
            uid: fields.checked("uid", validate::endpoint_uid)?,
            description: not_null(fields, "description", |text| Ok(text.to_owned()))?,
            event_types: event_types(fields)?,
            channels: channels(fields, 0)?,
            disabled,
            metadata: metadata(fields)?,
            throttle_rate: super::throttle_rate(fields)?,
        })
    }

    /// The event types that have to exist.
    pub(crate) fn event_types(&self) -> &[EventTypeName] {
        match &self.event_types {
            Given::Value(types) => types,
            Given::Absent | Given::Null => &[],
        }
    }

    pub(crate) fn apply(&self, endpoint: &mut Endpoint, now: Timestamp) {
        let patch = self.clone();
        if let Some(url) = patch.url {
            endpoint.url = url;
        }
        if let Some(description) = patch.description {
            endpoint.description = description;
        }
        patch.uid.patch(&mut endpoint.uid);
        patch.event_types.patch(&mut endpoint.event_types);
        patch.channels.patch(&mut endpoint.channels);
        patch_map(patch.metadata, &mut endpoint.metadata);
        patch.throttle_rate.patch(&mut endpoint.throttle_rate);
        endpoint.updated_at = now;
        if let Some(disabled) = patch.disabled {
            set_disabled(endpoint, disabled);
        }
    }
}

/// Disabling begins a new era, in which what waits for the endpoint is canceled.
fn set_disabled(endpoint: &mut Endpoint, disabled: bool) {
    if disabled {
        endpoint.disable();
    } else {
        endpoint.disabled = false;
    }
}

fn check_url(fields: &Fields, policy: &TargetPolicy, url: &str) -> Result<(), ApiError> {
    match policy.check_url(url) {
        Ok(_) => Ok(()),
        Err(error) => Err(fields.wrong("url", error.to_string())),
    }
}

/// `eventTypes`, or `filterTypes` as older clients call them. An empty list means all, as `null` does.
fn event_types(fields: &mut Fields) -> Result<Given<Vec<EventTypeName>>, ApiError> {
    let name = fields.either("eventTypes", "filterTypes");
    let given = fields.set(name, validate::event_type)?;
    Ok(empty_is_null(given))
}

/// `channels`: at least so many. Where none are allowed, none means all.
fn channels(fields: &mut Fields, least: usize) -> Result<Given<Vec<Channel>>, ApiError> {
    let given = fields.set("channels", validate::channel)?;
    if let Given::Value(channels) = &given
        && !(least..=MAX_CHANNELS).contains(&channels.len())
    {
        let message = format!("must name {least} to {MAX_CHANNELS} channels");
        return Err(fields.wrong("channels", message));
    }
    Ok(empty_is_null(given))
}

fn empty_is_null<T>(given: Given<Vec<T>>) -> Given<Vec<T>> {
    match given {
        Given::Value(list) if list.is_empty() => Given::Null,
        other => other,
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointOut<'a> {
    id: EndpointId,
    uid: Option<&'a Uid>,
    url: &'a str,
    description: &'a str,
    event_types: Option<&'a [EventTypeName]>,
    filter_types: Option<&'a [EventTypeName]>,
    channels: Option<&'a [Channel]>,
    disabled: bool,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    metadata: &'a BTreeMap<String, String>,
    #[serde(serialize_with = "super::time")]
    created_at: Timestamp,
    #[serde(serialize_with = "super::time")]
    updated_at: Timestamp,
    /// Means nothing; some client libraries do not read an endpoint without it.
    version: u8,
}

impl<'a> From<&'a Endpoint> for EndpointOut<'a> {
    fn from(endpoint: &'a Endpoint) -> Self {
        Self {
            id: endpoint.id,
            uid: endpoint.uid.as_ref(),
            url: &endpoint.url,
            description: &endpoint.description,
            event_types: endpoint.event_types.as_deref(),
            filter_types: endpoint.event_types.as_deref(),
            channels: endpoint.channels.as_deref(),
            disabled: endpoint.disabled,
            throttle_rate: endpoint.throttle_rate,
            rate_limit: endpoint.throttle_rate,
            metadata: &endpoint.metadata,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
            version: 1,
        }
    }
}
