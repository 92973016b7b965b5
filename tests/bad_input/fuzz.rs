//! Files damaged in every way that random bytes find: an error or a model, never a panic.

use arbtest::arbitrary::{Result, Unstructured};
use arbtest::arbtest;

use crate::model::{INDEX, Model, check_survives, golden, safetensors};

/// Every length of the header, and of the first data bytes: a file that is cut off is always refused.
#[test]
fn every_truncation_is_refused() {
    let model = Model::new();
    let good = safetensors(&model.tensors);
    let n_header_bytes = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for n_bytes in (0..8 + n_header_bytes + 16).chain([good.len() - 1]) {
        model.write("model.safetensors", &good[..n_bytes]);
        let said = model.open_files().err().unwrap_or_else(|| panic!("{n_bytes} bytes were accepted")).to_string();
        assert!(said.contains("cut off"), "{n_bytes}: {said}");
    }
}

/// A few bytes replaced, put in or taken out.
fn damage(u: &mut Unstructured, bytes: &mut Vec<u8>, n_first: usize) -> Result<()> {
    const TELLING: &[u8] = b"{}[]\",:0129-e.\\\x00\xff/";
    for _ in 0..u.int_in_range(1..=4)? {
        let at = u.choose_index(n_first.min(bytes.len()))?;
        let byte = if u.arbitrary()? { u.arbitrary()? } else { *u.choose(TELLING)? };
        match u.int_in_range(0..=3)? {
            0 => bytes[at] ^= 1 << u.int_in_range(0..=7)?,
            1 => bytes[at] = byte,
            2 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
    }
    Ok(())
}

#[test]
fn damaged_headers() {
    let model = Model::new();
    let good = safetensors(&model.tensors);
    let n_first = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    arbtest(|u| {
        let mut bytes = good.clone();
        damage(u, &mut bytes, n_first)?;
        model.write("model.safetensors", &bytes);
        check_survives(model.open_files());
        Ok(())
    })
    .budget_ms(2000);
}

#[test]
fn damaged_json() {
    let model = Model::new();
    let good = model.config.to_string().into_bytes();
    arbtest(|u| {
        let mut bytes = good.clone();
        damage(u, &mut bytes, usize::MAX)?;
        model.write("config.json", &bytes);
        check_survives(model.open_files());
        Ok(())
    })
    .budget_ms(1000);

    let model = Model::new();
    let good = model.shard().to_string().into_bytes();
    arbtest(|u| {
        let mut bytes = good.clone();
        damage(u, &mut bytes, usize::MAX)?;
        model.write(INDEX, &bytes);
        check_survives(model.open_files());
        Ok(())
    })
    .budget_ms(1000);
}

#[test]
fn damaged_tokenizers() {
    let mut model = Model::new();
    model.config["vocab_size"] = 512.into();
    model.write_config();
    let good = std::fs::read(golden("mis_w8_1layer").join("tokenizer.json")).unwrap();
    arbtest(|u| {
        let mut bytes = good.clone();
        let n_first = *u.choose(&[2000, usize::MAX])?;
        damage(u, &mut bytes, n_first)?;
        model.write("tokenizer.json", &bytes);
        let loaded = model.load_tokenizer();
        if let Ok(Some(tokenizer)) = &loaded {
            check_survives(tokenizer.encode("Grüße <s> 5", true).and_then(|ids| tokenizer.decode(&ids, false)));
        }
        check_survives(loaded);
        Ok(())
    })
    .budget_ms(2000);
}
