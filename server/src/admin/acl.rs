//! What of ACL needs a file or the operating system's randomness.

use coney_control::clients::Filter;

use super::{Admin, AdminRequest, Answer, error, ok, unknown};
use crate::{files, host};

/// Bits of ACL GENPASS without an argument, and the most.
const GENPASS_BITS: usize = 256;
const GENPASS_BITS_MAX: usize = 4096;

impl Admin {
    pub(super) fn acl(&self, request: &AdminRequest, sub: &[u8], args: &[&[u8]]) -> Answer {
        match sub {
            b"deluser" => match self.parts.engine.acl().delete_users(args) {
                Ok(count) => {
                    let mut is_self = false;
                    for name in args {
                        is_self |= self.kill(request, &Filter::of_user(name)).1;
                    }
                    let reply = request.reply(|reply| reply.count(count));
                    if is_self { Answer::Close(reply) } else { Answer::Now(reply) }
                }
                Err(problem) => error(request, &problem.to_string()),
            },
            b"genpass" => genpass(request, args),
            b"load" => match self.acl_file() {
                None => error(request, NO_FILE),
                Some(path) => {
                    let loaded = std::fs::read(&path)
                        .map_err(|problem| problem.to_string())
                        .and_then(|text| {
                            self.parts.engine.acl().load(&text).map_err(|why| why.to_string())
                        });
                    match loaded {
                        Ok(()) => ok(request),
                        Err(why) => {
                            let path = path.display();
                            let text =
                                format!("ERR {path}: {why}. WARNING: all users stay as they were");
                            error(request, &text)
                        }
                    }
                }
            },
            b"save" => match self.acl_file() {
                None => error(request, NO_FILE),
                Some(path) => match files::replace(&path, &self.parts.engine.acl().to_text()) {
                    Ok(()) => ok(request),
                    Err(problem) => error(
                        request,
                        &format!(
                            "ERR the users cannot be written to {}: {problem}",
                            path.display()
                        ),
                    ),
                },
            },
            _ => unknown(request, "ACL", sub),
        }
    }

    fn acl_file(&self) -> Option<std::path::PathBuf> {
        let path = &self.parts.config.aclfile;
        (!path.as_os_str().is_empty()).then(|| path.clone())
    }
}

const NO_FILE: &str = "ERR This instance is not configured to use an ACL file: set `aclfile` in its \
                       configuration and start it again";

fn genpass(request: &AdminRequest, args: &[&[u8]]) -> Answer {
    let bits = match args {
        [] => Some(GENPASS_BITS),
        [bits] => coney_resp::number::parse_i64(bits)
            .and_then(|bits| usize::try_from(bits).ok())
            .filter(|bits| (1..=GENPASS_BITS_MAX).contains(bits)),
        _ => return unknown(request, "ACL", b"GENPASS"),
    };
    let Some(bits) = bits else {
        return error(
            request,
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to 4096",
        );
    };
    match host::random_hex::<{ GENPASS_BITS_MAX / 8 }>() {
        Ok(mut digits) => {
            digits.truncate(bits.div_ceil(4));
            Answer::Now(request.reply(|reply| reply.bulk(digits.as_bytes())))
        }
        Err(problem) => error(request, &format!("ERR no random bytes: {problem}")),
    }
}
