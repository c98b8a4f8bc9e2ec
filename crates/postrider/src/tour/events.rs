//! What the tour sends: events as a shop's backend would send them.

use postrider_core::time::Timestamp;
use serde_json::{Value, json};

/// The event types that the tour registers, with what subscribers are told about them.
pub(super) const EVENT_TYPES: [(&str, &str); 5] = [
    ("order.paid", "An order was paid in full."),
    ("user.created", "Somebody signed up."),
    ("build.failed", "A build ended with an error."),
    ("invoice.overdue", "An invoice was not paid in time."),
    ("shipment.delivered", "A parcel reached its destination."),
];

/// Which of them the receiver refuses at first.
pub(super) const REFUSED_TYPE: &str = "invoice.overdue";
/// With what, one after the other.
pub(super) const REFUSALS: [u16; 2] = [503, 500];

/// One event.
#[derive(Debug, Clone)]
pub(super) struct TourEvent {
    pub(super) event_type: &'static str,
    pub(super) payload: Value,
}

/// One event of each type, told apart from those of other tours by `run`.
pub(super) fn events(now: Timestamp, run: &str) -> Vec<TourEvent> {
    EVENT_TYPES
        .iter()
        .map(|(event_type, _)| TourEvent {
            event_type,
            payload: json!({ "type": event_type, "timestamp": now.to_rfc3339(), "data": data(event_type, run) }),
        })
        .collect()
}

fn data(event_type: &str, run: &str) -> Value {
    match event_type {
        "order.paid" => json!({
            "id": format!("order_{run}"), "total": "129.90", "currency": "EUR",
            "lines": [{ "sku": "MUG-BLUE", "quantity": 2 }, { "sku": "TEAPOT-1L", "quantity": 1 }],
        }),
        "user.created" => {
            json!({ "id": format!("user_{run}"), "name": "Ada Winter", "plan": "team" })
        }
        "build.failed" => json!({
            "id": format!("build_{run}"), "branch": "main", "step": "integration tests", "seconds": 341,
        }),
        "invoice.overdue" => json!({
            "id": refused_id(run), "customer": "Café Österlund", "due": "2026-01-31", "open": "480.00", "currency": "EUR",
        }),
        _ => {
            json!({ "id": format!("parcel_{run}"), "carrier": "Postrider", "signed_by": "A. Winter" })
        }
    }
}

/// By which the receiver knows the event that it is to refuse.
pub(super) fn refused_id(run: &str) -> String {
    format!("invoice_{run}")
}
