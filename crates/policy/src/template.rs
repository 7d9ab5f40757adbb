//! [`Template`] builds a room's name from a message, and never the same name from different values.
//! [`TextTemplate`] and [`ArgTemplate`] build the event that is published there.

use std::borrow::Cow;

use rookery_protocol::{Data, MAX_ROOM_BYTES, Room};

use crate::parts::{Part, RoomBuffer, Separators, TemplateError, parts};
use crate::refusal::{Code, Refusal};

/// A room template such as `{workspaceId}:{appId}`: text, and placeholders that are paths into
/// a message.
///
/// A separator is a character of the template's own text that is neither a letter nor a digit.
/// Separators and `%` in a value are percent-encoded in UTF-8 (RFC 3986, section 2.1), and nothing
/// else is; a template that is a single placeholder encodes nothing.
#[derive(Clone, Debug)]
pub struct Template {
    pub(super) parts: Vec<Part>,
    pub(super) separators: Separators,
}

impl Template {
    /// Parses a room template.
    ///
    /// # Errors
    /// Fails for unbalanced braces, an empty path, two placeholders without a separator between
    /// them (different values could make the same room), `%` beside a placeholder (it is the
    /// encoding's escape character), and text longer than a room's name may be.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        require_paths(&parts)?;
        let separators = Separators::of(&parts)?;
        Ok(Template { parts, separators })
    }

    /// Builds the room's name from `body`.
    ///
    /// # Errors
    /// `bad_request` if `body` is not an object; `room_invalid`, naming the placeholder, if a
    /// value is missing, empty, or neither text nor a number, or if the name would hold a NUL or
    /// be longer than [`MAX_ROOM_BYTES`].
    pub fn room(&self, body: &Data) -> Result<Room, Refusal> {
        let mut room = RoomBuffer::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => room.extend_from_slice(text.as_bytes()),
                Part::Placeholder(path) => {
                    let value = value(body, path, Code::RoomInvalid)?;
                    self.separators.encode(&value, &mut room);
                }
            }
        }
        let room = std::str::from_utf8(&room).expect("its parts are text");
        if room.contains('\0') {
            return Err(Refusal::new(Code::RoomInvalid, "a room's name cannot hold a NUL"));
        }
        if room.len() > MAX_ROOM_BYTES {
            let message = format!(
                "a room's name has at most {MAX_ROOM_BYTES} bytes, this one would have {}",
                room.len()
            );
            return Err(Refusal::new(Code::RoomInvalid, message));
        }
        Ok(room.into())
    }
}

/// A template of an event's name, which encodes nothing.
#[derive(Clone, Debug)]
pub struct TextTemplate {
    parts: Vec<Part>,
}

impl TextTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Fails for unbalanced braces, an empty path, and an empty template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        require_paths(&parts)?;
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(TextTemplate { parts })
    }

    /// Builds the text from `body`.
    ///
    /// # Errors
    /// `bad_request` if `body` is not an object, or if a value, which the message names, is
    /// missing, empty, or neither text nor a number.
    pub fn text(&self, body: &Data) -> Result<String, Refusal> {
        if let [Part::Placeholder(path)] = self.parts.as_slice() {
            return value(body, path, Code::BadRequest).map(Cow::into_owned);
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Placeholder(path) => text.push_str(&value(body, path, Code::BadRequest)?),
            }
        }
        Ok(text)
    }

    /// The text, if the template has no placeholders.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// A template of a published argument.
#[derive(Clone, Debug)]
pub struct ArgTemplate {
    parts: Vec<Part>,
}

impl ArgTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Fails for unbalanced braces and an empty path.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        require_paths(&parts)?;
        Ok(ArgTemplate { parts })
    }

    /// Builds the argument from `body`. A template that is a single placeholder gives the value
    /// itself, or `null` if it is missing. Any other gives text, in which only text, numbers and
    /// booleans appear.
    pub fn value(&self, body: &Data) -> Data {
        if let Some(path) = self.field() {
            return lookup(body, path).cloned().unwrap_or(Data::Null);
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Placeholder(path) => match lookup(body, path) {
                    Some(Data::String(value)) => text.push_str(value),
                    Some(Data::Number(number)) => text.push_str(&number.to_string()),
                    Some(Data::Bool(value)) => text.push_str(&value.to_string()),
                    _ => {}
                },
            }
        }
        Data::from(text)
    }

    /// The path of the field whose value the argument is, if the template is a single placeholder.
    pub(super) fn field(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Placeholder(path)] => Some(path),
            _ => None,
        }
    }

    /// The paths of all placeholders.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(path) => Some(path.as_str()),
            Part::Text(_) => None,
        })
    }
}

fn require_paths(parts: &[Part]) -> Result<(), TemplateError> {
    for part in parts {
        let Part::Placeholder(path) = part else { continue };
        if path.ends_with('*') {
            return Err(TemplateError::Star(path.clone()));
        }
        if path.split('.').any(|field| field.is_empty() || field.trim() != field) {
            return Err(TemplateError::Path(path.clone()));
        }
    }
    Ok(())
}

/// The value at a path of fields, if there is one.
pub(super) fn lookup<'a>(body: &'a Data, path: &str) -> Option<&'a Data> {
    path.split('.').try_fold(body, |data, field| data.get(field))
}

/// As [`lookup`], to change the value.
pub(super) fn lookup_mut<'a>(body: &'a mut Data, path: &str) -> Option<&'a mut Data> {
    path.split('.').try_fold(body, |data, field| data.get_mut(field))
}

/// The text of the value at `path`. `code` is the refusal's if the value cannot be used.
fn value<'a>(body: &'a Data, path: &str, code: Code) -> Result<Cow<'a, str>, Refusal> {
    if !matches!(body, Data::Object(_)) {
        let message = format!("expected an object with the field `{path}`, found {}", kind(body));
        return Err(Refusal::new(Code::BadRequest, message));
    }
    let problem = match lookup(body, path) {
        Some(Data::String(text)) if text.is_empty() => "is empty".to_owned(),
        Some(Data::String(text)) => return Ok(text.as_str().into()),
        Some(Data::Number(number)) => return Ok(number.to_string().into()),
        Some(other) => format!("is {}", kind(other)),
        None => "is missing".to_owned(),
    };
    Err(Refusal::new(code, format!("`{path}` {problem}; send text or a number")))
}

/// A value's type, for messages.
pub(super) fn kind(data: &Data) -> &'static str {
    match data {
        Data::Null => "null",
        Data::Bool(_) => "a boolean",
        Data::Number(_) => "a number",
        Data::String(_) => "text",
        Data::Binary(_) => "binary",
        Data::Array(_) => "an array",
        Data::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
