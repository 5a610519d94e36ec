//! Glob patterns as in KEYS, SCAN MATCH, CONFIG GET and PSUBSCRIBE.
//!
//! `*` any bytes, `?` any byte, `[a-z]`, `[^a]`, `\` before a byte takes it literally. The rules
//! and corner cases are those of `stringmatchlen` in Redis: an open class runs to the pattern's
//! end, a reversed range is turned round.

/// Whether `text` matches `pattern`; `nocase` folds ASCII letters.
///
/// Takes time linear in both lengths times the number of `*`, never exponential.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when a match fails: after the last star, one byte further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if let (Some(&byte), Some(_)) = (text.get(t), pattern.get(p))
            && let Some(len) = element(&pattern[p..], byte, nocase)
        {
            p += len;
            t += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        match &mut retry {
            Some((after_star, start)) if *start < text.len() => {
                *start += 1;
                (p, t) = (*after_star, *start);
            }
            _ => return false,
        }
    }
}

/// The length of the pattern's first element, if it matches `byte`.
fn element(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (len, is_in) = class_matches(class, byte, nocase);
            is_in.then_some(1 + len)
        }
        [b'\\', literal, ..] => (fold(*literal, nocase) == fold(byte, nocase)).then_some(2),
        [literal, ..] => (fold(*literal, nocase) == fold(byte, nocase)).then_some(1),
        [] => None,
    }
}

/// Length of a class without its opening bracket, and whether `byte` is in it.
fn class_matches(class: &[u8], byte: u8, nocase: bool) -> (usize, bool) {
    let byte = fold(byte, nocase);
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut is_in = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => break,
            [b'\\', literal, ..] => {
                is_in |= fold(*literal, nocase) == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (fold(*first, nocase), fold(*last, nocase));
                is_in |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                is_in |= fold(*literal, nocase) == byte;
                at += 1;
            }
        }
    }
    (at, is_in != negated)
}

fn fold(byte: u8, nocase: bool) -> u8 {
    if nocase { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("[a-c", "b", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("key:*", "key:", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern}");
        }
    }

    #[test]
    fn case_matters_unless_told_otherwise() {
        assert!(!matches(b"MAX*", b"maxclients", false));
        assert!(matches(b"MAX[B-D]*", b"maxclients", true));
    }
}
