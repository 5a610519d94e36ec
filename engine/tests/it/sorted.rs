//! Large sorted sets: order, growth, death, and commands that go to the pool.

use crate::peer::{EnginePeer, commit};

/// Members `m0` to the last, with scores from -1500 on in steps of one, shuffled.
fn peer_with_members(count: i64) -> EnginePeer {
    let mut peer = EnginePeer::new();
    let pair = |number: i64| {
        let number = number * 7919 % count;
        format!("{} m{number}", number - 1500)
    };
    for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
        let pairs: Vec<String> = chunk.iter().map(|number| pair(*number)).collect();
        let added = format!(":{}\r\n", chunk.len());
        assert_eq!(peer.ask(&format!("ZADD z {}", pairs.join(" "))), added);
    }
    peer
}

fn bulks(reply: &str) -> Vec<String> {
    let is_header = |line: &&str| !line.is_empty() && !line.starts_with(['*', '$']);
    reply.split("\r\n").filter(is_header).map(str::to_owned).collect()
}

fn names(numbers: impl Iterator<Item = i64>) -> Vec<String> {
    numbers.map(|number| format!("m{number}")).collect()
}

// What could break: the order of what lies in the batch, on disk, and in both.
#[test]
fn a_large_one_is_in_order_before_and_after_its_commit() {
    let mut peer = peer_with_members(3000);
    for is_committed in [false, true] {
        if is_committed {
            commit(&mut peer.executor);
        }
        assert_eq!(bulks(&peer.ask("ZRANGE z 0 -1")), names(0..3000));
        assert_eq!(bulks(&peer.ask("ZRANGE z 0 -1 REV")), names((0..3000).rev()));
        assert_eq!(bulks(&peer.ask("ZRANGE z 10 12")), names(10..13));
        assert_eq!(bulks(&peer.ask("ZRANGE z 2900 2902")), names(2900..2903));
        assert_eq!(bulks(&peer.ask("ZREVRANGE z 2900 2902")), names((97..100).rev()));
        assert_eq!(bulks(&peer.ask("ZRANGEBYSCORE z -1500 (-1497")), names(0..3));
        assert_eq!(bulks(&peer.ask("ZREVRANGEBYSCORE z 1 (-1")), names((1500..1502).rev()));
        assert_eq!(bulks(&peer.ask("ZRANGEBYSCORE z -inf inf LIMIT 500 2")), names(500..502));
        assert_eq!(peer.ask("ZCOUNT z -1 1"), ":3\r\n");
        assert_eq!(peer.ask("ZRANK z m2500"), ":2500\r\n");
        assert_eq!(peer.ask("ZREVRANK z m2500"), ":499\r\n");
        assert_eq!(peer.ask("ZRANK z nobody"), "$-1\r\n");
    }
    assert!(peer.executor.stats.pool_reads > 0, "too long for a worker");
}

#[test]
fn a_member_has_one_score() {
    let mut peer = peer_with_members(300);
    commit(&mut peer.executor);
    assert_eq!(peer.ask("ZADD z CH 5000 m7 -5000 m7 9 new 9 new"), ":3\r\n");
    assert_eq!(peer.ask("ZCARD z"), ":301\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE z 0 0 WITHSCORES")), ["m7", "-5000"]);
    assert_eq!(bulks(&peer.ask("ZRANGE z -1 -1 WITHSCORES")), ["new", "9"]);
    assert_eq!(peer.ask("ZREM z m7 m7 nobody"), ":1\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE z 0 0")), ["m0"]);
    commit(&mut peer.executor);
    assert_eq!(bulks(&peer.ask("ZRANGE z 0 -1")).len(), 300);
    assert_eq!(peer.ask("ZCOUNT z -inf inf"), ":300\r\n");
}

// What could break: entries of `score` that stay when their member, or its key, is gone.
#[test]
fn nothing_is_left_of_what_is_removed() {
    let mut peer = peer_with_members(3000);
    commit(&mut peer.executor);
    assert_eq!(peer.ask("ZREMRANGEBYRANK z 0 1999"), ":2000\r\n");
    assert_eq!(bulks(&peer.ask("ZPOPMIN z 2")), ["m2000", "500", "m2001", "501"]);
    assert_eq!(bulks(&peer.ask("ZPOPMAX z")), ["m2999", "1499"]);
    assert_eq!(peer.ask("ZREMRANGEBYSCORE z 502 (504"), ":2\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE z 0 -1")), names(2004..2999));
    assert_eq!(peer.ask("COPY z y"), ":1\r\n");
    assert_eq!(peer.ask("RENAME z x"), "+OK\r\n");
    commit(&mut peer.executor);
    while peer.engine.reclaim(100).unwrap() > 0 {}
    assert_eq!(bulks(&peer.ask("ZRANGE x 0 -1")), names(2004..2999));
    assert_eq!(bulks(&peer.ask("ZRANGE y 0 -1")), names(2004..2999));
    assert_eq!(peer.ask("ZREMRANGEBYSCORE x -inf inf"), ":995\r\n");
    assert_eq!(peer.ask("EXISTS x z"), ":0\r\n");
    assert_eq!(peer.ask("ZADD x 1 a"), ":1\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE x 0 -1")), ["a"]);
    assert_eq!(peer.ask("DBSIZE"), ":2\r\n");
}

#[test]
fn results_of_large_ones_are_stored_and_sampled() {
    let mut peer = peer_with_members(3000);
    assert_eq!(peer.ask("ZRANGESTORE d z 1000 1999"), ":1000\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE d 0 1")), ["m1000", "m1001"]);
    assert_eq!(peer.ask("ZINTERSTORE i 2 z d WEIGHTS 1 2"), ":1000\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE i 0 0 WITHSCORES")), ["m1000", "-1500"]);
    assert_eq!(peer.ask("ZDIFFSTORE i 2 z d"), ":2000\r\n");
    assert_eq!(peer.ask("ZUNIONSTORE i 2 i d"), ":3000\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE i 0 -1")), names(0..3000));
    assert_eq!(peer.ask("ZINTERCARD 2 z d LIMIT 10"), ":10\r\n");
    assert_eq!(bulks(&peer.ask("ZRANDMEMBER i 20")).len(), 20);
    assert_eq!(bulks(&peer.ask("ZRANDMEMBER i -2000 WITHSCORES")).len(), 4000);
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let mut reply = bulks(&peer.ask(&format!("ZSCAN i {cursor} COUNT 100"))).into_iter();
        cursor = reply.next().unwrap();
        found.extend(reply);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 6000);
    let mut members: Vec<String> = found.iter().step_by(2).cloned().collect();
    members.sort();
    members.dedup();
    assert_eq!(members.len(), 3000);
}

#[test]
fn ranges_by_member_of_a_large_one() {
    let mut peer = EnginePeer::new();
    let pairs: Vec<String> = (100..500).map(|number| format!("2 m{number}")).collect();
    peer.ask(&format!("ZADD z {}", pairs.join(" ")));
    assert_eq!(bulks(&peer.ask("OBJECT ENCODING z")), ["skiplist"]);
    assert_eq!(bulks(&peer.ask("ZRANGEBYLEX z [m200 (m203")), names(200..203));
    assert_eq!(bulks(&peer.ask("ZREVRANGEBYLEX z + (m497")), names((498..500).rev()));
    assert_eq!(bulks(&peer.ask("ZRANGE z - [m101 BYLEX")), names(100..102));
    assert_eq!(peer.ask("ZLEXCOUNT z - +"), ":400\r\n");
    assert_eq!(peer.ask("ZREMRANGEBYLEX z - (m490"), ":390\r\n");
    assert_eq!(bulks(&peer.ask("ZRANGE z 0 -1")), names(490..500));
    assert_eq!(peer.ask("ZRANK z m495 WITHSCORE"), "*2\r\n:5\r\n$1\r\n2\r\n");
    assert_eq!(peer.ask("ZRANK z nobody WITHSCORE"), "*-1\r\n");
    assert_eq!(peer.ask("ZRANK z m495 WITHSCORES"), "-ERR syntax error\r\n");
}
