//! The registry on Redis.

mod installation;

use installation::Installation;

mod single {
    use super::*;
    use crate::support::Kind;

    postrider_core::conformance_registry!(Installation::new(Kind::Single));
}

mod cluster {
    use super::*;
    use crate::support::Kind;

    postrider_core::conformance_registry!(Installation::new(Kind::Cluster));
}
