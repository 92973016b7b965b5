//! Conversations through a pipe and on a terminal.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rexpect::session::spawn_command;
use serde_json::Value;

use crate::program::{Broken, Run, command, emulated, emulated_reading};

const MODEL: &str = "mis_w16_gqa2_hd128";

/// A model that can be asked, and never ends by itself.
fn model() -> Broken {
    let template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    Broken::new(MODEL)
        .write("chat_template.jinja", template)
        .edit("config.json", |config| config["eos_token_id"] = Value::Null)
        .edit("generation_config.json", |config| config["eos_token_id"] = Value::Null)
}

fn args<'a>(model: &'a Broken, n: &'a str) -> Vec<&'a str> {
    vec!["chat", "-m", model.dir(), "--greedy", "--no-graph", "-n", n]
}

fn chat(model: &Broken, n: &str, more: &[&str], stdin: &str) -> Run {
    emulated_reading(&[&args(model, n), more].concat(), stdin.as_bytes())
}

/// What is asked and answered, of a file that /save wrote.
fn saved(model: &Broken, name: &str) -> Vec<(String, String)> {
    let messages: Vec<Value> = serde_json::from_slice(&std::fs::read(model.path(name)).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    messages.iter().map(|it| (text(&it["role"]), text(&it["content"]))).collect()
}

/// The answer that `gale generate` gives to the ids that `gale explain` shows.
fn answer_to(model: &Broken, messages: &[(String, String)]) -> String {
    let json: Vec<Value> =
        messages.iter().map(|(role, content)| serde_json::json!({ "role": role, "content": content })).collect();
    std::fs::write(model.path("asked.json"), serde_json::to_string(&json).unwrap()).unwrap();
    let path = model.path("asked.json");
    let table = emulated(&["explain", "-m", model.dir(), "--chat", path.to_str().unwrap()]).expect_ok().stdout;
    let ids: Vec<&str> = table.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let ids = ids.join(",");
    let generate = ["generate", "-m", model.dir(), "--ids", &ids, "--greedy", "--no-graph", "-n", "6"];
    emulated(&generate).expect_ok().stdout
}

/// Each answer is to the whole conversation, and nothing but answers is on stdout.
#[test]
fn a_pipe_gets_answers_and_nothing_else() {
    let model = model();
    let path = model.path("saved.json");
    let lines = format!("Hello\n\n wörld /help\n/save {}\n", path.display());
    let run = chat(&model, "6", &["--system", "Be brief"], &lines).expect_ok();
    let said = saved(&model, "saved.json");
    let roles: Vec<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    assert_eq!((said[0].1.as_str(), said[1].1.as_str(), said[3].1.as_str()), ("Be brief", "Hello", " wörld /help"));
    assert_eq!(run.stdout, format!("{}\n{}\n", said[2].1, said[4].1));
    let again = chat(&model, "6", &[], &lines);
    assert!(again.status == 1 && again.stderr.contains("cannot write"), "a pipe writes over no file: {again:?}");
    assert_eq!(saved(&model, "saved.json"), said);
    for i in [2, 4] {
        // An answer is a text of its own, what `generate` writes goes on from the prompt: the first space is theirs alone.
        assert_eq!(answer_to(&model, &said[..i]).trim(), said[i].1.trim(), "{said:?}");
    }
}

#[test]
fn commands_change_what_is_asked() {
    let model = model();
    let first = |lines: &str| chat(&model, "6", &[], lines).expect_ok().stdout.lines().last().unwrap().to_owned();
    let plain = first("Hello\n");
    assert_eq!(first("Goodbye\n/reset\nHello\n"), plain);
    assert_ne!(first("Goodbye\nHello\n"), plain);
    assert_ne!(first("/system Rhyme and shine\nHello\n"), plain);
    assert_eq!(first("/system Rhyme and shine\n/system\nHello\n"), plain);
    let help = chat(&model, "6", &[], "/help\n").expect_ok();
    assert!(help.stdout.is_empty() && help.stderr.contains("/system [TEXT]"), "{help:?}");
    let safe = chat(&model, "6", &["--safe-prompt"], "Hello\n").expect_ok();
    assert_ne!(safe.stdout.trim_end(), plain);
    assert!(chat(&model, "6", &["-v"], "Hello\n").expect_ok().stderr.contains("TTFT"));
}

/// One line on stderr each, and the next message is answered as if it were the first.
#[test]
fn errors_keep_it_running() {
    let model = model();
    let raise = "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no bad words') }}{% endif %}\
                 [{{ m.role }}]{{ m.content }}{% endfor %}";
    let model = model.write("chat_template.jinja", raise);
    let run = chat(&model, "6", &[], "bad\n/nope\n/save /no/such/dir/x\nHello\n");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(run.status, 1, "{run:?}");
    for said in ["no bad words", "/nope: no such command", "cannot write /no/such/dir/x"] {
        assert!(lines.iter().any(|line| line.starts_with("error: ") && line.contains(said)), "{said} in {run:?}");
    }
    assert_eq!(run.stdout, chat(&model, "6", &[], "Hello\n").expect_ok().stdout);
    let bytes = emulated_reading(&args(&model, "6"), b"caf\xE9\nHello\n");
    assert_eq!((bytes.status, &bytes.stdout), (1, &run.stdout));
    assert!(bytes.stderr.contains("stdin: expected UTF-8"), "{bytes:?}");
}

/// The context ends an answer, which stays; the next message does not fit, and after /reset one does.
#[test]
fn a_context_that_is_full_can_be_reset() {
    let model = Broken::new("mis_nowin_v5_gqa8")
        .write("chat_template.jinja", "{{ messages[-1].content }}{{ messages | length }}");
    let ignoring_eos = model
        .edit("config.json", |config| config["eos_token_id"] = Value::Null)
        .edit("generation_config.json", |config| config["eos_token_id"] = Value::Null);
    let run = chat(&ignoring_eos, "50", &["--ctx", "20"], &format!("abc\n{}\n/reset\nabc\n", "a".repeat(99)));
    assert_eq!(run.status, 1, "{run:?}");
    assert_eq!(run.stderr.matches("gale: stopped after ").count(), 2, "{run:?}");
    assert!(run.stderr.contains("error: the context is full: it holds 20 tokens"), "{run:?}");
    let half = run.stdout.len() / 2;
    assert_eq!(run.stdout[..half], run.stdout[half..], "the same answer twice: {run:?}");
}

#[test]
fn a_model_without_a_chat_format_is_refused() {
    emulated(&["chat", "-m", &crate::program::golden(MODEL)]).expect_error(&["it holds no chat template"]);
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// While it answers, an interrupt ends the answer, and the next one is right; while it waits, an interrupt ends it.
#[test]
fn an_interrupt_ends_the_answer() {
    let model = model();
    let whole = chat(&model, "300", &[], "Hello\n").expect_ok().stdout.into_bytes();
    let mut command = command(&args(&model, "300"));
    let mut child = command.env("GALE_DEVICE", "emulator").stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut read = |n: usize| {
        let mut bytes = vec![0; n];
        stdout.read_exact(&mut bytes).unwrap();
        bytes
    };
    stdin.write_all(b"Hello\n").unwrap();
    let mut bytes = read(4); // it is answering
    interrupt(&child);
    stdin.write_all(b"/reset\nHello\n").unwrap();
    while !bytes.ends_with(&whole) {
        bytes.extend(read(1));
        assert!(bytes.len() < 2 * whole.len(), "the first answer was not cut");
    }
    let cut = bytes[..bytes.len() - whole.len()].strip_suffix(b"\n").unwrap();
    assert!(!cut.is_empty() && whole.starts_with(cut), "{:?}", String::from_utf8_lossy(&bytes));
    std::thread::sleep(std::time::Duration::from_millis(300)); // it waits for a line
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// On a pseudo-terminal: editing, history, Ctrl-C in an answer and at the prompt, Ctrl-D.
#[test]
fn a_terminal_has_editing_and_history() {
    let model = model();
    let answer = chat(&model, "8", &[], "Hello\n").expect_ok().stdout;
    let beginning: String = answer.lines().next().unwrap().chars().take(6).collect();
    assert!(!beginning.is_empty());

    let mut command = Command::new(env!("CARGO_BIN_EXE_gale"));
    command.args(args(&model, "1000000")).env("GALE_DEVICE", "emulator").env("TERM", "xterm");
    let mut terminal = spawn_command(command, Some(60_000)).unwrap();
    terminal.exp_string("Ctrl-D ends").unwrap();
    terminal.exp_string("> ").unwrap();
    terminal.send_line("Hellx\x7Fo").unwrap(); // a backspace
    terminal.exp_string(&beginning).unwrap(); // it answers "Hello", and would do so for hours
    terminal.send_control('c').unwrap();
    terminal.exp_string("> ").unwrap();

    terminal.send_line("/help").unwrap();
    terminal.exp_string("/save FILE").unwrap();
    terminal.exp_string("> ").unwrap();
    terminal.send("\x1B[A\r").unwrap(); // the arrow up
    terminal.flush().unwrap();
    terminal.exp_string("/save FILE").unwrap();
    terminal.exp_string("> ").unwrap();

    terminal.send("/nonsense").unwrap();
    terminal.send_control('c').unwrap(); // drops the line
    terminal.exp_string("> ").unwrap();
    terminal.send_line("/reset").unwrap();
    terminal.exp_string("a new conversation").unwrap();
    terminal.exp_string("> ").unwrap();
    terminal.send_control('d').unwrap();
    let rest = terminal.exp_eof().unwrap();
    assert!(!rest.contains("nonsense"), "{rest:?}");
    let status = format!("{:?}", terminal.process().wait().unwrap());
    assert!(status.starts_with("Exited(") && status.ends_with(", 0)"), "{status}");
}
