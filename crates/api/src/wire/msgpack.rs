//! MessagePack as the JSON that says the same, so that nothing behind it has to know of two forms.
//!
//! Text goes over as it is, in the order in which it stands, as a payload has to. What JSON cannot say is refused instead of
//! being rendered somehow: binary data, extensions (times among them), keys that are no strings, and numbers that are none.

use std::fmt;
use std::io::Cursor;

use bytes::Bytes;
use rmp_serde::decode::{Deserializer, Error};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::json;
use crate::error::{ApiError, kind};

/// Read no deeper than that, so that the stack suffices. What is allowed is less, and found out with the JSON.
const MAX_DEPTH: usize = 2 * json::MAX_DEPTH;

/// A body as JSON, of no more than `limit` bytes.
pub(crate) fn to_json(body: &[u8], limit: usize) -> Result<Bytes, ApiError> {
    let mut reader = Deserializer::new(Cursor::new(body));
    reader.set_max_depth(MAX_DEPTH);
    let mut text = Vec::with_capacity(body.len());
    let written = Json {
        text: &mut text,
        limit,
    }
    .deserialize(&mut reader);
    match written {
        Ok(()) if reader.position() < body.len() as u64 => {
            let at = reader.position();
            Err(malformed(&format!("something follows behind byte {at}")))
        }
        Ok(()) => Ok(text.into()),
        Err(_) if text.len() > limit => Err(ApiError::TooLarge { limit }),
        Err(Error::DepthLimitExceeded) => Err(json::too_deep()),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

fn malformed(cause: &str) -> ApiError {
    let message = format!("the body is not MessagePack that can be said in JSON: {cause}");
    ApiError::invalid(&["body"], kind::VALUE, message)
}

/// Writes one value.
struct Json<'a> {
    text: &'a mut Vec<u8>,
    limit: usize,
}

impl Json<'_> {
    const fn next(&mut self) -> Json<'_> {
        Json {
            text: self.text,
            limit: self.limit,
        }
    }

    fn put<E: de::Error>(self, value: &impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(&mut *self.text, value).map_err(E::custom)?;
        self.fits()
    }

    fn fits<E: de::Error>(&self) -> Result<(), E> {
        if self.text.len() > self.limit {
            return Err(E::custom("it is too long"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something that JSON has, too: no binary data and no extension")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.put(&())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.put(&value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.put(&value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.put(&value)
    }

    /// Its own digits, not those of the nearest number of twice the size.
    fn visit_f32<E: de::Error>(self, value: f32) -> Result<(), E> {
        if !value.is_finite() {
            return Err(E::custom("a number is not finite"));
        }
        self.put(&value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        if !value.is_finite() {
            return Err(E::custom("a number is not finite"));
        }
        self.put(&value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.put(&value)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.text.push(b'[');
        let mut is_first = true;
        loop {
            let before = self.text.len();
            if !is_first {
                self.text.push(b',');
            }
            if list.next_element_seed(self.next())?.is_none() {
                self.text.truncate(before);
                break;
            }
            is_first = false;
        }
        self.text.push(b']');
        self.fits()
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.text.push(b'{');
        let mut is_first = true;
        while let Some(key) = map.next_key::<String>()? {
            if !is_first {
                self.text.push(b',');
            }
            is_first = false;
            self.next().put::<A::Error>(&key)?;
            self.text.push(b':');
            map.next_value_seed(self.next())?;
        }
        self.text.push(b'}');
        self.fits()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn json_of(body: &[u8]) -> Result<String, String> {
        let text = to_json(body, LIMIT).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(text.to_vec()).unwrap())
    }

    fn packed(value: &impl serde::Serialize) -> Vec<u8> {
        rmp_serde::to_vec_named(value).unwrap()
    }

    #[test]
    fn the_order_of_fields_and_the_digits_of_numbers_stay() {
        // {"b": 0.1 (32 bits), "a": [null, true, -1, 18446744073709551615, 1.5], "ü\n": "\""}
        let mut body = vec![0x83, 0xa1, b'b', 0xca];
        body.extend(0.1f32.to_be_bytes());
        body.extend([0xa1, b'a', 0x95, 0xc0, 0xc3, 0xff, 0xcf]);
        body.extend(u64::MAX.to_be_bytes());
        body.push(0xcb);
        body.extend(1.5f64.to_be_bytes());
        body.extend([0xa3, 0xc3, 0xbc, b'\n', 0xa1, b'"']);
        let expected = r#"{"b":0.1,"a":[null,true,-1,18446744073709551615,1.5],"ü\n":"\""}"#;
        assert_eq!(json_of(&body).unwrap(), expected);
        assert_eq!(json_of(&[0x80]).unwrap(), "{}");
        assert_eq!(json_of(&[0x90]).unwrap(), "[]");
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let cases: [(&[u8], &str); 10] = [
            (&[0xc4, 1, 0], "binary data"),
            (&[0xd6, 0xff, 0, 0, 0, 0], "extension"),
            (&[0x81, 0x01, 0xc0], "string"),
            (&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "not finite"),
            (&[0xca, 0x7f, 0x80, 0, 0], "not finite"),
            (&[0xa1, 0xff], "utf8"),
            (&[0x81, 0xa1, b'a'], "marker"),
            (&[0xdb, 0xff, 0xff, 0xff, 0xff], "MessagePack"),
            (&[0xc0, 0xc0], "behind byte 1"),
            (&[], "marker"),
        ];
        for (body, why) in cases {
            let error = json_of(body).unwrap_err();
            assert!(error.contains(why), "{body:x?}: {error}");
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused_before_it_is_all_read() {
        let deep = vec![0x91; 100_000];
        assert_eq!(json_of(&deep).unwrap_err(), json::too_deep().to_string());
        // Six times as long as JSON.
        let long = packed(&"\u{1}".repeat(LIMIT / 2));
        assert!(matches!(
            to_json(&long, LIMIT),
            Err(ApiError::TooLarge { .. })
        ));
        let lists = packed(&vec![[(); 0]; LIMIT / 2]);
        assert!(matches!(
            to_json(&lists, LIMIT),
            Err(ApiError::TooLarge { .. })
        ));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("JSON has no other", |number| number.is_finite())
                .prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
            let object = prop::collection::btree_map(".{0,4}", inner, 0..4);
            let object = object.prop_map(|fields| json!(fields));
            prop_oneof![list, object]
        })
    }

    proptest! {
        #[test]
        fn what_was_json_is_the_same_json_again(value in any_json()) {
            let text = json_of(&packed(&value)).unwrap();
            prop_assert_eq!(text, value.to_string());
        }

        #[test]
        fn whatever_comes_is_json_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(text) = json_of(&body) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            }
        }
    }
}
