//! Which arguments an event may have.

use super::error::MAX_ATTACHMENTS;
use crate::data::{Data, MAX_DEPTH};

/// Why an event cannot have these arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// They hold more binary values than a packet may have attachments. Stock clients close their
    /// connection on such a packet.
    #[error("more than {MAX_ATTACHMENTS} binary values")]
    TooManyBinaries,
    /// Arrays and objects nest deeper than [`MAX_DEPTH`] levels.
    #[error("an argument nests deeper than {MAX_DEPTH} levels of arrays and objects")]
    TooDeep,
}

/// Checks the arguments of an event before it is accepted: what passes can be delivered to every
/// client, and sent to every instance.
///
/// # Errors
/// See [`ArgsError`].
pub fn check_args(args: &[Data]) -> Result<(), ArgsError> {
    let mut binaries = 0;
    args.iter().try_for_each(|arg| check(arg, MAX_DEPTH, &mut binaries))?;
    if binaries > MAX_ATTACHMENTS { Err(ArgsError::TooManyBinaries) } else { Ok(()) }
}

/// Counts binary values, and fails below `levels` of arrays and objects.
fn check(data: &Data, levels: usize, binaries: &mut usize) -> Result<(), ArgsError> {
    let inner = || levels.checked_sub(1).ok_or(ArgsError::TooDeep);
    match data {
        Data::Binary(_) => *binaries += 1,
        Data::Array(items) => {
            let levels = inner()?;
            items.iter().try_for_each(|item| check(item, levels, binaries))?;
        }
        Data::Object(entries) => {
            let levels = inner()?;
            entries.iter().try_for_each(|(_, value)| check(value, levels, binaries))?;
        }
        Data::Null | Data::Bool(_) | Data::Number(_) | Data::String(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn nested(levels: usize, innermost: Data) -> Data {
        (0..levels).fold(innermost, |inner, level| match level % 2 {
            0 => Data::Array(vec![Data::Null, inner]),
            _ => Data::Object(vec![("k".into(), inner)]),
        })
    }

    #[test]
    fn arguments_nest_up_to_the_bound_whatever_is_innermost() {
        let scalars = [Data::Null, "text".into(), Data::Binary(Bytes::new())];
        for innermost in scalars {
            let (most, over) = (nested(64, innermost.clone()), nested(65, innermost));
            assert_eq!(check_args(&[Data::Null, most]), Ok(()));
            assert_eq!(check_args(&[Data::Null, over]), Err(ArgsError::TooDeep));
        }
        let empty = Data::Array(Vec::new());
        assert_eq!(check_args(&[nested(63, empty.clone())]), Ok(()));
        assert_eq!(check_args(&[nested(64, empty)]), Err(ArgsError::TooDeep));
    }

    #[test]
    fn arguments_hold_up_to_ten_binary_values_together() {
        let binary = Data::Binary(Bytes::new());
        let five = Data::Array(vec![binary.clone(); 5]);
        assert_eq!(check_args(&[five.clone(), five.clone()]), Ok(()));
        assert_eq!(check_args(&[five.clone(), binary, five]), Err(ArgsError::TooManyBinaries));
    }
}
