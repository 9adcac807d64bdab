//! The README's commands are run, and print what it says they print.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onezot::config::{Config, Flags};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// `(command, what it prints)` of every `console` block.
fn commands(readme: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => commands.push((command.to_owned(), String::new())),
                None => {
                    let printed = &mut commands.last_mut().unwrap().1;
                    printed.push_str(line);
                    printed.push('\n');
                }
            },
            (false, _) => {}
        }
    }
    commands
}

fn words(command: &str) -> Vec<String> {
    let quoted = command.replace('\'', "");
    quoted.split_whitespace().map(str::to_owned).collect()
}

/// Whether a file is an executable that bash can read.
fn is_script(file: &str) -> bool {
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    mode & 0o111 == 0o111 && Command::new("bash").args(["-n", file]).status().unwrap().success()
}

#[test]
fn every_command_does_what_the_readme_says() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let commands = commands(&readme);
    assert!(commands.len() >= 3, "{commands:?}");
    for (command, printed) in commands {
        let mut words = words(&command);
        match words[0].as_str() {
            // The tests are being run.
            "tests/run" => {
                assert!(is_script("tests/run") && printed.is_empty());
                continue;
            }
            // tests/run runs it with tiny numbers, which says whether everything works.
            "bench/run" => {
                let tests = std::fs::read_to_string("tests/run").unwrap();
                assert!(is_script("bench/run") && tests.contains("bench/run --smoke") && printed.is_empty());
                continue;
            }
            // What it does at last, with the binary that is there.
            "deploy/demo" => {
                assert!(is_script("deploy/demo"));
                words.splice(..1, ["onezot", "demo", "--listen", "127.0.0.1:5000"].map(str::to_owned));
            }
            _ => {}
        }
        let arguments = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["onezot", ..] => &words[1..],
            ["cargo", "run", "--release", "--", ..] => &words[4..],
            _ => panic!("the README has a command that no test runs: {command}"),
        };
        let mut onezot = Command::new(env!("CARGO_BIN_EXE_onezot"));
        if ["serve", "demo"].contains(&arguments[0].as_str()) {
            // The port of the README may be taken; any other will do.
            let free = |word: &String| word.replace("127.0.0.1:5000", "127.0.0.1:0");
            onezot.args(arguments.iter().map(free)).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = onezot.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            let port = line.trim_end().rsplit(':').next().unwrap();
            assert_eq!(line, printed.replace("5000", port), "{command}");
        } else {
            let output = onezot.args(arguments).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), printed, "{command}");
            assert!(output.status.success(), "{command}");
        }
    }
}

#[test]
fn the_configuration_of_the_readme_is_valid_and_has_every_key_and_default() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let yaml = readme.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let config = Config::load(Some(file.path()), [], &Flags::default()).unwrap();
    let defaults = Config {
        listen: config.listen.clone(),
        admin: config.admin.clone(),
        nodes: config.nodes.clone(),
        ..Config::default()
    };
    assert_eq!(config, defaults, "the README shows the defaults");
    let keys = serde_json::to_value(&config).unwrap();
    for (section, value) in keys.as_object().unwrap() {
        assert!(yaml.contains(&format!("{section}:")), "{section} is missing");
        for key in value.as_object().into_iter().flat_map(|keys| keys.keys()) {
            assert!(yaml.contains(&format!("{key}:")), "{section}.{key} is missing");
        }
    }
}
