//! [`State`]: what is shown, and how keys change it. Pure.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::answer::{Answer, Room};
use rookery_ops::escape;
use rookery_server::rooms::ranking::SortBy;

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The order of the rooms.
    pub sort: SortBy,
    /// The number of rooms above the first one on the screen.
    pub scroll: usize,
    /// Whether refreshing is paused.
    pub paused: bool,
    /// Only rooms whose names start with this are shown.
    pub prefix: String,
    /// Whether the prefix is being typed.
    pub typing: bool,
    /// The server's last response.
    pub answer: Answer,
    /// The time of day of that response, in UTC.
    pub at: String,
    /// The error of the requests since.
    pub error: Option<String>,
    /// The server's URL.
    pub server: String,
}

/// What an event makes the command do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Redraw the screen.
    Redraw,
    /// Send a request to the server now.
    Refresh,
    /// Exit.
    Quit,
}

impl State {
    /// The rooms that match the prefix.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.answer.rooms.iter().filter(|room| room.room.starts_with(&self.prefix))
    }

    /// Takes a new response.
    pub fn update(&mut self, mut answer: Answer, at: String) {
        answer.sort(self.sort);
        (self.answer, self.at, self.error) = (answer, at, None);
    }

    /// Handles a key or another event; `page` is the number of rooms on the screen.
    pub fn handle(&mut self, event: &Event, page: usize) -> Action {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key, page),
            _ => Action::Redraw,
        }
    }

    fn key(&mut self, key: KeyEvent, page: usize) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Action::Quit;
        }
        if self.typing {
            self.edit_prefix(key.code);
            return Action::Redraw;
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('p') => return self.sort_by(SortBy::P99),
            KeyCode::Char('r') => return self.sort_by(SortBy::Rate),
            KeyCode::Char('m') => return self.sort_by(SortBy::Members),
            KeyCode::Char(' ') => {
                self.paused = !self.paused;
                if !self.paused {
                    return Action::Refresh;
                }
            }
            KeyCode::Char('/') => (self.typing, self.prefix) = (true, String::new()),
            KeyCode::Esc => self.prefix.clear(),
            KeyCode::Char('j') | KeyCode::Down => self.scroll_to(self.scroll + 1, page),
            KeyCode::Char('k') | KeyCode::Up => self.scroll_to(self.scroll.saturating_sub(1), page),
            KeyCode::PageDown => self.scroll_to(self.scroll + page, page),
            KeyCode::PageUp => self.scroll_to(self.scroll.saturating_sub(page), page),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll_to(usize::MAX, page),
            _ => {}
        }
        Action::Redraw
    }

    fn edit_prefix(&mut self, code: KeyCode) {
        self.scroll = 0;
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => (self.typing, self.prefix) = (false, String::new()),
            KeyCode::Backspace => drop(self.prefix.pop()),
            KeyCode::Char(c) => self.prefix.push(c),
            _ => {}
        }
    }

    fn sort_by(&mut self, sort: SortBy) -> Action {
        (self.sort, self.scroll) = (sort, 0);
        self.answer.sort(sort);
        if self.paused { Action::Redraw } else { Action::Refresh }
    }

    fn scroll_to(&mut self, first: usize, page: usize) {
        self.scroll = first.min(self.rooms().count().saturating_sub(page));
    }

    /// The prefix with unsafe characters escaped.
    pub fn escaped_prefix(&self) -> String {
        escape::text(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rooms: usize) -> State {
        let room = |n: usize| Room {
            room: format!("{}:{n}", if n.is_multiple_of(2) { "even" } else { "odd" }),
            namespace: "/".to_owned(),
            members: n as u64,
            rate: 10.0 - n as f64,
            p50: None,
            p99: (n > 0).then_some(n as f64),
            max: None,
            count: 0,
        };
        let mut state = State::default();
        let rooms = (0..rooms).map(room).collect();
        state.update(Answer { rooms, pods: 1, unanswered: Vec::new() }, String::new());
        state
    }

    fn press(state: &mut State, code: KeyCode) -> Action {
        state.handle(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), 3)
    }

    fn first(state: &State) -> &str {
        &state.rooms().next().unwrap().room
    }

    #[test]
    fn a_sort_key_reorders_at_once_and_refreshes() {
        let mut state = state(4);
        assert_eq!(first(&state), "odd:3");
        assert_eq!(press(&mut state, KeyCode::Char('r')), Action::Refresh);
        assert_eq!((first(&state), state.sort), ("even:0", SortBy::Rate));
        assert_eq!(press(&mut state, KeyCode::Char(' ')), Action::Redraw);
        assert_eq!(press(&mut state, KeyCode::Char('m')), Action::Redraw, "refreshing is paused");
        assert_eq!(first(&state), "odd:3");
        assert_eq!(press(&mut state, KeyCode::Char(' ')), Action::Refresh);
        assert_eq!(press(&mut state, KeyCode::Char('q')), Action::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.handle(&Event::Key(control_c), 3), Action::Quit);
    }

    #[test]
    fn scrolling_stops_with_the_last_room_at_the_bottom() {
        let mut state = state(8);
        for (code, scroll) in [
            (KeyCode::Up, 0),
            (KeyCode::Char('j'), 1),
            (KeyCode::PageDown, 4),
            (KeyCode::PageDown, 5),
            (KeyCode::Down, 5),
            (KeyCode::Char('k'), 4),
            (KeyCode::Home, 0),
            (KeyCode::End, 5),
        ] {
            press(&mut state, code);
            assert_eq!(state.scroll, scroll, "{code:?}");
        }
    }

    #[test]
    fn a_prefix_can_be_typed_and_cleared() {
        let mut state = state(4);
        for c in "/evem".chars() {
            press(&mut state, KeyCode::Char(c));
        }
        assert_eq!(state.rooms().count(), 0);
        press(&mut state, KeyCode::Backspace);
        press(&mut state, KeyCode::Enter);
        assert_eq!((state.rooms().count(), state.typing), (2, false));
        press(&mut state, KeyCode::Esc);
        assert_eq!(state.rooms().count(), 4);
    }
}
