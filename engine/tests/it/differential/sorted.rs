//! Random commands of sorted sets.

use coney_conversation::Value;

use super::Random;

/// A reply in which every -0 is a 0: see docs/compatibility.md.
pub(super) fn unsigned(value: &Value) -> Value {
    match value {
        Value::Bulk(text) if text == b"-0" => Value::Bulk(b"0".to_vec()),
        Value::Aggregate(kind, count, parts) => {
            Value::Aggregate(*kind, *count, parts.iter().map(unsigned).collect())
        }
        other => other.clone(),
    }
}

fn own(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A key that holds a sorted set if it holds anything.
fn plain(random: &mut Random) -> String {
    random.one_of(&["z1", "z2", "z3"])
}

impl Random {
    fn sorted_key(&mut self) -> String {
        let others = self.below(20) == 0;
        if others { self.key() } else { self.one_of(&["z1", "z2", "z3", "lex"]) }
    }

    /// A score that both print the same way.
    fn score(&mut self) -> String {
        match self.below(8) {
            0..5 => format!("{}", self.below(6)),
            5 => format!("-{}.5", self.below(4)),
            6 => self.one_of(&["inf", "-inf", "+inf", "-0", "0", "1e20", "-1e3", "0.125"]),
            _ => self.one_of(&["nan", "", "x", " 1", "1e400", "7", "7.25", "1e-400", "+3"]),
        }
    }

    fn score_bound(&mut self) -> String {
        let exclusive = self.one_of(&["", "", "("]);
        match self.below(6) {
            0 => self.one_of(&["-inf", "+inf", "(-inf", "(inf"]),
            _ => format!("{exclusive}{}", self.score()),
        }
    }

    fn lex_bound(&mut self) -> String {
        match self.below(8) {
            0 => "-".to_owned(),
            1 => "+".to_owned(),
            2 => self.one_of(&["", "m1", "[", "(", "-x", "+x"]),
            3..6 => format!("[{}", self.word()),
            _ => format!("({}", self.word()),
        }
    }

    fn limit(&mut self) -> Vec<String> {
        match self.below(3) {
            0 => vec!["LIMIT".to_owned(), self.number(), self.number()],
            _ => Vec::new(),
        }
    }

    /// Commands of sorted sets. All members of `lex` have the same score: otherwise ranges by member
    /// are unspecified.
    pub(super) fn sorted_command(&mut self) -> Vec<String> {
        let (key, other) = (self.sorted_key(), self.sorted_key());
        match self.below(20) {
            0..4 => {
                let mut words = own(&["ZADD", &plain(self)]);
                while self.below(3) == 0 {
                    words.push(self.one_of(&["NX", "XX", "GT", "LT", "CH", "INCR"]));
                }
                let most = if self.below(10) == 0 { 60 } else { 4 };
                for _ in 0..1 + self.below(most) {
                    words.extend([self.score(), self.word()]);
                }
                words
            }
            4 => {
                let mut words = own(&["ZADD", "lex"]);
                for _ in 0..1 + self.below(6) {
                    words.extend(["1".to_owned(), self.word()]);
                }
                words
            }
            5 => own(&["ZINCRBY", &plain(self), &self.score(), &self.word()]),
            6 => {
                let mut words = vec![self.one_of(&["ZREM", "ZMSCORE"]), key];
                let count = 1 + self.below(4);
                words.extend(self.words(count));
                words
            }
            7 => {
                let name = self.one_of(&["ZSCORE", "ZRANK", "ZREVRANK"]);
                vec![name, key, self.word()]
            }
            8 => {
                let name = self.one_of(&["ZCARD", "ZPOPMIN", "ZPOPMAX", "ZRANDMEMBER", "ZSCAN"]);
                vec![name, key]
            }
            9 => {
                let name = self.one_of(&["ZPOPMIN", "ZPOPMAX", "ZRANDMEMBER"]);
                let mut words = vec![name, key, self.number()];
                if words[0] == "ZRANDMEMBER" && self.below(2) == 0 {
                    words.push("WITHSCORES".to_owned());
                }
                words
            }
            10 => {
                let mut words = own(&["ZMPOP", "2", &key, &other]);
                words.push(self.one_of(&["MIN", "MAX", "MAX", "MED"]));
                if self.below(2) == 0 {
                    words.extend(["COUNT".to_owned(), self.number()]);
                }
                words
            }
            11..17 => self.range_command(key),
            17 | 18 => self.algebra_command(key, other),
            _ => match self.below(4) {
                0 => own(&["OBJECT", "ENCODING", &key]),
                1 => own(&["RENAME", &plain(self), &plain(self)]),
                2 => own(&["COPY", &plain(self), &plain(self), "REPLACE"]),
                _ => own(&["DEL", &key]),
            },
        }
    }

    fn range_command(&mut self, key: String) -> Vec<String> {
        match self.below(6) {
            0 | 1 => {
                let name = self.one_of(&["ZRANGE", "ZREVRANGE", "ZRANGESTORE"]);
                let mut words = own(&[&name, &key, &self.number(), &self.number()]);
                if name == "ZRANGESTORE" {
                    words.insert(1, plain(self));
                } else if self.below(2) == 0 {
                    words.push("WITHSCORES".to_owned());
                }
                if self.below(3) == 0 {
                    words.push("REV".to_owned());
                }
                if self.below(6) == 0 {
                    words.extend(self.limit());
                }
                words
            }
            2 | 3 => {
                let name =
                    self.one_of(&["ZRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANGESTORE"]);
                let mut words = own(&[&name, &key, &self.score_bound(), &self.score_bound()]);
                if name == "ZRANGESTORE" {
                    words.insert(1, plain(self));
                }
                if !name.contains("BY") {
                    words.push("BYSCORE".to_owned());
                    if self.below(2) == 0 {
                        words.push("REV".to_owned());
                    }
                }
                words.extend(self.limit());
                if self.below(2) == 0 {
                    words.push("WITHSCORES".to_owned());
                }
                words
            }
            4 => {
                let name = self.one_of(&["ZRANGE", "ZRANGEBYLEX", "ZREVRANGEBYLEX"]);
                let mut words = own(&[&name, "lex", &self.lex_bound(), &self.lex_bound()]);
                if name == "ZRANGE" {
                    words.push("BYLEX".to_owned());
                    if self.below(2) == 0 {
                        words.push("REV".to_owned());
                    }
                }
                words.extend(self.limit());
                words
            }
            _ => match self.below(4) {
                0 => own(&["ZCOUNT", &key, &self.score_bound(), &self.score_bound()]),
                1 => own(&["ZLEXCOUNT", "lex", &self.lex_bound(), &self.lex_bound()]),
                2 => own(&["ZREMRANGEBYSCORE", &key, &self.score_bound(), &self.score_bound()]),
                _ => match self.below(2) {
                    0 => own(&["ZREMRANGEBYRANK", &key, &self.number(), &self.number()]),
                    _ => own(&["ZREMRANGEBYLEX", "lex", &self.lex_bound(), &self.lex_bound()]),
                },
            },
        }
    }

    fn algebra_command(&mut self, key: String, other: String) -> Vec<String> {
        let third = self.sorted_key();
        let name = self.one_of(&[
            "ZUNION",
            "ZINTER",
            "ZDIFF",
            "ZUNIONSTORE",
            "ZINTERSTORE",
            "ZDIFFSTORE",
            "ZINTERCARD",
        ]);
        let count = self.one_of(&["1", "2", "2", "3", "3", "0", "x", "9"]);
        let mut words = vec![name.clone()];
        if name.ends_with("STORE") {
            words.push(plain(self));
        }
        words.push(count.clone());
        let set = self.one_of(&["s1", "s2", "s3"]);
        let keys = [key, third, if self.below(2) == 0 { set } else { other }];
        let count: usize = count.parse().unwrap_or(2);
        words.extend(keys.into_iter().take(count));
        if name == "ZINTERCARD" {
            words.extend(["LIMIT".to_owned(), self.number()]);
            return words;
        }
        if self.below(3) == 0 {
            words.push("WEIGHTS".to_owned());
            for _ in 0..count {
                words.push(self.one_of(&["1", "2", "-1", "0", "0.5", "inf", "2", "y"]));
            }
        }
        if self.below(3) == 0 {
            words.push("AGGREGATE".to_owned());
            words.push(self.one_of(&["SUM", "MIN", "MAX", "AVG"]));
        }
        if self.below(2) == 0 {
            words.push("WITHSCORES".to_owned());
        }
        words
    }
}
