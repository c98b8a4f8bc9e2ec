//! Records to bytes and back.
//!
//! Each begins with a byte for its format. What scripts need to know of a record stands before the rest at fixed
//! places; the rest is MessagePack with field names, so that later releases can add some.

use postrider_core::application::Application;
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, OrgId};
use postrider_core::name::Uid;
use postrider_core::ports::PortError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PART;

const FORMAT: u8 = 1;
const APPLICATION: &str = "the record of an application";
const ENDPOINT: &str = "the record of an endpoint";
const EVENT_TYPE: &str = "the record of an event type";
const CLAIM: &str = "the claim to a uid";

pub(super) fn corrupt(what: &str, cause: impl std::fmt::Display) -> PortError {
    PortError::Corrupt {
        part: PART,
        cause: format!("{what}: {cause}"),
    }
}

fn pack<T: Serialize>(what: &str, record: &T) -> Result<Vec<u8>, PortError> {
    rmp_serde::to_vec_named(record)
        .map_err(|cause| PortError::Invalid(format!("{what} cannot be written: {cause}")))
}

fn unpack<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, PortError> {
    rmp_serde::from_slice(bytes).map_err(|cause| corrupt(what, cause))
}

/// What follows the format.
fn body<'b>(what: &str, bytes: &'b [u8]) -> Result<&'b [u8], PortError> {
    match bytes.split_first() {
        Some((&FORMAT, body)) => Ok(body),
        Some((format, _)) => Err(corrupt(what, format_args!("unknown format {format}"))),
        None => Err(corrupt(what, "it is empty")),
    }
}

/// Takes a part of fixed length off the front.
fn front<'b, const N: usize>(what: &str, bytes: &mut &'b [u8]) -> Result<&'b [u8; N], PortError> {
    let (front, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| corrupt(what, "it is cut off"))?;
    *bytes = rest;
    Ok(front)
}

/// Format, organisation, record.
pub(super) fn from_app(app: &Application) -> Result<Vec<u8>, PortError> {
    let record = pack(APPLICATION, app)?;
    Ok([&[FORMAT][..], app.org.as_bytes(), &record].concat())
}

/// `version` is where the application stands: it grows with its endpoints, too, which leave the record alone.
pub(super) fn to_app(version: u64, bytes: &[u8]) -> Result<Application, PortError> {
    let mut rest = body(APPLICATION, bytes)?;
    front::<20>(APPLICATION, &mut rest)?;
    let mut app: Application = unpack(APPLICATION, rest)?;
    app.version = version;
    Ok(app)
}

/// Format, `created_version`, length of the uid, uid, record.
pub(super) fn from_endpoint(endpoint: &Endpoint) -> Result<Vec<u8>, PortError> {
    let uid = endpoint.uid.as_ref().map_or("", Uid::as_str);
    let length = u16::try_from(uid.len())
        .map_err(|_| PortError::Invalid("the uid is too long".to_owned()))?;
    let record = pack(ENDPOINT, endpoint)?;
    let parts: [&[u8]; 5] = [
        &[FORMAT],
        &endpoint.created_version.to_be_bytes(),
        &length.to_be_bytes(),
        uid.as_bytes(),
        &record,
    ];
    Ok(parts.concat())
}

pub(super) fn to_endpoint(bytes: &[u8]) -> Result<Endpoint, PortError> {
    let mut rest = body(ENDPOINT, bytes)?;
    let created = u64::from_be_bytes(*front(ENDPOINT, &mut rest)?);
    let uid = usize::from(u16::from_be_bytes(*front(ENDPOINT, &mut rest)?));
    let record = rest
        .get(uid..)
        .ok_or_else(|| corrupt(ENDPOINT, "it is cut off"))?;
    let mut endpoint: Endpoint = unpack(ENDPOINT, record)?;
    endpoint.created_version = created;
    Ok(endpoint)
}

/// Format, version, record.
pub(super) fn from_event_type(event_type: &EventType) -> Result<Vec<u8>, PortError> {
    let record = pack(EVENT_TYPE, event_type)?;
    Ok([&[FORMAT][..], &event_type.version.to_be_bytes(), &record].concat())
}

pub(super) fn to_event_type(bytes: &[u8]) -> Result<EventType, PortError> {
    let mut rest = body(EVENT_TYPE, bytes)?;
    let version = u64::from_be_bytes(*front(EVENT_TYPE, &mut rest)?);
    let mut event_type: EventType = unpack(EVENT_TYPE, rest)?;
    event_type.version = version;
    Ok(event_type)
}

/// Who claims a uid, and the version of the change that claimed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) app: AppId,
    pub(super) version: u64,
}

/// Application, version, a space, when it was made.
pub(super) fn to_claim(bytes: &[u8]) -> Result<Claim, PortError> {
    let mut rest = bytes;
    let app = AppId::from_bytes(*front(CLAIM, &mut rest)?);
    let version = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    Ok(Claim {
        app,
        version: decimal(CLAIM, version)?,
    })
}

/// Members like intents and changes: an application and a version.
pub(super) fn to_app_version(bytes: &[u8]) -> Result<(AppId, u64), PortError> {
    const WHAT: &str = "a change";
    let mut rest = bytes;
    let app = AppId::from_bytes(*front(WHAT, &mut rest)?);
    Ok((app, decimal(WHAT, rest)?))
}

pub(super) fn from_app_version(app: AppId, version: u64) -> Vec<u8> {
    [&app.as_bytes()[..], version.to_string().as_bytes()].concat()
}

/// Members of the list of all applications.
pub(super) fn to_app_of_org(bytes: &[u8]) -> Result<(AppId, OrgId), PortError> {
    const WHAT: &str = "the list of all applications";
    let mut rest = bytes;
    let app = AppId::from_bytes(*front(WHAT, &mut rest)?);
    Ok((app, OrgId::from_bytes(*front(WHAT, &mut rest)?)))
}

/// Members of the list of organisations whose event types have changed.
pub(super) fn to_org(bytes: &[u8]) -> Result<OrgId, PortError> {
    let mut rest = bytes;
    Ok(OrgId::from_bytes(*front("an organisation", &mut rest)?))
}

pub(super) fn decimal(what: &str, bytes: &[u8]) -> Result<u64, PortError> {
    let text = std::str::from_utf8(bytes).map_err(|cause| corrupt(what, cause))?;
    text.parse().map_err(|cause| corrupt(what, cause))
}

/// An application's entry in its organisation's list: entries of one application follow one another.
pub(super) fn entry(app: AppId, version: u64) -> Vec<u8> {
    [&app.as_bytes()[..], &version.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::id::EndpointId;
    use postrider_core::samples;

    fn app() -> Application {
        let (org, id) = (OrgId::from_bytes([7; 20]), AppId::from_bytes([8; 20]));
        samples::application(org, id)
    }

    #[test]
    fn scripts_find_what_they_look_for() {
        let app = from_app(&app()).unwrap();
        assert_eq!(app[1..21], [7; 20]);
        let mut endpoint = samples::endpoint_of(AppId::MIN, EndpointId::MIN);
        endpoint.created_version = 0x0102;
        endpoint.uid = Some(Uid::new(&"u".repeat(256)).unwrap());
        let bytes = from_endpoint(&endpoint).unwrap();
        assert_eq!(bytes[1..9], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(bytes[9..11], [1, 0]);
        assert_eq!(bytes[11..267], [b'u'; 256]);
        assert_eq!(to_endpoint(&bytes).unwrap(), endpoint);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let app = app();
        let whole = from_app(&app).unwrap();
        assert_eq!(to_app(app.version, &whole).unwrap(), app);
        for length in 0..whole.len() {
            let error = to_app(1, &whole[..length]).unwrap_err();
            assert!(matches!(&error, PortError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains(APPLICATION), "{error}");
        }
        let mut later = whole;
        later[0] = 9;
        let error = to_app(1, &later).unwrap_err();
        assert!(error.to_string().contains("unknown format 9"), "{error}");
    }

    #[test]
    fn claims_and_changes_are_told_apart() {
        let app = AppId::from_bytes([0x20; 20]);
        let claim = [&app.as_bytes()[..], b"1700000000000001 55"].concat();
        let version = 1_700_000_000_000_001;
        assert_eq!(to_claim(&claim).unwrap(), Claim { app, version });
        let change = [&app.as_bytes()[..], b"1700000000000001"].concat();
        assert_eq!(to_app_version(&change).unwrap(), (app, version));
        assert!(to_app_version(&claim).is_err());
    }
}
