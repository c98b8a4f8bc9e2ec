//! Something between a process and the server that can fail like a network.

use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::support::{Place, variable};

/// Forwards connections, refuses them, or keeps them open and moves nothing.
pub(crate) struct Proxy {
    address: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
    mode: watch::Sender<Mode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Freeze,
    Cut,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, _) = watch::channel(Mode::Forward);
        let proxy = Self {
            address,
            accepting: Mutex::new(None),
            mode,
        };
        proxy.accept(listener);
        proxy
    }

    /// The address of a virtual host, through here.
    pub(crate) fn url(&self, place: &Place) -> String {
        let url = place.url();
        let (credentials, rest) = url.split_once('@').unwrap();
        let (_, vhost) = rest.split_once('/').unwrap();
        format!("{credentials}@{}/{vhost}", self.address)
    }

    /// As a process names it where it shows no credentials.
    pub(crate) fn node(&self) -> String {
        format!("amqp://{}", self.address)
    }

    /// Cuts what is connected, and refuses what comes.
    pub(crate) async fn refuse(&self) {
        let accepting = self.accepting.lock().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
        self.mode.send_replace(Mode::Cut);
    }

    /// What is connected stays so, and hears nothing; what comes is not answered.
    pub(crate) fn freeze(&self) {
        self.mode.send_replace(Mode::Freeze);
    }

    /// Cuts what is connected, and forwards what comes.
    pub(crate) async fn forward(&self) {
        self.mode.send_replace(Mode::Cut);
        self.mode.send_replace(Mode::Forward);
        if self.accepting.lock().is_none() {
            let listener = TcpListener::bind(self.address).await.unwrap();
            self.accept(listener);
        }
    }

    fn accept(&self, listener: TcpListener) {
        let mode = self.mode.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, mode.subscribe()));
            }
        });
        *self.accepting.lock() = Some(accepting);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.lock().take() {
            accepting.abort();
        }
    }
}

/// Forwards one connection for as long as that is the mode. One that was frozen is never used again.
async fn carry(mut client: TcpStream, mut mode: watch::Receiver<Mode>) {
    if *mode.borrow_and_update() == Mode::Forward {
        let server = variable("POSTRIDER_TEST_AMQP");
        let (_, server) = server.rsplit_once('@').unwrap();
        let Ok(mut server) = TcpStream::connect(server.trim_end_matches('/')).await else {
            return;
        };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = mode.changed() => {}
        }
        if *mode.borrow_and_update() == Mode::Freeze {
            let _ = mode.changed().await;
        }
        return;
    }
    let _ = mode.changed().await;
}
