//! Files, flags and CONFIG: what could break is that a wrong setting goes unnoticed.

use std::path::Path;
use std::process::Command;

use coney_conversation::Value;
use coney_datapath::transport::uring;
use tempfile::TempDir;

use crate::support::{Server, skip};

fn refusal(dir: &Path, args: &[&str]) -> String {
    let refusal = Server::refuse(dir, args);
    assert_eq!(refusal.status.code(), Some(2), "a wrong configuration");
    assert!(!dir.join("data").exists(), "nothing was touched");
    refusal.output
}

#[test]
fn wrong_files_and_flags_are_refused_with_place_and_cure() {
    let dir = TempDir::new().unwrap();
    for (text, expected) in [
        ("prot = 1", "coney.toml:1:1: unknown key `prot`, did you mean `port`?"),
        ("\n\ntimeout = -1", "coney.toml:3:11: timeout = \"-1\": the value must be between 0 and"),
        ("sync = \"often\"", "must be one of the following: off, everysec, always"),
        ("port = 1\nport = 2", "coney.toml:2:1: not valid TOML: duplicate key"),
        (
            "hot-cache = \"much\"",
            "coney.toml:1:13: hot-cache = \"much\": the value must be a memory",
        ),
        ("bind = [\"localhost\"]", "must be one or more IP addresses"),
    ] {
        std::fs::write(dir.path().join("coney.toml"), text).unwrap();
        let output = refusal(dir.path(), &["--config", "coney.toml"]);
        assert!(output.contains(expected), "{output}");
    }
    for (args, expected) in [
        (&["--config", "missing.toml"][..], "cannot read the configuration file missing.toml"),
        (&["--port", "70000"], "--port: port = \"70000\": the value must be between 0 and 65535"),
        (&["--set", "maxclient=5"], "--set: unknown key `maxclient`, did you mean `maxclients`?"),
        (&["--set", "maxclients"], "--set maxclients: key=value is expected"),
        (&["--set", "datapath=pigeon"], "must be one of the following: auto, kernel, xdp"),
    ] {
        let output = refusal(dir.path(), args);
        assert!(output.contains(expected), "{output}");
    }
}

#[test]
fn an_address_that_this_host_lacks_is_refused_unless_it_is_optional() {
    let dir = TempDir::new().unwrap();
    // Reserved for documentation: no host has it.
    let refusal = Server::refuse(dir.path(), &["--port", "0", "--bind", "192.0.2.1"]);
    assert!(refusal.output.contains("192.0.2.1:0 is not an address of this host"));
    let only_optional = Server::refuse(dir.path(), &["--port", "0", "--set", "bind=-192.0.2.1"]);
    assert!(only_optional.output.contains("none of the addresses of `bind` exists"));
}

#[test]
fn xdp_that_is_not_possible_is_refused_with_the_cure() {
    for (args, expected) in [
        (&["--set", "datapath=xdp"][..], "needs a network interface: name it with --interface"),
        (
            &["--set", "datapath=xdp", "--interface", "lo", "--bind", "127.0.0.1"],
            "interface lo has none of the served addresses (127.0.0.1:",
        ),
        (&["--set", "datapath=xdp", "--interface", "coney-none"], "coney-none"),
        (
            &["--set", "datapath=xdp", "--interface", "lo", "--bind", "0.0.0.0"],
            "interface lo has none of the served addresses (0.0.0.0:",
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let refusal = Server::refuse(dir.path(), &[&["--port", "0"], args].concat());
        assert!(refusal.output.contains(expected), "{}", refusal.output);
        assert!(refusal.output.contains("`coney check`"), "{}", refusal.output);
    }
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("coney.toml");
    std::fs::write(&file, "timeout = 7\nmaxclients = 77\ndatabases = 3\n").unwrap();
    let args = ["--config", file.to_str().unwrap(), "--maxclients", "88"];
    let server = Server::start_in(dir.path(), &args);
    let mut client = server.connect();
    assert_eq!(client.ask("CONFIG GET timeout"), "*2 \"timeout\" \"7\"");
    assert_eq!(client.ask("CONFIG GET maxclients"), "*2 \"maxclients\" \"88\"");
    assert_eq!(client.ask("CONFIG GET tcp-keepalive"), "*2 \"tcp-keepalive\" \"300\"");
    assert_eq!(client.ask("SELECT 2"), "+OK");
    assert_eq!(client.ask("SELECT 3"), "-ERR DB index is out of range");
}

#[test]
fn the_kernel_transport_is_a_choice_that_info_shows() {
    let mut shown = Vec::new();
    for chosen in ["auto", "epoll", "io_uring"] {
        if chosen == "io_uring"
            && let Err(reason) = uring::probe()
        {
            skip(&reason.to_string());
            continue;
        }
        let server = Server::start(&["--set", &format!("kernel-transport={chosen}")]);
        let mut client = server.connect();
        assert!(client.ask("CONFIG GET kernel-transport").contains(chosen));
        let info = client.ask_text("INFO server");
        let line = info.lines().find_map(|line| line.strip_prefix("multiplexing_api:"));
        shown.push(line.unwrap_or_default().to_owned());
    }
    assert_eq!(shown, ["epoll", "epoll", "io_uring"][..shown.len()]);
}

#[test]
fn the_printed_configuration_is_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_coney")).arg("config").output().unwrap();
    assert!(output.status.success());
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("all.toml"), output.stdout).unwrap();
    let server = Server::start_in(dir.path(), &["--config", "all.toml"]);
    assert_eq!(server.connect().ask("CONFIG GET databases"), "*2 \"databases\" \"16\"");
}

#[test]
fn config_set_takes_effect_and_rewrite_keeps_it() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("c.toml"), "# kept\ntimeout = 5 # kept too\n").unwrap();
    let server = Server::start_in(dir.path(), &["--config", "c.toml"]);
    let mut client = server.connect();
    assert_eq!(client.ask("CONFIG SET timeout 9 requirepass secret"), "+OK");
    assert_eq!(client.ask("CONFIG REWRITE"), "+OK");
    let mut stranger = server.connect();
    assert_eq!(stranger.ask("PING"), "-NOAUTH Authentication required.");
    assert_eq!(
        stranger.ask("AUTH wrong"),
        "-WRONGPASS invalid username-password pair or user is disabled."
    );
    assert_eq!(stranger.ask("AUTH secret"), "+OK");
    assert_eq!(stranger.ask("PING"), "+PONG");
    let text = std::fs::read_to_string(dir.path().join("c.toml")).unwrap();
    assert!(text.starts_with("# kept\ntimeout = 9 # kept too\n"), "{text}");
    assert!(text.contains("requirepass = \"secret\"\n"), "{text}");
    assert!(server.stop().success());
    let server = Server::start_in(dir.path(), &["--config", "c.toml"]);
    assert_eq!(server.connect().ask("PING"), "-NOAUTH Authentication required.");
}

#[test]
fn options_of_rocksdb_change_while_it_runs_or_are_refused_with_the_cure() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("c.toml"), "compression = [\"none\"]\n").unwrap();
    let server = Server::start_in(dir.path(), &["--config", "c.toml"]);
    let mut client = server.connect();
    let value = "v".repeat(5000);
    assert_eq!(client.ask(&format!("SET before {value}")), "+OK");
    assert_eq!(client.ask("SAVE"), "+OK");
    assert_eq!(client.info("blob_bytes"), 0);
    for (name, now, then) in [
        ("compression", "none none lz4 zstd", "none none lz4 zstd"),
        ("compression-bottommost", "lz4", "lz4"),
        ("blob-threshold", "4kb", "4096"),
        ("blob-gc-percent", "50", "50"),
        ("auto-compaction", "no", "no"),
        ("compaction-rate-limit", "20mb", "20971520"),
        ("bytes-per-sync", "0", "0"),
        ("background-jobs", "4", "4"),
        ("write-buffer", "16mb", "16777216"),
        ("block-cache", "64mb", "67108864"),
    ] {
        let words: String = ["CONFIG", "SET", name, now]
            .iter()
            .map(|word| format!("${}\r\n{word}\r\n", word.len()))
            .collect();
        client.send(format!("*4\r\n{words}").as_bytes());
        assert_eq!(client.reply(), Some(Value::Simple(b"OK".to_vec())), "{name}");
        assert_eq!(client.ask(&format!("CONFIG GET {name}")), format!("*2 \"{name}\" \"{then}\""));
    }
    assert_eq!(client.ask(&format!("SET after {value}")), "+OK");
    assert_eq!(client.ask("SAVE"), "+OK");
    assert!(client.info("blob_bytes") > 0, "the new threshold holds");
    assert_eq!(
        client.ask("CONFIG SET rocksdb-preset large"),
        "-ERR CONFIG SET failed (possibly related to argument 'rocksdb-preset') - can't set \
         immutable config: change it in the configuration file and restart the server"
    );
    assert_eq!(client.ask("CONFIG REWRITE"), "+OK");
    assert!(server.stop().success());
    let text = std::fs::read_to_string(dir.path().join("c.toml")).unwrap();
    assert!(text.contains("compression = [\"none\", \"none\", \"lz4\", \"zstd\"]\n"), "{text}");
    assert!(text.contains("blob-threshold = \"4096\"\n"), "{text}");
    let preset = ["--config", "c.toml", "--set", "rocksdb-preset=large"];
    let server = Server::start_in(dir.path(), &preset);
    let mut client = server.connect();
    assert_eq!(client.ask("CONFIG GET auto-compaction"), "*2 \"auto-compaction\" \"no\"");
    for key in ["before", "after"] {
        assert_eq!(client.ask(&format!("GET {key}")), format!("\"{value}\""));
    }
}

#[test]
fn limits_of_compact_encodings_come_from_the_configuration() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("c.toml"), "hash-max-listpack-entries = 2\n").unwrap();
    let server = Server::start_in(dir.path(), &["--config", "c.toml"]);
    let mut client = server.connect();
    assert_eq!(client.ask("HSET h a 1 b 2"), ":2");
    assert_eq!(client.ask("OBJECT ENCODING h"), "\"listpack\"");
    assert_eq!(client.ask("HSET h c 3"), ":1");
    assert_eq!(client.ask("OBJECT ENCODING h"), "\"hashtable\"");
    // The name of before Redis 7 is the same setting.
    assert_eq!(client.ask("CONFIG SET hash-max-ziplist-entries 3"), "+OK");
    assert_eq!(
        client.ask("CONFIG GET hash-max-listpack-entries"),
        "*2 \"hash-max-listpack-entries\" \"3\""
    );
    assert_eq!(client.ask("HSET g a 1 b 2 c 3"), ":3");
    assert_eq!(client.ask("OBJECT ENCODING g"), "\"listpack\"");
    assert_eq!(
        client.ask("CONFIG SET set-max-intset-entries -1"),
        "-ERR CONFIG SET failed (possibly related to argument 'set-max-intset-entries') - argument \
         must be between 0 and 9223372036854775807 inclusive"
    );
}

#[test]
fn config_errors_are_those_of_redis() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(
        client.ask("CONFIG SET nonsense 1"),
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'"
    );
    assert_eq!(
        client.ask("CONFIG SET databases 5"),
        "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable \
         config"
    );
    assert_eq!(client.ask("CONFIG REWRITE"), "-ERR The server is running without a config file");
    assert_eq!(client.ask("CONFIG GET nothing"), "*0");
    assert_eq!(client.ask("CONFIG SET maxmemory-policy allkeys-lru"), "+OK");
    assert_eq!(
        client.ask("CONFIG GET maxmemory-policy"),
        "*2 \"maxmemory-policy\" \"allkeys-lru\""
    );
}

#[test]
fn access_lists_and_limits_are_live_settings() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("c.toml"), "access-list-deny = [\"203.0.113.0/24\"]\n").unwrap();
    let server = Server::start_in(dir.path(), &["--config", "c.toml"]);
    let mut client = server.connect();
    assert_eq!(
        client.ask("CONFIG GET access-list-deny"),
        "*2 \"access-list-deny\" \"203.0.113.0/24\""
    );
    assert_eq!(client.ask("CONFIG SET access-list-allow 192.0.2.7 syn-limit-global 1000"), "+OK");
    assert_eq!(server.connect().ask("PING"), "+PONG", "clients on this host are always let in");
    assert_eq!(
        client.ask("CONFIG SET access-list-deny 192.0.2.7/32"),
        "-ERR CONFIG SET failed (possibly related to argument 'access-list-deny') - 192.0.2.7/32 \
         is both allowed and denied"
    );
    assert_eq!(
        client.ask("CONFIG SET access-list-deny 192.0.2.7/24"),
        "-ERR CONFIG SET failed (possibly related to argument 'access-list-deny') - argument must \
         be IP addresses or networks without bits beyond their prefix, such as 192.0.2.7 \
         10.0.0.0/8 2001:db8::/32"
    );
    let many: Vec<String> = (0..10_001).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let many = many.join(" ");
    let set = ["CONFIG", "SET", "access-list-deny", &many];
    let words: String = set.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    client.send(format!("*4\r\n{words}").as_bytes());
    let Some(Value::Error(text)) = client.reply() else { panic!("the list is too long") };
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("- no more than 10000 networks can be allowed and denied"), "{text}");
    assert_eq!(
        client.ask("CONFIG SET syn-limit-per-source -1"),
        "-ERR CONFIG SET failed (possibly related to argument 'syn-limit-per-source') - argument \
         must be between 0 and 4294967295 inclusive"
    );
    assert_eq!(client.ask("CONFIG REWRITE"), "+OK");
    let text = std::fs::read_to_string(dir.path().join("c.toml")).unwrap();
    assert!(text.contains("access-list-allow = [\"192.0.2.7/32\"]"), "{text}");

    std::fs::write(
        dir.path().join("c.toml"),
        "access-list-deny = [\"10.0.0.0/8\"]\naccess-list-allow = [\"10.0.0.0/8\"]\n",
    )
    .unwrap();
    let other = TempDir::new().unwrap();
    let config = dir.path().join("c.toml");
    let output = refusal(other.path(), &["--config", config.to_str().unwrap()]);
    assert!(output.contains("10.0.0.0/8 is both allowed and denied"), "{output}");
}

#[test]
fn help_and_check_tell_what_to_do() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_coney")).args(args).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (worked, help) = run(&["--help"]);
    assert!(worked && help.contains("coney serve") && help.contains("coney check"), "{help}");
    let (worked, table) = run(&["check"]);
    assert!(worked && table.contains("data directory"), "{table}");
    let (worked, json) = run(&["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(worked && json.as_array().is_some_and(|rows| rows.len() > 8), "{json}");
}

#[test]
fn users_are_kept_in_the_acl_file_and_their_connections_end_with_them() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("users.acl"), "user alice on >pw ~* +@all\n").unwrap();
    let server = Server::start_in(dir.path(), &["--set", "aclfile=users.acl"]);
    let mut client = server.connect();
    let mut alice = server.connect();
    assert_eq!(alice.ask("AUTH alice pw"), "+OK");
    assert_eq!(alice.ask("ACL WHOAMI"), "\"alice\"");
    assert!(client.ask("CLIENT LIST").contains(" user=alice "));
    assert_eq!(client.ask("CLIENT KILL USER nobody"), "-ERR No such user 'nobody'");
    assert_eq!(client.ask("ACL SETUSER bob on nopass ~b* +get"), "+OK");
    assert_eq!(client.ask("ACL DELUSER default"), "-ERR The 'default' user cannot be removed");
    assert_eq!(client.ask("ACL DELUSER alice nobody"), ":1");
    assert!(alice.is_closed());
    assert_eq!(client.ask("ACL GENPASS 5").len(), 4);
    assert_eq!(client.ask("ACL SAVE"), "+OK");
    assert!(server.stop().success());
    let text = std::fs::read_to_string(dir.path().join("users.acl")).unwrap();
    assert_eq!(
        text,
        "user bob on nopass sanitize-payload ~b* resetchannels -@all +get\n\
         user default on nopass sanitize-payload ~* &* +@all\n"
    );
    let server = Server::start_in(dir.path(), &["--set", "aclfile=users.acl"]);
    let mut client = server.connect();
    assert_eq!(client.ask("AUTH bob any"), "+OK");
    assert!(client.ask("SET b 1").starts_with("-NOPERM "));
    let mut admin = server.connect();
    std::fs::write(dir.path().join("users.acl"), "user bob +nope\n").unwrap();
    assert!(admin.ask("ACL LOAD").contains("line 1: ERR Error in ACL SETUSER modifier '+nope'"));
    assert_eq!(admin.ask("ACL USERS"), "*2 \"bob\" \"default\"");
}
