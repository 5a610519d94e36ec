//! The server `coney`: configuration, threads, wiring, command line. A library, so that benchmarks
//! can drive its worker; the binary only calls [`main`].
//!
//! - [`cli`], [`settings`]: what the user asked for.
//! - [`access`]: who may connect.
//! - [`serve`]: start and stop. [`datapath`]: how clients reach the workers.
//! - [`worker`]: the loop that serves them. [`pool`], [`sync`], [`expiry`], [`reclaim`], [`quota`]: threads that may wait.
//! - [`admin`]: the thread that answers INFO, CONFIG, CLIENT and their like.
//! - [`storage`], [`fs_tool`]: the database on a block device.
//! - [`check`]: what this host can do.
//! - [`stepped`]: a worker for benchmarks.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

mod access;
mod admin;
mod check;
mod cli;
mod datapath;
mod expiry;
mod ffi;
mod files;
mod fs_tool;
mod host;
mod logging;
mod metrics;
mod pool;
mod privileges;
mod quota;
mod reclaim;
mod runtime;
mod serve;
mod settings;
mod steering;
pub mod stepped;
mod stop;
mod storage;
mod sync;
mod sys;
mod threads;
mod waker;
mod worker;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for a command line or a configuration that is wrong, as clap's.
const EXIT_USAGE: u8 = 2;

/// What the binary does.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => {
            let config =
                args.flags().and_then(|flags| settings::load(args.config.as_deref(), &flags));
            match config {
                Ok(config) => serve::run(config, args.config, args.ready_file),
                Err(problem) => {
                    complain(&problem);
                    ExitCode::from(EXIT_USAGE)
                }
            }
        }
        Command::Check(args) => {
            print(&check::report(&args.dir, args.json));
            ExitCode::SUCCESS
        }
        Command::Bench(args) => match coney_load::run(&args) {
            Ok(report) => {
                print(&report);
                ExitCode::SUCCESS
            }
            Err(problem) => {
                complain(&problem);
                let is_usage = matches!(problem, coney_load::BenchError::Option(_));
                if is_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
            }
        },
        Command::Config => {
            print(coney_control::config::EXAMPLE_FILE);
            ExitCode::SUCCESS
        }
        Command::Mkfs(args) => finish(fs_tool::mkfs(&args).map(|text| (text, true))),
        Command::Fsck(args) => finish(fs_tool::fsck(&args)),
        Command::Fs(args) => finish(fs_tool::fs(&args).map(|()| (String::new(), true))),
    }
}

/// Prints what a command about a device found, and whether all is well.
fn finish(result: Result<(String, bool), fs_tool::FsToolError>) -> ExitCode {
    match result {
        Ok((text, is_well)) => {
            print(&text);
            if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) {
    // Nobody is left to tell if standard output is closed.
    std::io::stdout().write_all(text.as_bytes()).ok();
}

fn complain(problem: &dyn std::error::Error) {
    std::io::stderr().write_all(format!("coney: {problem}\n").as_bytes()).ok();
}
