//! The life of an application, walked with the crate `svix` against a running Postrider.
//!
//! It finds the server in POSTRIDER_URL and an operator's token of an organisation of its own in POSTRIDER_TOKEN. The
//! first thing that is not as it should be ends it with a panic.

mod account;
mod attempts;
mod check;
mod messages;
mod receiver;
mod setup;

use svix::Webhook;
use svix::api::{Svix, SvixOptions};

use check::step;
use receiver::{Received, Receiver};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn client(token: String) -> Svix {
    let options = SvixOptions {
        server_url: Some(variable("POSTRIDER_URL")),
        ..SvixOptions::default()
    };
    Svix::new(token, Some(options))
}

/// Everything that one part of the walk leaves to the next.
struct Walk {
    svix: Svix,
    receiver: Receiver,
    /// The endpoint's identifier.
    endpoint: String,
    /// The old and the new one.
    secrets: [String; 2],
}

impl Walk {
    /// The next delivery: it must be of this message and verify.
    async fn arrives(&mut self, message: &str) -> Received {
        let received = self.receiver.next().await;
        assert_eq!(received.header("webhook-id"), message);
        for secret in &self.secrets {
            let webhook = Webhook::new(secret).expect("a secret of the library's form");
            webhook
                .verify(&received.body, &received.headers)
                .expect("a good signature");
            let forged = [&received.body[..], b" "].concat();
            assert!(
                webhook.verify(&forged, &received.headers).is_err(),
                "a forged body was taken for genuine"
            );
        }
        received
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let svix = client(variable("POSTRIDER_TOKEN"));
    step("health");
    svix.health().get().await.unwrap();
    let receiver = Receiver::start().await;
    setup::applications(&svix).await;
    setup::event_types(&svix).await;
    let endpoint = setup::endpoint(&svix, &receiver.url).await;
    let secrets = setup::rotate(&svix).await;
    let mut walk = Walk {
        svix,
        receiver,
        endpoint,
        secrets,
    };
    let sent = messages::arrive(&mut walk).await;
    messages::read(&mut walk, &sent).await;
    let attempt = attempts::read(&walk, &sent).await;
    attempts::resend(&mut walk, &sent).await;
    attempts::recover(&mut walk).await;
    account::statistics(&walk.svix).await;
    messages::example(&mut walk).await;
    messages::as_text(&mut walk).await;
    account::portal(&walk.svix).await;
    setup::patches(&walk.svix).await;
    account::errors(&walk.svix).await;
    account::deletions(&walk.svix, &sent, &attempt).await;
}
