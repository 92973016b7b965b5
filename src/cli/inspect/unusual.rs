//! What is right, but not what one would expect of a model: it may explain why a text is not, either.

use gale::config::Config;
use gale::prompt::{ChatFormat, ChatTemplate, Message, Role, Version};
use gale::tokenizer::Tokenizer;
use gale::weights::names;

use super::Findings;

/// Files that say something about a model, and that gale does not read.
const UNREAD: [(&str, &str); 5] = [
    ("adapter_config.json", "an adapter, which is not applied"),
    ("consolidated.safetensors", "Mistral's own copy of the weights, which is not read"),
    ("params.json", "Mistral's own config, which is not read"),
    ("pytorch_model.bin", "a copy of the weights, which is not read"),
    ("tekken.json", "Mistral's own tokenizer, which is not read"),
];

pub fn all(found: &Findings) -> Vec<String> {
    let mut unusual = vec![];
    if let Some(config) = &found.config {
        unusual.extend(sizes(config));
    }
    if let Some(notice) = found.weights.as_ref().and_then(|weights| weights.notice()) {
        unusual.push(notice);
    }
    if let (Some(listed), Some(config)) = (&found.listed, &found.config) {
        let n_ignored = listed.iter().filter(|it| names::is_ignored(&it.name)).count();
        if n_ignored > 0 {
            unusual.push(format!("{n_ignored} tables of rotary angles in the files are ignored: gale computes them"));
        }
        if config.tie_embeddings && listed.iter().any(|it| it.name == names::LM_HEAD) {
            unusual.push(format!(
                "{} is in the files, but the embedding is used in its place (it is tied)",
                names::LM_HEAD
            ));
        }
    }
    if let Some(tokenizer) = &found.tokenizer {
        unusual.extend(found.config.as_ref().and_then(|config| missing_tokens(config, tokenizer)));
        unusual.extend(found.format.as_ref().and_then(|format| chat(found, tokenizer, format)));
        unusual.extend(endless(found, tokenizer));
    }
    let is_there = |name: &str| found.dir.join(name).symlink_metadata().is_ok();
    unusual.extend(UNREAD.iter().filter(|(name, _)| is_there(name)).map(|(name, what)| format!("{name}: {what}")));
    unusual
}

fn sizes(config: &Config) -> Vec<String> {
    let Config { dim, head_dim, n_heads, .. } = *config;
    let mut unusual = vec![];
    if head_dim * n_heads != dim {
        unusual.push(format!("head_dim {head_dim} is not dim / n_heads, {}", f64::from(dim) / f64::from(n_heads)));
    }
    if config.tie_embeddings {
        unusual.push("the output projection is the embedding (tie_word_embeddings)".into());
    }
    if config.eos_ids.is_empty() {
        unusual.push("no EOS: a text ends when it is as long as allowed".into());
    }
    unusual
}

fn missing_tokens(config: &Config, tokenizer: &Tokenizer) -> Option<String> {
    let n_missing = (0..config.vocab_size).filter(|&id| tokenizer.token(id).is_none()).count();
    let message = format!("{n_missing} of the model's {} ids have no token, and no text", config.vocab_size);
    (n_missing > 0).then_some(message)
}

fn chat(found: &Findings, tokenizer: &Tokenizer, format: &ChatFormat) -> Option<String> {
    let has_template = !matches!(ChatTemplate::load(found.dir), Ok(None));
    match (format, Version::detect(tokenizer)) {
        (ChatFormat::Template(_), Ok(Some(version))) => {
            Some(format!("the vocabulary is that of {version}, but the chat template asks otherwise, and is used"))
        }
        (ChatFormat::Mistral(_), _) if !has_template => Some(
            "no chat template: the chat format is taken from the vocabulary; a base model has the same, and was not \
             trained to answer"
                .into(),
        ),
        _ => None,
    }
}

/// A template that ends answers with a token that does not end the text: the model would go on talking to itself.
fn endless(found: &Findings, tokenizer: &Tokenizer) -> Option<String> {
    let (Some(ChatFormat::Template(template)), Some(config)) = (&found.format, &found.config) else {
        return None;
    };
    const ANSWER: &str = "Aye";
    let text = template.render(&[Message::new(Role::User, "U"), Message::new(Role::Assistant, ANSWER)], false).ok()?;
    let (_, after) = text.rsplit_once(ANSWER)?;
    let ends = tokenizer.encode(after.trim_start(), false).ok()?;
    let id = *ends.first().filter(|id| tokenizer.is_special(**id) && !config.eos_ids.contains(id))?;
    let token = tokenizer.token(id).unwrap_or_default();
    let eos_ids = &config.eos_ids;
    Some(format!(
        "the chat template ends an answer with {token} ({id}), which is none of the EOS {eos_ids:?}: answers may not end"
    ))
}
