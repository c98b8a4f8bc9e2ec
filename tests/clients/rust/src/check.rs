//! What a step of the walk is judged with.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use svix::Error;
use tokio::time::{Instant, sleep};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn step(name: &str) {
    println!("- {name}");
}

/// Asks until there is an answer: what is delivered is logged a little later.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {what}");
}

/// The call must have failed with this status and code, as the library's error of the API.
pub fn refused<T: Debug>(status: u16, code: &str, answer: svix::Result<T>) {
    let Err(Error::Http(error)) = &answer else {
        panic!("expected {status}, got {answer:?}");
    };
    let shown = error.payload.as_ref().expect("a body that it can read");
    assert_eq!((error.status.as_u16(), shown.code.as_str()), (status, code));
    assert!(!shown.detail.is_empty(), "an error without detail");
}

/// The same for the other error that the library tells apart.
pub fn invalid<T: Debug>(field: &str, answer: svix::Result<T>) {
    let Err(Error::Validation(error)) = &answer else {
        panic!("expected 422, got {answer:?}");
    };
    let shown = error.payload.as_ref().expect("a body that it can read");
    let first = &shown.detail[0];
    assert_eq!(error.status.as_u16(), 422);
    assert_eq!(first.loc.last().map(String::as_str), Some(field));
    assert!(
        !first.msg.is_empty() && !first.r#type.is_empty(),
        "an error that says nothing"
    );
}

pub fn s(text: &str) -> String {
    text.to_owned()
}

/// A set or a list, as the library wants it.
pub fn strings<C: FromIterator<String>>(each: &[&str]) -> C {
    each.iter().copied().map(s).collect()
}

pub fn pairs<C: FromIterator<(String, String)>>(each: &[(&str, &str)]) -> C {
    each.iter()
        .map(|(name, value)| (s(name), s(value)))
        .collect()
}
