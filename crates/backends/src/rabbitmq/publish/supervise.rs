//! Keeps a connection for publishing, for ever.

use std::sync::Arc;

use super::super::backoff::Backoff;
use super::super::error::{closed, unavailable};
use super::super::link::Link;
use super::super::shared::Shared;
use super::session::{End, Session};
use super::{Desk, Job, State};

/// Connects, declares, publishes; and again, until `closing`.
pub(in super::super) async fn run(shared: Arc<Shared>, mut desk: Desk) {
    let mut backoff = Backoff::new("publishing");
    loop {
        let connected = tokio::select! {
            connected = connect(&shared) => connected,
            () = refuse(&mut desk) => return,
            () = shared.closing.cancelled() => break,
        };
        let cause = match connected {
            Ok(link) => {
                backoff.succeeded(&link.address);
                match session(&shared, &mut desk, link).await {
                    End::Lost(cause) => cause,
                    End::Closed => break,
                }
            }
            Err(cause) => cause,
        };
        desk.state.send_replace(State::Apart(cause.clone()));
        tokio::select! {
            () = backoff.failed(&shared.nodes, &cause) => {}
            () = refuse(&mut desk) => return,
            () = shared.closing.cancelled() => break,
        }
    }
    desk.state.send_replace(State::Closed);
    desk.jobs.close();
    while let Some(job) = desk.jobs.recv().await {
        let _ = job.answer.send(Err(closed()));
    }
}

async fn connect(shared: &Shared) -> Result<Arc<Link>, String> {
    let link = Arc::new(shared.nodes.open("publish", &shared.options).await?);
    shared.declared.ensure(&link).await?;
    Ok(link)
}

async fn session(shared: &Shared, desk: &mut Desk, link: Arc<Link>) -> End {
    let events = link.connection.events_listener();
    desk.state.send_replace(State::Up(Arc::clone(&link)));
    let session = Session::new(
        Arc::clone(&link),
        &desk.state,
        &shared.declared,
        shared.options.confirm_timeout,
    );
    let end = session.run(&mut desk.jobs, events, &shared.closing).await;
    match end {
        End::Lost(_) => link.cut(),
        End::Closed => {
            // Before the connection goes, so that nobody is told that it was lost.
            desk.state.send_replace(State::Closed);
            link.close(super::super::CLOSE_TIMEOUT).await;
        }
    }
    end
}

/// Answers whoever comes while there is no connection. Ends when nobody can come any more.
async fn refuse(desk: &mut Desk) {
    let Desk { jobs, state } = desk;
    while let Some(Job { answer, .. }) = jobs.recv().await {
        let cause = match &*state.borrow() {
            State::Apart(cause) => cause.clone(),
            _ => "there is no connection".to_owned(),
        };
        let _ = answer.send(Err(unavailable(cause)));
    }
}
