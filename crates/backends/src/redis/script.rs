//! Lua scripts: what has to be atomic.

use redis::{Cmd, ErrorKind, FromRedisValue, Script, ServerErrorKind, ToRedisArgs};

use super::server::Link;

/// A script that is called by its hash and sent in full only to a server that does not know it yet.
#[derive(Debug)]
pub(super) struct Atomic {
    source: &'static str,
    hash: String,
}

impl Atomic {
    pub(super) fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: Script::new(source).get_hash().to_owned(),
        }
    }

    /// The first key decides which server of a Cluster is asked; all keys carry the same tag.
    pub(super) fn call<'a>(&'a self, keys: &[&[u8]]) -> Call<'a> {
        let mut arguments = Arguments(Vec::with_capacity(keys.len() + 1));
        arguments.push(&keys.len());
        keys.iter().for_each(|key| arguments.push(key));
        Call {
            script: self,
            arguments,
        }
    }
}

/// One call of a script, with its arguments.
#[derive(Debug)]
pub(super) struct Call<'a> {
    script: &'a Atomic,
    arguments: Arguments,
}

#[derive(Debug)]
struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    fn push(&mut self, argument: &impl ToRedisArgs) {
        self.0.extend(argument.to_redis_args());
    }
}

impl Call<'_> {
    pub(super) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.arguments.push(&argument);
        self
    }

    pub(super) fn all_args(mut self, arguments: Vec<Vec<u8>>) -> Self {
        self.arguments.0.extend(arguments);
        self
    }

    /// Runs it. A server that does not know the script is sent its source; nothing was done before that.
    pub(super) async fn run<T: FromRedisValue>(&self, link: &mut Link) -> redis::RedisResult<T> {
        let by_hash = self.command("EVALSHA", &self.script.hash);
        match by_hash.query_async(link).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", self.script.source)
                    .query_async(link)
                    .await
            }
            answered => answered,
        }
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script);
        for argument in &self.arguments.0 {
            command.arg(argument);
        }
        command
    }
}
