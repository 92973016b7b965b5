//! What the cache holds of a prompt is not computed again, and no bit shows it.

use crate::{golden, run};
use gale::{
    sampler::{Limits, Sampling},
    session::{Options, Session},
};
use std::{ops::ControlFlow, path::Path};

/// The ids that were reused, the logits after the prompt, and some tokens that the device chooses.
fn answer(session: &mut Session, ids: &[u32]) -> (usize, Vec<f32>, Vec<u32>) {
    session.begin(&Sampling::default(), &Limits::endless(), ids).unwrap();
    let n_reused = session.start(ids, &mut |_| ControlFlow::Continue(())).unwrap();
    let logits = session.logits().unwrap();
    (n_reused, logits, (0..6).map(|_| session.next_token().unwrap().token.unwrap()).collect())
}

/// The answer is that of a session that never had another prompt; `n_reused` ids were not computed for it.
#[track_caller]
fn assert_answers_alike(model: &Path, session: &mut Session, ids: &[u32], n_reused: usize) -> Vec<u32> {
    let mut fresh = run::session(model, Options::default());
    let (_, want_logits, want) = answer(&mut fresh, ids);
    let (n, logits, tokens) = answer(session, ids);
    assert_eq!(n, n_reused, "{}: ids reused of {}", model.display(), ids.len());
    run::assert_same_bits(&model.display().to_string(), &[want_logits], &[logits]);
    assert_eq!(tokens, want);
    tokens
}

fn ids(model: &Path) -> Vec<u32> {
    golden::cases(model).into_iter().map(|it| it.ids).max_by_key(Vec::len).unwrap()
}

/// While the ring has room, every prefix serves: of the prompt, and of the answer, whose tokens were decoded.
#[test]
fn a_prefix_is_used_again_until_the_ring_is_full() {
    let model = golden::dir().join("synth/mis_w16_gqa2_hd128");
    let text = ids(&model);
    let mut session = run::session(&model, Options::default());
    let tokens = assert_answers_alike(&model, &mut session, &text[..5], 0);
    // Six tokens were read and taken: 11 positions of 16.
    let grown = [&text[..5], &tokens[..6], &[7, 8]].concat();
    assert_answers_alike(&model, &mut session, &grown[..11], 10);
    session.reset().unwrap();
    assert_answers_alike(&model, &mut session, &text[..5], 0);
    assert_answers_alike(&model, &mut session, &text[..5], 4); // the same again
    let mut edited = text[..6].to_vec();
    edited[2] ^= 1;
    assert_answers_alike(&model, &mut session, &edited, 2); // in the middle
    assert_answers_alike(&model, &mut session, &[edited[0] ^ 1, 3], 0);
}

/// A ring that has wrapped serves where the sequence ends, or one token before: a turn of a long chat costs its own tokens.
#[test]
fn a_long_chat_goes_on_where_it_ended() {
    for name in ["mis_w8_1layer", "mis_w16_f16", "mis_w16_gqa2_hd128"] {
        let model = golden::dir().join("synth").join(name);
        let mut session = run::session(&model, Options::default());
        let text = ids(&model);
        let mut chat = text[..21].to_vec();
        let mut n_held = 0;
        for turn in 0..3 {
            let tokens = assert_answers_alike(&model, &mut session, &chat, n_held);
            // A stop string is seen after the token that ends it was taken: the last one is not part of the chat.
            let n_kept = if turn == 1 { 5 } else { 6 };
            chat.extend(&tokens[..n_kept]);
            n_held = chat.len();
            chat.extend(&text[30 + turn..35 + turn]);
        }
        let last = chat.len();
        chat[last - 12] ^= 1;
        assert_answers_alike(&model, &mut session, &chat, 0); // the window has lost what the edit needs
    }
}

/// A prompt that was given up in the middle leaves its first chunks, in a ring with room and in one that has wrapped.
#[test]
fn what_was_read_of_a_prompt_that_was_given_up_is_used() {
    let model = golden::dir().join("synth/mis_w16_gqa2_hd128");
    let text = ids(&model);
    for n_ids in [14, 40] {
        let mut session = run::session(&model, run::with_chunk(10));
        session.start(&text[..n_ids], &mut |_| ControlFlow::Break(())).unwrap();
        assert_answers_alike(&model, &mut session, &text[..n_ids], 10);
        let n_chunks = n_ids / 10;
        session.reset().unwrap();
        let mut n_left = n_chunks;
        let give_up = &mut |_| {
            n_left -= 1;
            if n_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        session.start(&text[..n_ids + 1], give_up).unwrap();
        assert_answers_alike(&model, &mut session, &text[..n_ids + 1], 10 * n_chunks);
    }
}

/// Without a window nothing is ever replaced.
#[test]
fn without_a_window_every_prefix_is_there() {
    let model = golden::dir().join("synth/mis_nowin_v5_gqa8");
    let mut session = run::session(&model, Options::default());
    let text = ids(&model);
    assert_answers_alike(&model, &mut session, &text[..40], 0);
    assert_answers_alike(&model, &mut session, &text[..33], 32);
    assert_answers_alike(&model, &mut session, &text[..30], 29);
    assert_answers_alike(&model, &mut session, &text[..60], 30);
}

/// Trying tokens, and keeping some of them, counts too.
#[test]
fn tokens_that_were_tried_count_when_they_stay() {
    let model = golden::dir().join("synth/mis_w16_f16");
    let mut session = run::session(&model, Options::default());
    let text = ids(&model);
    answer(&mut session, &text[..1]);
    session.reset().unwrap();
    session.prefill(&text[..2], &mut |_| ControlFlow::Continue(())).unwrap();
    session.decode_many(&text[2..7]).unwrap();
    session.commit(3).unwrap();
    assert_answers_alike(&model, &mut session, &text[..8], 5);
}
