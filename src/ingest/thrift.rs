//! A walk over Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages. It allocates
//! nothing: what is not asked for is stepped over.

/// The bytes are no struct of the protocol, or end within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// The value of a field; of what holds others only its beginning, which is to be walked or skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    /// Bytes or a number that has been stepped over.
    Other,
    /// Of structs, so many.
    List(u64),
    /// Of what else, by its type.
    Plain(u8, u64),
    Map(u8, u64),
    Struct,
}

/// Structs within structs.
const DEPTH: usize = 32;

const STRUCT: u8 = 12;

/// A place in the bytes.
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// Takes the id of a field and its value, which it walks or skips.
type Visit<'v, 'a> = dyn FnMut(i64, Value, &mut Compact<'a>) -> Result<(), Damaged> + 'v;

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Compact {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// Bytes walked so far.
    pub(super) fn at(&self) -> u64 {
        self.at as u64
    }

    /// Walks one struct.
    pub(super) fn fields(&mut self, visit: &mut Visit<'_, 'a>) -> Result<(), Damaged> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Damaged);
        }
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                break;
            }
            id = match head >> 4 {
                0 => self.int()?,
                delta => id.checked_add(i64::from(delta)).ok_or(Damaged)?,
            };
            let value = match head & 0x0f {
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                other => self.value(other)?,
            };
            visit(id, value, self)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Steps over what a value holds.
    pub(super) fn skip(&mut self, value: Value) -> Result<(), Damaged> {
        match value {
            Value::Bool(_) | Value::Int(_) | Value::Other => Ok(()),
            Value::Struct => self.fields(&mut |_, value, walk| walk.skip(value)),
            Value::List(count) => self.elements(STRUCT, count),
            Value::Plain(of, count) => self.elements(of, count),
            Value::Map(of, count) => {
                for _ in 0..count {
                    self.elements(of >> 4, 1)?;
                    self.elements(of & 0x0f, 1)?;
                }
                Ok(())
            }
        }
    }

    fn elements(&mut self, of: u8, count: u64) -> Result<(), Damaged> {
        // A list of lists holds no struct, and is as deep.
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Damaged);
        }
        for _ in 0..count {
            // In a list a truth has a byte of its own.
            let value = match of {
                1 | 2 => Value::Bool(self.byte()? == 1),
                other => self.value(other)?,
            };
            self.skip(value)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn value(&mut self, of: u8) -> Result<Value, Damaged> {
        Ok(match of {
            3 => Value::Int(i64::from(self.byte()?.cast_signed())),
            4..=6 => Value::Int(self.int()?),
            7 => self.step(8)?,
            8 => {
                let length = self.count()?;
                self.step(length)?
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.count()?,
                    few => self.there(u64::from(few))?,
                };
                match head & 0x0f {
                    STRUCT => Value::List(count),
                    other => Value::Plain(other, count),
                }
            }
            11 => match self.count()? {
                0 => Value::Other,
                count => Value::Map(self.byte()?, count),
            },
            STRUCT => Value::Struct,
            13 => self.step(16)?,
            _ => return Err(Damaged),
        })
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let byte = *self.bytes.get(self.at).ok_or(Damaged)?;
        self.at += 1;
        Ok(byte)
    }

    fn step(&mut self, length: u64) -> Result<Value, Damaged> {
        self.at += usize::try_from(self.there(length)?).map_err(|_| Damaged)?;
        Ok(Value::Other)
    }

    /// A count of what takes a byte each at least, and so cannot be more than the bytes that are left.
    fn count(&mut self) -> Result<u64, Damaged> {
        let count = self.varint()?;
        self.there(count)
    }

    fn there(&self, count: u64) -> Result<u64, Damaged> {
        let left = (self.bytes.len() - self.at) as u64;
        (count <= left).then_some(count).ok_or(Damaged)
    }

    fn int(&mut self) -> Result<i64, Damaged> {
        let coded = self.varint()?;
        Ok((coded >> 1).cast_signed() ^ -(coded & 1).cast_signed())
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Result<Vec<(i64, Value)>, Damaged> {
        let mut seen = vec![];
        Compact::new(bytes).fields(&mut |id, value, walk| {
            seen.push((id, value));
            walk.skip(value)
        })?;
        Ok(seen)
    }

    #[test]
    fn fields_are_told_and_what_they_hold_is_stepped_over() {
        // 1: i32 -1; 3: "ab"; 4: [{}, {}]; 5: true; 20: i64 300.
        let bytes = [
            0x15, 0x01, 0x28, 2, b'a', b'b', 0x19, 0x2c, 0, 0, 0x11, 0x06, 40, 0xd8, 0x04, 0,
        ];
        let wanted = [
            (1, Value::Int(-1)),
            (3, Value::Other),
            (4, Value::List(2)),
            (5, Value::Bool(true)),
            (20, Value::Int(300)),
        ];
        assert_eq!(walk(&bytes).unwrap(), wanted);
        for cut in 0..bytes.len() {
            assert_eq!(walk(&bytes[..cut]), Err(Damaged), "{cut}");
        }
    }

    #[test]
    fn counts_beyond_the_bytes_and_bottomless_nesting_are_damage() {
        // A list that says four thousand million structs.
        assert_eq!(
            walk(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
            Err(Damaged)
        );
        assert_eq!(walk(&[0x1c; 1000]), Err(Damaged));
        assert_eq!(walk(&[0x19; 1000]), Err(Damaged));
    }
}
