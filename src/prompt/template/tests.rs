use std::fs;

use serde_json::json;

use super::super::Role;
use super::*;

/// The template of SmolLM2.
const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}{% endif %}\
{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn template(source: &str) -> Result<ChatTemplate> {
    ChatTemplate::new(source.into(), "t.jinja".into(), Some("<s>".into()), None)
}

#[track_caller]
fn check(source: &str, expected: &str) {
    let messages = [Message::new(Role::User, " Hi "), Message::new(Role::Assistant, "{{ 'no <b> template' }}")];
    assert_eq!(template(source).unwrap().render(&messages, true).unwrap(), expected);
}

/// The golden prompt's text was rendered by `transformers`.
#[test]
fn renders_a_chat_as_transformers_does() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/smollm2/chat_france.json");
    let golden: serde_json::Value = serde_json::from_slice(&fs::read(golden).unwrap()).unwrap();
    let question = Message::new(Role::User, "What is the capital of France?");
    let rendered = template(CHATML).unwrap().render(std::slice::from_ref(&question), true).unwrap();
    assert_eq!(rendered, golden["text"].as_str().unwrap());

    let rendered = template(CHATML).unwrap().render(&[Message::new(Role::System, "Rhyme"), question], false).unwrap();
    let expected = "<|im_start|>system\nRhyme<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n";
    assert_eq!(rendered, expected);
}

#[test]
fn blocks_leave_no_blank_lines_and_content_is_never_a_template() {
    check("{% for m in messages %}\n    {% if m.role == 'user' %}\nu\n    {% endif %}\n{% endfor %}", "u\n");
    check("{{ messages[1].content }}", "{{ 'no <b> template' }}");
}

#[test]
fn python_is_understood() {
    check("{{ messages[0]['content'].strip() }}|{{ 'a b'.split(' ')[1].upper() }}", "Hi|B");
    check(
        "{% for k, v in messages[0].items() %}{{ k }},{% endfor %}{{ messages[0].get('x', 'none') }}",
        "role,content,none",
    );
    check(
        "{{ bos_token }}{{ eos_token }}|{{ tools is none }}|{{ messages[0].content.strip() | tojson }}",
        "<s>|True|\"Hi\"",
    );
    check("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2");
    check("{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}", "user");
    check("{{ strftime_now('%Y') | length }}", "4");
}

#[test]
fn the_templates_own_message_is_shown() {
    let raise = template("{{ raise_exception('roles must\nalternate') }}").unwrap();
    let said = raise.render(&[], true).unwrap_err().to_string();
    assert_eq!(said, "chat template t.jinja: roles must alternate");
    let said = template("{% if %}").err().unwrap().to_string();
    assert!(said.starts_with("chat template t.jinja: syntax error"), "{said}");
    let said = template("{{ messages.no() }}").unwrap().render(&[], true).unwrap_err().to_string();
    assert!(said.contains("no"), "{said}");
}

/// Writes the files into a directory and loads it.
fn load(files: &[(&str, &str)]) -> Result<Option<ChatTemplate>> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    ChatTemplate::load(dir.path())
}

#[test]
fn takes_the_template_from_where_it_is() {
    let text = |files: &[(&str, &str)]| load(files).unwrap().map(|it| it.render(&[], false).unwrap());
    let config = |template: serde_json::Value| {
        json!({ "chat_template": template, "bos_token": { "content": "<b>", "lstrip": false }, "eos_token": "<e>" })
            .to_string()
    };
    assert_eq!(text(&[]), None);
    assert_eq!(text(&[("tokenizer_config.json", "{}")]), None);
    assert_eq!(text(&[("tokenizer_config.json", &config(json!(null)))]), None);
    let string = config(json!("config {{ bos_token }}{{ eos_token }}"));
    assert_eq!(text(&[("tokenizer_config.json", &string)]).unwrap(), "config <b><e>");
    let list = config(json!([{ "name": "tool_use", "template": "no" }, { "name": "default", "template": "list" }]));
    assert_eq!(text(&[("tokenizer_config.json", &list)]).unwrap(), "list");
    let file = ("chat_template.jinja", "file {{ bos_token }}\n");
    assert_eq!(text(&[("tokenizer_config.json", &string), file]).unwrap(), "file <b>");
    assert_eq!(text(&[file]).unwrap(), "file ");
}

#[test]
fn broken_files_are_named() {
    let said = |name: &str, text: &str| load(&[(name, text)]).err().expect(text).to_string();
    assert!(said("tokenizer_config.json", "{").contains("tokenizer_config.json: not valid JSON"));
    let list = json!({ "chat_template": [{ "name": "rag", "template": "" }] }).to_string();
    assert!(said("tokenizer_config.json", &list).contains("one named \"default\""));
    let token = json!({ "chat_template": "x", "bos_token": 1 }).to_string();
    assert!(said("tokenizer_config.json", &token).contains("key \"bos_token\": expected a token"));
    assert!(said("chat_template.jinja", "{{").contains("chat_template.jinja: syntax error"));
}
