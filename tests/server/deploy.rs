//! What can be known of `deploy/Dockerfile` where nobody can build it: that it takes what is there, in words that `make`, gale
//! and bash understand. `scripts/check-deploy` has hadolint read it.

use crate::server::{Server, gale};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// Its instructions, each with what follows it, on one line.
fn instructions() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap().replace("\\\n", "");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()));
    lines.map(|line| split(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn of(name: &str) -> Vec<String> {
    let found: Vec<String> = instructions().into_iter().filter(|it| it.0 == name).map(|it| it.1).collect();
    assert!(!found.is_empty(), "{name}");
    found
}

/// The words of an instruction in its JSON form.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn make(args: &[&str]) -> Output {
    Command::new("make").current_dir(root()).env_remove("MAKEFLAGS").env_remove("PREFIX").args(args).output().unwrap()
}

#[test]
fn what_the_image_is_made_of_is_there() {
    let version = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version = version.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let from = of("FROM");
    assert!(from[0].starts_with(&format!("rust:{version}-")), "{from:?}");
    let release = from[0].split(['-', ' ']).nth(2).unwrap();
    assert_eq!(from[1], format!("debian:{release}-slim"), "what is built for one C library runs on it");

    let installed = tempfile::tempdir().unwrap();
    let build = Path::new(env!("CARGO_BIN_EXE_gale")).parent().unwrap().display().to_string();
    let args = [format!("DESTDIR={}", installed.path().display()), format!("BUILD={build}"), "install-files".into()];
    assert!(make(&args.each_ref().map(String::as_str)).status.success());
    for copy in of("COPY") {
        let (from, place) = match copy.strip_prefix("--from=build /installed/") {
            Some(rest) => (rest, installed.path()),
            None => (&*copy, &*root()),
        };
        let source = place.join(from.split(' ').next().unwrap());
        assert!(source.exists(), "{}", source.display());
    }
    assert!(installed.path().join("usr/local/bin/gale").exists(), "where PATH finds it");

    let targets: Vec<String> = of("RUN").iter().filter_map(|it| Some(it.split_once("make ")?.1.into())).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).filter(|it| !it.contains("python3")).collect();
    assert_eq!(targets, ["nvcc", "install DESTDIR=/installed"]);
    for target in targets {
        let output = make(&[&["-n"], &target.split(' ').collect::<Vec<_>>()[..]].concat());
        assert!(output.status.success(), "{target}: {output:?}");
    }
}

/// Else what was built or fetched here would be sent to the builder, and stand in the place of its own.
#[test]
fn what_is_not_in_the_repository_is_not_in_the_image() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let ignored = read("deploy/Dockerfile.dockerignore");
    for line in read(".gitignore").lines() {
        assert!(ignored.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn the_image_serves_the_model_that_is_mounted() {
    assert_eq!(words(&of("ENTRYPOINT")[0]), ["gale"]);
    let command = words(&of("CMD")[0]);
    assert!(of("ENV")[0].contains("GALE_DEVICE=cuda"), "a container without its GPU is an error, and no emulator");
    let output = gale(&command.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "the command line is right, and there is no model here: {stderr}");
    assert!(stderr.contains("/model"), "{stderr}");
}

#[test]
fn the_health_check_knows_health() {
    let port = of("EXPOSE")[0].clone();
    let (_, check) = of("HEALTHCHECK")[0].split_once("CMD ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let check = words(&check);
    assert_eq!(check[..2], ["bash", "-c"]);
    let is_healthy = |server: &Server| {
        let script = check[2].replace(&format!("/{port} "), &format!("/{} ", server.port));
        assert_ne!(script, check[2]);
        Command::new("bash").args(["-c", &script]).output().unwrap().status.success()
    };
    let server = Server::start(&["--api-key", "secret"]);
    assert!(is_healthy(&server));
    let model: Value = server.get("/v1/models").expect_error(401);
    assert!(model["message"].is_string(), "though all else is secret");
    // 503 is not well, and nor is silence.
    let loading = Server::spawn(crate::server::MODEL.dir(), &[], &[("CUDA_EMULATOR_MODE", "check")]);
    assert!(!is_healthy(&loading), "the emulator's checks make loading slow enough to see this");
    let port = server.port;
    drop(server);
    let mut gone = loading;
    gone.port = port;
    assert!(!is_healthy(&gone));
}
