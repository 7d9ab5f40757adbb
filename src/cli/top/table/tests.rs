use super::*;
use crate::cli::top::answer::Answer;

fn room(name: &str, members: u64, rate: f64, p99: Option<f64>) -> Room {
    Room {
        room: name.to_owned(),
        namespace: "/".to_owned(),
        members,
        rate,
        p50: p99.map(|p99| p99 / 4.0),
        p99,
        max: p99.map(|p99| p99 * 1.5),
        count: (rate * 60.0) as u64,
    }
}

fn state(rooms: Vec<Room>) -> State {
    let answer = Answer { rooms, pods: 2, unanswered: Vec::new() };
    let mut state = State { server: "http://127.0.0.1:9090/".to_owned(), ..State::default() };
    state.update(answer, "18:42:07Z".to_owned());
    state
}

fn three() -> Vec<Room> {
    vec![
        room("acme:editor", 12, 240.5, Some(1.34)),
        room("acme:sales", 3, 4.25, Some(0.000_312)),
        room("lobby", 20_000, 183_000.0, Some(0.12)),
    ]
}

fn words(lines: &[Line]) -> String {
    let line = |line: &Line| line.iter().map(|(_, words)| words.as_str()).collect::<String>();
    lines.iter().map(|l| line(l).trim_end().to_owned() + "\n").collect()
}

#[test]
fn a_screen_has_a_header_a_table_and_a_footer() {
    let lines = screen(&state(three()), 84, 9);
    assert_eq!(
        words(&lines),
        "\
rookery top  2 pods  http://127.0.0.1:9090/
183k deliveries/s in 3 rooms  the last minute, at 18:42:07Z
ROOM                            MEMBERS    RATE/S      P50     ▼P99      MAX   COUNT
acme:editor                          12       240   335 ms    1.3 s    2.0 s   14430
lobby                             20000      183k    30 ms   120 ms   180 ms   11.0M
acme:sales                            3       4.2    78 µs   312 µs   468 µs     255


q: quit   p r m: sort   j k: scroll   /: prefix   space: pause
"
    );
    let tones: Vec<Tone> = lines[3..6].iter().map(|line| line[4].0).collect();
    assert_eq!(tones, [Tone::Bad, Tone::Warning, Tone::Plain]);
}

#[test]
fn errors_are_shown_at_the_top() {
    let mut state = state(three());
    state.answer.unanswered = vec!["podBBBBB".to_owned(), "re\u{1b}dis".to_owned()];
    let lines = screen(&state, 84, 9);
    assert!(
        lines[0]
            .contains(&(Tone::Warning, r"  no response from: podBBBBB, re\u{1b}dis".to_owned()))
    );
    state.error = Some("no server\u{7}".to_owned());
    let lines = screen(&state, 84, 9);
    assert_eq!(lines[1], [(Tone::Bad, r"no server\u{7}".to_owned())]);
    assert!(words(&lines).contains("acme:sales"), "the last table stays");
    assert_eq!(plain(&state, None)[0][0].0, Tone::Warning);
}

#[test]
fn names_are_escaped_truncated_and_aligned() {
    let rooms = vec![
        room("\u{1b}[31mred\u{1b}]0;title\u{7}", 1, 1.0, Some(0.003)),
        room("房间房间房间房间房间房间房间房间房间", 1, 1.0, Some(0.002)),
        room("a-room-with-a-name-that-is-far-too-long:7", 1, 1.0, Some(0.001)),
    ];
    assert_eq!(
        words(&screen(&state(rooms), 80, 7)[2..6]),
        "\
ROOM                        MEMBERS    RATE/S      P50     ▼P99      MAX   COUNT
\\u{1b}[31mre…0;title\\u{7}         1       1.0   750 µs   3.0 ms   4.5 ms      60
房间房间房间…房间房间房间         1       1.0   500 µs   2.0 ms   3.0 ms      60
a-room-with-…r-too-long:7         1       1.0   250 µs   1.0 ms   1.5 ms      60
"
    );
}

#[test]
fn a_screen_fits_the_terminal() {
    for (width, height) in [(0, 0), (1, 1), (10, 3), (30, 5), (50, 24), (200, 60)] {
        let lines = screen(&state(three()), width, height);
        assert!(lines.len() <= height, "{width}x{height}");
        for line in &lines {
            let wide: usize = line.iter().map(|(_, words)| text::width(words)).sum();
            assert!(wide <= width, "{width}x{height}: {line:?}");
        }
    }
    let narrow = words(&screen(&state(three()), 50, 9));
    assert!(narrow.contains("P99") && narrow.contains("MEMBERS"), "{narrow}");
    assert!(!narrow.contains("COUNT") && !narrow.contains("MAX"), "{narrow}");
}

#[test]
fn a_screen_says_which_part_of_the_rooms_it_shows() {
    let rooms = (0..40).map(|n| room(&format!("room:{n}"), 1, 1.0, Some(1.0 / f64::from(n + 1))));
    let mut state = state(rooms.collect());
    state.scroll = 38;
    let lines = words(&screen(&state, 80, 9));
    assert!(lines.contains("room:35 ") && lines.contains("room:39 "), "{lines}");
    assert!(!lines.contains("room:34 ") && lines.contains("36-40 of 40"), "{lines}");
    state.prefix = "room:1".to_owned();
    let lines = words(&screen(&state, 80, 40));
    assert!(lines.contains("in 11 rooms") && !lines.contains("room:2"), "{lines}");
    assert!(lines.ends_with("/room:1\n"), "{lines}");
}

#[test]
fn several_namespaces_are_named() {
    let mut rooms = three();
    rooms[1].namespace = "/chat".to_owned();
    let lines = words(&plain(&state(rooms), None));
    assert!(lines.starts_with("NAMESPACE ROOM"), "{lines}");
    assert!(lines.contains("/chat acme:sales") && lines.contains("/ lobby"), "{lines}");
}

#[test]
fn no_rooms_is_a_message_and_no_deliveries_no_latency() {
    assert!(words(&plain(&state(Vec::new()), None)).contains("no room had a delivery"));
    let idle = words(&plain(&state(vec![room("idle", 7, 0.0, None)]), None));
    assert_eq!(
        idle,
        "\
ROOM   MEMBERS    RATE/S      P50     ▼P99      MAX   COUNT
idle         7         0        -        -        -       0
"
    );
}
