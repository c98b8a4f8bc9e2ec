//! Lists, by the example of applications and endpoints.

use serde_json::{Value, json};

use crate::support::{Client, Server};

async fn page(client: &Client, path: &str) -> Value {
    client.get(path).await.is(200)
}

fn names(page: &Value, field: &str) -> Vec<String> {
    let rows = page["data"].as_array().unwrap().iter();
    rows.map(|row| row[field].as_str().unwrap().to_owned())
        .collect()
}

async fn server_with_apps(count: usize) -> Server {
    let server = Server::start();
    for n in 0..count {
        server.app(&format!("a{n}")).await;
        server.clock.pass(std::time::Duration::from_millis(4));
    }
    server
}

#[tokio::test]
async fn an_empty_list_is_done_and_says_null() {
    let server = Server::start();
    let list = server.operator().get("/api/v1/app").await;
    let text = String::from_utf8(list.body.to_vec()).unwrap();
    assert_eq!(text, r#"{"data":[],"iterator":null,"done":true}"#);
}

#[tokio::test]
async fn pages_follow_each_other_forwards_and_backwards() {
    let server = server_with_apps(5).await;
    let client = server.operator();
    let first = page(&client, "/api/v1/app?limit=2").await;
    assert_eq!(names(&first, "uid"), ["a0", "a1"]);
    assert_eq!(first["done"], false);
    assert_eq!(first["iterator"], first["data"][1]["id"]);
    let back = format!("-{}", first["data"][0]["id"].as_str().unwrap());
    assert_eq!(first["prevIterator"], back);

    let next = first["iterator"].as_str().unwrap();
    let second = page(&client, &format!("/api/v1/app?limit=2&iterator={next}")).await;
    assert_eq!(names(&second, "uid"), ["a2", "a3"]);
    let next = second["iterator"].as_str().unwrap();
    let third = page(&client, &format!("/api/v1/app?limit=2&iterator={next}")).await;
    assert_eq!(names(&third, "uid"), ["a4"]);
    assert_eq!(third["done"], true);

    let back = second["prevIterator"].as_str().unwrap();
    let again = page(&client, &format!("/api/v1/app?limit=2&iterator={back}")).await;
    assert_eq!(names(&again, "uid"), ["a0", "a1"]);
    assert_eq!(again["done"], false, "the page it came from follows");
}

#[tokio::test]
async fn a_full_last_page_is_done() {
    let server = server_with_apps(4).await;
    let client = server.operator();
    assert_eq!(page(&client, "/api/v1/app?limit=4").await["done"], true);
    assert_eq!(page(&client, "/api/v1/app?limit=3").await["done"], false);
    let none = page(&client, "/api/v1/app?limit=0").await;
    assert_eq!((&none["data"], &none["done"]), (&json!([]), &json!(false)));
}

#[tokio::test]
async fn each_list_has_its_order_and_respects_another() {
    let server = server_with_apps(3).await;
    let client = server.operator();
    let apps = page(&client, "/api/v1/app?order=descending").await;
    assert_eq!(names(&apps, "uid"), ["a2", "a1", "a0"]);
    for n in 0..3 {
        let body = json!({"url": "https://hooks.example.org/", "uid": format!("e{n}")});
        client.post("/api/v1/app/a0/endpoint", &body).await.is(201);
        server.clock.pass(std::time::Duration::from_millis(4));
        let body = json!({"name": format!("t{n}"), "description": ""});
        client.post("/api/v1/event-type", &body).await.is(201);
    }
    let endpoints = page(&client, "/api/v1/app/a0/endpoint").await;
    assert_eq!(names(&endpoints, "uid"), ["e2", "e1", "e0"]);
    let endpoints = page(&client, "/api/v1/app/a0/endpoint?order=ascending").await;
    assert_eq!(names(&endpoints, "uid"), ["e0", "e1", "e2"]);
    let types = page(&client, "/api/v1/event-type").await;
    assert_eq!(names(&types, "name"), ["t0", "t1", "t2"]);
    let types = page(
        &client,
        "/api/v1/event-type?order=descending&limit=1&iterator=t2",
    )
    .await;
    assert_eq!(names(&types, "name"), ["t1"]);
    assert_eq!(types["prevIterator"], "-t1");
    let upwards = client.get("/api/v1/app?order=upwards").await;
    assert_eq!(upwards.fails(400), "invalid_query");
}
