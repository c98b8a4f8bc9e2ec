//! Settings: which source wins, what is said about a bad value, and that the documentation lists them all.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postrider::config::{
    Choice, Config, ConfigError, FlagValues, Mode, Sources, document, settings,
};
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Settings from flags, environment and file, without those of the machine.
#[derive(Default)]
struct Given {
    flags: BTreeMap<&'static str, String>,
    env: Vec<(String, String)>,
    file: Option<PathBuf>,
}

impl Given {
    fn flag(mut self, key: &'static str, value: &str) -> Self {
        self.flags.insert(key, value.to_owned());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env
            .push((format!("POSTRIDER_{name}"), value.to_owned()));
        self
    }

    fn file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    fn sources(self, mode: Mode) -> Result<Sources, ConfigError> {
        Sources::collect(
            mode,
            FlagValues {
                file: self.file,
                values: self.flags,
            },
            self.env,
        )
    }

    fn read(self) -> Result<Config, ConfigError> {
        Config::read(&self.sources(Mode::Serve)?)
    }

    fn error(self) -> String {
        self.read().unwrap_err().to_string()
    }
}

fn given() -> Given {
    Given::default()
}

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("postrider.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn every_default_can_be_read_in_both_modes() {
    for mode in [Mode::Serve, Mode::Dev] {
        let config = Config::read(&given().sources(mode).unwrap()).unwrap();
        assert_eq!(config.delivery.request_timeout, Duration::from_secs(15));
        assert_eq!(config.delivery.policy.https_only, mode == Mode::Serve);
        assert_eq!(config.backends.data.is_none(), mode == Mode::Dev);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn the_default_schedule_is_the_domains() {
    let config = given().read().unwrap();
    assert_eq!(
        config.delivery.schedule,
        postrider_core::schedule::RetrySchedule::default()
    );
}

#[test]
fn the_default_number_of_tls_sessions_is_the_engines() {
    let delivery = given().read().unwrap().delivery;
    let http = postrider_engine::http::HttpConfig::new(delivery.policy);
    assert_eq!(delivery.tls_sessions, http.tls_sessions);
    assert_eq!(delivery.nameservers, http.nameservers);
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "grace = 10\nslots = 10\nprefetch = 10\n");
    let config = given()
        .file(&path)
        .env("SLOTS", "20")
        .env("PREFETCH", "20")
        .flag("prefetch", "30")
        .read()
        .unwrap();
    assert_eq!(config.process.grace, Duration::from_secs(10));
    assert_eq!(config.delivery.slots, 20);
    assert_eq!(config.delivery.prefetch, 30);
    assert_eq!(config.ingest.max_body, 1 << 20);
}

#[test]
fn the_file_takes_values_in_tomls_own_types() {
    let dir = TempDir::new().unwrap();
    let text = "
        https_only = false
        retry_schedule = [0.5, 60]
        allow_nets = [\"10.1.0.0/16\", \"fd00::/8\"]
        request_timeout = \"20s\"
        listen = \"0.0.0.0:80\"
    ";
    let delivery = given().file(&file(&dir, text)).read().unwrap().delivery;
    assert!(!delivery.policy.https_only);
    assert_eq!(
        delivery.schedule.delays(),
        [Duration::from_millis(500), Duration::from_secs(60)]
    );
    assert_eq!(delivery.policy.allow.len(), 2);
    assert_eq!(delivery.request_timeout, Duration::from_secs(20));
}

#[test]
fn name_servers_are_the_systems_or_addresses_with_or_without_a_port() {
    let servers = |text| {
        let config = given().env("NAMESERVERS", text).read().unwrap();
        config.delivery.nameservers
    };
    assert!(servers("").is_empty());
    assert_eq!(
        servers("10.0.0.2, [2001:db8::1]:5353,2001:db8::2"),
        [
            "10.0.0.2:53".parse().unwrap(),
            "[2001:db8::1]:5353".parse().unwrap(),
            "[2001:db8::2]:53".parse::<SocketAddr>().unwrap(),
        ]
    );
}

#[test]
fn the_environment_can_name_the_file() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "slots = 7");
    let config = given()
        .env("CONFIG", path.to_str().unwrap())
        .read()
        .unwrap();
    assert_eq!(config.delivery.slots, 7);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let config = given()
        .env("SLOTS", "")
        .env("JWT_SECRET", "")
        .read()
        .unwrap();
    assert_eq!(config.delivery.slots, 4096);
    let error = config.access.require().unwrap_err().to_string();
    assert!(
        error.contains("POSTRIDER_JWT_SECRET") && error.contains("openssl"),
        "{error}"
    );
}

#[test]
fn a_bad_value_is_one_line_with_setting_origin_and_remedy() {
    let dir = TempDir::new().unwrap();
    let bad = file(&dir, "request_timeout = 31");
    let lines = [
        given().env("LISTEN", "nonsense").error(),
        given().flag("metrics_listen", "9464").error(),
        given()
            .file(&bad)
            .error()
            .replace(dir.path().to_str().unwrap(), "DIR"),
        given().env("REQUEST_TIMEOUT", "0").error(),
        given().env("RETRY_SCHEDULE", "[5, -1]").error(),
        given().env("RETRY_SCHEDULE", "5,300").error(),
        given().env("ALLOW_NETS", "10.0.0.0/8, 10.0.0.0/99").error(),
        given().env("HTTPS_ONLY", "perhaps").error(),
        given().env("BROKER", "smtp://example.org").error(),
        given().env("STORE", "redis//localhost").error(),
        given().env("LOG", "inof").error(),
        given().env("LOG_FORMAT", "xml").error(),
        given().env("ROLES", "ingest,workre").error(),
        given().env("GRACE", "1s").error(),
        given().env("SLOTS", "many\nlines").error(),
        given().env("MAX_BODY", "1GB").error(),
        given().env("RETENTION", "10m").error(),
        given().env("NAMESERVERS", "10.0.0.2, dns").error(),
        given().env("TLS_SESSIONS", "-1").error(),
    ];
    for line in &lines {
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_bad_file_is_one_line() {
    let dir = TempDir::new().unwrap();
    let place = |error: String| error.replace(dir.path().to_str().unwrap(), "DIR");
    let lines = [
        place(
            given()
                .file(&file(&dir, "listen = \"127.0.0.1:1\"\nretry_shedule = [1]"))
                .error(),
        ),
        place(given().file(&file(&dir, "[delivery]\nslots = 1")).error()),
        place(
            given()
                .file(&file(&dir, "slots = 1\n\nprefetch = = 2"))
                .error(),
        ),
        place(given().file(&file(&dir, "listen = { port = 1 }")).error()),
        place(given().file(&dir.path().join("none.toml")).error()),
    ];
    for line in &lines {
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn nobody_can_publish_to_an_embedded_broker() {
    let error = given().env("AMQP_PUBLISH", "true").error();
    let says = |text: &str| assert!(error.contains(text), "{error}");
    says("POSTRIDER_AMQP_PUBLISH");
    says("set POSTRIDER_BROKER and POSTRIDER_STORE");
    let servers = given()
        .env("AMQP_PUBLISH", "true")
        .env("BROKER", "amqp://mq.example")
        .env("STORE", "redis://redis.example");
    assert!(servers.read().unwrap().ingest.amqp_publish.value);
    assert!(!given().read().unwrap().ingest.amqp_publish.value);
}

#[test]
fn backends_are_all_embedded_or_all_servers() {
    const MQ: &str = "amqps://me:hush@mq.example.net/";
    const REDIS: &str = "redis://:hush@localhost/0";
    let choice = |settings: &[(&'static str, &str)]| {
        let mut all = given();
        for (name, value) in settings {
            all = all.env(name, value);
        }
        all.read().unwrap().backends.choice()
    };
    assert!(matches!(choice(&[]), Ok(Choice::Embedded)));
    assert!(matches!(
        choice(&[("LOG_STORE", "embedded")]),
        Ok(Choice::Embedded)
    ));
    let Ok(Choice::Servers(servers)) = choice(&[("BROKER", MQ), ("STORE", REDIS)]) else {
        panic!("two servers are a choice");
    };
    assert_eq!(servers.broker.value.expose(), MQ);
    assert!(!format!("{servers:?}").contains("hush"));

    let mixtures: [&[(&'static str, &str)]; 4] = [
        &[("BROKER", MQ)],
        &[("STORE", REDIS)],
        &[("LOG_STORE", REDIS)],
        &[("BROKER", MQ), ("STORE", REDIS), ("LOG_STORE", "embedded")],
    ];
    let lines = mixtures.map(|settings| choice(settings).unwrap_err().to_string());
    for line in &lines {
        assert!(!line.contains("hush"), "{line}");
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_log_is_kept_as_long_as_suits_its_store() {
    let kept = |config: Config| config.retention.log(config.backends.is_embedded());
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    assert_eq!(kept(given().read().unwrap()), hours(720));
    let servers = || {
        given()
            .env("BROKER", "amqp://localhost")
            .env("STORE", "redis://a:7001,redis://b:7002")
    };
    assert_eq!(kept(servers().read().unwrap()), hours(72));
    assert_eq!(
        kept(servers().env("RETENTION", "5h").read().unwrap()),
        hours(5)
    );
}

#[test]
fn a_secret_may_be_in_a_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let path = path.to_str().unwrap();
    let config = given().env("JWT_SECRET_FILE", path).read().unwrap();
    assert_eq!(config.access.require().unwrap().expose(), SECRET);

    let both = given()
        .env("JWT_SECRET_FILE", path)
        .env("JWT_SECRET", SECRET)
        .error();
    assert!(
        both.contains("only one") && !both.contains(SECRET),
        "{both}"
    );
    let missing = given().env("JWT_SECRET_FILE", "/nowhere/secret").error();
    assert!(
        missing.contains("POSTRIDER_JWT_SECRET_FILE") && missing.contains("/nowhere/secret"),
        "{missing}"
    );
}

#[test]
fn no_form_of_the_configuration_shows_a_secret() {
    let given = given()
        .env("JWT_SECRET", SECRET)
        .env("BROKER", "amqp://me:hush@localhost");
    let sources = given.sources(Mode::Serve).unwrap();
    let shown: String = settings()
        .map(|setting| format!("{:?}", sources.given(setting)))
        .collect();
    assert!(
        !shown.contains(SECRET) && !shown.contains("hush"),
        "{shown}"
    );
    let config = format!("{:?}", Config::read(&sources).unwrap());
    assert!(
        !config.contains(SECRET) && !config.contains("hush"),
        "{config}"
    );
}

#[test]
fn likely_mistakes_are_warned_of() {
    let config = given()
        .env("LISTN", "127.0.0.1:1")
        .env("SERVICE_HOST", "10.0.0.1")
        .env("JWT_SECRET", "short")
        .env("GRACE", "10s")
        .read()
        .unwrap();
    let warnings = config.warnings.join("\n");
    assert_eq!(config.warnings.len(), 3, "{warnings}");
    assert!(
        warnings.contains("did you mean POSTRIDER_LISTEN?"),
        "{warnings}"
    );
    assert!(warnings.contains("fewer than 32 bytes"), "{warnings}");
    assert!(warnings.contains("POSTRIDER_GRACE"), "{warnings}");
}

#[test]
fn dev_reaches_its_own_machine_whatever_is_allowed() {
    let sources = given()
        .env("ALLOW_NETS", "10.0.0.0/8")
        .sources(Mode::Dev)
        .unwrap();
    let policy = Config::read(&sources).unwrap().delivery.policy;
    assert!(policy.check_url("http://127.0.0.1:3000/").is_ok());
    assert!(policy.check_url("http://[::1]:3000/").is_ok());
    assert!(policy.check_url("http://10.1.2.3/").is_ok());
    assert!(policy.check_url("http://192.168.1.1/").is_err());
}

#[test]
fn names_are_unique() {
    let keys: BTreeSet<_> = settings().map(|setting| setting.key).collect();
    assert_eq!(keys.len(), settings().count());
}

#[test]
fn the_documentation_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIGURATION.md");
    if std::env::var_os("POSTRIDER_UPDATE_DOCS").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let hint =
        "docs/CONFIGURATION.md differs from the settings; its head says how to write it anew";
    assert!(committed == document(), "{hint}");
}
