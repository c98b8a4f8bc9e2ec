//! A registry as a file: lines of JSON, so that it can be read, searched and mended with a text editor.
//!
//! ```text
//! {"format":"postrider-registry","version":1,"product":"postrider 0.1.0"}
//! {"kind":"event_type","org":"org_…","name":"order.paid",…}
//! {"kind":"application","id":"app_…","org":"org_…",…}
//! {"kind":"endpoint","id":"ep_…","app":"app_…","secrets":[…],…}
//! {"kind":"end","records":3}
//! ```
//!
//! The last line is why a file that was cut off is not taken for a whole one: whoever declared such an import complete
//! would lose what is missing. A release reads its own format version and every older one; fields that it
//! does not know are an addition of a newer release within one version, and skipped. **Secrets are in it, as they are.**

use serde::{Deserialize, Serialize};

use crate::ports::RegistryRecord;

const FORMAT: &str = "postrider-registry";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    product: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "end")]
struct End {
    records: u64,
}

/// Why a file is not a whole registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFileError {
    #[error("line 1 is not the header of an exported registry")]
    Header,
    #[error("the file has format version {0}, which this release does not know; use a newer one")]
    TooNew(u32),
    #[error("line {line} is not a record: {cause}")]
    Record { line: u64, cause: serde_json::Error },
    #[error("line {line} follows the end of the file")]
    BehindEnd { line: u64 },
    #[error("the file was cut off, or changed: it ends after {found} records")]
    CutOff { found: u64 },
}

/// Makes the lines of a file, without line breaks.
#[derive(Debug, Default)]
pub struct RegistryFileWriter {
    records: u64,
}

impl RegistryFileWriter {
    /// The first line. `product` says what wrote the file, for people.
    #[must_use]
    pub fn header(&self, product: &str) -> String {
        line(&Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            product: product.to_owned(),
        })
    }

    pub fn record(&mut self, record: &RegistryRecord) -> String {
        self.records += 1;
        line(record)
    }

    /// The last line.
    #[must_use]
    pub fn end(&self) -> String {
        line(&End {
            records: self.records,
        })
    }
}

#[expect(
    clippy::expect_used,
    reason = "all keys are texts, and nothing here writes to anything that could fail"
)]
fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it can be written as JSON")
}

/// Reads the lines of a file, one after the other.
#[derive(Debug, Default)]
pub struct RegistryFileReader {
    lines: u64,
    records: u64,
    end: Option<u64>,
}

impl RegistryFileReader {
    /// The record in the next line; `None` in the first and the last one.
    ///
    /// # Errors
    /// Where it is neither: nothing that follows can be trusted.
    pub fn line(&mut self, text: &str) -> Result<Option<RegistryRecord>, RegistryFileError> {
        self.lines += 1;
        if self.lines == 1 {
            return check_header(text).map(|()| None);
        }
        if self.end.is_some() {
            return Err(RegistryFileError::BehindEnd { line: self.lines });
        }
        if let Ok(end) = serde_json::from_str::<End>(text) {
            self.end = Some(end.records);
            return Ok(None);
        }
        let told = |cause| RegistryFileError::Record {
            line: self.lines,
            cause,
        };
        let record = serde_json::from_str(text).map_err(told)?;
        self.records += 1;
        Ok(Some(record))
    }

    /// To be called after the last line. Returns how many records there were.
    ///
    /// # Errors
    /// Where the file is not whole.
    pub fn finish(self) -> Result<u64, RegistryFileError> {
        if self.end == Some(self.records) {
            return Ok(self.records);
        }
        Err(RegistryFileError::CutOff {
            found: self.records,
        })
    }
}

fn check_header(text: &str) -> Result<(), RegistryFileError> {
    match serde_json::from_str::<Header>(text) {
        Ok(header) if header.format != FORMAT => Err(RegistryFileError::Header),
        Ok(header) if header.version > VERSION => Err(RegistryFileError::TooNew(header.version)),
        Ok(_) => Ok(()),
        Err(_) => Err(RegistryFileError::Header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_type::EventType;
    use crate::id::{AppId, OrgId};
    use crate::name::{EventTypeName, Uid};
    use crate::samples;

    fn records() -> Vec<RegistryRecord> {
        let org = OrgId::from_bytes([1; 20]);
        let mut app = samples::application(org, AppId::from_bytes([2; 20]));
        app.uid = Some(Uid::new("acme").unwrap());
        app.metadata.insert("a\nb".to_owned(), "\u{0}".to_owned());
        app.version = (1 << 53) - 1;
        let event_type = EventType {
            org,
            name: EventTypeName::new("order.paid").unwrap(),
            description: "Grüße".to_owned(),
            archived: false,
            deprecated: true,
            schemas: Some("{}".to_owned()),
            validate_payload: true,
            feature_flags: vec!["beta".to_owned()],
            group_name: None,
            created_at: samples::NOW,
            updated_at: samples::NOW,
            version: 3,
        };
        vec![
            RegistryRecord::EventType(event_type),
            RegistryRecord::Application(app),
            RegistryRecord::Endpoint(samples::endpoint()),
        ]
    }

    fn file() -> Vec<String> {
        let mut writer = RegistryFileWriter::default();
        let mut lines = vec![writer.header("postrider 0.1.0")];
        lines.extend(records().iter().map(|record| writer.record(record)));
        lines.push(writer.end());
        lines
    }

    fn read(lines: &[String]) -> Result<Vec<RegistryRecord>, RegistryFileError> {
        let mut reader = RegistryFileReader::default();
        let mut found = Vec::new();
        for line in lines {
            found.extend(reader.line(line)?);
        }
        reader.finish()?;
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read() {
        let lines = file();
        assert!(lines.iter().all(|line| !line.contains('\n')));
        assert_eq!(read(&lines).unwrap(), records());
    }

    /// Backups outlive releases: what is read here was written by the first one.
    #[test]
    fn the_format_stands() {
        let lines = file();
        assert_eq!(
            lines[0],
            r#"{"format":"postrider-registry","version":1,"product":"postrider 0.1.0"}"#
        );
        let text = r#"{"kind":"endpoint","id":"ep_0aZzq9yQDxYiRyxFSpJUs0mNvYq","app":"app_0aZzq9yQDxYiRyxFSpJUs0mNvYq","uid":null,"url":"https://a.example","description":"","event_types":["order.paid"],"channels":null,"disabled":false,"metadata":{},"headers":{"authorization":"Bearer 1"},"throttle_rate":null,"secrets":[{"key":"whsec_x","expires_at":null}],"created_at":1,"updated_at":2,"created_version":3,"era":0,"of_a_later_release":[1]}"#;
        let before = r#"{"kind":"event_type","org":"org_0aZzq9yQDxYiRyxFSpJUs0mNvYq","name":"order.paid","description":"","archived":false,"deprecated":false,"schemas":null,"feature_flags":[],"group_name":null,"created_at":1,"updated_at":2,"version":3}"#;
        let mut reader = RegistryFileReader::default();
        reader.line(&lines[0]).unwrap();
        let record = reader.line(before).unwrap();
        assert!(matches!(record, Some(RegistryRecord::EventType(kind)) if !kind.validate_payload));
        let record = reader.line(text).unwrap();
        assert!(matches!(record, Some(RegistryRecord::Endpoint(endpoint))
            if endpoint.secrets[0].key.expose() == "whsec_x" && endpoint.created_version == 3));
        assert_eq!(lines[4], r#"{"kind":"end","records":3}"#);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let lines = file();
        for missing in 0..lines.len() {
            let mut cut = lines.clone();
            cut.remove(missing);
            assert!(read(&cut).is_err(), "without line {missing}");
        }
        for length in 0..lines.len() {
            assert!(read(&lines[..length]).is_err(), "{length} lines");
        }
        let twice = [lines.clone(), lines.clone()].concat();
        assert!(matches!(
            read(&twice),
            Err(RegistryFileError::BehindEnd { line: 6 })
        ));
        let mut newer = lines.clone();
        newer[0] = newer[0].replace(":1,", ":2,");
        assert!(matches!(read(&newer), Err(RegistryFileError::TooNew(2))));
        let mut damaged = lines;
        damaged[2].truncate(20);
        assert!(matches!(
            read(&damaged),
            Err(RegistryFileError::Record { line: 3, .. })
        ));
    }
}
