//! The delivery log on Redis.

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
