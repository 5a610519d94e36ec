use coney_resp::OwnedArgs;

use super::rule::RuleError;
use super::selector::Denial;
use super::*;
use crate::command::table;

fn user(rules: &[&str]) -> User {
    let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
    User::new(b"alice").with(&rules).unwrap()
}

fn check(user: &User, words: &[&str]) -> Result<(), Denial> {
    let args = OwnedArgs::from_parts(words);
    user.check(table::find(args.as_args()).unwrap(), args.as_args())
}

fn described(rules: &[&str]) -> String {
    String::from_utf8(user(rules).describe()).unwrap()
}

#[test]
fn a_new_user_may_do_nothing() {
    let nobody = User::new(b"alice");
    assert!(!nobody.admits(b""));
    assert_eq!(check(&nobody, &["get", "a"]), Err(Denial::Command));
    assert_eq!(nobody.describe(), b"user alice off sanitize-payload resetchannels -@all");
}

#[test]
fn commands_are_allowed_by_name_by_category_and_by_subcommand() {
    let reader = user(&["+@read", "-mget", "+config|get", "~*"]);
    assert_eq!(check(&reader, &["GET", "a"]), Ok(()));
    assert_eq!(check(&reader, &["mget", "a"]), Err(Denial::Command));
    assert_eq!(check(&reader, &["set", "a", "b"]), Err(Denial::Command));
    assert_eq!(check(&reader, &["config", "get", "*"]), Ok(()));
    assert_eq!(check(&reader, &["config", "set", "a", "b"]), Err(Denial::Command));
    let most = user(&["+@all", "-config", "+config|get", "allkeys"]);
    assert_eq!(check(&most, &["config", "get", "*"]), Ok(()));
    assert_eq!(check(&most, &["config", "rewrite"]), Err(Denial::Command));
}

#[test]
fn one_value_of_the_first_argument_can_be_allowed() {
    let user = user(&["+select|0"]);
    assert_eq!(check(&user, &["select", "0"]), Ok(()));
    assert_eq!(check(&user, &["select", "1"]), Err(Denial::Command));
}

#[test]
fn keys_are_allowed_for_reading_for_writing_or_for_both() {
    let user = user(&["+@all", "%R~r:*", "%W~w:*", "~b:*"]);
    assert_eq!(check(&user, &["get", "r:1"]), Ok(()));
    assert_eq!(check(&user, &["set", "r:1", "x"]), Err(Denial::Key(1)));
    assert_eq!(check(&user, &["get", "w:1"]), Err(Denial::Key(1)));
    assert_eq!(check(&user, &["set", "w:1", "x"]), Ok(()));
    assert_eq!(check(&user, &["set", "w:1", "x", "GET"]), Err(Denial::Key(1)));
    assert_eq!(check(&user, &["set", "b:1", "x", "get"]), Ok(()));
    assert_eq!(check(&user, &["copy", "r:1", "w:1"]), Ok(()));
    assert_eq!(check(&user, &["copy", "w:1", "r:1"]), Err(Denial::Key(1)));
    assert_eq!(check(&user, &["mget", "r:1", "x"]), Err(Denial::Key(2)));
    assert_eq!(check(&user, &["exists", "w:1"]), Ok(()), "neither reads nor writes the value");
}

#[test]
fn keys_that_sort_finds_by_its_options_are_checked() {
    let user = user(&["+sort", "~a*", "%R~r*"]);
    assert_eq!(check(&user, &["sort", "a", "LIMIT", "0", "5", "STORE", "a2"]), Ok(()));
    assert_eq!(check(&user, &["sort", "a", "store", "b"]), Err(Denial::Key(3)));
    assert_eq!(check(&user, &["sort", "a", "STORE", "r"]), Err(Denial::Key(3)));
    assert_eq!(check(&user, &["sort", "a", "BY", "nosort", "GET", "#"]), Ok(()));
    assert_eq!(check(&user, &["sort", "a", "by", "a*"]), Err(Denial::Key(3)));
    let near = |target| ["georadius", "a", "0", "0", "1", "km", "STOREDIST", target];
    let places = self::user(&["+georadius", "~a*"]);
    assert_eq!(check(&places, &near("a2")), Ok(()));
    assert_eq!(check(&places, &near("b")), Err(Denial::Key(7)));
    assert_eq!(check(&user, &["sort", "a", "ALPHA", "GET", "x*"]), Err(Denial::Key(4)));
}

#[test]
fn one_selector_has_to_allow_all_of_a_command() {
    let user = user(&["+get", "~a", "(+set ~b)"]);
    assert_eq!(check(&user, &["get", "a"]), Ok(()));
    assert_eq!(check(&user, &["set", "b", "x"]), Ok(()));
    assert_eq!(check(&user, &["set", "a", "x"]), Err(Denial::Key(1)));
    assert_eq!(check(&user, &["get", "b"]), Err(Denial::Key(1)));
    assert_eq!(check(&user, &["del", "a"]), Err(Denial::Command));
}

#[test]
fn a_description_leads_to_the_same_user() {
    for rules in [
        &["on", "nopass", "~*", "&*", "+@all"][..],
        &["on", ">secret", "~a*", "%R~b", "&c", "&d*", "+@read", "-get", "+select|0"],
        &["+@all", "-@dangerous", "-config", "+config|get", "(~x +get)", "skip-sanitize-payload"],
    ] {
        let first = described(rules);
        let words: Vec<&str> = first.split(' ').skip(2).collect();
        assert_eq!(described(&words), first);
    }
    assert_eq!(
        described(&["+@all", "-config|get", "-config", "+get", "-get"]),
        "user alice off sanitize-payload resetchannels +@all -config -get"
    );
}

#[test]
fn passwords_come_and_go() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let mut alice = user(&["on", ">secret"]);
    assert!(alice.admits(b"secret") && !alice.admits(b"other"));
    assert_eq!(alice.password_hashes().collect::<Vec<_>>(), [hash]);
    alice = alice.with(&[b">other", format!("!{hash}").as_bytes()]).unwrap();
    assert!(!alice.admits(b"secret") && alice.admits(b"other"));
    assert!(!alice.with(&[b"off"]).unwrap().admits(b"other"));
    assert!(alice.with(&[b"nopass"]).unwrap().admits(b"anything"));
    let error = |rule: &[u8]| match alice.with(&[rule]) {
        Err(UserError::Rule { error, .. }) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(b"<nope"), RuleError::NoSuchPassword);
    assert_eq!(error(b"#12"), RuleError::PasswordHash);
    assert_eq!(error(hash.to_uppercase().as_bytes()), RuleError::Syntax);
}

#[test]
fn wrong_rules_are_named() {
    let error = |rules: &[&str]| {
        let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
        User::new(b"alice").with(&rules).unwrap_err().to_string()
    };
    assert_eq!(error(&["%R"]), "ERR Error in ACL SETUSER modifier '%R': Syntax error");
    assert_eq!(error(&["foo"]), "ERR Error in ACL SETUSER modifier 'foo': Syntax error");
    for rule in ["+nope", "+@nope", "+config|nope", "-get|x", "+nope|x"] {
        assert!(error(&[rule]).ends_with(": Unknown command or category name in ACL"), "{rule}");
    }
    assert!(error(&["+config|get|x"]).ends_with("first-arg of a subcommand is not supported"));
    assert!(error(&["~*", "~a"]).contains("after the * pattern (or the 'allkeys' flag)"));
    assert!(error(&["&*", "&a"]).contains("after the * pattern (or the 'allchannels' flag)"));
    assert_eq!(
        error(&["(+get", "~a"]),
        "ERR Unmatched parenthesis in acl selector starting at '(+get'."
    );
}

#[test]
fn a_file_is_loaded_whole_or_not_at_all() {
    let acl = Acl::new();
    acl.set_user(b"old", &[b"on"]).unwrap();
    assert_eq!(acl.load(b"user bob on\nbob"), Err(FileError::Line(2)));
    assert_eq!(acl.load(b"user a\nuser a"), Err(FileError::Duplicate(2, "a".to_owned())));
    assert!(matches!(acl.load(b"\nuser a +nope"), Err(FileError::User(2, _))));
    assert!(acl.has_user(b"old") && !acl.has_user(b"bob"));
    acl.load(b"# people\nuser bob on >pw ~* +@all\n\n").unwrap();
    assert!(!acl.has_user(b"old") && acl.has_user(b"bob") && acl.is_open());
    let text = acl.to_text();
    let other = Acl::new();
    other.load(&text).unwrap();
    assert_eq!(other.to_text(), text);
}

#[test]
fn requirepass_changes_the_default_user_only_when_it_changes() {
    let acl = Acl::new();
    acl.set_requirepass(Some(b"pw".to_vec()));
    assert!(!acl.is_open() && acl.get(b"default").unwrap().admits(b"pw"));
    acl.set_user(b"default", &[b">two"]).unwrap();
    acl.set_requirepass(Some(b"pw".to_vec()));
    assert!(acl.get(b"default").unwrap().admits(b"two"));
    acl.set_requirepass(None);
    assert!(acl.is_open());
}

#[test]
fn the_log_counts_what_comes_again_and_is_bounded() {
    let mut log = Log::default();
    let push = |log: &mut Log, ms: u64, object: &str| {
        log.push(UnixMillis(ms), Reason::Key, object.as_bytes(), b"alice", Vec::new());
    };
    push(&mut log, 1_000, "a");
    push(&mut log, 2_000, "b");
    push(&mut log, 61_000, "a");
    let seen: Vec<(Vec<u8>, u64)> =
        log.entries().map(|entry| (entry.object.clone(), entry.count)).collect();
    assert_eq!(seen, [(b"a".to_vec(), 2), (b"b".to_vec(), 1)]);
    push(&mut log, 62_001, "a");
    assert_eq!(log.entries().len(), 3, "a minute has passed");
    for at in 0..200 {
        push(&mut log, 100_000, &at.to_string());
    }
    assert_eq!(log.entries().len(), log::ENTRIES_MAX);
}
