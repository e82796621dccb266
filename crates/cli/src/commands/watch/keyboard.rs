//! The keys of the view.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// End.
    Quit,
    /// Count what is new from now on.
    Mark,
    /// The process above.
    Up,
    /// The process below.
    Down,
    /// Show or hide the help.
    Help,
    /// Draw again.
    Redraw,
}

/// The keys that were pressed and not read yet.
pub(super) fn pressed() -> io::Result<Vec<Key>> {
    let mut keys = Vec::new();
    while event::poll(Duration::ZERO)? {
        keys.extend(meaning(&event::read()?));
    }
    Ok(keys)
}

fn meaning(event: &Event) -> Option<Key> {
    let key = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        Event::Resize(..) => return Some(Key::Redraw),
        _ => return None,
    };
    let KeyEvent {
        code, modifiers, ..
    } = key;
    match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('m') => Some(Key::Mark),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        KeyCode::Char('?' | 'h') => Some(Key::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_is_a_key_in_raw_mode() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        let plain = KeyModifiers::NONE;
        assert_eq!(
            key(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Key::Quit)
        );
        assert_eq!(key(KeyCode::Char('c'), plain), None);
        assert_eq!(key(KeyCode::Char('q'), plain), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('m'), plain), Some(Key::Mark));
        assert_eq!(key(KeyCode::Down, plain), Some(Key::Down));
        assert_eq!(meaning(&Event::Resize(1, 1)), Some(Key::Redraw));
        assert_eq!(meaning(&Event::FocusGained), None);
    }
}
