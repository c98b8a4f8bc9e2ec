//! A vhost: as good as a RabbitMQ of one's own, as long as nobody stops the server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::{Management, prepared};

/// Vhosts of the suites begin so, followed by the process that made them. The slash has to be escaped in URLs.
const PREFIX: &str = "e2e/";

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Removed when dropped.
#[derive(Debug)]
pub(super) struct Vhost {
    name: String,
    /// `amqp://user:password@host:port`
    server: String,
    api: String,
}

impl Vhost {
    pub(super) async fn create() -> Self {
        let api = prepared("POSTRIDER_TEST_RABBITMQ_API");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            sweep(&api).await;
        }
        let vhost = Self {
            name: format!("{PREFIX}{}-{number}", std::process::id()),
            server: prepared("POSTRIDER_TEST_AMQP"),
            api,
        };
        let path = format!("vhosts/{}", escaped(&vhost.name));
        call(&vhost.api, Method::PUT, &path, &json!({})).await;
        let user = user(&vhost.server);
        let path = format!("permissions/{}/{user}", escaped(&vhost.name));
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        call(&vhost.api, Method::PUT, &path, &all).await;
        vhost
    }

    /// The URL for Postrider, where RabbitMQ is reached at `address`.
    pub(super) fn url_at(&self, address: &str) -> String {
        let credentials = self
            .server
            .rsplit_once('@')
            .map_or("", |(before, _)| before);
        format!("{credentials}@{address}/{}", escaped(&self.name))
    }

    pub(super) fn management(&self) -> Management {
        Management {
            api: self.api.clone(),
            vhost: self.name.clone(),
        }
    }

    pub(super) async fn server_pid(&self) -> i32 {
        let nodes = call(&self.api, Method::GET, "nodes", &Value::Null).await;
        nodes[0]["os_pid"].as_str().unwrap().parse().unwrap()
    }

    pub(super) async fn put_on_queue(&self, queue: &str, bytes: &[u8]) {
        let path = format!("exchanges/{}/amq.default/publish", escaped(&self.name));
        let message = json!({
            "properties": {"delivery_mode": 2},
            "routing_key": queue,
            "payload": STANDARD.encode(bytes),
            "payload_encoding": "base64",
        });
        let routed = call(&self.api, Method::POST, &path, &message).await;
        assert_eq!(routed["routed"], true, "{queue} took nothing");
    }

    /// Host and port of the server.
    pub(super) fn address(&self) -> String {
        let (_, address) = self
            .server
            .rsplit_once('@')
            .expect("credentials in the URL");
        address.trim_end_matches('/').to_owned()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let (api, path) = (self.api.clone(), format!("vhosts/{}", escaped(&self.name)));
        // A thread, because a runtime cannot be entered from within another one's.
        let removed = thread::spawn(move || remove(&api, &path)).join();
        if removed.is_err() && !thread::panicking() {
            panic!("the vhost {} could not be removed", self.name);
        }
    }
}

fn remove(api: &str, path: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .unwrap()
        .block_on(call(api, Method::DELETE, path, &Value::Null));
}

/// Removes what test processes left that were killed.
async fn sweep(api: &str) {
    let vhosts = call(api, Method::GET, "vhosts", &Value::Null).await;
    let names = vhosts.as_array().into_iter().flatten();
    for name in names.filter_map(|vhost| vhost["name"].as_str()) {
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let gone = |pid: &str| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        if owner.is_some_and(gone) {
            call(
                api,
                Method::DELETE,
                &format!("vhosts/{}", escaped(name)),
                &Value::Null,
            )
            .await;
        }
    }
}

pub(super) async fn call(api: &str, method: Method, path: &str, body: &Value) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.request(method.clone(), format!("{api}/api/{path}"));
    let response = request
        .json(body)
        .send()
        .await
        .expect("RabbitMQ's management answers");
    let status = response.status();
    // Somebody else may have removed it in the meantime.
    let gone = method == Method::DELETE && status == StatusCode::NOT_FOUND;
    assert!(status.is_success() || gone, "{method} {path}: {status}");
    response.json().await.unwrap_or_default()
}

pub(super) fn escaped(name: &str) -> String {
    name.replace('/', "%2F")
}

fn user(url: &str) -> &str {
    let credentials = url.split_once("://").map_or(url, |(_, rest)| rest);
    credentials.split([':', '@']).next().unwrap_or_default()
}
