//! Documents on Redis.

mod single {
    use crate::store::Store;
    use crate::support::Kind;

    postrider_core::conformance_documents!(Store::new(Kind::Single));
}

mod cluster {
    use crate::store::Store;
    use crate::support::Kind;

    postrider_core::conformance_documents!(Store::new(Kind::Cluster));
}
