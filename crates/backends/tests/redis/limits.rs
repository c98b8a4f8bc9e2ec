//! Reservations, pair records, rates and breakers on Redis.

mod fixture;
mod golden;
mod layout;
mod outages;

mod single {
    use super::fixture::Installation;
    use crate::support::Kind;

    postrider_core::conformance_limits!(Installation::new(Kind::Single));
}

mod cluster {
    use super::fixture::Installation;
    use crate::support::Kind;

    postrider_core::conformance_limits!(Installation::new(Kind::Cluster));
}
