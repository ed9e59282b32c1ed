use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let all = [("HOME", "/home/ada")].iter().chain(variables);
    Environment {
        variables: all.map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect(),
        working_dir: PathBuf::from("/nowhere"),
    }
}

fn resolve(flags: &ServeArgs, variables: &[(&str, &str)], file: &str) -> Result<Config, Failure> {
    let dir = tempfile::tempdir().expect("is made");
    let path = dir.path().join("kanvoy.toml");
    std::fs::write(&path, file).expect("is written");
    let global = Global { config: Some(path), ..Global::default() };
    Config::resolve(&global, flags, &environment(variables))
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let flags = ServeArgs { listen: "127.0.0.1:1".parse().ok(), ..ServeArgs::default() };
    let none = ServeArgs::default();
    let variable = [("KANVOY_LISTEN", "127.0.0.1:2")];
    let file = "listen = '127.0.0.1:3'";
    let port = |config: Result<Config, Failure>| {
        let config = config.expect("is understood");
        (config.listen.value.0.port(), config.listen.origin)
    };
    assert_eq!(port(resolve(&flags, &variable, file)), (1, Origin::Flag));
    assert_eq!(port(resolve(&none, &variable, file)), (2, Origin::Variable("KANVOY_LISTEN")));
    let (three, origin) = port(resolve(&none, &[], file));
    assert!(three == 3 && matches!(origin, Origin::File(_)));
    assert_eq!(port(resolve(&none, &[], "")), (8080, Origin::Default));
}

#[test]
fn every_key_has_its_variable() {
    let file = "
        data_dir = 'data'
        runtime = 'process'
        allow_process = true
        docker_host = 'tcp://engine:2375'
        database_url = 'sqlite:other.db'
        allowed_host = ['a.example', 'b.example:80']
        public_url = 'https://a.example/kanvoy'
        drain = true
        log_format = 'json'
        log = 'debug'
        server = 'http://127.0.0.1:9'
        token_file = 'token'
        board = 'KAN'
    ";
    let config = resolve(&ServeArgs::default(), &[], file).expect("is understood");
    for (key, value, origin) in config.shown() {
        assert!(value.is_some(), "{key} has no value");
        assert!(matches!(origin, Origin::File(_)) || key == "listen", "{key} came from {origin}");
    }
    assert!(config.database.value.ends_with("data/other.db"), "lies in the data directory");

    let variables = [
        ("KANVOY_DATA_DIR", "data"),
        ("KANVOY_LISTEN", "127.0.0.1:1"),
        ("KANVOY_RUNTIME", "docker"),
        ("KANVOY_ALLOW_PROCESS", "0"),
        ("KANVOY_DOCKER_HOST", "unix:///run/engine.sock"),
        ("KANVOY_DATABASE_URL", "sqlite:/var/kanvoy.db"),
        ("KANVOY_ALLOWED_HOST", "a.example, b.example"),
        ("KANVOY_PUBLIC_URL", "https://b.example"),
        ("KANVOY_DRAIN", "false"),
        ("KANVOY_LOG_FORMAT", "text"),
        ("KANVOY_LOG", "warn"),
        ("KANVOY_URL", "http://127.0.0.1:8"),
        ("KANVOY_TOKEN_FILE", "/run/token"),
        ("KANVOY_BOARD", "B"),
    ];
    let config = resolve(&ServeArgs::default(), &variables, file).expect("is understood");
    for (key, _, origin) in config.shown() {
        assert!(matches!(origin, Origin::Variable(_)), "{key} came from {origin}");
    }
    assert_eq!(config.allowed_hosts.value.len(), 2);
    assert_eq!(config.unknown_variables, Vec::<String>::new());
}

#[test]
fn what_cannot_be_understood_names_where_it_stands() {
    let said = |variables: &[(&str, &str)], file: &str| {
        resolve(&ServeArgs::default(), variables, file).expect_err("is refused").said
    };
    let unknown = said(&[], "lisen = '127.0.0.1:1'");
    assert!(unknown.contains("kanvoy.toml") && unknown.contains("lisen"), "{unknown}");
    let bad = said(&[], "listen = 'nowhere'");
    assert!(bad.contains("kanvoy.toml: listen"), "{bad}");
    let bad = said(&[("KANVOY_RUNTIME", "vm")], "");
    assert!(bad.contains("KANVOY_RUNTIME") && bad.contains("docker process"), "{bad}");
    let postgres = said(&[("KANVOY_DATABASE_URL", "postgres://db/kanvoy")], "");
    assert!(postgres.contains("later version"), "{postgres}");
}

#[test]
fn a_file_found_in_a_checkout_decides_neither_where_the_token_goes_nor_whose_data_is_used() {
    let dir = tempfile::tempdir().expect("is made");
    let resolved = |text: &str, variables: &[(&str, &str)]| {
        std::fs::write(dir.path().join("kanvoy.toml"), text).expect("is written");
        let environment = Environment { working_dir: dir.path().to_owned(), ..environment(variables) };
        Config::resolve(&Global::default(), &ServeArgs::default(), &environment)
    };
    let here = dir.path().display().to_string();
    for (key, text) in [
        ("server", "server = 'https://evil.example'"),
        ("token_file", "token_file = 'token'"),
        ("data_dir", "data_dir = '.k'"),
        ("database_url", "database_url = 'sqlite:other.db'"),
    ] {
        let said = resolved(text, &[]).expect_err("is refused").said;
        assert!(said.contains(key) && said.contains("token"), "{said}");
        // One's own data directory is no stranger's.
        assert!(resolved(text, &[("KANVOY_DATA_DIR", &here)]).is_ok(), "{key}");
    }
    assert!(resolved("board = 'KAN'\nlog = 'debug'", &[]).is_ok());
}

#[test]
fn a_daemon_of_ours_is_on_this_machine() {
    for (listen, url) in [
        ("127.0.0.1:1", "http://127.0.0.1:1/"),
        ("[::1]:2", "http://[::1]:2/"),
        ("192.0.2.1:3", "http://127.0.0.1:3/"),
        ("0.0.0.0:0", "http://127.0.0.1:8080/"),
    ] {
        let config = resolve(&ServeArgs::default(), &[], &format!("listen = '{listen}'")).expect("is understood");
        assert_eq!(config.own_url().as_str(), url, "{listen}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let config = resolve(&ServeArgs::default(), &[("KANVOY_TOKEN", "s3cret")], "").expect("is understood");
    assert!(!format!("{:?} {config:?}", config.shown()).contains("s3cret"));
    assert!(config.shown().iter().any(|(key, value, _)| *key == "token" && value.as_deref() == Some("(hidden)")));
}
