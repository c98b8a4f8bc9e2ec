//! HTTP in, a confirmed publish, 202.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::net::TcpListener;

use super::{QUEUE, connect, declare};

/// Confirms of one channel come one after the other; more than a few bring nothing.
const CHANNELS: usize = 4;
/// Written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

struct Publisher {
    channels: Vec<Channel>,
    turn: AtomicUsize,
    number: AtomicU64,
}

/// Accepts what is posted to any application, until the process ends.
///
/// # Errors
/// Where RabbitMQ cannot be reached, or the connection to it is lost.
pub async fn run(broker: &str, listener: TcpListener) -> anyhow::Result<()> {
    let connection = connect(broker).await?;
    let mut channels = Vec::new();
    for _ in 0..CHANNELS {
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        channels.push(channel);
    }
    declare(&channels[0]).await?;
    let publisher = Arc::new(Publisher {
        channels,
        turn: AtomicUsize::new(0),
        number: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/api/v1/app/{app}/msg", post(accept))
        .with_state(publisher);
    axum::serve(without_delay(listener), router).await?;
    Ok(())
}

fn without_delay(
    listener: TcpListener,
) -> impl axum::serve::Listener<Io = tokio::net::TcpStream, Addr = std::net::SocketAddr> {
    use axum::serve::ListenerExt as _;
    listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    })
}

async fn accept(State(publisher): State<Arc<Publisher>>, body: Bytes) -> Response {
    match publisher.publish(&body).await {
        Ok(number) => {
            let body = format!(r#"{{"id":"msg_{number}"}}"#);
            let json = [("content-type", "application/json")];
            (StatusCode::ACCEPTED, json, body).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

impl Publisher {
    async fn publish(&self, body: &[u8]) -> anyhow::Result<u64> {
        let number = self.number.fetch_add(1, Relaxed);
        let turn = self.turn.fetch_add(1, Relaxed) % self.channels.len();
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let confirmed = self.channels[turn]
            .basic_publish(
                "".into(),
                QUEUE.into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await?
            .await?;
        match confirmed {
            Confirmation::Ack(None) => Ok(number),
            other => anyhow::bail!("not confirmed: {other:?}"),
        }
    }
}
