//! Documents on Redis: their contract, and what is promised beyond it.

use postrider_backends::redis::RedisDocuments;
use postrider_core::name::DocumentName;
use postrider_core::ports::{
    DocumentKind, Documents as _, Expect, NewDocument, Owner, Place, PortError, Probe as _,
};
use postrider_core::samples::NOW;

use crate::own::OwnServer;

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

fn a_document(number: u32, length: usize) -> NewDocument {
    NewDocument {
        name: DocumentName::new(&number.to_string()).unwrap(),
        until: None,
        body: "b".repeat(length),
    }
}

const fn installation(kind: DocumentKind) -> Place {
    Place {
        owner: Owner::Installation,
        kind,
    }
}

/// Whoever was locked out stays out, and what is removed makes room.
#[tokio::test]
async fn a_full_server_takes_revocations_and_nothing_else() {
    let own = OwnServer::start().await;
    let store = RedisDocuments::new(own.server());
    let tasks = installation(DocumentKind::Task);
    let put = async |place, document| store.put(NOW, place, document, Expect::Anything).await;
    for number in 0..20 {
        put(tasks, a_document(number, 20_000)).await.unwrap();
    }
    own.limit_memory(own.memory().await - 50_000).await;
    for kind in DocumentKind::ALL {
        let stored = put(installation(kind), a_document(99, 100)).await;
        match kind {
            DocumentKind::Revocation => assert!(stored.unwrap().is_some()),
            _ => assert!(matches!(stored, Err(PortError::Full { .. })), "{stored:?}"),
        }
    }
    assert!(matches!(store.probe().await, Err(PortError::Full { .. })));
    let revocations = installation(DocumentKind::Revocation);
    let name = a_document(99, 0).name;
    let found = store.get(NOW, revocations, &name).await.unwrap();
    assert_eq!(found.map(|found| found.body.len()), Some(100));
    for number in 0..20 {
        let name = a_document(number, 0).name;
        assert!(store.delete(NOW, tasks, &name).await.unwrap());
    }
    put(tasks, a_document(99, 100)).await.unwrap();
}
