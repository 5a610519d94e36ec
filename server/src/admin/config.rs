//! CONFIG.

use std::sync::Arc;

use coney_control::config::command::SetError;
use coney_control::config::{Config, Sync, command, file};
use tracing::{info, warn};

use super::{Admin, AdminRequest, Answer, error, ok, unknown};
use crate::access;
use crate::settings;
use crate::worker::inbox::Message;

impl Admin {
    pub(super) fn config(&mut self, request: &AdminRequest, sub: &[u8], args: &[&[u8]]) -> Answer {
        match sub {
            b"get" => self.config_get(request, args),
            b"set" => self.config_set(request, args),
            b"resetstat" => {
                for worker in &self.parts.workers {
                    worker.send(Message::ResetStats);
                }
                ok(request)
            }
            b"rewrite" => self.config_rewrite(request),
            _ => unknown(request, "CONFIG", sub),
        }
    }

    fn config_get(&self, request: &AdminRequest, patterns: &[&[u8]]) -> Answer {
        let values = command::get(&self.parts.config, patterns);
        Answer::Now(request.reply(|reply| {
            reply.map(values.len());
            for (name, value) in &values {
                reply.bulk(name.as_bytes());
                reply.bulk(value.as_bytes());
            }
        }))
    }

    fn config_set(&mut self, request: &AdminRequest, args: &[&[u8]]) -> Answer {
        let (pairs, rest) = args.as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() {
            return error(request, "ERR wrong number of arguments for 'config|set' command");
        }
        let texts: Option<Vec<(&str, &str)>> = pairs
            .iter()
            .map(|[name, value]| {
                Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
            })
            .collect();
        let Some(texts) = texts else {
            return error(request, "ERR CONFIG SET failed - names and values must be UTF-8");
        };
        match command::set(&self.parts.config, &texts) {
            Ok(config) => {
                if let Err(problem) = self.check_sync(&config) {
                    return error(request, &problem.to_string());
                }
                if let Err(problem) = self.parts.engine.retune(&settings::of_engine(&config)) {
                    self.take_back();
                    return error(request, &format!("ERR CONFIG SET failed - {problem}"));
                }
                if let Err(problem) = self.apply_rules(&config, &texts) {
                    self.take_back();
                    return error(request, &problem.to_string());
                }
                let names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
                info!(client = request.client.id, "CONFIG SET {}", names.join(" "));
                settings::apply(&config, &self.parts.engine);
                self.parts.runtime.apply(&config);
                // Replies that wait for the disk must not wait for a policy that is gone.
                self.parts.sync.request();
                self.parts.server.maxclients = config.maxclients;
                self.parts.config = config;
                ok(request)
            }
            Err(problem) => error(request, &problem.to_string()),
        }
    }

    /// Makes the engine's settings hold again that CONFIG GET shows.
    fn take_back(&self) {
        if let Err(problem) = self.parts.engine.retune(&settings::of_engine(&self.parts.config)) {
            warn!(
                "settings of RocksDB cannot be taken back, the next CONFIG SET tries again: {problem}"
            );
        }
    }

    /// Refuses a promise of durability that the device cannot keep.
    fn check_sync(&self, config: &Config) -> Result<(), SetError> {
        match self.parts.flush_problem {
            Some(why) if config.sync != Sync::Off => {
                Err(SetError::Conflict { name: "sync".to_owned(), problem: why.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Gives a changed access list or limit to the XDP program and the workers, or to nobody.
    fn apply_rules(&self, config: &Config, pairs: &[(&str, &str)]) -> Result<(), SetError> {
        let conflict = |problem: &dyn std::error::Error| {
            let is_about_rules = |name: &&str| {
                let name = name.to_ascii_lowercase();
                name.starts_with("access-list-") || name.starts_with("syn-limit-")
            };
            let name = pairs.iter().map(|(name, _)| *name).find(is_about_rules).unwrap_or_default();
            SetError::Conflict { name: name.to_owned(), problem: problem.to_string() }
        };
        let before = access::rules(&self.parts.config).map_err(|problem| conflict(&problem))?;
        let rules = access::rules(config).map_err(|problem| conflict(&problem))?;
        if rules == before {
            return Ok(());
        }
        if let Some(steering) = &self.parts.steering {
            steering.set_rules(&rules).map_err(|problem| conflict(&problem))?;
        }
        let rules = Arc::new(rules);
        for worker in &self.parts.workers {
            worker.send(Message::SetRules(Arc::clone(&rules)));
        }
        Ok(())
    }

    fn config_rewrite(&self, request: &AdminRequest) -> Answer {
        let Some(path) = &self.parts.config_path else {
            return error(request, "ERR The server is running without a config file");
        };
        let rewritten = std::fs::read_to_string(path)
            .map_err(|problem| problem.to_string())
            .and_then(|text| {
                file::rewrite(&self.parts.config, &path.display().to_string(), &text)
                    .map_err(|problem| problem.to_string())
            })
            .and_then(|text| {
                crate::files::replace(path, text.as_bytes()).map_err(|problem| problem.to_string())
            });
        match rewritten {
            Ok(()) => ok(request),
            Err(problem) => error(request, &format!("ERR Rewriting config file: {problem}")),
        }
    }
}
