//! Random commands on strings that are long enough to lie in chunks.

use super::Random;

impl Random {
    fn text_key(&mut self) -> String {
        if self.below(15) == 0 { self.key() } else { self.one_of(&["t1", "t2", "t3"]) }
    }

    /// A place in a string, often where a chunk or a short string ends.
    fn byte_place(&mut self) -> usize {
        let edge = [0, 4096, 8192, 65_536, 69_632, 131_072][self.below(6)];
        match self.below(3) {
            0 => self.below(140_000),
            1 => edge + self.below(4),
            _ => usize::saturating_sub(edge, self.below(4)),
        }
    }

    fn signed_place(&mut self) -> String {
        let place = self.byte_place();
        if self.below(3) == 0 { format!("-{}", place + 1) } else { place.to_string() }
    }

    fn bit_place(&mut self) -> String {
        (self.byte_place() * 8 + self.below(8)).to_string()
    }

    fn patch(&mut self) -> String {
        let word = self.word();
        let times = match self.below(12) {
            0 => 70_000,
            1..4 => 2_000,
            _ => 1,
        };
        word.repeat(1 + times / (word.len() + 1))
    }

    pub(super) fn text_command(&mut self) -> Vec<String> {
        let (key, other, third) = (self.text_key(), self.text_key(), self.text_key());
        let words: &[&str] = match self.below(24) {
            0 | 1 => &["SETRANGE", &key, &self.byte_place().to_string(), &self.patch()],
            2 | 3 => &["APPEND", &key, &self.patch()],
            4 | 5 => &["SETBIT", &key, &self.bit_place(), &self.one_of(&["0", "1", "1"])],
            6 => &["GETBIT", &key, &self.bit_place()],
            7 | 8 => &["GETRANGE", &key, &self.signed_place(), &self.signed_place()],
            9 => &["GET", &key],
            10 => &["STRLEN", &key],
            11 => &["BITCOUNT", &key, &self.signed_place(), &self.signed_place()],
            12 => {
                let unit = self.one_of(&["BIT", "BYTE"]);
                let wanted = self.one_of(&["0", "1"]);
                let (start, end) = (self.signed_place(), self.signed_place());
                let all = ["BITPOS", &key, &wanted, &start, &end, &unit];
                return all[..3 + self.below(4)].iter().map(|word| (*word).to_owned()).collect();
            }
            13 | 14 => {
                let mut words = vec!["BITFIELD".to_owned(), key];
                for _ in 0..=self.below(4) {
                    let action = self.one_of(&["GET", "SET", "INCRBY"]);
                    let (kind, offset) = (format!("i{}", 1 + self.below(64)), self.bit_place());
                    words.extend([action.clone(), kind, offset]);
                    if action != "GET" {
                        words.push((self.next().cast_signed() >> self.below(64)).to_string());
                    }
                }
                return words;
            }
            15 => &["BITOP", &self.one_of(&["AND", "OR", "XOR", "NOT"]), &key, &other],
            16 => &["BITOP", &self.one_of(&["AND", "OR", "XOR"]), &key, &other, &third],
            17 => &[&self.one_of(&["SET", "SETNX", "GETSET"]), &key, &self.patch()],
            18 => &[&self.one_of(&["DEL", "GETDEL", "INCR", "TYPE", "PFCOUNT"]), &key],
            19 => &[&self.one_of(&["RENAME", "COPY", "RENAMENX"]), &key, &other],
            20 => &["MGET", &key, &other, &third],
            21 => &["GETEX", &key, &self.one_of(&["PERSIST", "PXAT"]), "99999999999999"],
            22 => &["SET", &key, &self.patch(), &self.one_of(&["GET", "NX", "XX", "KEEPTTL"])],
            _ => &["SET", &key, &self.patch()],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}
