//! Measures onezot beside the proxies that it would replace, and how its cost grows. `bench/run` builds and calls it.

mod account;
mod content;
mod document;
mod fan_out;
mod growth;
mod load;
mod machine;
mod naive;
mod node;
mod peer;
mod profile;
mod report;
mod route_once;
mod scale;
mod stats;
mod table;
mod texts;
mod wrk;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use peer::Programs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Descriptors for 10,000 connections on both sides of a proxy, and some more.
const DESCRIPTORS: u64 = 32_768;

/// Measures onezot beside other proxies.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure everything and write a report.
    Run(Run),
    /// Show where the CPU time of onezot goes, by perf, while manifests are asked for over 32 connections.
    Profile {
        /// The binary of onezot.
        #[arg(long)]
        onezot: PathBuf,
        /// How long (s).
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Static nodes; used by the others.
    Node(node::Fleet),
    /// The gateway that onezot's fan-outs are compared with; used by the others.
    Naive {
        /// The nodes.
        nodes: Vec<SocketAddr>,
    },
}

#[derive(Args)]
struct Run {
    /// The binary of onezot.
    #[arg(long)]
    onezot: PathBuf,
    /// The folder of the report.
    #[arg(long)]
    out: PathBuf,
    /// Fewer rounds and sizes.
    #[arg(long, conflicts_with = "smoke")]
    quick: bool,
    /// Tiny numbers: whether everything works.
    #[arg(long)]
    smoke: bool,
    /// What a list of the core's benches is in, to be put into the report.
    #[arg(long)]
    core: Option<PathBuf>,
    /// Only these parts. [default: all]
    #[arg(long, conflicts_with = "no_part")]
    part: Vec<Part>,
    /// Nothing but the core's benches.
    #[arg(long)]
    no_part: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    RouteOnce,
    FanOut,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("onezot-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < DESCRIPTORS && setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, hard.max(DESCRIPTORS)).is_err() {
        // Only root may have more than the hard limit.
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    let is_server = matches!(command, Command::Node(_) | Command::Naive { .. });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // What was started ends with the future that started it.
        tokio::select! {
            result = carry_out(command) => result,
            _ = terminate.recv() => {
                ensure!(is_server, "terminated");
                Ok(())
            }
            _ = interrupt.recv() => bail!("interrupted"),
        }
    });
    // Standard input may be waited for, which cannot be called off.
    runtime.shutdown_background();
    result
}

async fn carry_out(command: Command) -> Result<()> {
    match command {
        Command::Node(fleet) => node::serve(fleet).await,
        Command::Naive { nodes } => naive::serve(nodes).await,
        Command::Profile { onezot, seconds } => profile::print(&onezot, seconds).await,
        Command::Run(run) => measure(run).await,
    }
}

async fn measure(run: Run) -> Result<()> {
    let Run { onezot, out, quick, smoke, core, part, no_part } = run;
    let scale = if smoke {
        scale::SMOKE
    } else if quick {
        scale::QUICK
    } else {
        scale::FULL
    };
    let threads = std::thread::available_parallelism()?.get();
    let wrk = peer::find("wrk").is_some();
    let programs = Programs { onezot, nginx: peer::find("nginx"), haproxy: peer::find("haproxy"), wrk, threads };
    let mut report = report::Report::new(&programs, &scale)?;
    let wanted = |one: Part| !no_part && (part.is_empty() || part.contains(&one));
    if wanted(Part::RouteOnce) {
        eprintln!("measuring what goes to one node");
        report.route_once = route_once::measure(&programs, &scale).await?;
        report.machine.note_load()?;
    }
    if wanted(Part::FanOut) {
        eprintln!("measuring what goes to every node");
        let measured = fan_out::measure(&programs, &scale).await?;
        (report.fan_out, report.growth) = (measured.tables, measured.points);
        report.machine.note_load()?;
    }
    report.core = core.map(std::fs::read_to_string).transpose()?;
    report.write(&out)?;
    println!("{}", out.join("report.md").display());
    Ok(())
}
