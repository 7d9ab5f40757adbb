//! The [`Command`]s that admins give, in the form of the package. Pure.

use rookery_policy::MAX_LISTED_ROOMS;
use rookery_protocol::{Data, MAX_ROOM_BYTES, RESERVED_EVENTS, Room, packet};

/// What an admin orders.
#[derive(Debug, PartialEq)]
pub struct Command {
    /// The namespace of the sockets that it is about.
    pub namespace: String,
    /// The rooms that they are in; empty: all sockets of the namespace.
    pub of: Vec<Room>,
    /// What is to be done.
    pub order: Order,
}

/// What is to be done with the sockets.
#[derive(Debug, PartialEq)]
pub enum Order {
    /// They are sent an event.
    Emit {
        /// The event's name.
        event: String,
        /// Its arguments.
        args: Vec<Data>,
    },
    /// They join rooms.
    Join(Vec<Room>),
    /// They leave rooms.
    Leave(Vec<Room>),
    /// They are disconnected.
    Disconnect {
        /// Whether their connections are closed too.
        close: bool,
    },
}

/// Why an event of an admin is no command.
#[derive(Debug, PartialEq)]
pub enum NoCommand {
    /// There is no such command.
    Unknown,
    /// Its arguments are wrong: says how.
    Malformed(&'static str),
}

const NAMESPACE: NoCommand = NoCommand::Malformed("the namespace must be text");
const FILTER: NoCommand =
    NoCommand::Malformed("the filter must be a room, a list of rooms or null");
const ROOM: NoCommand = NoCommand::Malformed("the room must be text of 1 to 255 bytes, or a list");
const EVENT: NoCommand = NoCommand::Malformed("the event must be a name that is not reserved");

impl Command {
    /// The command in an event: `emit(nsp, filter, event, ...args)`, `join(nsp, room, filter)`,
    /// `leave(nsp, room, filter)` or `_disconnect(nsp, close, filter)`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(event: &str, args: Vec<Data>) -> Result<Self, NoCommand> {
        if !matches!(event, "emit" | "join" | "leave" | "_disconnect") {
            return Err(NoCommand::Unknown);
        }
        let mut args = args.into_iter();
        let mut next = || args.next().unwrap_or(Data::Null);
        let namespace = match next() {
            Data::String(name) if name.starts_with('/') => name.to_string(),
            // As in Node.
            Data::String(name) => format!("/{name}"),
            _ => return Err(NAMESPACE),
        };
        let (of, order) = match event {
            "emit" => {
                let of = filter(&next())?;
                (of, emit(next(), args.collect())?)
            }
            "join" => {
                let joined = rooms(&next())?;
                (filter(&next())?, Order::Join(joined))
            }
            "leave" => {
                let left = rooms(&next())?;
                (filter(&next())?, Order::Leave(left))
            }
            _ => {
                let close = next() == Data::Bool(true);
                (filter(&next())?, Order::Disconnect { close })
            }
        };
        Ok(Command { namespace, of, order })
    }
}

impl Order {
    /// The name of what is done, in the log.
    pub fn label(&self) -> &'static str {
        match self {
            Order::Emit { .. } => "emit",
            Order::Join(_) => "join",
            Order::Leave(_) => "leave",
            Order::Disconnect { .. } => "disconnect",
        }
    }
}

fn emit(event: Data, args: Vec<Data>) -> Result<Order, NoCommand> {
    let event = event.as_str().filter(|event| !RESERVED_EVENTS.contains(event)).ok_or(EVENT)?;
    packet::check_args(&args)
        .map_err(|_| NoCommand::Malformed("the arguments are nested too deeply, or too many"))?;
    Ok(Order::Emit { event: event.to_owned(), args })
}

/// Nothing, and as in Node the empty text, is every socket.
fn filter(data: &Data) -> Result<Vec<Room>, NoCommand> {
    match data {
        Data::Null => Ok(Vec::new()),
        Data::String(text) if text.is_empty() => Ok(Vec::new()),
        other => rooms(other).map_err(|_| FILTER),
    }
}

fn rooms(data: &Data) -> Result<Vec<Room>, NoCommand> {
    let room = |data: &Data| {
        let name = data.as_str().filter(|name| (1..=MAX_ROOM_BYTES).contains(&name.len()));
        name.map(Room::from).ok_or(ROOM)
    };
    match data {
        Data::Array(list) if (1..=MAX_LISTED_ROOMS).contains(&list.len()) => {
            list.iter().map(room).collect()
        }
        other => Ok(vec![room(other)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(event: &str, args: &str) -> Result<Command, NoCommand> {
        let Data::Array(args) = rookery_protocol::json::parse_json(args.as_bytes()).unwrap() else {
            panic!("{args}");
        };
        Command::parse(event, args)
    }

    fn command(namespace: &str, of: &[&str], order: Order) -> Result<Command, NoCommand> {
        let of = of.iter().map(|room| Room::from(*room)).collect();
        Ok(Command { namespace: namespace.to_owned(), of, order })
    }

    #[test]
    fn the_commands_of_the_page_are_read() {
        let emit = |args| Order::Emit { event: "e".to_owned(), args };
        assert_eq!(parse("emit", r#"["/",null,"e"]"#), command("/", &[], emit(Vec::new())));
        assert_eq!(
            parse("emit", r#"["/c","r","e",null,"x"]"#),
            command("/c", &["r"], emit(vec![Data::Null, "x".into()]))
        );
        let join = || Order::Join(vec!["r".into()]);
        assert_eq!(parse("join", r#"["/","r","id"]"#), command("/", &["id"], join()));
        assert_eq!(parse("join", r#"["chat","r"]"#), command("/chat", &[], join()));
        let two = Order::Leave(vec!["r".into(), "s".into()]);
        assert_eq!(parse("leave", r#"["/",["r","s"],["a","b"]]"#), command("/", &["a", "b"], two));
        for (args, of, close) in [
            (r#"["/",true,"a"]"#, vec!["a"], true),
            (r#"["/",false,""]"#, vec![], false),
            (r#"["/"]"#, vec![], false),
        ] {
            let order = Order::Disconnect { close };
            assert_eq!(parse("_disconnect", args), command("/", &of, order), "{args}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_command() {
        for (event, args, expected) in [
            ("publish", r#"["/"]"#, NoCommand::Unknown),
            ("emit", "[]", NAMESPACE),
            ("join", r#"[1,"r"]"#, NAMESPACE),
            ("emit", r#"["/",{},"e"]"#, FILTER),
            ("emit", r#"["/",[],"e"]"#, FILTER),
            ("emit", r#"["/",["a",1],"e"]"#, FILTER),
            ("emit", r#"["/","r"]"#, EVENT),
            ("emit", r#"["/","r",7]"#, EVENT),
            ("emit", r#"["/","r","connect"]"#, EVENT),
            ("join", r#"["/"]"#, ROOM),
            ("join", r#"["/",""]"#, ROOM),
            ("leave", r#"["/",[],"a"]"#, ROOM),
            ("leave", r#"["/","r",5]"#, FILTER),
        ] {
            assert_eq!(parse(event, args), Err(expected), "{event} {args}");
        }
        let long = format!(r#"["/","{}"]"#, "x".repeat(MAX_ROOM_BYTES + 1));
        assert_eq!(parse("join", &long), Err(ROOM));
    }
}
