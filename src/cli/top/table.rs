//! Formats the state as lines of text. Pure.

use super::answer::Room;
use super::state::State;
use super::text;
use rookery_ops::escape;
use rookery_server::rooms::ranking::SortBy;

/// The p99 in seconds above which a room is shown in yellow.
const SLOW: f64 = 0.1;

/// The p99 in seconds above which a room is shown in red.
const VERY_SLOW: f64 = 1.0;

/// The least width of the rooms' names, in favour of which other columns are omitted.
const MIN_NAME_WIDTH: usize = 20;

/// Spaces between two columns.
const GAP: usize = 2;

/// The style of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Dim,
    Strong,
    Warning,
    Bad,
}

/// A text in one tone.
pub(super) type Span = (Tone, String);

/// A line of the screen.
pub(super) type Line = Vec<Span>;

/// A column after the room's name.
struct Column {
    title: &'static str,
    width: usize,
    sort: Option<SortBy>,
    cell: fn(&Room) -> String,
}

const MEMBERS: Column = Column {
    title: "MEMBERS",
    width: 8,
    sort: Some(SortBy::Members),
    cell: |room| text::number(room.members as f64),
};
const RATE: Column = Column {
    title: "RATE/S",
    width: 8,
    sort: Some(SortBy::Rate),
    cell: |room| text::rate(room.rate),
};
const P50: Column =
    Column { title: "P50", width: 7, sort: None, cell: |room| text::time(room.p50) };
const P99: Column =
    Column { title: "P99", width: 7, sort: Some(SortBy::P99), cell: |room| text::time(room.p99) };
const MAX: Column =
    Column { title: "MAX", width: 7, sort: None, cell: |room| text::time(room.max) };
const COUNT: Column =
    Column { title: "COUNT", width: 6, sort: None, cell: |room| text::number(room.count as f64) };

/// All columns, from left to right.
const ALL: [&Column; 6] = [&MEMBERS, &RATE, &P50, &P99, &MAX, &COUNT];

/// The columns that may be omitted, the least important first.
const OPTIONAL: [&Column; 4] = [&COUNT, &MAX, &P50, &RATE];

/// Lines of a screen that are not rooms.
const OTHER_LINES: usize = 4;

/// The number of rooms on a screen of this height.
pub(super) fn page_size(height: usize) -> usize {
    height.saturating_sub(OTHER_LINES).max(1)
}

/// The whole screen: header, table and footer.
pub(super) fn screen(state: &State, width: usize, height: usize) -> Vec<Line> {
    let page = page_size(height);
    let rooms: Vec<&Room> = state.rooms().collect();
    let scroll = state.scroll.min(rooms.len().saturating_sub(page));
    let shown = &rooms[scroll..rooms.len().min(scroll + page)];
    let mut lines = vec![header(state), summary(state, &rooms)];
    lines.extend(rows(state.sort, &rooms, shown, Some(width)));
    lines.resize(height.saturating_sub(1).max(lines.len().min(height)), Line::new());
    lines.push(footer(state, scroll, shown.len(), rooms.len()));
    lines.truncate(height);
    lines.into_iter().map(|line| clip(line, width)).collect()
}

/// The table alone, for a file or a pipe; without `width` nothing is truncated.
pub(super) fn plain(state: &State, width: Option<usize>) -> Vec<Line> {
    let rooms: Vec<&Room> = state.rooms().collect();
    let mut lines = Vec::new();
    if !state.answer.unanswered.is_empty() {
        lines.push(vec![(Tone::Warning, unanswered(state))]);
    }
    lines.extend(rows(state.sort, &rooms, &rooms, width));
    lines
}

fn header(state: &State) -> Line {
    let pods = match state.answer.pods {
        1 => "1 pod".to_owned(),
        n => format!("{n} pods"),
    };
    let mut line =
        vec![(Tone::Strong, "rookery top".to_owned()), (Tone::Plain, format!("  {pods}"))];
    if !state.answer.unanswered.is_empty() {
        line.push((Tone::Warning, format!("  {}", unanswered(state))));
    }
    line.push((Tone::Dim, format!("  {}", escape::text(&state.server))));
    line
}

fn unanswered(state: &State) -> String {
    let names: Vec<_> = state.answer.unanswered.iter().map(|name| escape::text(name)).collect();
    format!("no response from: {}", names.join(", "))
}

fn summary(state: &State, rooms: &[&Room]) -> Line {
    if let Some(error) = &state.error {
        return vec![(Tone::Bad, escape::text(error))];
    }
    let rate = text::rate(rooms.iter().map(|room| room.rate).sum());
    let count = match rooms.len() {
        1 => "1 room".to_owned(),
        n => format!("{n} rooms"),
    };
    let mut line = vec![(Tone::Plain, format!("{rate} deliveries/s in {count}"))];
    if state.paused {
        line.insert(0, (Tone::Warning, "paused  ".to_owned()));
    }
    line.push((Tone::Dim, format!("  the last minute, at {}", state.at)));
    line
}

fn footer(state: &State, scroll: usize, shown: usize, rooms: usize) -> Line {
    let mut line = match (state.typing, state.prefix.is_empty()) {
        (true, _) => vec![(Tone::Strong, format!("/{}▏", state.escaped_prefix()))],
        (false, false) => vec![(Tone::Strong, format!("/{}", state.escaped_prefix()))],
        (false, true) => {
            let keys = "q: quit   p r m: sort   j k: scroll   /: prefix   space: pause";
            vec![(Tone::Dim, keys.to_owned())]
        }
    };
    if shown < rooms {
        line.insert(0, (Tone::Dim, format!("{}-{} of {rooms}   ", scroll + 1, scroll + shown)));
    }
    line
}

/// The titles, and a line for each room in `shown`; `all` determines the columns' widths.
fn rows(sort: SortBy, all: &[&Room], shown: &[&Room], width: Option<usize>) -> Vec<Line> {
    let several = all.iter().any(|room| room.namespace != "/");
    let name = |room: &Room| match several {
        true => format!("{} {}", escape::text(&room.namespace), escape::text(&room.room)),
        false => escape::text(&room.room),
    };
    let columns = columns(width);
    let taken: usize = columns.iter().map(|column| column.width + GAP).sum();
    let longest = || all.iter().map(|room| text::width(&name(room))).max().unwrap_or(0);
    let wide = width.map_or_else(longest, |width| width.saturating_sub(taken)).max("ROOM".len());
    let title = if several { "NAMESPACE ROOM" } else { "ROOM" };
    let mut titles = vec![(Tone::Dim, left(&text::truncate_middle(title, wide), wide))];
    for column in &columns {
        let chosen = column.sort == Some(sort);
        let (tone, mark) = if chosen { (Tone::Strong, "▼") } else { (Tone::Dim, "") };
        titles.push((tone, right(&format!("{mark}{}", column.title), column.width + GAP)));
    }
    let mut lines = vec![titles];
    for room in shown {
        let mut line = vec![(Tone::Plain, left(&text::truncate_middle(&name(room), wide), wide))];
        for column in &columns {
            let cell = right(&(column.cell)(room), column.width + GAP);
            let tone = if column.title == P99.title { tone(room.p99) } else { Tone::Plain };
            line.push((tone, cell));
        }
        lines.push(line);
    }
    if all.is_empty() {
        lines.push(vec![(Tone::Dim, "no room had a delivery in the last minute".to_owned())]);
    }
    lines
}

fn tone(p99: Option<f64>) -> Tone {
    match p99 {
        Some(p99) if p99 > VERY_SLOW => Tone::Bad,
        Some(p99) if p99 > SLOW => Tone::Warning,
        _ => Tone::Plain,
    }
}

/// The columns that fit beside the rooms' names.
fn columns(width: Option<usize>) -> Vec<&'static Column> {
    let mut columns = ALL.to_vec();
    for least in OPTIONAL {
        let taken: usize = columns.iter().map(|column| column.width + GAP).sum();
        if width.is_none_or(|width| taken + MIN_NAME_WIDTH <= width) {
            break;
        }
        columns.retain(|column| column.title != least.title);
    }
    columns
}

fn left(cell: &str, width: usize) -> String {
    format!("{cell}{}", " ".repeat(width.saturating_sub(text::width(cell))))
}

fn right(cell: &str, width: usize) -> String {
    format!("{}{cell}", " ".repeat(width.saturating_sub(text::width(cell))))
}

fn clip(line: Line, width: usize) -> Line {
    let mut rest = width;
    let spans = line.into_iter().map(|(tone, words)| {
        let words = text::truncate(&words, rest);
        rest -= text::width(&words);
        (tone, words)
    });
    spans.collect()
}

#[cfg(test)]
mod tests;
