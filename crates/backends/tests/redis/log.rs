//! The delivery log on Redis: its contract, and what it promises beyond it.

mod account;
mod bounds;
mod common;
mod ends;
mod events;
mod memory;
mod paging;
mod places;
mod reading;

mod single {
    use crate::store::Store;
    use crate::support::Kind;

    postrider_core::conformance_delivery_log!(Store::new(Kind::Single));
}

mod cluster {
    use crate::store::Store;
    use crate::support::Kind;

    postrider_core::conformance_delivery_log!(Store::new(Kind::Cluster));
}
