use serde_json::{Value, json};

use crate::support::Server;

const APPS: &str = "/api/v1/app";

#[tokio::test]
async fn what_is_created_can_be_read_by_id_and_uid() {
    let server = Server::start();
    let client = server.operator();
    let body = json!({"name": "Shop", "uid": "shop-1", "throttleRate": 7, "payloadRetentionHours": 24, "metadata": {"tier": "gold"}, "unknown": 1});
    let created = client.post(APPS, &body).await.is(201);
    let id = created["id"].as_str().unwrap();
    assert!(id.starts_with("app_") && id.len() == 31, "{id}");
    assert_eq!(created["name"], "Shop");
    assert_eq!(created["uid"], "shop-1");
    assert_eq!(created["throttleRate"], 7);
    assert_eq!(created["rateLimit"], 7);
    assert_eq!(created["payloadRetentionHours"], 24);
    assert_eq!(created["metadata"], json!({"tier": "gold"}));
    assert_eq!(created["createdAt"], "2023-11-14T22:13:20.000Z");
    assert_eq!(created["updatedAt"], created["createdAt"]);
    for key in [id, "shop-1"] {
        assert_eq!(client.get(&format!("{APPS}/{key}")).await.is(200), created);
    }
}

#[tokio::test]
async fn a_uid_belongs_to_one_application() {
    let server = Server::start();
    let client = server.operator();
    let body = json!({"name": "a", "uid": "taken"});
    let first = client.post(APPS, &body).await.is(201);
    assert_eq!(client.post(APPS, &body).await.fails(409), "conflict");
    let found = client
        .post(&format!("{APPS}?get_if_exists=true"), &body)
        .await;
    assert_eq!(found.is(200), first);
    let other = json!({"name": "b", "uid": "free"});
    client
        .post(&format!("{APPS}?get_if_exists=true"), &other)
        .await
        .is(201);
    let stolen = client.put(&format!("{APPS}/free"), &body).await;
    assert_eq!(stolen.fails(409), "conflict");
    let stolen = client
        .patch(&format!("{APPS}/free"), &json!({"uid": "taken"}))
        .await;
    assert_eq!(stolen.fails(409), "conflict");
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let server = Server::start();
    let client = server.operator();
    let long = "x".repeat(257);
    for (body, place) in [
        (json!({}), "body.name"),
        (json!({"name": null}), "body.name"),
        (json!({"name": ""}), "body.name"),
        (json!({"name": 7}), "body.name"),
        (json!({"name": "x", "uid": ""}), "body.uid"),
        (json!({"name": "x", "uid": "a b"}), "body.uid"),
        (json!({"name": "x", "uid": "app_mine"}), "body.uid"),
        (json!({"name": "x", "uid": long}), "body.uid"),
        (json!({"name": "x", "throttleRate": 0}), "body.throttleRate"),
        (json!({"name": "x", "rateLimit": 65536}), "body.rateLimit"),
        (
            json!({"name": "x", "throttleRate": 1.5}),
            "body.throttleRate",
        ),
        (
            json!({"name": "x", "throttleRate": -1}),
            "body.throttleRate",
        ),
        (
            json!({"name": "x", "payloadRetentionHours": 2161}),
            "body.payloadRetentionHours",
        ),
        (json!({"name": "x", "metadata": {"a": 1}}), "body.metadata"),
        (json!({"name": "x", "metadata": []}), "body.metadata"),
        (
            json!({"name": "x", "metadata": {"a": "x".repeat(4096)}}),
            "body.metadata",
        ),
    ] {
        assert_eq!(client.post(APPS, &body).await.blames(), place, "{body}");
        assert_eq!(
            client.put(&format!("{APPS}/x"), &body).await.blames(),
            place,
            "{body}"
        );
    }
}

#[tokio::test]
async fn put_creates_or_replaces() {
    let server = Server::start();
    let client = server.operator();
    let path = format!("{APPS}/shop");
    let created = client
        .put(&path, &json!({"name": "one", "throttleRate": 3}))
        .await
        .is(201);
    assert_eq!(
        created["uid"], "shop",
        "the path's uid, where the body has none"
    );
    server.clock.pass(std::time::Duration::from_secs(1));
    let replaced = client.put(&path, &json!({"name": "two"})).await.is(200);
    assert_eq!(replaced["id"], created["id"]);
    assert_eq!(replaced["uid"], "shop");
    assert_eq!(replaced["name"], "two");
    assert_eq!(
        replaced["throttleRate"],
        Value::Null,
        "what is absent is not kept"
    );
    assert_eq!(replaced["createdAt"], created["createdAt"]);
    assert_ne!(replaced["updatedAt"], created["updatedAt"]);
    let renamed = client
        .put(&path, &json!({"name": "two", "uid": "store"}))
        .await
        .is(200);
    assert_eq!(renamed["uid"], "store");
    client.get(&path).await.is(404);
    let unknown = postrider_core::AppId::MIN;
    let by_id = client
        .put(&format!("{APPS}/{unknown}"), &json!({"name": "x"}))
        .await;
    assert_eq!(by_id.fails(404), "not_found");
}

#[tokio::test]
async fn patch_keeps_what_is_absent_and_clears_what_is_null() {
    let server = Server::start();
    let client = server.operator();
    let body = json!({"name": "Shop", "uid": "shop", "throttleRate": 7, "metadata": {"a": "b"}});
    let created = client.post(APPS, &body).await.is(201);
    let path = format!("{APPS}/{}", created["id"].as_str().unwrap());
    let same = client.patch(&path, &json!({})).await.is(200);
    assert_eq!(same, created);
    let renamed = client.patch(&path, &json!({"name": "Store"})).await.is(200);
    assert_eq!(
        (&renamed["name"], &renamed["uid"]),
        (&json!("Store"), &json!("shop"))
    );
    let cleared = client
        .patch(
            &path,
            &json!({"uid": null, "throttleRate": null, "metadata": {"c": "d"}}),
        )
        .await
        .is(200);
    assert_eq!(cleared["uid"], Value::Null);
    assert_eq!(cleared["throttleRate"], Value::Null);
    assert_eq!(cleared["metadata"], json!({"c": "d"}));
    assert_eq!(
        client.patch(&path, &json!({"name": null})).await.blames(),
        "body.name"
    );
    assert_eq!(
        client.patch(&path, &json!({"name": ""})).await.blames(),
        "body.name"
    );
    assert_eq!(
        client
            .patch(&format!("{APPS}/shop"), &json!({}))
            .await
            .fails(404),
        "not_found"
    );
}

#[tokio::test]
async fn what_is_deleted_is_gone_with_all_that_was_in_it() {
    let server = Server::start();
    let client = server.operator();
    let app = server.app("shop").await;
    let endpoint = server.endpoint(&app).await;
    client.delete(&format!("{APPS}/shop")).await.is(204);
    for path in [
        format!("{APPS}/shop"),
        format!("{APPS}/{app}"),
        format!("{APPS}/{app}/endpoint/{endpoint}"),
    ] {
        assert_eq!(client.get(&path).await.fails(404), "not_found");
    }
    assert_eq!(
        client.delete(&format!("{APPS}/shop")).await.fails(404),
        "not_found"
    );
    let submitted = client
        .post(&format!("{APPS}/{app}/msg"), &crate::support::message())
        .await;
    assert_eq!(submitted.fails(404), "not_found");
    server.app("shop").await;
    client
        .post(&format!("{APPS}/shop/msg"), &crate::support::message())
        .await
        .is(202);
}

#[tokio::test]
async fn concurrent_upserts_make_one_application() {
    let server = Server::start();
    let client = server.operator();
    let path = format!("{APPS}/shop");
    let body = json!({"name": "Shop"});
    let upserts = (0..8).map(|_| client.put(&path, &body));
    let replies = futures_util::future::join_all(upserts).await;
    let created = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(created, 1);
    assert!(replies.iter().all(|reply| reply.status < 300));
    let list = client.get(APPS).await.is(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}
