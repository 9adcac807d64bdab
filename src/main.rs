//! The command line of onezot.

mod probe;
#[cfg(feature = "demo")]
mod try_out;

use clap::{Args, Parser, Subcommand};
use http::Method;
use onezot::config::{self, Config, ConfigError, Flags};
use onezot::plan::Ownership;
use onezot::watch::Watch;
use onezot::{discovery, explain, path, reload, server, telemetry};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code for a wrong configuration: `EX_CONFIG` of BSD's sysexits.
const EX_CONFIG: u8 = 78;

/// Makes many zot registries answer as one.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve {
        #[command(flatten)]
        source: Source,
        /// Address to listen on, HOST:PORT; port 0 takes a free one. Repeatable. [default: 127.0.0.1:5000]
        #[arg(long, value_name = "ADDR")]
        listen: Vec<String>,
        /// Address of the admin listener (status, explain, health).
        #[arg(long, value_name = "ADDR")]
        admin: Option<String>,
    },
    /// Try it: embedded nodes with sample content, the gateway in front, and commands to type.
    #[cfg(feature = "demo")]
    Demo {
        /// How many nodes.
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
        nodes: u8,
        /// Address to listen on, HOST:PORT; port 0 takes a free one.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000")]
        listen: String,
    },
    /// Check a configuration file; exits with 78 and file, line and key if it is wrong.
    Verify {
        /// The file.
        file: PathBuf,
    },
    /// Print what is done with a request: its class, its nodes, and what they are sent.
    Explain {
        /// The method of the request.
        method: Method,
        /// The target of the request: path and query.
        #[arg(value_name = "PATH")]
        target: String,
        /// A file with the body of the request.
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        #[command(flatten)]
        source: Source,
    },
    /// Ask a running gateway whether it is ready; exits with 0 if so, else with 1. For health checks of containers.
    Probe {
        /// What to ask, in plain HTTP: /readyz or /livez of a public address or of the admin listener.
        #[arg(default_value = "http://127.0.0.1:5000/readyz")]
        url: String,
        /// How long to wait for the answer.
        #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=60))]
        timeout: u8,
    },
    /// Print the node that owns a repository.
    Where {
        /// The name of the repository.
        #[arg(value_name = "REPO")]
        repository: String,
        #[command(flatten)]
        source: Source,
    },
}

/// Where the configuration comes from: flags > environment (ONEZOT_…) > file > defaults.
#[derive(Args, Clone)]
struct Source {
    /// Configuration file (YAML).
    #[arg(long, env = "ONEZOT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A node, [NAME=]URL, such as zot-0=http://10.0.0.5:5000. Repeatable; the order is part of the placement.
    #[arg(long = "node", value_name = "[NAME=]URL")]
    nodes: Vec<String>,
    /// Key of the placement, 16 ASCII characters: the cluster.hashKey of your zots, if they have one.
    #[arg(long, value_name = "KEY")]
    hash_key: Option<String>,
    /// File with a key that seals sessions and API keys over several nodes. Repeatable; the first one seals, every one opens.
    #[arg(long = "seal-key-file", value_name = "FILE")]
    seal_keys: Vec<String>,
}

impl Source {
    fn load(&self, listen: Vec<String>, admin: Option<String>) -> Result<Config, ConfigError> {
        let flags = Flags {
            listen,
            admin,
            nodes: self.nodes.clone(),
            hash_key: self.hash_key.clone(),
            seal_keys: self.seal_keys.clone(),
        };
        // A variable that is not Unicode cannot be one of ours.
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::load(self.config.as_deref(), environment, &flags)
    }

    /// The same with the nodes that there are at the moment.
    fn load_with_nodes(&self) -> Result<Config, Exit> {
        with_nodes(self.load(Vec::new(), None)?)
    }
}

/// Looks for the nodes, if they are not written down.
fn with_nodes(config: Config) -> Result<Config, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(discovery::look(config)).map_err(|message| Exit { message, code: 1 })
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("onezot: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// What is printed, and the exit code.
struct Exit {
    message: String,
    code: u8,
}

impl From<ConfigError> for Exit {
    fn from(error: ConfigError) -> Exit {
        Exit { message: error.to_string(), code: EX_CONFIG }
    }
}

impl From<std::io::Error> for Exit {
    fn from(error: std::io::Error) -> Exit {
        Exit { message: error.to_string(), code: 1 }
    }
}

fn run(command: Command) -> Result<(), Exit> {
    match command {
        Command::Serve { source, listen, admin } => serve(&source, &listen, admin.as_ref()),
        #[cfg(feature = "demo")]
        Command::Demo { nodes, listen } => try_out::run(nodes, listen),
        Command::Verify { file } => {
            let config = Config::load(Some(&file), [], &Flags::default())?;
            for warning in config.warnings() {
                eprintln!("{}: warning: {warning}", file.display());
            }
            let nodes = match config.discovery.source() {
                None => format!("{} nodes", config.nodes.len()),
                // A file is part of what is checked; whom nobody has to reach for that is not asked.
                Some(config::Source::File(_)) => {
                    format!("{} nodes found at the moment", with_nodes(config)?.nodes.len())
                }
                Some(_) => "nodes by discovery".to_owned(),
            };
            say(&format!("{}: ok, {nodes}\n", file.display()))
        }
        Command::Explain { method, target, body, source } => {
            let config = source.load_with_nodes()?;
            let body = match &body {
                Some(file) => std::fs::read(file)
                    .map_err(|error| Exit { message: format!("{}: {error}", file.display()), code: 1 })?,
                None => Vec::new(),
            };
            say(&explain::explain(&config, &method, &target, body))
        }
        Command::Probe { url, timeout } => probe::run(&url, Duration::from_secs(timeout.into())),
        Command::Where { repository, source } => {
            if !path::is_repository_name(&repository) {
                let message = format!("{repository:?} is not the name of a repository, such as team-a/app");
                return Err(Exit { message, code: 1 });
            }
            let fleet = source.load_with_nodes()?.fleet();
            let owner = fleet.owner(&repository);
            say(&format!("{}\n", Ownership { fleet: &fleet, owner }))
        }
    }
}

fn say(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn serve(source: &Source, listen: &[String], admin: Option<&String>) -> Result<(), Exit> {
    let load = || source.load(listen.to_vec(), admin.cloned());
    // What changes while the file is read counts, too.
    let watch = source.config.as_deref().map(Watch::new);
    let config = load()?;
    telemetry::start_log(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        let running = server::start(config).await.map_err(|error| Exit { message: error.to_string(), code: 1 })?;
        let mut lines = String::new();
        for url in &running.urls {
            lines.push_str(&format!("onezot: listening on {url}\n"));
        }
        if let Some(admin) = running.admin {
            lines.push_str(&format!("onezot: admin on http://{admin}\n"));
        }
        say(&lines)?;
        let reloading = reload::follow(running.succession(), load, watch, hangup);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = reloading => {}
        }
        tracing::info!(in_flight = running.in_flight(), "stopping");
        tokio::select! {
            cut_off = running.stop() => {
                if cut_off > 0 {
                    tracing::warn!(cut_off, "requests were still in flight at the end of the drain time");
                }
            }
            _ = terminate.recv() => tracing::warn!("a second signal ends it at once"),
            _ = interrupt.recv() => tracing::warn!("a second signal ends it at once"),
        }
        Ok(())
    });
    // A name may be looked up at the moment, which can take long and cannot be called off.
    runtime.shutdown_background();
    served
}
