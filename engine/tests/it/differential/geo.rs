//! Random commands of places.

use super::Random;

impl Random {
    fn geo_key(&mut self) -> String {
        match self.below(15) {
            0 => self.key(),
            1 => "nowhere".to_owned(),
            _ => self.one_of(&["g1", "g2", "g3"]),
        }
    }

    /// Places that are hardly ever equally far: how Redis orders such ones is unspecified.
    fn degrees(&mut self, most: usize) -> String {
        let sign = self.one_of(&["", "-"]);
        format!("{sign}{}.{:06}", self.below(most), self.below(1_000_000))
    }

    fn coordinates(&mut self) -> [String; 2] {
        match self.below(12) {
            0 => [self.degrees(190), self.degrees(90)],
            1 => {
                let edges = ["180", "-180", "0", "181", "x", "inf", "", "1e400"];
                [self.one_of(&edges), self.one_of(&["85.05112878", "-85.05112878", "86", "0"])]
            }
            2..6 => [self.degrees(180), self.degrees(85)],
            _ => [self.degrees(2), self.degrees(2)],
        }
    }

    fn length(&mut self) -> String {
        match self.below(10) {
            0 => self.one_of(&["0", "-1", "x", "", "nan", "inf", "1e-3", "1e9"]),
            1..4 => self.below(300).to_string(),
            4..7 => format!("{}.5", self.below(20_000)),
            _ => self.below(20_000_000).to_string(),
        }
    }

    fn unit(&mut self) -> String {
        self.one_of(&["m", "m", "M", "km", "KM", "km", "ft", "mi", "Mi", "yd"])
    }

    fn geo_options(&mut self, targets: &[&str]) -> Vec<String> {
        let mut words = Vec::new();
        for option in ["WITHCOORD", "WITHDIST", "WITHHASH", "ASC", "DESC"] {
            if self.below(4) == 0 {
                words.push(option.to_owned());
            }
        }
        if self.below(3) == 0 {
            words.extend(["COUNT".to_owned(), self.number()]);
            if self.below(3) == 0 {
                words.push("ANY".to_owned());
            }
        }
        if self.below(4) == 0 && !targets.is_empty() {
            words.retain(|word| !word.starts_with("WITH"));
            words.extend([self.one_of(targets), self.one_of(&["g2", "g3"])]);
        }
        if self.below(25) == 0 {
            words.push(self.one_of(&["ANY", "STORE", "STOREDIST", "COUNT", "x", "WITHDIST"]));
        }
        words
    }

    pub(super) fn geo_command(&mut self) -> Vec<String> {
        let key = self.geo_key();
        match self.below(12) {
            0..3 => {
                let mut words = vec!["GEOADD".to_owned(), self.one_of(&["g1", "g1", "g2", "g3"])];
                while self.below(4) == 0 {
                    words.push(self.one_of(&["NX", "XX", "CH", "CH"]));
                }
                let most = if self.below(10) == 0 { 60 } else { 4 };
                for _ in 0..1 + self.below(most) {
                    words.extend(self.coordinates());
                    words.push(self.word());
                }
                words
            }
            3 => {
                let key = if self.below(3) == 0 { self.one_of(&["z1", "lex"]) } else { key };
                let mut words = vec![self.one_of(&["GEOPOS", "GEOHASH"]), key];
                let count = self.below(5);
                words.extend(self.words(count));
                words
            }
            4 => {
                let mut words = vec!["GEODIST".to_owned(), key, self.word(), self.word()];
                for _ in 0..self.below(5) / 2 {
                    words.push(self.unit());
                }
                words
            }
            5 | 6 => {
                let name = self.one_of(&["GEORADIUS", "GEORADIUS_RO"]);
                let targets: &[&str] =
                    if name == "GEORADIUS" { &["STORE", "STOREDIST"] } else { &[] };
                let mut words = vec![name, key];
                words.extend(self.coordinates());
                words.extend([self.length(), self.unit()]);
                words.extend(self.geo_options(targets));
                words
            }
            7 => {
                let name = self.one_of(&["GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"]);
                let targets: &[&str] =
                    if name == "GEORADIUSBYMEMBER" { &["STORE", "STOREDIST"] } else { &[] };
                let mut words = vec![name, key, self.word(), self.length(), self.unit()];
                words.extend(self.geo_options(targets));
                words
            }
            8 => vec!["ZRANGE".to_owned(), key, "0".to_owned(), "-1".to_owned()],
            _ => self.geo_search(key),
        }
    }

    fn geo_search(&mut self, key: String) -> Vec<String> {
        let is_stored = self.below(4) == 0;
        let mut words = if is_stored {
            vec!["GEOSEARCHSTORE".to_owned(), self.one_of(&["g2", "g3"]), key]
        } else {
            vec![self.one_of(&["GEOSEARCH", "geosearch"]), key]
        };
        if self.below(3) == 0 {
            words.extend(["FROMMEMBER".to_owned(), self.word()]);
        }
        if words.len() < 4 || self.below(20) == 0 {
            words.push("FROMLONLAT".to_owned());
            words.extend(self.coordinates());
        }
        if self.below(2) == 0 {
            words.extend(["BYRADIUS".to_owned(), self.length(), self.unit()]);
        } else {
            words.extend(["BYBOX".to_owned(), self.length(), self.length(), self.unit()]);
        }
        let mut options = self.geo_options(&[]);
        if is_stored {
            options.retain(|word| !word.starts_with("WITH"));
            if self.below(2) == 0 {
                options.push("STOREDIST".to_owned());
            }
        }
        words.extend(options);
        words
    }
}
