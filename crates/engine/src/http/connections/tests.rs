use http::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::advance;

use super::*;

/// A connection, and its other end.
async fn connected() -> (Connection, DuplexStream) {
    let (near, far) = tokio::io::duplex(1024);
    (Connection::over(TokioIo::new(near)).await.unwrap(), far)
}

fn origin() -> Arc<str> {
    Arc::from("http://example.com")
}

/// Closed by our side.
async fn is_closed(far: &mut DuplexStream) -> bool {
    matches!(far.read(&mut [0]).await, Ok(0))
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_taken_first_and_none_of_another_origin() {
    let idle = Arc::<Idle>::default();
    let ((first, _first), (mut second, mut far)) = (connected().await, connected().await);
    second.requests.ready().await.unwrap();
    idle.put(&origin(), first, Instant::now());
    idle.put(&origin(), second, Instant::now());
    assert!(idle.take("https://example.com", Instant::now()).is_none());
    drop(idle.take(&origin(), Instant::now()).unwrap());
    assert!(is_closed(&mut far).await);
    assert!(idle.take(&origin(), Instant::now()).is_some());
    assert!(idle.take(&origin(), Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_the_other_side_has_closed_is_not_taken() {
    let idle = Arc::<Idle>::default();
    let (mut connection, far) = connected().await;
    connection.requests.ready().await.unwrap();
    drop(far);
    while !connection.requests.is_closed() {
        tokio::task::yield_now().await;
    }
    idle.put(&origin(), connection, Instant::now());
    assert!(idle.take(&origin(), Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_idles_for_too_long_is_closed_though_nobody_asks() {
    let idle = Arc::<Idle>::default();
    let ((old, mut far_old), (young, far_young)) = (connected().await, connected().await);
    idle.put(&origin(), old, Instant::now());
    advance(IDLE_TIMEOUT - SWEEP / 2).await;
    idle.put(&origin(), young, Instant::now());
    let begun = Instant::now();
    assert!(is_closed(&mut far_old).await);
    assert!(begun.elapsed() <= SWEEP);
    assert!(idle.take(&origin(), Instant::now()).is_some());
    drop(far_young);
    // With nothing left it ends, and begins again with the next.
    sleep(2 * SWEEP).await;
    assert!(!idle.0.lock().is_swept);
    let (third, mut far) = connected().await;
    idle.put(&origin(), third, Instant::now());
    assert!(is_closed(&mut far).await);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_old_is_not_taken_before_it_is_closed() {
    let idle = Arc::<Idle>::default();
    let (connection, _far) = connected().await;
    let now = Instant::now();
    idle.put(&origin(), connection, now);
    assert!(idle.take(&origin(), now + IDLE_TIMEOUT).is_none());
}

#[tokio::test(start_paused = true)]
async fn so_many_are_kept_and_no_more() {
    let idle = Arc::<Idle>::default();
    let mut others = Vec::new();
    for _ in 0..=MAX_IDLE {
        let (connection, far) = connected().await;
        idle.put(&origin(), connection, Instant::now());
        others.push(far);
    }
    assert!(is_closed(others.last_mut().unwrap()).await);
    let kept = idle.0.lock().kept.values().map(Vec::len).sum::<usize>();
    assert_eq!(kept, MAX_IDLE);
}

/// More than the other end ever takes.
const LARGE: usize = 1 << 20;

fn large() -> Request<Full<Bytes>> {
    Request::new(Full::new(vec![b'a'; LARGE].into()))
}

/// How much of a request is left to be read once the connection is gone.
async fn left_of_it(mut far: DuplexStream) -> usize {
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    rest.len()
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_holds_no_request_that_was_given_up() {
    let (mut connection, far) = connected().await;
    let request = connection.requests.send_request(large());
    let given_up = tokio::time::timeout(Duration::from_secs(1), request).await;
    assert!(given_up.is_err());
    drop(connection);
    assert!(left_of_it(far).await < LARGE);
}

#[tokio::test(start_paused = true)]
async fn who_answers_and_takes_nothing_is_left_at_the_next_sweep() {
    let idle = Arc::<Idle>::default();
    let (mut connection, mut far) = connected().await;
    let answer = async {
        far.read_exact(&mut [0; 16]).await.unwrap();
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        far.write_all(response).await.unwrap();
    };
    let (answered, ()) = tokio::join!(connection.requests.send_request(large()), answer);
    assert_eq!(answered.unwrap().status(), 200);
    idle.put(&origin(), connection, Instant::now());
    assert!(idle.take(&origin(), Instant::now()).is_none());
    sleep(2 * SWEEP).await;
    assert!(left_of_it(far).await < LARGE);
}
